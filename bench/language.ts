// SLAB-LM: decode against the memory bandwidth and the peer, prefill against the arithmetic peak, many sessions in one
// step, and the time of a token from the beginning of a text to far into it.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { load } from "../bindings/index.ts";
import type { Model, Session, WeightType } from "../bindings/index.ts";
import { loadPeak } from "./limits.ts";
import { timeInTurn } from "./measure.ts";
import { openStepPeer } from "./peers.ts";

const folder = fileURLToPath(new URL("../models/pretrained/slab-lm-books", import.meta.url));
const texts = ["../README.md", "../LICENSE", "../bindings/plan/plan.ts", "../assembly/kernels/matmul.ts"]
  .map((path) => readFileSync(new URL(path, import.meta.url), "utf8")).join("\n");

export interface DecodeResult {
  readonly build: string;
  readonly dtype: WeightType;
  /** Tokens/s over those of f32 in the same build on one thread. */
  readonly overF32: number;
  readonly threads: number;
  readonly bestMs: number;
  readonly medianMs: number;
  readonly gigabytesPerSecond: number;
  /** Of the bandwidth of four streams measured in the same turn. */
  readonly fraction: number;
  readonly peer?: { readonly name: string; readonly ratio: number; readonly medianRatio: number };
}

/** Bytes of weights that one decoded token reads: every packed weight once, of the embedding table one row. */
export function weightsPerToken({ plan }: Model): number {
  const tensors = new Set<object>();
  let bytes = 0;
  const decode = plan.programs.find((p) => p.name === "decode")!;
  for (const op of plan.ops.slice(decode.first, decode.last)) {
    for (const arg of op.args) {
      if (typeof arg !== "object" || !("region" in arg) || arg.region !== "weights" || op.name === "embed"
        || tensors.has(arg)) continue;
      tensors.add(arg);
      bytes += arg.bytes;
    }
  }
  return bytes;
}

/** A session that has read `tokens` tokens of text, over and over again. */
async function sessionAt(model: Model, tokens: number, onProgress?: (position: number) => void): Promise<Session> {
  const ids = model.tokenizer!.encode(texts), session = model.session();
  while (session.position < tokens) {
    await session.prefill(ids.subarray(0, Math.min(ids.length, tokens - session.position)));
    onProgress?.(session.position);
  }
  return session;
}

export async function benchDecode(budgetMs: number, kinds: readonly ("simd" | "relaxed")[]): Promise<DecodeResult[]> {
  const results: DecodeResult[] = [];
  const peer = await openStepPeer("slab_lm_step");
  for (const kind of kinds) {
    const variants = ([[1, "f32"], [2, "f32"], [1, "int8"], [1, "int4"]] as const).map(
      ([threads, dtype]) => ({ key: `${dtype} ${threads}`, threads, dtype }),
    );
    const models = await Promise.all(variants.map(({ threads, dtype }) => load(
      folder, { threads, dtype, build: threads > 1 ? `${kind}-threads` : kind, sessions: 1 },
    )));
    const sessions = await Promise.all(models.map((model) => sessionAt(model, 100)));
    const peak = loadPeak(kind);
    const times = await timeInTurn({
      read: () => peak.read(),
      ...Object.fromEntries(variants.map(({ key }, i) => [key, () => sessions[i]!.decode(17)])),
      ...(peer ? { peer: () => peer.run() } : {}),
    }, budgetMs);
    const bandwidth = peak.bytes / times.read!.bestMs / 1e6;
    for (const [i, { key, dtype }] of variants.entries()) {
      const model = models[i]!, { bestMs, medianMs } = times[key]!;
      const rate = (weightsPerToken(model) + 2 * model.plan.state!.bytes) / bestMs / 1e6;
      results.push({
        build: model.caps.build, dtype, overF32: times["f32 1"]!.bestMs / bestMs, threads: model.caps.threads, bestMs,
        medianMs, gigabytesPerSecond: rate, fraction: rate / bandwidth,
        ...(peer ? { peer: {
          name: peer.name, ratio: times.peer!.bestMs / bestMs, medianRatio: times.peer!.medianMs / medianMs,
        } } : {}),
      });
      model.dispose();
    }
  }
  await peer?.close();
  return results;
}

export interface PrefillResult {
  readonly build: string;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly gflops: number;
  readonly fraction: number;
}

