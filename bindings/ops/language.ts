// Ops over tokens of timelines: embeddings, recurrences, causal convolution, attention over a cache.
import { CACHE_PAGE, PANEL } from "../../assembly/header.ts";
import * as opcodes from "../../assembly/opcodes.ts";
import type { TensorRef } from "../checkpoint/index.ts";
import { alignUp, rowGrain } from "../plan-record.ts";
import type { Plan, Tensor } from "../plan.ts";
import { rawTable } from "../weights.ts";

/** Rows of an embedding table kept in the checkpoint's own number format: ids i32 [rows] → [rows, dim]. */
export function embedTokens(plan: Plan, ids: Tensor, table: TensorRef, dim: number, out = plan.rows("embedding", ids.rows, dim)): Tensor {
  const raw = rawTable(table);
  plan.rawTables.set(table.name, table.dtype);
  const like = plan.tensor(table.name, "weights", table.shape[0]!, dim, table.byteLength / table.shape[0]!, 0, table.byteLength);
  const tensor = plan.once(table.name, like, raw.weight);
  plan.op(opcodes.EMBED, "embed", plan.liveRows(out), 0, [out, out.rowBytes, ids, tensor, raw.format, dim], rowGrain(out.rows));
  return out;
}

/**
 * The additive recurrence with one constant decay a head and a normaliser, one token of each row's own timeline.
 * @param states  i32 [rows]: addresses of the timelines' states
 * @param decay   f32 [1, heads]; undefined = none
 */
export function recurrentStep(plan: Plan, q: Tensor, k: Tensor, v: Tensor, states: Tensor, stateOffset: number, heads: number, decay: Tensor | undefined, eps: number): Tensor {
  const keyDim = q.columns / heads, valueDim = v.columns / heads, out = plan.rows("recurrent", q.rows, v.columns);
  const rows = plan.liveRows(q), units = typeof rows === "number" ? rows * heads : { live: rows.live * heads };
  plan.threadScratch = Math.max(plan.threadScratch, 16 * alignUp(keyDim, 4));
  plan.op(opcodes.RECURRENT_STEP, "recurrentStep", units, 4 * q.rows * heads * keyDim * valueDim, [
    out, out.rowBytes, q, q.rowBytes, k, k.rowBytes, v, v.rowBytes, states, stateOffset, heads, keyDim, valueDim,
    decay ? opcodes.DECAY_SCALAR : opcodes.DECAY_NONE, decay ?? 0, 0, 0, opcodes.NORMALISE, { f32: eps },
  ], 1);
  return out;
}

/** The same for successive tokens of one timeline, by chunks; v comes in head panels. */
export function recurrentChunks(plan: Plan, q: Tensor, k: Tensor, v: Tensor, states: Tensor, stateOffset: number, heads: number, decay: Tensor | undefined, eps: number): Tensor {
  const keyDim = q.columns / heads, valueDim = v.columns / heads, out = plan.rows("recurrent", q.rows, v.columns);
  if (keyDim % 4 || valueDim % 8) throw new RangeError(`heads of ${keyDim} and ${valueDim} channels have no chunk form: use a multiple of 8`);
  plan.threadScratch = Math.max(plan.threadScratch, 4 * (keyDim * valueDim + 64 * keyDim) + 1664);
  plan.op(opcodes.RECURRENT_CHUNKS, "recurrentChunks", heads, 4 * q.rows * heads * keyDim * valueDim, [
    out, out.rowBytes, q, q.rowBytes, k, k.rowBytes, v, plan.liveRows(q), v.rows, states, stateOffset, keyDim, valueDim, decay ?? 0, 0, opcodes.NORMALISE, { f32: eps },
  ], 1);
  return out;
}

/** out += causal depthwise convolution of x over tokens; taps [taps, channels]. `sequence`: rows are successive tokens. */
export function causalConv(plan: Plan, out: Tensor, x: Tensor, taps: Tensor, states: Tensor, stateOffset: number, sequence: boolean): void {
  const panels = Math.ceil(out.columns / PANEL);
  plan.op(opcodes.CAUSAL_CONV, "causalConv", panels, 2 * out.rows * out.columns * taps.rows, [
    out, out.rowBytes, x, x.rowBytes, x.panelBytes, taps, states, stateOffset, plan.liveRows(out), out.columns, taps.rows, sequence ? 1 : 0,
  ]);
}

/**
 * Causal softmax attention over a cache, to which k and v go first; q, with its scale folded in, and k are rotated by their positions.
 * @param cache     byte offset of this layer's part of the cache in a timeline's state
 * @param angles    f32 [positions, headDim]: cosines, then sines
 * @param sequence  rows are successive tokens of one timeline
 */
export function cachedAttention(
  plan: Plan, q: Tensor, k: Tensor, v: Tensor, { states, positions }: { states: Tensor; positions: Tensor }, cache: number, heads: number, angles: Tensor, sequence: boolean,
): Tensor {
  const headDim = q.columns / heads, rows = plan.liveRows(q), out = plan.rows("attention", q.rows, q.columns), { context, pageBytes } = plan.growing!;
  if (headDim % PANEL) throw new RangeError(`heads of ${headDim} channels have no cache: use a multiple of ${PANEL}`);
  const units = typeof rows === "number" ? rows * heads : { live: rows.live * heads }, size = [rows, heads, headDim, sequence ? 1 : 0] as const;
  plan.op(opcodes.CACHE_TOKENS, "cacheTokens", sequence ? heads : units, 6 * q.rows * q.columns, [
    q, q.rowBytes, k, k.rowBytes, v, v.rowBytes, states, positions, cache, pageBytes, angles, ...size,
  ], sequence ? 1 : heads);
  plan.threadScratch = Math.max(plan.threadScratch, 24 * (CACHE_PAGE * 4 + 8));
  // half of the context is what a row sees in the mean
  plan.op(opcodes.CACHED_ATTENTION, "cachedAttention", units, 2 * q.rows * q.columns * context, [
    out, out.rowBytes, q, q.rowBytes, states, positions, cache, pageBytes, ...size,
  ], sequence ? 24 : 1);
  return out;
}
