// Builds everything that a user runs: the WebAssembly modules (wasm/) and the JavaScript and types (dist/).
// Usage: node scripts/build.mjs [wasm | js | debug]   without an argument: wasm and js
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { build as esbuild } from "esbuild";
import { settle } from "./declarations.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const MODULES = [
  "slab-simd", "slab-relaxed", "slab-simd-threads", "slab-relaxed-threads", "peak-simd", "peak-relaxed", "codec-jpeg",
  "codec-png", "codec-webp",
];
const CODECS = {
  jpeg: "jpeg/codec/dec/mozjpeg_dec.wasm", png: "png/codec/pkg/squoosh_png_bg.wasm",
  webp: "webp/codec/dec/webp_dec.wasm",
};
const TOKENIZER = { tokenizer: "bindings/tokenizer/index.ts" };
/** Modules that are loaded when they are first needed, with a file each. */
const APART = {
  pth: "bindings/checkpoint/pth.ts", faults: "bindings/checkpoint/faults.ts", shards: "bindings/checkpoint/shards.ts",
  extras: "bindings/extras.ts", recognise: "models/recognise.ts", given: "bindings/load/given-module.ts",
  located: "bindings/load/located.ts", linear: "bindings/tokenizer/linear.ts",
  rounded: "bindings/checkpoint/rounded.ts",
};
/** The same without the tasks, which those have that load it. */
const LATER = { architectures: "models/index.ts" };
/** In browsers, where most pages have no threads. */
const POOL = { pool: "bindings/run/pool.ts" };
const what = process.argv[2] ?? "all";

async function compile(args) {
  const { error, stderr } = await asc.main(args);
  if (error) {
    process.stderr.write(stderr.toString());
    throw new Error(`asc ${args.join(" ")}: ${error.message}`);
  }
}

/**
 * A few files in place of a hundred, for each kind of host, with everything in them: importing the package takes a
 * third of the time, and a page without a bundler can do it. They lie as deep below dist/ as bindings/platform/ lies
 * below the root, so that literal URLs of wasm/ hold in both. What is loaded later is bundled apart, with copies of the
 * little that it shares with the rest: that would otherwise be cut out into chunks of its own, here and by a user's
 * bundler, and every page would pay for it.
 */
