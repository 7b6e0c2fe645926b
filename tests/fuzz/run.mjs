// A campaign: mutated inputs for every target, or one, in child processes, so that a crash or a hang is a find too.
//   node tests/fuzz/run.mjs [--target NAME] [--inputs N] [--seed S] [--minutes M]
// Finds go to stderr as they come, with what makes them again, and to tests/fuzz/corpus; a JSON summary to stdout.
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HUNG_MS = 60_000;
/** A process starts anew after this share of a campaign, so that its peak of memory says something of later inputs. */
const ROUND = 200_000;

const { values } = parseArgs({
  options: {
    target: { type: "string" }, inputs: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" }, minutes: { type: "string", default: "600" },
  },
});
const inputs = Number(values.inputs), seed = Number(values.seed), end = Date.now() + 60_000 * Number(values.minutes);
if (![inputs, seed].every(Number.isSafeInteger) || !(end > 0)) {
  throw new RangeError("--inputs and --seed are whole numbers, --minutes a number");
}

// Node strips types itself from 22.18 on
const typed = process.features.typescript ? [] : ["--import", "tsx"];
if (typed.length > 0) (await import("tsx/esm/api")).register();
// what the tests say of themselves when they are loaded is no summary
console.log = console.error;
const { targets } = await import("./targets/index.ts");
const chosen = targets.filter(({ name }) => values.target === undefined || name === values.target);
if (chosen.length === 0) {
  throw new RangeError(`there is no target ${values.target}: use one of ${targets.map(({ name }) => name).join(", ")}`);
}

const folder = mkdtempSync(join(tmpdir(), "slab-fuzz-run-")), place = join(folder, "index");
const child = fileURLToPath(new URL("./child.ts", import.meta.url));
const shares = chosen.reduce((sum, { share }) => sum + share, 0), rounds = Math.ceil(inputs / ROUND);
const most = { slowestMs: 0, slowest: -1, growth: 0, largest: -1 };
const none = { inputs: 0, accepted: 0, refused: 0, ...most, finds: 0, seconds: 0 };
const summary = Object.fromEntries(chosen.map(({ name }) => [name, { ...none }]));

/** Runs inputs [from, to) of a target in a process; where it ended, and why before its time. */
function run(name, from, to) {
  writeFileSync(place, new Uint8Array(8));
  const at = () => new Float64Array(Uint8Array.from(readFileSync(place)).buffer)[0];
  return new Promise((resolve) => {
    const process = fork(child, [name, seed, from, to, place].map(String), {
      execArgv: [...typed, "--max-old-space-size=512", "--no-warnings"], stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    let last = -1, since = Date.now(), said = "", hung = false;
    const timer = setInterval(() => {
      if (at() !== last) [last, since] = [at(), Date.now()];
      else if (Date.now() - since > HUNG_MS) hung = process.kill("SIGKILL");
    }, 1000);
    for (const stream of [process.stdout, process.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (said = (said + text).slice(-2000)));
    }
    process.on("message", ({ find, total }) => {
      const sum = summary[name];
      if (find) {
        sum.finds++;
        const where = `--seed ${seed}, input ${find.index}, kept as corpus/${find.file}`;
        console.error(`FIND ${name} ${where}: ${find.what ?? "the process ended"}`);
      } else {
        for (const key of ["accepted", "refused"]) sum[key] += total[key];
        sum.inputs = sum.accepted + sum.refused;
        if (total.slowestMs > sum.slowestMs) Object.assign(sum, { slowestMs: total.slowestMs, slowest: total.slowest });
        if (total.growth > sum.growth) Object.assign(sum, { growth: total.growth, largest: total.largest });
      }
    });
    process.on("close", (code, signal) => {
      clearInterval(timer);
      const why = hung ? `it hung for ${HUNG_MS / 1000} s` : `exit code ${code ?? signal}: ${said}`;
      resolve(code === 0 ? {} : { at: at(), why });
    });
  });
}

try {
  for (let round = 0; round < rounds && Date.now() < end; round++) {
    for (const { name, share } of chosen) {
      const all = Math.round((inputs * share) / shares), to = Math.round((all * (round + 1)) / rounds);
      const begin = Date.now();
      for (let from = Math.round((all * round) / rounds); from < to && Date.now() < end;) {
        const { at, why } = await run(name, from, to);
        if (why === undefined) break;
        console.error(`${name}: ${why}`);
        // a process that does not even start ends the campaign
        await run(name, (from = at + 1), at + 1);
        if (process.exitCode) break;
      }
      const sum = summary[name];
      sum.seconds += (Date.now() - begin) / 1000;
      const counts = `${sum.inputs} inputs, ${sum.accepted} accepted, ${sum.refused} refused, ${sum.finds} finds`;
      console.error(`${name}: ${counts}, ${Math.round(sum.seconds)} s`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const sum = (key) => Object.values(summary).reduce((total, each) => total + each[key], 0);
const all = { node: process.version, seed, inputs: sum("inputs"), finds: sum("finds"), targets: summary };
process.stdout.write(`${JSON.stringify(all, null, 1)}\n`);
process.exitCode = sum("finds") > 0 ? 1 : 0;
