// Inputs [from, to) of one target, in a process that may crash or hang: which one is at hand stands in a file.
// node child.ts TARGET SEED FROM TO FILE; tells its parent of finds and totals.
import { openSync, writeSync } from "node:fs";
import { keep } from "./corpus.ts";
import { judge } from "./judge.ts";
import { randomOf } from "./mutate.ts";
import { targets } from "./targets/index.ts";

const [name, seed, from, to, file] = process.argv.slice(2);
const target = targets.find((each) => each.name === name)!;
const seeds = await target.seeds();
const input = (index: number): Uint8Array => target.mutate(seeds, randomOf(Number(seed), index));
const tell = (message: object): Promise<void> => new Promise((sent) => void process.send!(message, () => sent()));

if (from === to) {
  // the parent saw this one end the process
  await tell({ find: { index: Number(from) - 1, file: keep(target.name, input(Number(from) - 1)) } });
} else {
  const at = openSync(file!, "r+"), now = new Float64Array(1);
  let total = { accepted: 0, refused: 0, slowestMs: 0, slowest: -1, growth: 0, largest: -1 };
  // what is loaded and compiled when it is first used is no input's doing
  for (const sound of seeds) await judge(target, sound);
  for (let index = Number(from); index < Number(to); index++) {
    now[0] = index;
    writeSync(at, now, 0, 8, 0);
    const bytes = input(index), { outcome, find, cpuMs, growth } = await judge(target, bytes);
    total[outcome]++;
    if (cpuMs > total.slowestMs) [total.slowestMs, total.slowest] = [cpuMs, index];
    if (growth > total.growth) [total.growth, total.largest] = [growth, index];
    if (find !== undefined) await tell({ find: { index, what: find, file: keep(target.name, bytes) } });
    if (index % 500 === 499 || index + 1 === Number(to)) {
      await tell({ total });
      total = { accepted: 0, refused: 0, slowestMs: 0, slowest: -1, growth: 0, largest: -1 };
    }
  }
}
await target.close?.();
process.disconnect();
