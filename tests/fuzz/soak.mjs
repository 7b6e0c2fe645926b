// The soak in full: node tests/fuzz/soak.mjs [--step NAME] [--share S]; prints what was held before and after, and
// fails where it grew.
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { step: { type: "string" }, share: { type: "string", default: "1" } } });
// Node strips types itself from 22.18 on
if (!process.features.typescript) (await import("tsx/esm/api")).register();
const { grown, steps } = await import("./soak.ts");

const mib = (/** @type {number} */ bytes) => (bytes / 2 ** 20).toFixed(1);
for (const [name, { full, run }] of Object.entries(steps)) {
  if (values.step !== undefined && values.step !== name) continue;
  const count = Math.round(full * Number(values.share)), soaked = await run(count), more = grown(soaked);
  const { before, after, seconds } = soaked;
  const pairs = [
    ["RSS", mib(before.rss), mib(after.rss)], ["JavaScript", mib(before.heap), mib(after.heap)],
    ["handles", before.handles, after.handles], ["open files", before.files, after.files],
  ];
  const line = pairs.map(([what, from, to]) => `${what} ${from} → ${to}`).join(", ");
  console.log(`${count} ${name}, ${Math.round(seconds)} s: ${line}${more ? `: GREW, ${more}` : ""}`);
  if (more) process.exitCode = 1;
}
