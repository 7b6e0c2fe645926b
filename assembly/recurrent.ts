// The additive recurrence, S ← D∘S + k vᵀ, o = qᵀS, in its two causal forms: one token at a time (decode), and chunks of tokens
// whose work is matrix products (prefill). Both read and write the same state.
//
// State of one head: S as f32 [valueDim][keyStride], one row per value channel, so that a step passes over it once with q, k and
// the decay as vectors that stay in cache; then, with a normaliser, z as f32 [keyStride]. keyStride is keyDim padded to 4, with zeros.
import { PANEL, ZEROS } from "./header";
import { scaleRow } from "./linear-attention";
import { panelProduct } from "./matmul";
import { DECAY_KEY, DECAY_NONE, DECAY_SCALAR, DECAY_VALUE, READ_BEFORE, NORMALISE } from "./opcodes";
import { transposeRows } from "./pack";
import { transposeKeys } from "./score-attention";
import { madd, sum4 } from "./simd";

// @ts-ignore: decorator
@inline
export function strideOf(keyDim: i32): i32 {
  return (keyDim + 3) & ~3;
}

/** Bytes of one head's state. */
// @ts-ignore: decorator
@inline
export function headBytes(keyDim: i32, valueDim: i32, flags: i32): usize {
  return <usize>strideOf(keyDim) * <usize>(valueDim + (flags & NORMALISE ? 1 : 0)) * 4;
}

/** Copies `count` floats and zeroes the rest of `stride`. */
export function padded(out: usize, from: usize, count: i32, stride: i32): void {
  memory.copy(out, from, <usize>count * 4);
  memory.fill(out + <usize>count * 4, 0, <usize>(stride - count) * 4);
}

/** Σ a·b over a whole stride. */
// @ts-ignore: decorator
@inline
export function dotStride(a: usize, b: usize, stride: i32): f32 {
  let s = i32x4.splat(0);
  for (let i: usize = 0; i < <usize>stride * 4; i += 16) s = madd(v128.load(a + i), v128.load(b + i), s);
  return sum4(s);
}

/**
 * Four value channels of one head: returns their reads s·(g⊙q), and writes s ← g⊙s + v_j·k. `kind` is a constant at every call.
 * Key vectors come padded: q already decayed, g the decay by key channel (DECAY_KEY), `value` four values, `decay` four decays.
 */
