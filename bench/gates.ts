// What element-wise formulas cost: the gates of one RWKV-7 layer of 768 channels, as maps, for a token
// and for a prompt's rows.
import { readFileSync } from "node:fs";
import { THREAD_SCRATCH, TILE_ROWS } from "../assembly/header.ts";
import { instantiate } from "../bindings/run/kernels.ts";
import { layOut } from "../bindings/run/memory.ts";
import type { Term } from "../bindings/plan/ops/map.ts";
import { add, exp, lerp, map, mul, relu, sigmoid, sub, tanh } from "../bindings/plan/ops/map.ts";
import type { Tensor } from "../bindings/plan/plan.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { timeInTurn } from "./measure.ts";

const DIM = 768;

export interface GateResult {
  readonly rows: number;
  readonly build: "simd" | "relaxed";
  readonly bestUs: number;
  readonly medianUs: number;
  /** Formulas, and instructions of all of them. */
  readonly formulas: number;
  readonly nanosecondsPerNumber: number;
}

/**
 * Token shift of six branches, tanh of the decay's low rank, decay, value, gates, key, the MLP's squared
 * ReLU: 12 formulas a layer.
 */
function record(plan: Plan, rows: number): void {
  const many = (name: string, columns = DIM): Tensor => plan.rows(name, rows, columns);
  const one = (name: string): Tensor => plan.rows(name, 1, DIM);
  const x = many("x"), shifted = many("shifted");
  for (const branch of ["r", "w", "k", "v", "a", "g"]) map(plan, lerp(x, shifted, one(`x_${branch}`)));
  map(plan, tanh(many("w rank", 64)));
  map(plan, exp(mul(sigmoid(add(one("w0"), many("w"))), -0.6065306597)));
  map(plan, lerp(many("v"), many("v first"), sigmoid(add(one("v0"), many("v rank")))));
  const k = many("k"), rate: Term = sigmoid(add(one("a0"), many("a rank")));
  map(plan, mul(k, one("k_k")));
  map(plan, mul(k, add(1, mul(sub(rate, 1), one("k_a")))));
  const wide = many("mlp", 4 * DIM), positive = relu(wide);
  map(plan, mul(positive, positive));
}

export async function benchGates(): Promise<GateResult[]> {
  const results: GateResult[] = [];
  for (const build of ["simd", "relaxed"] as const) {
    const module = new WebAssembly.Module(readFileSync(new URL(`../wasm/slab-${build}.wasm`, import.meta.url)));
    for (const rows of [1, 256]) {
      const plan = new Plan();
      record(plan, rows);
      const layout = layOut(plan, [], 1, 0), pages = Math.ceil(layout.end / 65536) + 1;
      const memory = new WebAssembly.Memory({ initial: pages, maximum: pages }), kernels = instantiate(module, memory);
      kernels.initialise();
      const words = new Int32Array(memory.buffer);
      words[TILE_ROWS / 4] = 6;
      words[THREAD_SCRATCH / 4] = layout.threadScratch;
      new Uint8Array(memory.buffer).set(plan.encode(), layout.planAddress);
      for (const { tensor, make } of plan.madeTables) words.set(make() as Int32Array, tensor.address / 4);
      const { gates } = await timeInTurn({ gates: () => kernels.runPlan(layout.planAddress, plan.ops.length) }, 1500);
      const numbers = plan.ops.reduce((sum, { args }) => sum + rows * (args[4] as number), 0);
      results.push({
        rows, build, bestUs: gates!.bestMs * 1000, medianUs: gates!.medianMs * 1000, formulas: plan.ops.length,
        nanosecondsPerNumber: (gates!.bestMs * 1e6) / numbers,
      });
    }
  }
  return results;
}
if (process.argv[1]?.endsWith("gates.ts")) console.table(await benchGates());
