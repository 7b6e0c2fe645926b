// The runtimes: where each comes from, how the suite runs in it, and why it may be missing.
// @ts-check
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { webkit, webkitMissing } from "./webkit.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, "node_modules");
const require = createRequire(join(here, "package.json"));

/**
 * @typedef {object} Place  what a run is given
 * @property {string} project  a folder where the package is installed from its tarball, hosts/ beside it
 * @property {string} fixture  the fixture's file
 * @property {string} models
 * @property {string} origin   the file server
 *
 * @typedef {object} Result
 * @property {{ name: string, error?: string }[]} checks
 * @property {any} [caps]
 * @property {any} [outcome]
 *
 * @typedef {object} Runtime
 * @property {string} name
 * @property {() => string | undefined} missing  why it cannot be tested here
 * @property {(place: Place) => Promise<Result>} run
 */

const HUNG_MS = 120_000;

/**
 * Runs a command; its exit code and the end of what it printed. @param {string[]} command @param {{ cwd?: string, env?:
 * Record<string, string> }} [options]
 */
export async function execute(command, { cwd, env } = {}) {
  const [file = "", ...args] = command;
  const child = spawn(file, args, {
    stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...env },
    ...(cwd ? { cwd } : {}),
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), HUNG_MS);
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk) => (text = (text + chunk).slice(-20_000)));
  const code = await new Promise((resolve) => {
    child.on("error", (error) => (text += error.message));
    child.on("close", resolve);
  });
  clearTimeout(timer);
  return { code, text };
}

/** @param {string} name @param {string[]} command @param {string} binary @returns {Runtime} */
const script = (name, command, binary) => ({
  name,
  missing: () => (existsSync(binary) ? undefined : `${binary} is not installed`),
  async run({ project, fixture, models }) {
    const result = join(project, `${name.replace(/\W/g, "-")}.json`);
    const { code, text } = await execute([...command, join(project, "hosts/script.mjs"), fixture, models, result], {
      cwd: project,
    });
    if (code !== 0 || !existsSync(result)) return { checks: [{ name: "start", error: `exit code ${code}: ${text}` }] };
    const { checks, ...rest } = JSON.parse(readFileSync(result, "utf8"));
    const slab = join(project, "node_modules/slab-wasm/dist/js/node/slab.js");
    // the command line with the model that is installed, and the README's program
    const runs = [
      {
        name: "slab classify", args: [slab, "classify", `${models}/samples/cat.png`, "--top", "1", "--json"],
        good: /"label": "cat"/,
      },
      { name: "the README's program", args: ["ten.mjs"], good: /^cat \d[^]{100,} with \d threads?\s*$/ },
    ];
    for (const { name, args, good } of runs) {
      const { code, text } = await execute([...command, ...args], { cwd: project });
      checks.push({ name, ...(code === 0 && good.test(text) ? {} : { error: `exit code ${code}: ${text}` }) });
    }
    return { ...rest, checks };
  },
});

/** @param {string} version */
const nodeFromNpm = (version) => join(modules, `node${version}/bin/node`);
const bun =
  ["@oven/bun-linux-x64/bin/bun", ".bin/bun"].map((file) => join(modules, file)).find((file) => existsSync(file))
  ?? join(modules, ".bin/bun");

/** The path of the first of these programs that is there. @param {string[]} names */
function installed(names) {
  const { stdout } = spawnSync("sh", ["-c", names.map((name) => `command -v ${name}`).join(" || ")], {
    encoding: "utf8",
  });
  return stdout.trim() || undefined;
}

const CHROMIUM = ["chromium", "google-chrome"], FIREFOX = ["firefox-esr", "firefox"];

export const CHROMIUM_FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

/** @param {string} driver @param {string[]} browser */
const browserMissing = (driver, browser) =>
  !existsSync(join(modules, driver))
    ? `the npm package ${driver} is not installed`
    : installed(browser)
      ? undefined
      : `${browser.join(" or ")} is not installed`;

export async function launchChromium() {
  const { chromium } = require("playwright-core");
  return chromium.launch({ executablePath: installed(CHROMIUM), args: CHROMIUM_FLAGS, timeout: HUNG_MS });
}

export async function launchFirefox() {
  const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")).href);
  return puppeteer.launch({
    browser: "firefox", executablePath: installed(FIREFOX), headless: true, timeout: HUNG_MS, protocolTimeout: HUNG_MS,
  });
}