// @ts-ignore: decorator
@inline
function fourRows(kind: i32, row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 {
  let p0 = i32x4.splat(0), p1 = p0, p2 = p0, p3 = p0;
  const v0 = i32x4.shuffle(value, value, 0, 0, 0, 0), v1 = i32x4.shuffle(value, value, 1, 1, 1, 1);
  const v2 = i32x4.shuffle(value, value, 2, 2, 2, 2), v3 = i32x4.shuffle(value, value, 3, 3, 3, 3);
  let d0 = decay, d1 = decay, d2 = decay, d3 = decay;
  if (kind == DECAY_VALUE) {
    d0 = i32x4.shuffle(decay, decay, 0, 0, 0, 0); d1 = i32x4.shuffle(decay, decay, 1, 1, 1, 1);
    d2 = i32x4.shuffle(decay, decay, 2, 2, 2, 2); d3 = i32x4.shuffle(decay, decay, 3, 3, 3, 3);
  }
  let r0 = row, r1 = row + stride, r2 = r1 + stride, r3 = r2 + stride;
  for (let i = stride; i > 0; i -= 16) {
    const q4 = v128.load(q), k4 = v128.load(k);
    const s0 = v128.load(r0), s1 = v128.load(r1), s2 = v128.load(r2), s3 = v128.load(r3);
    p0 = madd(s0, q4, p0); p1 = madd(s1, q4, p1); p2 = madd(s2, q4, p2); p3 = madd(s3, q4, p3);
    if (kind == DECAY_NONE) {
      v128.store(r0, madd(v0, k4, s0)); v128.store(r1, madd(v1, k4, s1));
      v128.store(r2, madd(v2, k4, s2)); v128.store(r3, madd(v3, k4, s3));
    } else {
      if (kind == DECAY_KEY) { d0 = v128.load(g); d1 = d0; d2 = d0; d3 = d0; g += 16; }
      v128.store(r0, madd(v0, k4, f32x4.mul(d0, s0))); v128.store(r1, madd(v1, k4, f32x4.mul(d1, s1)));
      v128.store(r2, madd(v2, k4, f32x4.mul(d2, s2))); v128.store(r3, madd(v3, k4, f32x4.mul(d3, s3)));
    }
    q += 16; k += 16; r0 += 16; r1 += 16; r2 += 16; r3 += 16;
  }
  // lane sums of four vectors: two rounds of interleaving
  const a = f32x4.add(i32x4.shuffle(p0, p1, 0, 4, 1, 5), i32x4.shuffle(p0, p1, 2, 6, 3, 7));
  const b = f32x4.add(i32x4.shuffle(p2, p3, 0, 4, 1, 5), i32x4.shuffle(p2, p3, 2, 6, 3, 7));
  return f32x4.add(i32x4.shuffle(a, b, 0, 1, 4, 5), i32x4.shuffle(a, b, 2, 3, 6, 7));
}

function fourRowsNone(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 { return fourRows(DECAY_NONE, row, stride, q, k, g, value, decay); }
function fourRowsScalar(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 { return fourRows(DECAY_SCALAR, row, stride, q, k, g, value, decay); }
function fourRowsKey(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 { return fourRows(DECAY_KEY, row, stride, q, k, g, value, decay); }
function fourRowsValue(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 { return fourRows(DECAY_VALUE, row, stride, q, k, g, value, decay); }

/**
 * One token of the additive recurrence, units [begin, end); a unit is one head of one timeline (unit = row · heads + head).
 *
 *   o = qᵀS_t                       S_t = D∘S_{t−1} + k vᵀ
 *   o = qᵀ(S_{t−1} + (u⊙k) vᵀ)      READ_BEFORE, with bonus u
 *   o ← o / (q·z_t + eps)           NORMALISE, z_t = D∘z_{t−1} + k
 *
 * @param out         f32 [rows, heads·valueDim]; q, k f32 [rows, heads·keyDim]; v f32 [rows, heads·valueDim]; row strides in bytes
 * @param states      i32 [rows]: address of each timeline's state; this layer's part begins stateOffset bytes in, head after head
 * @param decayKind   DECAY_NONE | DECAY_SCALAR [heads] | DECAY_KEY [heads·keyDim] | DECAY_VALUE [heads·valueDim] (not with NORMALISE)
 * @param decay       f32 factors in (0, 1], row stride decayRow bytes; 0 when they are the same for every token
 * @param bonus       f32 [heads·keyDim], with READ_BEFORE; 0 = none (u = 0)
 * @param flags       READ_BEFORE | NORMALISE
 * @param scratch     4 · (keyDim padded to 4) floats, this thread's own
 */
export function recurrentStep(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  states: usize, stateOffset: usize, heads: i32, keyDim: i32, valueDim: i32, decayKind: i32, decay: usize, decayRow: usize,
  bonus: usize, flags: i32, eps: f32, scratch: usize,
): void {
  const stride = strideOf(keyDim), strideBytes = <usize>stride * 4;
  const query = scratch, key = query + strideBytes, reader = key + strideBytes, factor = reader + strideBytes;
  for (let unit = begin; unit < end; ++unit) {
    const row = <usize>(unit / heads), head = unit % heads;
    const keyColumn = <usize>(head * keyDim) * 4, valueColumn = <usize>(head * valueDim) * 4;
    padded(query, q + row * qRow + keyColumn, keyDim, stride);
    padded(key, k + row * kRow + keyColumn, keyDim, stride);
    const state = <usize>load<i32>(states + row * 4) + stateOffset + <usize>head * headBytes(keyDim, valueDim, flags);
    const decays = decay + row * decayRow;
    let scalar: f32 = 1;
    if (decayKind == DECAY_SCALAR) scalar = load<f32>(decays + <usize>head * 4);
    const scalar4 = f32x4.splat(scalar);
    if (decayKind == DECAY_KEY) padded(factor, decays + keyColumn, keyDim, stride);

    // what the old state is read with, and how much of v this token's own key lets through
    let through: f32 = 0;
    if (flags & READ_BEFORE) {
      memory.copy(reader, query, strideBytes);
      if (bonus) for (let i = 0; i < keyDim; ++i) {
        const at = <usize>i * 4;
        through += load<f32>(query + at) * load<f32>(bonus + keyColumn + at) * load<f32>(key + at);
      }
    } else {
      through = dotStride(query, key, stride);
      for (let i: usize = 0; i < strideBytes; i += 16) {
        v128.store(reader + i, f32x4.mul(v128.load(query + i), decayKind == DECAY_KEY ? v128.load(factor + i) : scalar4));
      }
    }

    let scale: f32 = 1;
    if (flags & NORMALISE) {
      const z = state + <usize>valueDim * strideBytes;
      for (let i: usize = 0; i < strideBytes; i += 16) {
        v128.store(z + i, madd(v128.load(z + i), decayKind == DECAY_KEY ? v128.load(factor + i) : scalar4, v128.load(key + i)));
      }
      scale = 1 / (dotStride(query, z, stride) + eps);
    }

    const values = v + row * vRow + valueColumn, target = out + row * outRow + valueColumn;
    const through4 = f32x4.splat(through), scale4 = f32x4.splat(scale);
    for (let j = 0; j < valueDim; j += 4) {
      const at = <usize>j * 4, rowAt = state + <usize>j * strideBytes, count = valueDim - j;
      if (count >= 4) {
        const value = v128.load(values + at);
        let read: v128;
        if (decayKind == DECAY_NONE) read = fourRowsNone(rowAt, strideBytes, reader, key, factor, value, scalar4);
        else if (decayKind == DECAY_SCALAR) read = fourRowsScalar(rowAt, strideBytes, reader, key, factor, value, scalar4);
        else if (decayKind == DECAY_KEY) read = fourRowsKey(rowAt, strideBytes, reader, key, factor, value, scalar4);
        else {
          const factors = v128.load(decays + valueColumn + at);
          read = fourRowsValue(rowAt, strideBytes, reader, key, factor, value, factors);
          if (!(flags & READ_BEFORE)) read = f32x4.mul(read, factors);
        }
        v128.store(target + at, f32x4.mul(madd(through4, value, read), scale4));
      } else {
        for (let r: usize = 0; r < <usize>count; ++r) {
          const value = load<f32>(values + at + r * 4), line = rowAt + r * strideBytes;
          let f = scalar;
          if (decayKind == DECAY_VALUE) f = load<f32>(decays + valueColumn + at + r * 4);
          let read: f32 = 0;
          for (let i: usize = 0; i < strideBytes; i += 4) {
            const s = load<f32>(line + i);
            read += s * load<f32>(reader + i);
            store<f32>(line + i, (decayKind == DECAY_KEY ? load<f32>(factor + i) : f) * s + value * load<f32>(key + i));
          }
          if (decayKind == DECAY_VALUE && !(flags & READ_BEFORE)) read *= f;
          store<f32>(target + at + r * 4, (read + through * value) * scale);
        }
      }
    }
  }
}

/** Tokens of one chunk: three products of about this size each. */
const CHUNK: i32 = 64;
/** Rows of a chunk whose scores are multiplied with values at once. */
const ROWS: i32 = 12;

/** Panels [dim/8][k][8] → rows [dim][stride]: the inverse of transposeRows, panel by panel. */
export function panelsToRows(rows: usize, panels: usize, dim: i32, k: i32, stride: i32): void {
  for (let j = 0; j < dim; ++j) {
    const from = panels + <usize>(j >> 3) * <usize>k * (PANEL * 4) + <usize>(j & 7) * 4, to = rows + <usize>j * <usize>stride * 4;
    for (let i: usize = 0; i < <usize>k; ++i) store<f32>(to + i * 4, load<f32>(from + i * (PANEL * 4)));
  }
}

/**
 * Many tokens of one timeline, heads [begin, end), with no decay or one factor a head, constant or by token:
 *
 *   O = e^c (Q S) + ((Q Kᵀ)⊙P) V      S ← e^{c_C} S + (K·e^{c_C − c})ᵀ V      P_ij = e^{c_i − c_j} = g_{j+1} ⋯ g_i for i ≥ j
 *
 * The factors g are multiplied up row by row, so nothing leaves (0, 1] and no exponential is needed.
 *
 * @param out, q, k    as in recurrentStep, rows are successive tokens
 * @param v            f32 head panels [heads][valueDim/8][capacity][8]
 * @param capacity     tokens that the panels have room for; tokens ≤ capacity of them are live
 * @param states       i32 [1]; keyDim a multiple of 4, valueDim of 8
 * @param decay        f32 factors [heads], row stride decayRow bytes, 0 when the same for every token; decay = 0: none
 * @param flags        NORMALISE
 * @param scratch      4·(keyDim·valueDim + 128·keyDim + 64·valueDim) + 17408 bytes, this thread's own
 */
export function recurrentChunks(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize,
  tokens: i32, capacity: i32, states: usize, stateOffset: usize, keyDim: i32, valueDim: i32, decay: usize, decayRow: usize, flags: i32, eps: f32, scratch: usize,
): void {
  const keyBytes = <usize>keyDim * 4, valueBytes = <usize>valueDim * 4, scoreRow: usize = CHUNK * 4;
  const panels = scratch, keys = panels + <usize>(keyDim * valueDim) * 4, scores = keys + CHUNK * keyBytes;
  const queries = scores + CHUNK * scoreRow, reads = queries + CHUNK * keyBytes;
  const mask = reads + CHUNK * valueBytes, prefix = mask + CHUNK * 4, sums = prefix + CHUNK * 4;
  for (let head = begin; head < end; ++head) {
    const state = <usize>load<i32>(states) + stateOffset + <usize>head * headBytes(keyDim, valueDim, flags);
    const z = state + <usize>valueDim * keyBytes;
    for (let j = 0; j < valueDim; j += PANEL) transposeRows(panels + <usize>j * keyBytes, state + <usize>j * keyBytes, keyBytes, keyDim);

    for (let first = 0; first < tokens; first += CHUNK) {
      const n = min(CHUNK, tokens - first);
      const keyRows = k + <usize>first * kRow + <usize>head * keyBytes;
      const values = v + (<usize>(head * valueDim) * <usize>capacity + <usize>first * PANEL) * 4;
      const target = out + <usize>first * outRow + <usize>(head * valueDim) * 4;
      const keyPanels = (n + PANEL - 1) / PANEL;

      // a head's rows may lie pages apart, where they take each other's place in the first-level cache: they are worked on side by side
      for (let i: usize = 0; i < <usize>n; ++i) scaledRow(queries + i * keyBytes, q + (<usize>first + i) * qRow + <usize>head * keyBytes, keyDim, 1);

      // scores of the lower triangle
      transposeKeys(0, keyPanels, keys, keyRows, kRow, n, keyDim);
      for (let p = 0; p < keyPanels; ++p) {
        const from = p * PANEL;
        panelProduct(
          scores + <usize>from * scoreRow + <usize>from * 4, scoreRow, queries + <usize>from * keyBytes, keyBytes,
          keys + <usize>from * keyBytes, n - from, keyDim, ZEROS, 0, 0,
        );
      }
      // row i of P is row i − 1 times g_i, and a 1; e^{c_i} is the product of all factors so far
      let whole: f32 = 1;
      for (let i = 0; i < n; ++i) {
        const row = scores + <usize>i * scoreRow;
        store<f32>(mask + <usize>i * 4, 1);
        if (decay) {
          const g = load<f32>(decay + <usize>(first + i) * decayRow + <usize>head * 4);
          whole *= g;
          store<f32>(prefix + <usize>i * 4, whole);
          scaleRow(mask, i, g);
          for (let j = 0; j < i; j += 4) v128.store(row + <usize>j * 4, f32x4.mul(v128.load(row + <usize>j * 4), v128.load(mask + <usize>j * 4)));
        }
        if (flags & NORMALISE) {
          const sum = sumOf(row, i + 1) + whole * dotStride(queries + <usize>i * keyBytes, z, keyDim);
          store<f32>(sums + <usize>i * 4, 1 / (sum + eps));
        }
        // the products below take twelve rows at once, all as long as the last
        for (let j = i + 1, end = min(n, i - i % ROWS + ROWS); j < end; ++j) store<f32>(row + <usize>j * 4, 0);
      }

      // what the state says, decayed to each row; then what the chunk's own tokens say
      for (let j = 0; j < valueDim; j += PANEL) {
        panelProduct(reads + <usize>j * 4, valueBytes, queries, keyBytes, panels + <usize>j * keyBytes, n, keyDim, ZEROS, 0, 0);
      }
      if (decay) for (let i = 0; i < n; ++i) scaleRow(reads + <usize>i * valueBytes, valueDim, load<f32>(prefix + <usize>i * 4));
      for (let i = 0; i < n; i += ROWS) {
        const rows = min(ROWS, n - i);
        for (let j = 0; j < valueDim; j += PANEL) {
          const at = reads + <usize>i * valueBytes + <usize>j * 4;
          panelProduct(at, valueBytes, scores + <usize>i * scoreRow, scoreRow, values + <usize>(j * capacity) * 4, rows, i + rows, ZEROS, at, valueBytes);
        }
      }
      for (let i: usize = 0; i < <usize>n; ++i) {
        scaledRow(target + i * outRow, reads + i * valueBytes, valueDim, flags & NORMALISE ? load<f32>(sums + i * 4) : 1);
      }

      // the state after the chunk: the mask's last row is what each key has decayed to
      transposeScaled(keys, scoreRow, keyRows, kRow, mask, n, keyDim);
      if (decay) scaleRow(panels, keyDim * valueDim, whole);
      for (let j = 0; j < valueDim; j += PANEL) {
        const at = panels + <usize>j * keyBytes;
        panelProduct(at, PANEL * 4, keys, scoreRow, values + <usize>(j * capacity) * 4, keyDim, n, ZEROS, at, PANEL * 4);
      }
      if (flags & NORMALISE) {
        for (let c: usize = 0; c < <usize>keyDim; ++c) store<f32>(z + c * 4, load<f32>(z + c * 4) * whole + sumOf(keys + c * scoreRow, n));
      }
    }
    panelsToRows(state, panels, valueDim, keyDim, keyDim);
  }
}

/** to ← from · factor, `count` floats, a multiple of 4. */
// @ts-ignore: decorator
@inline
function scaledRow(to: usize, from: usize, count: i32, factor: f32): void {
  const factor4 = f32x4.splat(factor);
  for (let i: usize = 0; i < <usize>count * 4; i += 16) v128.store(to + i, f32x4.mul(v128.load(from + i), factor4));
}

/** [n][k] rows, row i times factors[i] → [k][n]; k a multiple of 4. */
function transposeScaled(out: usize, outRow: usize, rows: usize, rowBytes: usize, factors: usize, n: i32, k: i32): void {
  let i = 0;
  for (; i + 4 <= n; i += 4, rows += 4 * rowBytes) {
    const factor = v128.load(factors + <usize>i * 4);
    let from = rows, to = out + <usize>i * 4;
    for (let c = k >> 2; c > 0; --c, from += 16, to += 4 * outRow) {
      const r0 = v128.load(from), r1 = v128.load(from + rowBytes), r2 = v128.load(from + 2 * rowBytes), r3 = v128.load(from + 3 * rowBytes);
      const a = i32x4.shuffle(r0, r1, 0, 4, 1, 5), b = i32x4.shuffle(r2, r3, 0, 4, 1, 5), d = i32x4.shuffle(r0, r1, 2, 6, 3, 7), e = i32x4.shuffle(r2, r3, 2, 6, 3, 7);
      v128.store(to, f32x4.mul(i32x4.shuffle(a, b, 0, 1, 4, 5), factor)); v128.store(to + outRow, f32x4.mul(i32x4.shuffle(a, b, 2, 3, 6, 7), factor));
      v128.store(to + 2 * outRow, f32x4.mul(i32x4.shuffle(d, e, 0, 1, 4, 5), factor)); v128.store(to + 3 * outRow, f32x4.mul(i32x4.shuffle(d, e, 2, 3, 6, 7), factor));
    }
  }
  for (; i < n; ++i, rows += rowBytes) {
    const factor = load<f32>(factors + <usize>i * 4);
    for (let c: usize = 0; c < <usize>k; ++c) store<f32>(out + c * outRow + <usize>i * 4, load<f32>(rows + c * 4) * factor);
  }
}

/** Sum of n floats. */
// @ts-ignore: decorator
@inline
function sumOf(at: usize, n: i32): f32 {
  let s = i32x4.splat(0), i = 0;
  for (; i + 4 <= n; i += 4, at += 16) s = f32x4.add(s, v128.load(at));
  let sum = sum4(s);
  for (; i < n; ++i, at += 4) sum += load<f32>(at);
  return sum;
}

/** z ← decay ⊙ z + Σ rows, over one stride; decay is one vector, or by channel at `factors`. */
export function decaySum(z: usize, decay: v128, factors: usize, rows: usize, rowBytes: usize, n: i32): void {
  for (let c: usize = 0; c < rowBytes; c += 16) {
    let s = f32x4.mul(v128.load(z + c), factors ? v128.load(factors + c) : decay);
    for (let i: usize = 0; i < <usize>n; ++i) s = f32x4.add(s, v128.load(rows + i * rowBytes + c));
    v128.store(z + c, s);
  }
}

/**
 * Four key channels × eight value channels: at ← at ∘ decay + Σ_i k_i v_iᵀ. The decay is by key channel (four lanes of d0), or by value
 * channel (d0, d1) when `byValue`.
 */
export function addOuter(at: usize, key: usize, keyRow: usize, value: usize, n: i32, d0: v128, d1: v128, byValue: bool): void {
  let e0 = d0, e1 = d0, e2 = d0, e3 = d0, f0 = d1, f1 = d1, f2 = d1, f3 = d1;
  if (!byValue) {
    e0 = i32x4.shuffle(d0, d0, 0, 0, 0, 0); e1 = i32x4.shuffle(d0, d0, 1, 1, 1, 1);
    e2 = i32x4.shuffle(d0, d0, 2, 2, 2, 2); e3 = i32x4.shuffle(d0, d0, 3, 3, 3, 3);
    f0 = e0; f1 = e1; f2 = e2; f3 = e3;
  }
  let c00 = f32x4.mul(v128.load(at), e0), c01 = f32x4.mul(v128.load(at, 16), f0);
  let c10 = f32x4.mul(v128.load(at, 32), e1), c11 = f32x4.mul(v128.load(at, 48), f1);
  let c20 = f32x4.mul(v128.load(at, 64), e2), c21 = f32x4.mul(v128.load(at, 80), f2);
  let c30 = f32x4.mul(v128.load(at, 96), e3), c31 = f32x4.mul(v128.load(at, 112), f3);
  do {
    const k4 = v128.load(key), v0 = v128.load(value), v1 = v128.load(value, 16);
    const k0 = i32x4.shuffle(k4, k4, 0, 0, 0, 0), k1 = i32x4.shuffle(k4, k4, 1, 1, 1, 1);
    const k2 = i32x4.shuffle(k4, k4, 2, 2, 2, 2), k3 = i32x4.shuffle(k4, k4, 3, 3, 3, 3);
    c00 = madd(k0, v0, c00); c01 = madd(k0, v1, c01);
    c10 = madd(k1, v0, c10); c11 = madd(k1, v1, c11);
    c20 = madd(k2, v0, c20); c21 = madd(k2, v1, c21);
    c30 = madd(k3, v0, c30); c31 = madd(k3, v1, c31);
    key += keyRow; value += PANEL * 4;
  } while (--n);
  v128.store(at, c00); v128.store(at, c01, 16); v128.store(at, c10, 32); v128.store(at, c11, 48);
  v128.store(at, c20, 64); v128.store(at, c21, 80); v128.store(at, c30, 96); v128.store(at, c31, 112);
}
