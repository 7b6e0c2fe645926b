// Cold start: import to the first result of the CIFAR model, and a peer's on the same network, in fresh processes,
// beyond what an empty process takes.
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openFolder } from "../bindings/load/folder.ts";
import { KNOWN } from "../models/all.ts";
import { load } from "../bindings/index.ts";
import type { WeightType } from "../bindings/index.ts";
import type { SlabDeitConfig } from "../models/vision/slab-deit.ts";
import { onnxRuntimeFiles } from "./peers.ts";
import { slabDeitNetwork } from "./peers/slab-deit.ts";

/** What the peer's row is called. */
export const PEER = "onnxruntime-web, the same network as ONNX, f32";

export interface StartupResult {
  /** The checkpoint as trained, or packed by slab convert. */
  readonly checkpoint: string;
  readonly build: string;
  readonly importMs: number;
  readonly loadMs: number;
  readonly firstMs: number;
  readonly totalMs: number;
  readonly cpuMs: number;
  /** Import and load of the fastest process, and all of it. */
  readonly bestReadyMs: number;
  readonly bestTotalMs: number;
}

/** A clock that loads no module: performance would hide what a library's use of it costs. */
const CLOCK = `const now = () => Number(process.hrtime.bigint()) / 1e6; now();`;

const SCRIPT = `${CLOCK}
const cpu = process.cpuUsage(), t0 = now();
const { load } = await import(process.argv[1]);
const t1 = now();
const model = await load(process.argv[2], JSON.parse(process.argv[3]));
const t2 = now();
await model.forward(new Float32Array(3 * 32 * 32).fill(0.1));
const t3 = now(), used = process.cpuUsage(cpu);
console.log(JSON.stringify({
  build: model.caps.build, importMs: t1 - t0, loadMs: t2 - t1, firstMs: t3 - t2, totalMs: t3 - t0,
  cpuMs: (used.user + used.system) / 1000,
}));
`;

/** The peer's: import to its first session on the same network, and to its first result. */
const PEER_SCRIPT = `${CLOCK}
const cpu = process.cpuUsage(), t0 = now();
const ort = await import(process.argv[1]);
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = process.argv[3];
ort.env.logLevel = "error";
const t1 = now();
const session = await ort.InferenceSession.create(
  process.getBuiltinModule("fs").readFileSync(process.argv[2]),
  { executionProviders: ["wasm"], graphOptimizationLevel: "all" },
);
const t2 = now();
await session.run({ image: new ort.Tensor("float32", new Float32Array(3 * 32 * 32).fill(0.1), [1, 3, 32, 32]) });
const t3 = now(), used = process.cpuUsage(cpu);
console.log(JSON.stringify({
  build: "onnxruntime-web", importMs: t1 - t0, loadMs: t2 - t1, firstMs: t3 - t2, totalMs: t3 - t0,
  cpuMs: (used.user + used.system) / 1000,
}));
process.exit(0);
`;

type Process = Omit<StartupResult, "bestReadyMs" | "bestTotalMs">;

interface Start {
  readonly checkpoint: string;
  readonly script: string;
  readonly args: readonly string[];
}

/**
 * The median process of `runs`, by total time: the checkpoint as it is on one and two threads, packed, and the peer on
 * the same network, taking turns.
 */
export async function benchStartup(runs: number): Promise<StartupResult[]> {
  const entry = new URL("../dist/js/node/index.js", import.meta.url).href;
  const original = fileURLToPath(new URL("../models/pretrained/slab-deit-cifar10", import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), "slab-bench-"));
  const ours = (checkpoint: string, from: string, options: object): Start => ({
    checkpoint, script: SCRIPT, args: [entry, from, JSON.stringify(options)],
  });
  const starts = [ours("as trained, F16", original, { threads: 1 }), ours("as trained, F16", original, { threads: 2 })];
  try {
    for (const dtype of ["f32", "int8"] satisfies WeightType[]) {
      const packed = join(folder, dtype), model = await load(original, { threads: 1, dtype });
      mkdirSync(packed);
      writeFileSync(join(packed, "model.safetensors"), await model.pack());
      copyFileSync(join(original, "config.json"), join(packed, "config.json"));
      model.dispose();
      starts.push(ours(`packed, ${dtype}`, packed, { threads: 1 }));
    }
    const runtime = onnxRuntimeFiles();
    if (runtime) {
      const { checkpoint, config } = await openFolder(original, {}, KNOWN), file = join(folder, "cifar.onnx");
      if (config.architecture !== "slab_deit") throw new RangeError(`${original} is no SLAB-DeiT`);
      writeFileSync(file, (await slabDeitNetwork(checkpoint, config.network as SlabDeitConfig)).encode());
      await checkpoint.close();
      starts.push({ checkpoint: PEER, script: PEER_SCRIPT, args: [runtime.entry, file, runtime.folder] });
    }
    const results = starts.map((): Process[] => []);
    for (let run = 0; run < runs; run++) {
      for (const [i, { checkpoint, script, args }] of starts.entries()) {
        const { stdout, status, stderr } = spawnSync(
          process.execPath, ["--input-type=module", "-e", script, ...args], { encoding: "utf8" },
        );
        if (status !== 0) throw new Error(`the start-up process of ${checkpoint} failed: ${stderr}`);
        results[i]!.push({ ...(JSON.parse(stdout) as Process), checkpoint });
      }
    }
    return results.map((of) => ({
      ...of.sort((a, b) => a.totalMs - b.totalMs)[of.length >> 1]!, bestTotalMs: of[0]!.totalMs,
      bestReadyMs: Math.min(...of.map((one) => one.importMs + one.loadMs)),
    }));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
