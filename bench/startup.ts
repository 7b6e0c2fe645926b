// Cold start: import to the first result of the CIFAR model, in fresh processes, beyond what an empty process takes.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "../bindings/index.ts";
import type { WeightType } from "../bindings/index.ts";

export interface StartupResult {
  /** The checkpoint as trained, or packed by slab convert. */
  readonly checkpoint: string;
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

/** The median process of `runs`, by total time, for the checkpoint as it is on one and two threads, and packed. */
export async function benchStartup(runs: number): Promise<StartupResult[]> {
  const entry = new URL("../dist/js/node/index.js", import.meta.url).href;
  const original = fileURLToPath(new URL("../models/pretrained/slab-deit-cifar10", import.meta.url));
  function measure(checkpoint: string, folder: string, options: object): StartupResult {
    const results = Array.from({ length: runs }, () => {
      const { stdout, status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", SCRIPT, entry, folder, JSON.stringify(options)], { encoding: "utf8" });
      if (status !== 0) throw new Error(`the start-up process failed: ${stderr}`);
      return { ...(JSON.parse(stdout) as StartupResult), checkpoint };
    });
    return results.sort((a, b) => a.totalMs - b.totalMs)[results.length >> 1]!;
  }
  const results = [measure("as trained, F16", original, { threads: 1 }), measure("as trained, F16", original, { threads: 2 })];
  for (const dtype of ["f32", "int8"] satisfies WeightType[]) {
    const folder = mkdtempSync(join(tmpdir(), "slab-bench-"));
    try {
      const model = await load(original, { threads: 1, dtype });
      writeFileSync(join(folder, "model.safetensors"), model.pack());
      copyFileSync(join(original, "config.json"), join(folder, "config.json"));
      model.dispose();
      results.push(measure(`packed, ${dtype}`, folder, { threads: 1 }));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  return results;
}
