// Timing that survives a shared machine: variants take turns in short rounds, and the best few percent
// count beside the median.
import { Bench } from "tinybench";

export interface Timing {
  /** The 3 % quantile: what the machine does when it is left alone. */
  readonly bestMs: number;
  readonly medianMs: number;
}

/**
 * Times functions in turn, A B C A B C …, so that a slow second hits all alike; a promise is
 * awaited before the next begins.
 * @param budgetMs  time for all of them together
 */
export async function timeInTurn(
  variants: Readonly<Record<string, () => unknown>>, budgetMs: number,
): Promise<Record<string, Timing>> {
  const names = Object.keys(variants), asynchronous = new Set<string>();
  // engines optimise in the background: run every variant until it has had time to
  for (const name of names) {
    const until = performance.now() + Math.min(150, budgetMs / names.length / 3);
    do {
      const result = variants[name]!();
      if (result instanceof Promise) asynchronous.add(name);
      await result;
    } while (performance.now() < until);
  }
  const samples = new Map<string, number[]>(names.map((name) => [name, []]));
  const start = performance.now();
  do {
    const round = new Bench({
      time: Math.min(8, budgetMs / names.length / 10), iterations: 1, warmup: false, retainSamples: true,
    });
    // said here: tinybench would find out by a call that it does not await, and which the first
    // variant's time would hold
    for (const name of names) round.add(name, variants[name]!, { async: asynchronous.has(name) });
    await round.run();
    for (const task of round.tasks) {
      const { result } = task;
      if (!("latency" in result) || result.state !== "completed") {
        throw new Error(`benchmark ${task.name} failed: ${"error" in result ? result.error : result.state}`);
      }
      samples.get(task.name)!.push(...(result.latency.samples ?? []));
    }
  } while (performance.now() - start < budgetMs);
  return Object.fromEntries(names.map((name) => {
    const sorted = samples.get(name)!.sort((a, b) => a - b);
    return [name, { bestMs: sorted[Math.floor(sorted.length * 0.03)]!, medianMs: sorted[sorted.length >> 1]! }];
  }));
}
