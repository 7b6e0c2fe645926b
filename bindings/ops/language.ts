// Ops over tokens of timelines: embeddings, recurrences, causal convolution, attention over a cache.
import { CACHE_PAGE, PANEL } from "../../assembly/header.ts";
import { DECAY_NONE, DECAY_SCALAR, NORMALISE } from "../../assembly/opcodes.ts";
import * as kernels from "../op-table.ts";
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
  plan.op(kernels.embed, { out, ids, table: tensor, format: raw.format, dim }, { units: plan.liveRows(out), grain: rowGrain(out.rows) });
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
  plan.op(kernels.recurrentStep, {
    out, q, k, v, states, stateOffset, heads, keyDim, valueDim, decayKind: decay ? DECAY_SCALAR : DECAY_NONE, decay, decayRow: 0, bonus: undefined, flags: NORMALISE, eps,
  }, { units, flops: 4 * q.rows * heads * keyDim * valueDim, grain: 1 });
  return out;
}

/** The same for successive tokens of one timeline, by chunks; v comes in head panels. */
export function recurrentChunks(plan: Plan, q: Tensor, k: Tensor, v: Tensor, states: Tensor, stateOffset: number, heads: number, decay: Tensor | undefined, eps: number): Tensor {
  const keyDim = q.columns / heads, valueDim = v.columns / heads, out = plan.rows("recurrent", q.rows, v.columns);
  if (keyDim % 4 || valueDim % 8) throw new RangeError(`heads of ${keyDim} and ${valueDim} channels have no chunk form: use a multiple of 8`);
  plan.threadScratch = Math.max(plan.threadScratch, 4 * (keyDim * valueDim + 64 * keyDim) + 1664);
  plan.op(kernels.recurrentChunks, {
    out, q, k, v, tokens: plan.liveRows(q), capacity: v.rows, states, stateOffset, keyDim, valueDim, decay, decayRow: 0, flags: NORMALISE, eps,
  }, { units: heads, flops: 4 * q.rows * heads * keyDim * valueDim, grain: 1 });
  return out;
}

/** out += causal depthwise convolution of x over tokens; taps [taps, channels]. `sequence`: rows are successive tokens. */
export function causalConv(plan: Plan, out: Tensor, x: Tensor, taps: Tensor, states: Tensor, stateOffset: number, sequence: boolean): void {
  const panels = Math.ceil(out.columns / PANEL);
  plan.op(kernels.causalConv, {
    out, x, w: taps, states, stateOffset, rows: plan.liveRows(out), channels: out.columns, taps: taps.rows, sequence: sequence ? 1 : 0,
  }, { units: panels, flops: 2 * out.rows * out.columns * taps.rows });
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
  const units = typeof rows === "number" ? rows * heads : { live: rows.live * heads }, at = { states, positions, cacheOffset: cache, pageBytes, rows, heads, headDim, sequence: sequence ? 1 : 0 };
  plan.op(kernels.cacheTokens, { q, k, v, angles, ...at }, { units: sequence ? heads : units, flops: 6 * q.rows * q.columns, grain: sequence ? 1 : heads });
  plan.threadScratch = Math.max(plan.threadScratch, 24 * (CACHE_PAGE * 4 + 8));
  // half of the context is what a row sees in the mean
  plan.op(kernels.cachedAttention, { out, q, ...at }, { units, flops: 2 * q.rows * q.columns * context, grain: sequence ? 24 : 1 });
  return out;
}
