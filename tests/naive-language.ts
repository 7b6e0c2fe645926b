// Plain references in float64 of the kernels that language models use. Row-major, no padding; each is the formula of
// its kernel's comment.
import type { AllKernels } from "./harness.ts";

type Numbers = ArrayLike<number>;
type Kernel = (...args: number[]) => void;

/** The exports that these are the references of: numbers and addresses, arguments as in assembly/. */
export interface LanguageKernels extends AllKernels {
  recurrentStep: Kernel;
  recurrentChunks: Kernel;
  causalConv: Kernel;
  cacheTokens: Kernel;
  cachedAttention: Kernel;
  rmsNorm: Kernel;
  embed: Kernel;
}

export const languageKernels = (kernels: AllKernels): LanguageKernels => kernels as LanguageKernels;

/** One timeline: S [heads, keyDim, valueDim] and z [heads, keyDim]. */
export interface Memory {
  readonly s: Float64Array;
  readonly z: Float64Array;
}

export interface Recurrence {
  readonly heads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Factors [heads], [heads, keyDim] or [heads, valueDim]; none: nothing decays. */
  readonly decayKind: "none" | "scalar" | "key" | "value";
  /**
   * Read the state as it was before this token; its own key then counts by the bonus u [heads, keyDim], or not at all.
   */
  readonly readBefore?: boolean;
  readonly bonus?: Numbers;
  /** Added to the denominator; undefined: no normaliser. */
  readonly eps?: number;
}

export const emptyMemory = ({ heads, keyDim, valueDim }: Recurrence): Memory => ({
  s: new Float64Array(heads * keyDim * valueDim), z: new Float64Array(heads * keyDim),
});

/**
 * One token of one timeline: q, k [heads, keyDim], v [heads, valueDim] → o [heads, valueDim]; the memory is updated in
 * place.
 */
export function recurrentStep(
  { s, z }: Memory, q: Numbers, k: Numbers, v: Numbers, decay: Numbers | undefined, recurrence: Recurrence,
): Float64Array {
  const { heads, keyDim, valueDim, decayKind, readBefore = false, bonus, eps } = recurrence;
  const out = new Float64Array(heads * valueDim);
  const factor = (h: number, i: number, j: number): number =>
    decayKind === "none"
      ? 1
      : decay![decayKind === "scalar" ? h : decayKind === "key" ? h * keyDim + i : h * valueDim + j]!;
  for (let h = 0; h < heads; h++) {
    let denominator = eps ?? 0;
    for (let i = 0; i < keyDim; i++) {
      const [at, key, query] = [h * keyDim + i, k[h * keyDim + i]!, q[h * keyDim + i]!];
      if (eps !== undefined) z[at] = factor(h, i, 0) * z[at]! + key;
      denominator += query * z[at]!;
      for (let j = 0; j < valueDim; j++) {
        const before = s[at * valueDim + j]!;
        const write = key * v[h * valueDim + j]!;
        const after = factor(h, i, j) * before + write;
        out[h * valueDim + j]! += query * (readBefore ? before + (bonus?.[at] ?? 0) * write : after);
        s[at * valueDim + j] = after;
      }
    }
    if (eps !== undefined) for (let j = 0; j < valueDim; j++) out[h * valueDim + j]! /= denominator;
  }
  return out;
}

/**
 * Successive tokens of one timeline: q, k [tokens, heads, keyDim], v [tokens, heads, valueDim], the same decay for all
 * of them.
 */
export function recurrentTokens(
  memory: Memory, q: Numbers, k: Numbers, v: Numbers, decay: Numbers | undefined, recurrence: Recurrence,
): Float64Array {
  const keys = recurrence.heads * recurrence.keyDim;
  const values = recurrence.heads * recurrence.valueDim;
  const tokens = q.length / keys;
  const part = (from: Numbers, t: number, size: number): Numbers =>
    Array.prototype.slice.call(from, t * size, (t + 1) * size) as number[];
  const out = new Float64Array(tokens * values);
  for (let t = 0; t < tokens; t++)
    out.set(
      recurrentStep(memory, part(q, t, keys), part(k, t, keys), part(v, t, values), decay, recurrence), t * values,
    );
  return out;
}

/**
 * out_t + Σ_j w_j ⊙ x_{t − taps + 1 + j}, x [rows, channels], w [taps, channels]; `cache` [taps − 1, channels], oldest
 * first, holds the inputs before the first row and, afterwards, the last ones.
 */
