// Cold start: import to the first result of the CIFAR model, in fresh processes, beyond what an empty process takes.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface StartupResult {
  readonly build: string;
  readonly importMs: number;
  readonly loadMs: number;
  readonly firstMs: number;
  readonly totalMs: number;
  readonly cpuMs: number;
}

const SCRIPT = `
const cpu = process.cpuUsage(), t0 = performance.now();
const { load } = await import(process.argv[1]);
const t1 = performance.now();
const model = await load(process.argv[2], JSON.parse(process.argv[3]));
const t2 = performance.now();
await model.forward(new Float32Array(3 * 32 * 32).fill(0.1));
const t3 = performance.now(), used = process.cpuUsage(cpu);
console.log(JSON.stringify({ build: model.caps.build, importMs: t1 - t0, loadMs: t2 - t1, firstMs: t3 - t2, totalMs: t3 - t0, cpuMs: (used.user + used.system) / 1000 }));
`;

/** The median process of `runs`, by total time, for each choice of options. */
export function benchStartup(runs: number, options: readonly object[]): StartupResult[] {
  const entry = new URL("../dist/js/node/index.js", import.meta.url).href;
  const folder = fileURLToPath(new URL("../models/pretrained/slab-deit-cifar10", import.meta.url));
  return options.map((option) => {
    const results = Array.from({ length: runs }, () => {
      const { stdout, status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", SCRIPT, entry, folder, JSON.stringify(option)], { encoding: "utf8" });
      if (status !== 0) throw new Error(`the start-up process failed: ${stderr}`);
      return JSON.parse(stdout) as StartupResult;
    });
    return results.sort((a, b) => a.totalMs - b.totalMs)[results.length >> 1]!;
  });
}
