// The conformance suite in every runtime, from the packed tarball: node tests/platforms/run.mjs [--readme] [NAME…]
// The first runtime, this Node, says what the others must give. The last line is "N passed, N failed, N skipped":
// runtimes.
// @ts-check
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { tsImport } from "tsx/esm/api";
import { install } from "./project.mjs";
import { RUNTIMES } from "./runtimes.mjs";
import { serve } from "./server.mjs";

const here = dirname(fileURLToPath(import.meta.url)), root = join(here, "../..");
const names = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const continuousIntegration = ["true", "1"].includes(process.env.CI ?? "");
/** Runtimes at the same time. */
const AT_ONCE = 2;

/** @typedef {import("./runtimes.mjs").Result} Result */
/** @typedef {{ name: string, result?: Result, skipped?: string, seconds?: number }} Entry */

async function main() {
  const project = install();
  mkdirSync(join(project, "hosts"));
  cpSync(join(here, "hosts"), join(project, "hosts"), { recursive: true });
  cpSync(join(here, "conformance.js"), join(project, "hosts/conformance.js"));
  const { syntheticInput } = await tsImport("../golden/synthetic.ts", import.meta.url);
  const golden = JSON.parse(readFileSync(join(here, "../golden/slab-deit-cifar10.json"), "utf8"));
  const fixture = join(project, "fixture.json"), models = join(root, "models");
  const write = (/** @type {object} */ more) =>
    writeFileSync(
      fixture,
      JSON.stringify({ pixels: [...syntheticInput(golden.input_key, 3 * 32 * 32)], logits: golden.logits, ...more }),
    );
  write({});
  const [own, packaged] = ["slab-wasm", "slab-wasm-models"].map((name) => join(project, "node_modules", name));
  writeFileSync(
    join(project, "ten.mjs"),
    /```js run[^\n]*\n([^]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] ?? "",
  );
  const server = await serve({
    "package": own, packaged, models, "hosts": join(project, "hosts"), "fixture.json": fixture,
    "page.html": join(here, "hosts/page.html"),
  });
  const place = { project, fixture, models, origin: server.origin };
  /** @type {Entry[]} */
  const entries = [];
  try {
    const [first, ...others] = RUNTIMES.filter(
      ({ name }, i) =>
        i === 0 || names.length === 0 || names.some((n) => name.toLowerCase().startsWith(n.toLowerCase())),
    );
    const reference = await runOne(/** @type {import("./runtimes.mjs").Runtime} */ (first), place);
    entries.push(reference);
    write({ reference: reference.result?.outcome });
    const queue = others.map((runtime) => ({ runtime, at: entries.push({ name: runtime.name }) - 1 }));
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      for (let next = queue.shift(); next; next = queue.shift()) entries[next.at] = await runOne(next.runtime, place);
    }));
  } finally {
    await server.close();
    rmSync(project, { recursive: true, force: true });
  }
  if (process.argv.includes("--readme")) writeReadme(entries);
  summarise(entries);
}

/**
 * @param {import("./runtimes.mjs").Runtime} runtime @param {import("./runtimes.mjs").Place} place @returns
 *        {Promise<Entry>}
 */
async function runOne({ name, missing, run }, place) {
  const why = missing();
  if (why) {
    console.log(`${name.padEnd(20)} skipped: ${why}`);
    return { name, skipped: why };
  }
  const begin = performance.now();
  /** @type {Result} */
  const result = await run(place).catch((error) => ({
    checks: [{ name: "run", error: String(error?.stack ?? error) }],
  }));
  const seconds = (performance.now() - begin) / 1000, failed = result.checks.filter(({ error }) => error !== undefined);
  const { caps } = result;
  console.log(
    `${name.padEnd(20)} ${result.checks.length - failed.length} of ${result.checks.length} checks, `
      + `${seconds.toFixed(1)} s${caps ? `, ${caps.runtime}: ${caps.build}, ${threadsOf(caps)}` : ""}`,
  );
  for (const { name: check, error } of failed) console.log(`  FAIL ${check}: ${error}`);
  return { name, result, seconds };
}

/** @param {any} caps */
const threadsOf = (caps) =>
  caps.workerThreads === undefined || caps.workerThreads === caps.threads
    ? `${caps.threads} thread${caps.threads > 1 ? "s" : ""}`
    : `${caps.threads} thread, ${caps.workerThreads} in a worker`;

/** @param {Entry} entry */
const passed = ({ result }) =>
  result !== undefined && result.checks.length > 0 && result.checks.every(({ error }) => error === undefined);

/** @param {Entry[]} entries */
function summarise(entries) {
  const skipped = entries.filter(({ skipped }) => skipped !== undefined);
  const good = entries.filter(passed).length, bad = entries.length - good - skipped.length;
  // where everything can be had, a missing runtime is a failure
  const failed = bad + (continuousIntegration ? skipped.length : 0);
  process.exitCode = failed > 0 || good === 0 ? 1 : 0;
  console.log(
    `${good} passed, ${failed} `
      + `failed${skipped.length > 0 && !continuousIntegration ? `, ${skipped.length} skipped` : ""}`,
  );
}

/** Writes the table of the README between its markers. @param {Entry[]} entries */
function writeReadme(entries) {
  const file = join(root, "README.md"), text = readFileSync(file, "utf8");
  const rows = entries.map((entry) => {
    const caps = entry.result?.caps;
    const state =
      entry.skipped !== undefined
        ? `not tested: ${entry.skipped}`
        : passed(entry)
          ? `${entry.result?.checks.length} checks passed`
          : "**failed**";
    return (
      `| ${entry.name} | ${caps ? caps.runtime.replace(/^\w+ ?/, "") : ""} | ${state} | `
      + `${caps ? `\`${caps.build}\`, ${threadsOf(caps)}` : ""} |`
    );
  });
  const table = [
    "| runtime | version | conformance suite | build chosen on two cores |", "|---|---|---|---|", ...rows,
  ].join("\n");
  const marked = /(<!-- runtimes:begin.*-->\n)[\s\S]*?(<!-- runtimes:end -->)/;
  if (!marked.test(text)) throw new Error("README.md has no <!-- runtimes:begin --> … <!-- runtimes:end -->");
  writeFileSync(file, text.replace(marked, (_, begin, end) => `${begin}${table}\n${end}`));
}

await main();