export function causalConv(out: Numbers, x: Numbers, w: Numbers, cache: Float64Array, channels: number): Float64Array {
  const past = cache.length / channels, rows = x.length / channels, all = [...cache, ...Array.from(x)];
  const result = Float64Array.from(out);
  for (let t = 0; t < rows; t++) {
    for (let c = 0; c < channels; c++) {
      for (let j = 0; j <= past; j++) result[t * channels + c]! += w[j * channels + c]! * all[(t + j) * channels + c]!;
    }
  }
  cache.set(all.slice(rows * channels));
  return result;
}

/**
 * x [rows, heads, headDim], row r at position `first` + r: (lo, hi) turned by position · theta^(−2j/turned), lo and hi
 * the halves of the first `turned` channels of a head.
 */
export function rotary(
  x: Numbers, heads: number, headDim: number, theta: number, first = 0, turned = headDim,
): Float64Array {
  const half = turned / 2, out = Float64Array.from(x);
  for (let at = 0; at < x.length; at += headDim) {
    const position = first + Math.floor(at / (heads * headDim));
    for (let j = 0; j < half; j++) {
      const angle = position * theta ** (-j / half), [lo, hi] = [x[at + j]!, x[at + half + j]!];
      out[at + j] = lo * Math.cos(angle) - hi * Math.sin(angle);
      out[at + half + j] = hi * Math.cos(angle) + lo * Math.sin(angle);
    }
  }
  return out;
}

/** What a softmax layer has beside q, k and v. */
export interface SoftmaxLayer {
  readonly heads: number;
  readonly headDim: number;
  readonly theta: number;
  /** Query heads that share a key head. */
  readonly sharing?: number;
  /** Channels of a head that are turned. */
  readonly turned?: number;
  /** Tokens that each sees. */
  readonly window?: number;
}

/**
 * Causal softmax(q·kᵀ)·v with rotary positions; q [tokens, heads, headDim] with its scale, k, v [tokens, heads/sharing,
 * headDim], not yet turned.
 */
export function softmaxAttention(q: Numbers, k: Numbers, v: Numbers, layer: SoftmaxLayer): Float64Array {
  const { heads, headDim, theta, sharing = 1, turned = headDim, window = Infinity } = layer;
  const dim = heads * headDim, keyDim = dim / sharing, tokens = q.length / dim;
  const queries = rotary(q, heads, headDim, theta, 0, turned);
  const keys = rotary(k, heads / sharing, headDim, theta, 0, turned);
  const out = new Float64Array(q.length), weights = new Float64Array(tokens);
  for (let at = 0; at < out.length; at += headDim) {
    const t = Math.floor(at / dim);
    const head = Math.floor((at % dim) / headDim / sharing) * headDim;
    const first = Math.max(0, t - window + 1);
    let top = -Infinity, sum = 0;
    for (let j = first; j <= t; j++) {
      let score = 0;
      for (let c = 0; c < headDim; c++) score += queries[at + c]! * keys[j * keyDim + head + c]!;
      weights[j] = score;
      top = Math.max(top, score);
    }
    for (let j = first; j <= t; j++) sum += weights[j] = Math.exp(weights[j]! - top);
    for (let j = first; j <= t; j++)
      for (let c = 0; c < headDim; c++) out[at + c]! += (weights[j]! / sum) * v[j * keyDim + head + c]!;
  }
  return out;
}

/** x/√(mean(x²) + eps) ⊙ weight of every row of x [rows, dim]. */
export function rmsNorm(x: Numbers, weight: Numbers, eps: number): Float64Array {
  const dim = weight.length, out = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += dim) {
    let squares = 0;
    for (let i = 0; i < dim; i++) squares += x[r + i]! ** 2;
    for (let i = 0; i < dim; i++) out[r + i] = (x[r + i]! / Math.sqrt(squares / dim + eps)) * weight[i]!;
  }
  return out;
}

/** Four running hashes of every fourth word, then one of the four. */
export function checksum(words: Uint32Array): number {
  const lanes = new Uint32Array(4).fill(0x2545f491);
  for (let i = 0; i < words.length; i++) {
    const mixed = Math.imul(lanes[i % 4]! ^ words[i]!, 0x9e3779b1);
    lanes[i % 4] = mixed ^ (mixed >>> 15);
  }
  let hash = lanes[0]!;
  for (const lane of lanes.subarray(1)) hash = (Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35) + lane) >>> 0;
  return (hash ^ (hash >>> 16)) >>> 0;
}