async function bundle() {
  const whole = {
    bundle: true, format: "esm", minifyWhitespace: true, minifySyntax: true, logLevel: "warning",
    plugins: [emscriptenGlue], legalComments: "none",
  };
  const options = { ...whole, plugins: [...whole.plugins, apart] };
  const api = { "index": "bindings/index.ts", "core": "bindings/core.ts", "image": "bindings/image/index.ts" };
  const neutral = { ...api, "checkpoint": "bindings/checkpoint/index.ts" };
  const node = {
    ...options, platform: "node", target: "node20", splitting: true, chunkNames: "chunk-[hash]", outdir: "dist/js/node",
  };
  await esbuild({ ...node, entryPoints: neutral });
  await esbuild({
    ...node, splitting: false,
    entryPoints: { ...APART, ...TOKENIZER, "node-thread": "bindings/platform/node-thread.js" },
  });
  await esbuild({ ...node, splitting: false, conditions: ["slab-later"], entryPoints: LATER });
  // apart from the rest, which would lie in pieces that both import
  await esbuild({
    ...node, entryPoints: { "worker": "bindings/worker/index.ts", "node-model": "bindings/platform/node-model.js" },
  });
  await esbuild({
    ...node, entryPoints: { "slab": "cli/slab.ts", "demo": "cli/demo.ts" },
    plugins: [...options.plugins, separately("undici")],
  });
  await esbuild({
    ...options, platform: "node", target: "node20", format: "cjs", outfile: "dist/js/node/undici.cjs",
    stdin: { contents: 'module.exports = require("undici")', resolveDir: "." },
  });
  const web = {
    ...options, platform: "neutral", mainFields: ["module", "main"], target: "es2022", splitting: true,
    chunkNames: "chunk-[hash]",
  };
  await esbuild({
    ...web, conditions: ["browser"], outdir: "dist/js/browser",
    entryPoints: {
      ...neutral, ...TOKENIZER, "worker": "bindings/worker/index.ts", "web-thread": "bindings/platform/web-thread.js",
      "web-model": "bindings/platform/web-model.js",
    },
  });
  const alone = { ...web, splitting: false };
  await esbuild({ ...alone, conditions: ["browser"], outdir: "dist/js/browser", entryPoints: { ...APART, ...POOL } });
  await esbuild({
    ...web, splitting: false, conditions: ["workerd"], outdir: "dist/js/workerd", entryPoints: APART,
    external: ["*.wasm"],
  });
  for (const host of ["browser", "workerd"]) {
    await esbuild({
      ...web, splitting: false, conditions: [host, "slab-later"], outdir: `dist/js/${host}`, entryPoints: LATER,
    });
  }
  await esbuild({
    ...web, conditions: ["workerd"], outdir: "dist/js/workerd",
    entryPoints: { ...api, "worker": "bindings/worker/index.ts" }, external: ["*.wasm"],
  });
  // splitting leaves imports of nothing behind, of which wrangler warns: no module there does
  // anything by being imported
  rewrite("dist/js/workerd", (text) => text.replace(/import"\.\/chunk-\w+\.js";/g, ""));
  // minifying takes off the marks by which a user's bundler drops architectures that an app does not name
  for (const host of ["node", "browser", "workerd"]) {
    rewrite(`dist/js/${host}`, (text) => text.replace(/=(\w+\(\{types:\[)/g, "=/*@__PURE__*/$1"));
  }
  await esbuild({
    ...web, plugins: whole.plugins, conditions: ["slab-inline"], splitting: false, outdir: "dist/js/inline",
    entryPoints: { "index": "bindings/index.ts" }, loader: { ".wasm": "binary" },
  });
}

function rewrite(folder, change) {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name), text = readFileSync(file, "utf8"), changed = change(text);
    if (changed !== text) writeFileSync(file, changed);
  }
}

/**
 * We hand the glue of the image codecs their modules; what it would do to find them itself only misleads bundlers, and
 * breaks where modules have no URL.
 */
const emscriptenGlue = {
  name: "emscripten-glue",
  setup: (build) => build.onLoad({ filter: /@jsquash.(jpeg|webp).codec.dec.\w+\.js$/ }, ({ path }) => {
    const contents = readFileSync(path, "utf8")
      .replace(/new URL\("\w+\.wasm",\s*import\.meta\.url\)\.href/g, '""')
      .replace(/if\(import\.meta\.url===undefined\)\{.*?\}/, "")
      .replace("_scriptDir = import.meta.url", '_scriptDir = ""');
    if (contents.includes("import.meta")) {
      throw new Error(`${path} has changed: the replacements in scripts/build.mjs do not fit`);
    }
    return { contents, loader: "js" };
  }),
};

const apart = {
  name: "apart",
  setup: (build) => build.onResolve({ filter: /\.ts$/ }, ({ path, kind, resolveDir }) => {
    const files = Object.entries({ ...APART, ...LATER, ...POOL, ...TOKENIZER });
    const found = kind === "dynamic-import" && files.find(([, file]) => join(resolveDir, path) === join(root, file));
    if (found) return { path: `./${found[0]}.js`, external: true };
  }),
};

/** A package of CommonJS, which asks for Node's modules as it runs and so cannot lie in a module: a file of its own. */
const separately = (name) => ({
  name: "separately",
  setup: (build) => build.onResolve(
    { filter: new RegExp(`^${name}$`) }, () => ({ path: `./${name}.cjs`, external: true }),
  ),
});

/** The licences of what is built in. */
function licences() {
  const packages = ["@huggingface/tokenizers", "re2js", "undici", "@jsquash/jpeg"].map((name) => `${name}/LICENSE`);
  const parts = [...packages, ...["jpeg", "png", "webp"].map((name) => `@jsquash/${name}/codec/LICENSE.codec.md`)];
  return [
    "Licences of what slab-wasm is built with.",
    ...parts.map((file) => `${"=".repeat(80)}\n${file}\n\n${readFileSync(join("node_modules", file), "utf8").trim()}`),
  ].join("\n\n") + "\n";
}

if (what === "all" || what === "wasm") {
  mkdirSync("wasm", { recursive: true });
  for (const target of ["simd", "relaxed"]) {
    await compile(["assembly/index.ts", "--target", target]);
    await compile(["assembly/threads.ts", "--target", `${target}-threads`]);
    await compile(["assembly/peak.ts", "--target", target, "--outFile", `wasm/peak-${target}.wasm`]);
    // for tests alone
    await compile(["assembly/extents-test.ts", "--target", target, "--outFile", `wasm/extents-${target}.wasm`]);
  }
  for (const target of ["wasi", "wasi-relaxed"]) await compile(["assembly/wasi/index.ts", "--target", target]);
  for (const [name, file] of Object.entries(CODECS)) {
    cpSync(join("node_modules/@jsquash", file), `wasm/codec-${name}.wasm`);
  }
}
if (what === "debug") await compile(["assembly/index.ts", "--target", "debug"]);
if (what === "all" || what === "js") {
  rmSync("dist", { recursive: true, force: true });
  const tsc = createRequire(import.meta.url).resolve("typescript/package.json");
  const result = spawnSync(
    process.execPath, [join(dirname(tsc), "bin", "tsc"), "-p", ".", "--emitDeclarationOnly", "--outDir", "dist/types"],
    { stdio: "inherit" },
  );
  if (result.status !== 0) process.exit(result.status ?? 1);
  settle("dist/types");
  await bundle();
  mkdirSync("dist/wasm", { recursive: true });
  for (const module of MODULES) cpSync(`wasm/${module}.wasm`, `dist/wasm/${module}.wasm`);
  writeFileSync("dist/THIRD-PARTY.md", licences());
  for (const module of ["slab-wasi", "slab-wasi-relaxed"]) cpSync(`wasm/${module}.wasm`, `dist/${module}.wasm`);
  for (const command of ["slab", "demo"]) chmodSync(`dist/js/node/${command}.js`, 0o755);
}
