// The packed tarball, built by bundlers in a project of its own, and the result run: node tests/platforms/bundlers.mjs [NAME…]
// The last line is "N passed, N failed, N skipped".
// @ts-check
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build as esbuild } from "esbuild";
import { install } from "./project.mjs";
import { execute, launchChromium, RUNTIMES } from "./runtimes.mjs";
import { serve } from "./server.mjs";

const here = dirname(fileURLToPath(import.meta.url)), root = join(here, "../.."), modules = join(here, "node_modules");
const require = createRequire(join(here, "package.json"));
const names = process.argv.slice(2);
const continuousIntegration = ["true", "1"].includes(process.env.CI ?? "");

const project = install();
cpSync(join(here, "bundlers"), join(project, "src"), { recursive: true });
const page = (/** @type {string} */ file) => `<!doctype html><meta charset="utf-8"><script type="module" src="${file}"></script>`;
writeFileSync(join(project, "index.html"), page("./src/app.js"));
writeFileSync(join(project, "core.html"), page("./src/core.js"));
const server = await serve({ out: project, models: join(root, "models") });
/** @type {Promise<any> | undefined} */
let browser;

/** What the page of a folder below out/ found. @param {string} folder @param {{ threads?: number }} [expected] @param {string} [file] */
async function visit(folder, expected = {}, file = "index.html") {
  const tab = await (await (browser ??= launchChromium())).newPage();
  const seen = /** @type {string[]} */ ([]);
  tab.on("console", (/** @type {any} */ message) => seen.push(message.text()));
  tab.on("pageerror", (/** @type {Error} */ error) => seen.push(String(error)));
  await tab.goto(`${server.origin}/isolated/out/${folder}/${file}`);
  await tab.waitForFunction("window.result", null, { timeout: 30_000 }).catch(() => {});
  const result = await tab.evaluate("window.result");
  await tab.close();
  verify(result, expected, seen);
}

/** @param {any} result @param {{ threads?: number }} expected @param {string[]} seen */
function verify(result, { threads }, seen) {
  if (!result || result.error || !result.labels.every((/** @type {string} */ label) => label === "cat")) throw new Error(`${JSON.stringify(result)} ${seen.join("; ")}`);
  if (threads !== undefined && result.threads < threads) throw new Error(`${result.threads} threads in the worker, expected ${threads}`);
}

/** A folder with a page, where the models are beside it. @param {string} folder */
function folderFor(folder) {
  mkdirSync(join(project, folder), { recursive: true });
  return join(project, folder);
}

/** Builds `entry` with webpack, to a folder with a page. @param {string} folder @param {string} entry @param {boolean} minimize */
async function pack(folder, entry, minimize) {
  const webpack = require("webpack"), out = folderFor(folder);
  const stats = await new Promise((resolve, reject) => webpack({
    context: project, mode: "production", optimization: { minimize }, entry, output: { path: out, filename: "app.js", publicPath: "auto" }, performance: { hints: false },
  }, (/** @type {Error} */ error, /** @type {any} */ result) => (error ? reject(error) : resolve(result))));
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString({ all: false, errors: true, warnings: true }));
  writeFileSync(join(out, "index.html"), page("./app.js"));
  return out;
}

/** Whether the scripts of a folder hold SLAB-DeiT, and nothing of language models. @param {string} folder */
function carriesOne(folder) {
  const text = readdirSync(folder).filter((file) => file.endsWith(".js")).map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
  const found = ["slab_deit_t", "1 is no penalty", "rotary angles"].filter((word) => text.includes(word));
  if (found.join() !== "slab_deit_t") throw new Error(`expected the code of SLAB-DeiT alone, found ${found.join(", ")}`);
}

