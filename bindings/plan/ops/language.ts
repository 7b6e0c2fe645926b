// Ops over tokens of timelines: embeddings, recurrences, causal convolution, attention over a cache. Rows in, rows out:
// each knows from its pass which of its forms to take, and keeps what it carries from token to token in the pass's
// state, under a name.
import { CACHE_PAGE, PANEL } from "../../../assembly/header.ts";
import { DECAY_KEY, DECAY_NONE, DECAY_SCALAR, DECAY_VALUE, NORMALISE, READ_BEFORE } from "../../../assembly/opcodes.ts";
import { alignUp } from "../align.ts";
import type { TensorRef } from "../../checkpoint/index.ts";
import * as kernels from "../op-table.ts";
import { headWidth, rowGrain } from "../record.ts";
import type { StateLayout } from "../state.ts";
import type { Plan, Tensor } from "../plan.ts";
import { rawTable } from "../weights.ts";

/**
 * What the session layer fills before a run: i32, one row a timeline; of a sequence, one for all its tokens but the
 * ids.
 */
export interface Timelines {
  readonly ids: Tensor;
  /** Addresses of their states. */
  readonly states: Tensor;
  /** Tokens that they have read before. */
  readonly positions: Tensor;
}

/**
 * One of a network's programs while it is recorded: its rows are successive tokens of one timeline, or the next token
 * of each of several.
 */
export interface Pass {
  readonly plan: Plan;
  readonly state: StateLayout;
  readonly timelines: Timelines;
  /** For ops alone: models do not ask. */
  readonly sequence: boolean;
}

/** Rows of an embedding table kept in the checkpoint's own number format: ids i32 [rows] → [rows, dim]. */
export function embedTokens(
  plan: Plan, ids: Tensor, table: TensorRef, dim: number, out = plan.rows("embedding", ids.rows, dim),
): Tensor {
  const raw = rawTable(table);
  plan.rawTables.set(table.name, table.dtype);
  const like = plan.tensor(
    table.name, "weights", table.shape[0]!, dim, table.byteLength / table.shape[0]!, 0, table.byteLength,
  );
  const tensor = plan.once(table.name, like, raw.weight);
  plan.op(
    kernels.embed, { out, ids, table: tensor, format: raw.format, dim },
    { units: plan.liveRows(out), grain: rowGrain(out.rows) },
  );
  return out;
}

/**
 * What a state fades by at every token: a factor in (0, 1] for each head, or each key or value channel of each head.
 */
export interface Decay {
  readonly per: "head" | "key" | "value";
  /** f32 [rows, heads or channels], or one row where it is the same for every token. */
  readonly factors: Tensor;
}

export interface Recurrence {
  readonly heads: number;
  /** Heads of keys, values and decays, which divide those of queries: these share them in groups. Default: as many. */
  readonly keyHeads?: number;
  /** [rows, heads·keyDim], through whatever maps and scales the mixer has. */
  readonly q: Tensor;
  /** [rows, keyHeads·keyDim] and [rows, keyHeads·valueDim]. */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly decay?: Decay | undefined;
  /** The state is read before the token is written. */
  readonly readBefore?: boolean;
  /** With readBefore: [1, heads·keyDim], what the token's own key counts for all the same. */
  readonly bonus?: Tensor;
  /** The output is divided by q·z + this, z being the sum of keys, decayed alike. */
  readonly normalise?: number;
}

const DECAYS = { head: DECAY_SCALAR, key: DECAY_KEY, value: DECAY_VALUE };

/**
 * The additive recurrence S ← D∘S + k vᵀ, o = qᵀS, one S [keyDim, valueDim] a head: [rows, heads·valueDim]. Token by
 * token, by chunks, or by chunks with decays of channels, as the pass wants.
 * @param name  of its part of the state
 */
