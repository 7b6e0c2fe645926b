// LLaMA-350M with PRepBN on random weights: what a model with a cache of keys and values costs in time and memory.
import { load } from "../bindings/index.ts";
import type { Checkpoint } from "../bindings/checkpoint/index.ts";
import type { MemoryReport, Model, WeightType } from "../bindings/index.ts";
import { weightsPerToken } from "./language.ts";
import { loadPeak } from "./limits.ts";
import { timeInTurn } from "./measure.ts";
import { randomCheckpoint } from "../cli/random-checkpoint.ts";

const CONFIG = "slab_llama_350m";

export interface LlamaResult {
  readonly build: string;
  readonly dtype: WeightType;
  readonly threads: number;
  readonly loadMs: number;
  readonly promptTokensPerSecond: number;
  readonly memory: MemoryReport;
  readonly stateBytes: number;
  readonly context: number;
  /** Tokens decoded from a position on. */
  readonly decode: readonly {
    readonly position: number; readonly bestMs: number; readonly medianMs: number; readonly gigabytesPerSecond: number;
    readonly fraction: number;
  }[];
}

/** @param positions  ascending: after so many tokens of a prompt */
export async function benchLlama(
  budgetMs: number, dtype: WeightType, threads: readonly number[], positions: readonly number[],
): Promise<LlamaResult[]> {
  const results: LlamaResult[] = [];
  // packing takes longer than everything else: once
  let weights: Checkpoint | Uint8Array = randomCheckpoint(CONFIG);
  for (const count of threads) {
    const begin = performance.now();
    const model: Model = await load({ config: CONFIG, weights }, {
      threads: count, dtype, sessions: 1,
      onProgress: ({ done, total }) =>
        void (process.stderr.isTTY && process.stderr.write(`\r  packing layer ${done} of ${total}   `)),
    });
    const loadMs = performance.now() - begin, session = model.session(), decode: LlamaResult["decode"][number][] = [];
    const peak = loadPeak(model.caps.relaxed ? "relaxed" : "simd"), { state } = model.plan;
    let promptMs = 0, prompt = 0;
    for (const position of positions) {
      const missing = position - session.position, start = performance.now();
      await session.prefill(Array.from({ length: missing }, (_, i) => (i * 37 + 11) % 32000));
      [promptMs, prompt] = [promptMs + performance.now() - start, prompt + missing];
      const { read, token } = await timeInTurn(
        { read: () => peak.read(), token: () => session.decode(17) }, budgetMs / positions.length,
      ) as Record<"read" | "token", { bestMs: number; medianMs: number }>;
      const gigabytesPerSecond =
        (weightsPerToken(model) + (position / state!.context) * state!.bytes) / token.bestMs / 1e6;
      decode.push({
        position, ...token, gigabytesPerSecond, fraction: gigabytesPerSecond / (peak.bytes / read.bestMs / 1e6),
      });
    }
    results.push({
      build: model.caps.build, dtype, threads: count, loadMs, promptTokensPerSecond: (prompt / promptMs) * 1000,
      memory: model.memory(), stateBytes: session.stateBytes,
      context: session.context, decode,
    });
    if (count !== threads.at(-1)) weights = await model.pack();
    model.dispose();
  }
  return results;
}
