// One thread against two, on one matrix product in a plan, interleaved.
import { memoryCheckpoint } from "../bindings/checkpoint/index.ts";
import { chooseBuild } from "../bindings/run/kernels.ts";
import { materialise } from "../bindings/run/memory.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { platform } from "../bindings/platform/node.ts";
import { poolOf } from "../bindings/run/pool.ts";
import { linearOf } from "../bindings/plan/weights.ts";
import { timeInTurn } from "./measure.ts";

export interface ThreadsResult {
  readonly shape: string;
  readonly oneMs: number;
  readonly twoMs: number;
  readonly speedup: number;
  readonly medianSpeedup: number;
}

/** Two threads' speed-up on m×k×n products of the best build. */
export async function benchThreads(
  budgetMs: number, shapes: readonly (readonly [number, number, number])[],
): Promise<ThreadsResult[]> {
  const results: ThreadsResult[] = [];
  for (const [m, k, n] of shapes) {
    const caps = chooseBuild(platform, { threads: 2 })!;
    const plan = new Plan();
    const x = plan.rows("x", m, k);
    const tensors = memoryCheckpoint({
      "w.weight": { shape: [n, k], data: new Float32Array(n * k).fill(0.01) },
      "w.bias": { shape: [n], data: new Float32Array(n) },
    });
    const y = plan.linear(x, linearOf(tensors, "w", k, n));
    const { kernels, planAddress, memory, module } = await materialise(plan, [x, y], caps, platform);
    new Float32Array(memory.buffer, x.address, x.bytes / 4).fill(0.1);
    const pool = poolOf(platform), member = pool.join({ module, memory, threads: 2 });
    // the pool's thread must be up before it can be timed
    await new Promise((resolve) => setTimeout(resolve, 200));
    const repeats = Math.max(1, Math.round(3e8 / (2 * m * k * n)));
    const times = await timeInTurn({
      one: () => { for (let i = 0; i < repeats; i++) kernels.runPlan(planAddress, plan.ops.length); },
      two() {
        for (let i = 0; i < repeats; i++) {
          kernels.openRun!(planAddress, plan.ops.length);
          pool.announce(member);
          kernels.takePart!(0);
        }
      },
    }, budgetMs);
    pool.leave(member);
    const [oneMs, twoMs] = [times.one!.bestMs / repeats, times.two!.bestMs / repeats];
    results.push({
      shape: `${m}×${k}×${n}`, oneMs, twoMs, speedup: oneMs / twoMs,
      medianSpeedup: times.one!.medianMs / times.two!.medianMs,
    });
  }
  return results;
}