/** @type {{ name: string, needs: string[], run(): Promise<void> }[]} */
const BUILDS = [
  {
    name: "Vite", needs: ["vite"],
    async run() {
      const { build } = await import(pathToFileURL(require.resolve("vite")).href.replace(/index\.cjs$/, "dist/node/index.js"));
      await build({ root: project, base: "./", logLevel: "warn", build: { outDir: "vite", target: "es2022" } });
      await visit("vite", { threads: 2 });
    },
  },
  {
    name: "Vite, core", needs: ["vite"],
    async run() {
      const { build } = await import(pathToFileURL(require.resolve("vite")).href.replace(/index\.cjs$/, "dist/node/index.js"));
      await build({ root: project, base: "./", logLevel: "warn", build: { outDir: "vite-core", target: "es2022", rollupOptions: { input: join(project, "core.html") } } });
      carriesOne(join(project, "vite-core/assets"));
      await visit("vite-core", {}, "core.html");
    },
  },
  {
    name: "webpack", needs: ["webpack"],
    async run() {
      await pack("webpack", "./src/app.js", false);
      await visit("webpack", { threads: 2 });
    },
  },
  {
    name: "webpack, core", needs: ["webpack"],
    async run() {
      carriesOne(await pack("webpack-core", "./src/core.js", true));
      await visit("webpack-core");
    },
  },
  {
    name: "esbuild, wasm given", needs: [],
    async run() {
      const out = folderFor("esbuild");
      await esbuild({ absWorkingDir: project, entryPoints: ["src/given.js"], bundle: true, format: "esm", outdir: out, logLevel: "error" });
      cpSync(join(project, "node_modules/slab-wasm/dist/wasm/slab-relaxed.wasm"), join(out, "slab-relaxed.wasm"));
      writeFileSync(join(out, "index.html"), page("./given.js"));
      await visit("esbuild");
    },
  },
  {
    name: "esbuild, inline", needs: [],
    async run() {
      const out = folderFor("inline");
      await esbuild({ absWorkingDir: project, entryPoints: ["src/inline.js"], bundle: true, format: "esm", outdir: out, logLevel: "error" });
      writeFileSync(join(out, "index.html"), page("./inline.js"));
      await visit("inline");
    },
  },
  {
    name: "esbuild, files copied", needs: [],
    async run() {
      // the package's own files beside the program, and not in it
      const out = folderFor("copied");
      cpSync(join(project, "node_modules/slab-wasm/dist/js/browser"), join(out, "slab/js/browser"), { recursive: true });
      cpSync(join(project, "node_modules/slab-wasm/dist/wasm"), join(out, "slab/wasm"), { recursive: true });
      const alias = Object.fromEntries([["slab-wasm", "index"], ["slab-wasm/worker", "worker"], ["slab-wasm/image", "image"]].map(([name, file]) => [name, `./slab/js/browser/${file}.js`]));
      await esbuild({ absWorkingDir: project, entryPoints: ["src/app.js"], bundle: true, format: "esm", outdir: out, logLevel: "error", alias, external: ["./slab/*"] });
      writeFileSync(join(out, "index.html"), page("./app.js"));
      await visit("copied", { threads: 2 });
    },
  },
  {
    name: "wrangler", needs: ["wrangler", "miniflare", "node24"],
    async run() {
      const out = join(project, "wrangler");
      writeFileSync(join(project, "wrangler.json"), JSON.stringify({ name: "edge", main: "src/edge.js", compatibility_date: "2026-07-01" }));
      const { code, text } = await execute([join(modules, "node24/bin/node"), join(modules, "wrangler/bin/wrangler.js"), "deploy", "--dry-run", "--outdir", out], {
        cwd: project, env: { WRANGLER_SEND_METRICS: "false", CI: "1", CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_HIDE_BANNER: "true" },
      });
      if (code !== 0) throw new Error(text);
      const { Miniflare } = require("miniflare");
      const worker = new Miniflare({
        cf: false, compatibilityDate: "2026-07-01", modulesRoot: out,
        modules: readdirSync(out).filter((file) => /\.(js|wasm)$/.test(file)).sort((a) => (a.endsWith(".js") ? -1 : 1)).map((file) => ({ type: file.endsWith(".wasm") ? "CompiledWasm" : "ESModule", path: join(out, file) })),
      });
      try {
        verify(await (await worker.dispatchFetch(`http://worker/?models=${encodeURIComponent(`${server.origin}/models`)}`)).json(), {}, []);
      } finally {
        await worker.dispose();
      }
    },
  },
  ...["node16", "bundler"].map((resolution) => ({
    name: `types, ${resolution}`, needs: [],
    async run() {
      const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
      const config = join(project, `tsconfig.${resolution}.json`);
      writeFileSync(config, JSON.stringify({
        compilerOptions: { module: resolution === "bundler" ? "esnext" : "node16", moduleResolution: resolution, target: "es2022", lib: ["es2022", "esnext.disposable", "dom"], types: [], strict: true, noEmit: true },
        files: ["src/types.ts"],
      }));
      const { code, text } = await execute([process.execPath, tsc, "-p", config], { cwd: project });
      if (code !== 0) throw new Error(text);
    },
  })),
];

let passed = 0, failed = 0, skipped = 0;
const needsBrowser = (/** @type {string} */ name) => !/^(wrangler|types)/.test(name);
const noBrowser = RUNTIMES.find(({ name }) => name === "Chromium")?.missing();
try {
  for (const { name, needs, run } of BUILDS.filter(({ name }) => names.length === 0 || names.some((n) => name.toLowerCase().startsWith(n.toLowerCase())))) {
    const missing = needs.find((need) => !existsSync(join(modules, need))), why = missing ? `the npm package ${missing} is not installed` : needsBrowser(name) ? noBrowser : undefined;
    if (why) {
      skipped++;
      console.log(`${name.padEnd(24)} skipped: ${why}`);
      continue;
    }
    const begin = performance.now();
    const error = await run().then(() => undefined, (/** @type {unknown} */ error) => error);
    if (error === undefined) passed++;
    else failed++;
    console.log(`${name.padEnd(24)} ${error === undefined ? "passed" : `FAIL ${error instanceof Error ? error.message : error}`}, ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  }
} finally {
  await (await browser)?.close();
  await server.close();
  rmSync(project, { recursive: true, force: true });
}
if (continuousIntegration) [failed, skipped] = [failed + skipped, 0];
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