export const BROWSERS = [
  { name: "Chromium", missing: () => browserMissing("playwright-core", CHROMIUM), launch: launchChromium },
  { name: "Firefox", missing: () => browserMissing("puppeteer-core", FIREFOX), launch: launchFirefox },
];

/**
 * The result of the page, by asking again and again: animation frames, which the drivers wait for by themselves, may
 * not come to a page that nobody sees. @param {any} page
 */
async function resultOf(page) {
  for (
    const until = performance.now() + HUNG_MS;
    performance.now() < until;
    await new Promise((resolve) => setTimeout(resolve, 100))
  ) {
    const result = await page.evaluate("window.result");
    if (result) return result;
  }
  throw new Error(`no result after ${HUNG_MS / 1000} s: "${await page.evaluate("window.reached")}" had begun`);
}

/** @param {string} name @param {"plain" | "isolated"} mode @returns {Runtime} */
const chromium = (name, mode) => ({
  name,
  missing: () => browserMissing("playwright-core", CHROMIUM),
  async run({ origin }) {
    const browser = await launchChromium();
    try {
      const page = await browser.newPage();
      await page.goto(`${origin}/${mode}/page.html`, { timeout: HUNG_MS });
      return await resultOf(page);
    } finally {
      await browser.close();
    }
  },
});

/** @param {string} name @param {"plain" | "isolated"} mode @returns {Runtime} */
const firefox = (name, mode) => ({
  name,
  missing: () => browserMissing("puppeteer-core", FIREFOX),
  async run({ origin }) {
    const browser = await launchFirefox();
    try {
      const page = await browser.newPage();
      await page.goto(`${origin}/${mode}/page.html`, { timeout: HUNG_MS });
      return await resultOf(page);
    } finally {
      await browser.close();
    }
  },
});

/** @type {Runtime} */
const workerd = {
  name: "workerd",
  missing: () => (existsSync(join(modules, "miniflare")) ? undefined : "the npm package miniflare is not installed"),
  async run({ project, origin }) {
    const { Miniflare } = require("miniflare"), dist = join(project, "node_modules/slab-wasm/dist");
    /** @type {(folder: string, type: string) => { type: string, path: string }[]} */
    const all = (folder, type) =>
      readdirSync(join(dist, folder))
        .filter((file) => /\.(js|wasm)$/.test(file))
        .map((file) => ({ type, path: join(dist, folder, file) }));
    // without a bundler there are no package names
    const entry = readFileSync(join(project, "hosts/worker.mjs"), "utf8")
      .replace('"slab-wasm"', '"../node_modules/slab-wasm/dist/js/workerd/index.js"')
      .replace('"slab-wasm/wasm/', '"../node_modules/slab-wasm/dist/wasm/');
    const worker = new Miniflare({
      cf: false, compatibilityDate: "2026-07-01", modulesRoot: project,
      modules: [
        { type: "ESModule", path: join(project, "hosts/worker.mjs"), contents: entry },
        { type: "ESModule", path: join(project, "hosts/conformance.js") },
        ...all("js/workerd", "ESModule"),
        ...all("wasm", "CompiledWasm"),
      ],
    });
    try {
      const response = await worker.dispatchFetch(`http://worker/?files=${encodeURIComponent(`${origin}/plain`)}`);
      return /** @type {Result} */ (await response.json());
    } finally {
      await worker.dispose();
    }
  },
};

/** @type {Runtime[]} */
export const RUNTIMES = [
  script(`Node ${process.versions.node.split(".")[0]}`, [process.execPath], process.execPath),
  ...["22", "24", "26"]
    .filter((version) => version !== process.versions.node.split(".")[0])
    .map((version) => script(`Node ${version}`, [nodeFromNpm(version)], nodeFromNpm(version))),
  script("Deno", [join(modules, ".bin/deno"), "run", "-A"], join(modules, ".bin/deno")),
  script("Bun", [bun], bun),
  workerd,
  // never two of the same browser at once
  chromium("Chromium", "plain"),
  firefox("Firefox", "plain"),
  chromium("Chromium, isolated", "isolated"),
  firefox("Firefox, isolated", "isolated"),
  {
    name: "WebKitGTK", missing: webkitMissing,
    run: ({ origin }) => webkit(`${origin}/plain/page.html`, "window.result", HUNG_MS),
  },
];