/** Prefill of `tokens` tokens on one thread, against the multiply-add peak of the same turn. */
export async function benchPrefill(
  budgetMs: number, kinds: readonly ("simd" | "relaxed")[], tokens = 512,
): Promise<PrefillResult[]> {
  const results: PrefillResult[] = [];
  for (const kind of kinds) {
    const model = await load(folder, { threads: 1, build: kind, sessions: 1 });
    const ids = model.tokenizer!.encode(texts).subarray(0, tokens), peak = loadPeak(kind), session = model.session();
    const program = model.plan.programs.find((p) => p.name === "prefill")!;
    const flopsPerToken = model.plan.ops.slice(program.first, program.last).reduce(
      (sum, op) => sum + op.flops, 0,
    ) / program.capacity!;
    const times = await timeInTurn(
      { peak: () => peak.compute(), prefill: () => { session.reset(); return session.prefill(ids); } }, budgetMs,
    );
    const gflops = (flopsPerToken * tokens) / times.prefill!.bestMs / 1e6;
    results.push({
      build: model.caps.build, tokens, tokensPerSecond: (tokens / times.prefill!.bestMs) * 1000, gflops,
      fraction: gflops / (peak.flops / times.peak!.bestMs / 1e6),
    });
    model.dispose();
  }
  return results;
}

export interface BatchResult {
  readonly threads: number;
  readonly sessions: number;
  readonly tokensPerSecond: number;
  /** Tokens/s over those of one session in the same run. */
  readonly ratio: number;
}

/** The best build: one step of 1, 4 and 16 sessions, interleaved, all on the same number of threads. */
export async function benchBatch(budgetMs: number): Promise<BatchResult[]> {
  const results: BatchResult[] = [], sizes = [1, 4, 16];
  for (const threads of [1, 2]) {
    const model = await load(folder, { threads, sessions: 16 });
    const sessions = await Promise.all(Array.from({ length: 16 }, () => sessionAt(model, 20)));
    const times = await timeInTurn(
      Object.fromEntries(sizes.map(
        (n) => [String(n), () => model.decodeBatch(sessions.slice(0, n), Array.from({ length: n }, (_, i) => 100 + i))],
      )),
      budgetMs,
    );
    model.dispose();
    const rate = (n: number): number => (n / times[String(n)]!.bestMs) * 1000;
    results.push(...sizes.map((n) => ({ threads, sessions: n, tokensPerSecond: rate(n), ratio: rate(n) / rate(1) })));
  }
  return results;
}

export interface SnapshotResult {
  readonly bytes: number;
  readonly saveMs: number;
  readonly restoreMs: number;
}

/** Saving a session to bytes, and restoring it, medians. */
export async function benchSnapshot(budgetMs: number): Promise<SnapshotResult> {
  const model = await load(folder, { threads: 1, sessions: 2 });
  const session = await sessionAt(model, 50), bytes = session.save();
  const times = await timeInTurn({ save: () => session.save(), restore: () => model.session(bytes).reset() }, budgetMs);
  model.dispose();
  return { bytes: bytes.length, saveMs: times.save!.medianMs, restoreMs: times.restore!.medianMs };
}

export interface PositionResult {
  readonly position: number;
  readonly medianMs: number;
  /** Over the median at the first position. */
  readonly ratio: number;
  readonly memoryBytes: number;
  readonly stateBytes: number;
}

/** Median time of a token at positions far apart, interleaved, and the size of the WebAssembly memory. */
export async function benchPositions(budgetMs: number, positions: readonly number[]): Promise<PositionResult[]> {
  const model = await load(folder, { threads: 1, sessions: positions.length });
  const sessions: Session[] = [];
  for (const position of positions) {
    sessions.push(
      await sessionAt(model, position, (p) => process.stderr.write(`\r  reading to token ${p} of ${position}   `)),
    );
  }
  process.stderr.write("\n");
  const times = await timeInTurn(
    Object.fromEntries(sessions.map((session, i) => [String(i), () => session.decode(17)])), budgetMs,
  );
  const memoryBytes = model.memory().total, { bytes: stateBytes } = model.plan.state!;
  model.dispose();
  return positions.map((position, i) => ({
    position, medianMs: times[String(i)]!.medianMs, ratio: times[String(i)]!.medianMs / times["0"]!.medianMs,
    memoryBytes, stateBytes,
  }));
}