export function recurrence(
  pass: Pass,
  { heads, keyHeads = heads, q, k, v, decay, readBefore = false, bonus, normalise }: Recurrence,
  name: string,
): Tensor {
  const { plan, sequence, timelines: { states } } = pass, keyDim = q.columns / heads, valueDim = v.columns / keyHeads;
  const out = plan.rows("recurrent", q.rows, heads * valueDim);
  const stride = alignUp(keyDim, 4);
  const part = pass.state.part(name, heads * stride * (valueDim + (normalise === undefined ? 0 : 1)) * 4);
  const shared = {
    out, q, k, v, states, stateOffset: () => part.offset, keyDim, valueDim,
    decay: decay?.factors, decayRow: decay && decay.factors.rows > 1 ? decay.factors.rowBytes : 0,
    flags: (normalise === undefined ? 0 : NORMALISE) | (readBefore ? READ_BEFORE : 0), eps: normalise ?? 0,
    sharing: heads / keyHeads,
  };
  const kind = { decayKind: decay ? DECAYS[decay.per] : DECAY_NONE, bonus };
  const flops = 4 * q.rows * heads * keyDim * valueDim, rows = plan.liveRows(q);
  if (!sequence) {
    plan.needScratch(16 * stride);
    plan.op(kernels.recurrentStep, { ...shared, ...kind, heads }, { units: plan.liveRows(q, heads), flops, grain: 1 });
  } else if (keyDim % 4 || valueDim % PANEL) {
    throw new RangeError(`heads of ${keyDim} and ${valueDim} channels have no chunk form: use a multiple of ${PANEL}`);
  } else if (readBefore || (decay && decay.per !== "head")) {
    plan.needScratch(4 * (keyDim * valueDim + 33 * (keyDim + valueDim)) + 1152);
    plan.op(kernels.recurrentChunksByChannel, { ...shared, ...kind, tokens: rows }, { units: heads, flops, grain: 1 });
  } else {
    plan.needScratch(4 * (keyDim * valueDim + 64 * keyDim) + 1664);
    plan.op(kernels.recurrentChunks, { ...shared, tokens: rows }, { units: heads, flops, grain: 1 });
  }
  return out;
}

/**
 * out += causal depthwise convolution of x over tokens; taps [taps, channels].
 * @param name  of its part of the state
 */
export function causalConv(pass: Pass, out: Tensor, x: Tensor, taps: Tensor, name: string): void {
  const { plan, sequence, timelines: { states } } = pass;
  const part = pass.state.part(name, (taps.rows - 1) * alignUp(out.columns, PANEL) * 4);
  plan.op(
    kernels.causalConv,
    {
      out, x, w: taps, states, stateOffset: () => part.offset, rows: plan.liveRows(out), channels: out.columns,
      taps: taps.rows, sequence: sequence ? 1 : 0,
    },
    { units: Math.ceil(out.columns / PANEL), flops: 2 * out.rows * out.columns * taps.rows },
  );
}

export interface CachedAttention {
  readonly heads: number;
  /** [rows, heads·headDim], its scale folded in; rotated in place. */
  readonly q: Tensor;
  /** [rows, keyHeads·headDim]; keyHeads divides heads, whose queries share keys and values in groups. */
  readonly k: Tensor;
  readonly v: Tensor;
  readonly keyHeads?: number;
  /** Tokens that each sees, itself included; default: all. */
  readonly window?: number;
  /** f32 [positions, rotated channels of a head]: cosines, then sines; none: no rotation. */
  readonly angles?: Tensor;
}

/**
 * Causal softmax attention over a cache, to which k and v go first: [rows, heads·headDim].
 * @param name  of its cache
 */
export function cachedAttention(
  pass: Pass, { heads, q, k, v, keyHeads = heads, window, angles }: CachedAttention, name: string,
): Tensor {
  const { plan, sequence, timelines: { states, positions }, state: { context } } = pass, headDim = q.columns / heads;
  const out = plan.rows("attention", q.rows, q.columns);
  const cache = pass.state.cache(name, keyHeads * (headDim + headWidth(headDim)) * CACHE_PAGE * 4, window);
  const rows = plan.liveRows(q);
  const units = plan.liveRows(q, heads);
  const at = {
    states, positions, cacheOffset: () => cache.offset, pageBytes: () => cache.pageBytes, rows, heads, headDim,
    sequence: sequence ? 1 : 0, sharing: heads / keyHeads, ring: () => cache.ring,
  };
  plan.op(kernels.cacheTokens, { q, k, v, angles, ...at, rotary: angles?.columns ?? 0 }, {
    units: sequence ? heads : units, flops: 6 * q.rows * q.columns, grain: sequence ? 1 : heads,
  });
  plan.needScratch(24 * (CACHE_PAGE * 4 + 8 + PANEL * 4));
  // half of the context is what a row sees in the mean
  plan.op(kernels.cachedAttention, { out, q, ...at, window: window ?? 0 }, {
    units, flops: 2 * q.rows * q.columns * Math.min(context, 2 * (window ?? Infinity)), grain: sequence ? 24 : 1,
  });
  return out;
}
