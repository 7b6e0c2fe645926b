// The additive recurrence, S ← D∘S + k vᵀ, o = qᵀS, in its two causal forms: one token at a time (decode), and chunks
// of tokens through which a piece of the state stays in registers (prefill). Both read and write the same state.
//
// State of one head: S as f32 [valueDim][keyStride], one row per value channel, so that a step passes over it once with
// q, k and the decay as vectors that stay in cache; then, with a normaliser, z as f32 [keyStride]. keyStride is keyDim
// padded to 4, with zeros.
import { floats, good, inState, reads, scratchHolds, small, span, statesOf, woven, writes } from "../extents";
import { PANEL } from "../header";
import { DECAY_KEY, DECAY_NONE, DECAY_SCALAR, DECAY_VALUE, READ_BEFORE, NORMALISE } from "../opcodes";
import { transposeRows } from "./pack";
import { madd, sum4 } from "../simd";

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

/** `count` floats in whole vectors: where they are, or at `copy` with zeros after them. */
// @ts-ignore: decorator
@inline
function wholeVectors(copy: usize, from: usize, count: i32, stride: i32): usize {
  if (count == stride) return from;
  memory.copy(copy, from, <usize>count * 4);
  memory.fill(copy + <usize>count * 4, 0, <usize>(stride - count) * 4);
  return copy;
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
 * Four value channels of one head: returns their reads s·(g⊙q), and writes s ← g⊙s + v_j·k. `kind` is a constant at
 * every call. Key vectors come padded: q already decayed, g the decay by key channel (DECAY_KEY), `value` four
 * values, `decay` four decays.
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
  let r0 = row, r1 = row + stride, r2 = r1 + stride, r3 = r2 + stride, i = stride, s: v128, t: v128;
  // eight key channels per turn: the two products of a row meet before they join its sum, which waits
  // for itself half as often
  for (; i >= 32; i -= 32) {
    const q4 = v128.load(q), q8 = v128.load(q, 16), k4 = v128.load(k), k8 = v128.load(k, 16);
    let g4 = decay, g8 = decay;
    if (kind == DECAY_KEY) { g4 = v128.load(g); g8 = v128.load(g, 16); g += 32; }
    s = v128.load(r0); t = f32x4.mul(s, q4);
    v128.store(r0, madd(v0, k4, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g4 : d0, s)));
    s = v128.load(r0, 16); t = madd(s, q8, t);
    v128.store(r0, madd(v0, k8, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g8 : d0, s)), 16);
    p0 = f32x4.add(p0, t);
    s = v128.load(r1); t = f32x4.mul(s, q4);
    v128.store(r1, madd(v1, k4, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g4 : d1, s)));
    s = v128.load(r1, 16); t = madd(s, q8, t);
    v128.store(r1, madd(v1, k8, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g8 : d1, s)), 16);
    p1 = f32x4.add(p1, t);
    s = v128.load(r2); t = f32x4.mul(s, q4);
    v128.store(r2, madd(v2, k4, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g4 : d2, s)));
    s = v128.load(r2, 16); t = madd(s, q8, t);
    v128.store(r2, madd(v2, k8, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g8 : d2, s)), 16);
    p2 = f32x4.add(p2, t);
    s = v128.load(r3); t = f32x4.mul(s, q4);
    v128.store(r3, madd(v3, k4, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g4 : d3, s)));
    s = v128.load(r3, 16); t = madd(s, q8, t);
    v128.store(r3, madd(v3, k8, kind == DECAY_NONE ? s : f32x4.mul(kind == DECAY_KEY ? g8 : d3, s)), 16);
    p3 = f32x4.add(p3, t);
    q += 32; k += 32; r0 += 32; r1 += 32; r2 += 32; r3 += 32;
  }
  if (i) {
    const q4 = v128.load(q), k4 = v128.load(k);
    if (kind == DECAY_KEY) { d0 = v128.load(g); d1 = d0; d2 = d0; d3 = d0; }
    s = v128.load(r0); p0 = madd(s, q4, p0); v128.store(r0, madd(v0, k4, kind == DECAY_NONE ? s : f32x4.mul(d0, s)));
    s = v128.load(r1); p1 = madd(s, q4, p1); v128.store(r1, madd(v1, k4, kind == DECAY_NONE ? s : f32x4.mul(d1, s)));
    s = v128.load(r2); p2 = madd(s, q4, p2); v128.store(r2, madd(v2, k4, kind == DECAY_NONE ? s : f32x4.mul(d2, s)));
    s = v128.load(r3); p3 = madd(s, q4, p3); v128.store(r3, madd(v3, k4, kind == DECAY_NONE ? s : f32x4.mul(d3, s)));
  }
  // lane sums of four vectors: two rounds of interleaving
  const a = f32x4.add(i32x4.shuffle(p0, p1, 0, 4, 1, 5), i32x4.shuffle(p0, p1, 2, 6, 3, 7));
  const b = f32x4.add(i32x4.shuffle(p2, p3, 0, 4, 1, 5), i32x4.shuffle(p2, p3, 2, 6, 3, 7));
  return f32x4.add(i32x4.shuffle(a, b, 0, 1, 4, 5), i32x4.shuffle(a, b, 2, 3, 6, 7));
}

function fourRowsNone(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 {
  return fourRows(DECAY_NONE, row, stride, q, k, g, value, decay);
}
function fourRowsScalar(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 {
  return fourRows(DECAY_SCALAR, row, stride, q, k, g, value, decay);
}
function fourRowsKey(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 {
  return fourRows(DECAY_KEY, row, stride, q, k, g, value, decay);
}
function fourRowsValue(row: usize, stride: usize, q: usize, k: usize, g: usize, value: v128, decay: v128): v128 {
  return fourRows(DECAY_VALUE, row, stride, q, k, g, value, decay);
}

/**
 * One token of the additive recurrence, units [begin, end); a unit is one head of one timeline
 * (unit = row · heads + head).
 *
 *   o = qᵀS_t                       S_t = D∘S_{t−1} + k vᵀ
 *   o = qᵀ(S_{t−1} + (u⊙k) vᵀ)      READ_BEFORE, with bonus u
 *   o ← o / (q·z_t + eps)           NORMALISE, z_t = D∘z_{t−1} + k
 *
 * @op 13 heads
 * @live units
 * @param out, q      f32 [rows, heads·valueDim] and [rows, heads·keyDim], row strides in bytes
 * @param k, v        f32 [rows, keyHeads·keyDim] and [rows, keyHeads·valueDim], keyHeads = heads/sharing
 * @param states      i32 [rows]: address of each timeline's state; this layer's part begins stateOffset
 *                    bytes in, head after head
 * @param decayKind   DECAY_NONE | DECAY_SCALAR [keyHeads] | DECAY_KEY [keyHeads·keyDim] |
 *                    DECAY_VALUE [keyHeads·valueDim] (not with NORMALISE)
 * @param decay       f32 factors in (0, 1], row stride decayRow bytes; 0 when they are the same for every token
 * @param bonus       f32 [heads·keyDim], with READ_BEFORE; 0 = none (u = 0)
 * @param flags       READ_BEFORE | NORMALISE
 * @param sharing     heads that share keys, values and decays; each has a state of its own
 * @param scratch     4 · (keyDim padded to 4) floats, this thread's own
 */
export function recurrentStep(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  states: usize, stateOffset: usize, heads: i32, keyDim: i32, valueDim: i32, decayKind: i32, decay: usize,
  decayRow: usize, bonus: usize, flags: i32, eps: f32, sharing: i32, scratch: usize,
): void {
  const stride = strideOf(keyDim), strideBytes = <usize>stride * 4;
  for (let unit = begin; unit < end; ++unit) {
    const row = <usize>(unit / heads);
    const head = unit % heads;
    const keyHead = head / sharing;
    const queryColumn = <usize>(head * keyDim) * 4;
    const keyColumn = <usize>(keyHead * keyDim) * 4, valueColumn = <usize>(keyHead * valueDim) * 4;
    const query = wholeVectors(scratch, q + row * qRow + queryColumn, keyDim, stride);
    const key = wholeVectors(scratch + strideBytes, k + row * kRow + keyColumn, keyDim, stride);
    const state = <usize>load<i32>(states + row * 4) + stateOffset + <usize>head * headBytes(keyDim, valueDim, flags);
    const decays = decay + row * decayRow;
    let scalar: f32 = 1;
    if (decayKind == DECAY_SCALAR) scalar = load<f32>(decays + <usize>keyHead * 4);
    const scalar4 = f32x4.splat(scalar);
    const factor = decayKind == DECAY_KEY
      ? wholeVectors(scratch + 2 * strideBytes, decays + keyColumn, keyDim, stride)
      : 0;

    // what the old state is read with, and how much of v this token's own key lets through
    let through: f32 = 0, reader = query;
    if (flags & READ_BEFORE) {
      if (bonus) for (let i = 0; i < keyDim; ++i) {
        const at = <usize>i * 4;
        through += load<f32>(query + at) * load<f32>(bonus + queryColumn + at) * load<f32>(key + at);
      }
    } else {
      through = dotStride(query, key, stride);
      if (decayKind == DECAY_KEY || decayKind == DECAY_SCALAR) {
        reader = scratch + 3 * strideBytes;
        for (let i: usize = 0; i < strideBytes; i += 16) {
          v128.store(
            reader + i, f32x4.mul(v128.load(query + i), decayKind == DECAY_KEY ? v128.load(factor + i) : scalar4),
          );
        }
      }
    }

    let scale: f32 = 1;
    if (flags & NORMALISE) {
      const z = state + <usize>valueDim * strideBytes;
      for (let i: usize = 0; i < strideBytes; i += 16) {
        v128.store(
          z + i, madd(v128.load(z + i), decayKind == DECAY_KEY ? v128.load(factor + i) : scalar4, v128.load(key + i)),
        );
      }
      scale = 1 / (dotStride(query, z, stride) + eps);
    }

    const values = v + row * vRow + valueColumn, target = out + row * outRow + <usize>(head * valueDim) * 4;
    const through4 = f32x4.splat(through), scale4 = f32x4.splat(scale);
    for (let j = 0; j < valueDim; j += 4) {
      const at = <usize>j * 4, rowAt = state + <usize>j * strideBytes, count = valueDim - j;
      if (count >= 4) {
        const value = v128.load(values + at);
        let read: v128;
        if (decayKind == DECAY_NONE) read = fourRowsNone(rowAt, strideBytes, reader, key, factor, value, scalar4);
        else if (decayKind == DECAY_SCALAR) read = fourRowsScalar(
          rowAt, strideBytes, reader, key, factor, value, scalar4,
        );
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

/** What recurrentStep touches. */
export function recurrentStepFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  states: usize, stateOffset: usize, heads: i32, keyDim: i32, valueDim: i32, decayKind: i32, decay: usize,
  decayRow: usize, bonus: usize, flags: i32, eps: f32, sharing: i32,
): bool {
  if (!small(heads) || units % heads || !inGroups(heads, sharing)) return false;
  const rows = units / heads, keyHeads = heads / sharing, keys = floats(heads, keyDim);
  return recurrenceTouches(rows, states, stateOffset, heads, keyDim, valueDim, flags)
    && decayTouches(rows, keyHeads, keyDim, valueDim, decayKind, decay, decayRow) && (!bonus || reads(bonus, keys))
    && writes(out, span(rows, outRow, floats(heads, valueDim))) && reads(q, span(rows, qRow, keys))
    && reads(k, span(rows, kRow, floats(keyHeads, keyDim))) && reads(v, span(rows, vRow, floats(keyHeads, valueDim)))
    && scratchHolds(floats(strideOf(keyDim), 4));
}

/** Whether heads share keys and values in whole groups. */
export function inGroups(heads: i32, sharing: i32): bool {
  return small(sharing) && heads % sharing == 0;
}

/** What recurrences have in common: the states of `timelines` timelines. */
export function recurrenceTouches(
  timelines: i32, states: usize, stateOffset: usize, heads: i32, keyDim: i32, valueDim: i32, flags: i32,
): bool {
  if (!small(heads) || !small(keyDim) || !small(valueDim) || <u32>flags > <u32>(NORMALISE | READ_BEFORE)) return false;
  const state = floats(strideOf(keyDim), valueDim + (flags & NORMALISE ? 1 : 0));
  return state < 0x80000000 && statesOf(states, timelines) && inState(stateOffset, heads * state);
}

/** Factors of any kind, one row or one for each of `rows`. */
export function decayTouches(
  rows: i32, heads: i32, keyDim: i32, valueDim: i32, decayKind: i32, decay: usize, decayRow: usize,
): bool {
  if (<u32>decayKind > <u32>DECAY_VALUE) return false;
  const factors = decayKind == DECAY_SCALAR ? 1 : decayKind == DECAY_KEY ? keyDim : valueDim;
  return decayKind == DECAY_NONE || reads(decay, woven(rows, decayRow, floats(heads, factors)));
}

/** Tokens of one chunk: what they bring stays in the first-level cache while the state passes by. */
const CHUNK: i32 = 32;
/** Less than this a chunk's factors may not multiply up to: keys are divided by their product. 2⁻³² */
const LEAST: f32 = 2.3283064e-10;

/** Panels [dim/8][k][8] → rows [dim][stride]: the inverse of transposeRows, panel by panel. */
export function panelsToRows(rows: usize, panels: usize, dim: i32, k: i32, stride: i32): void {
  for (let j = 0; j < dim; ++j) {
    const from = panels + <usize>(j >> 3) * <usize>k * (PANEL * 4) + <usize>(j & 7) * 4;
    const to = rows + <usize>j * <usize>stride * 4;
    for (let i: usize = 0; i < <usize>k; ++i) store<f32>(to + i * 4, load<f32>(from + i * (PANEL * 4)));
  }
}

/**
 * Four key channels × eight value channels of the state, in registers over n tokens: s ← s + k vᵀ, o ← o + qᵀ s, one
 * after the other. s begins as before · what lies at `state`, and is left there · after.
 *
 * @param state  f32 [4][8]
 * @param kq     f32 [n][8], four of k and four of q
 * @param v      f32 [n], eight of every row, vRow bytes apart
 * @param o      f32 [n][8]
 */
function tokens4x8(state: usize, kq: usize, v: usize, vRow: usize, o: usize, n: i32, before: v128, after: v128): void {
  let c00 = f32x4.mul(v128.load(state), before), c01 = f32x4.mul(v128.load(state, 16), before);
  let c10 = f32x4.mul(v128.load(state, 32), before), c11 = f32x4.mul(v128.load(state, 48), before);
  let c20 = f32x4.mul(v128.load(state, 64), before), c21 = f32x4.mul(v128.load(state, 80), before);
  let c30 = f32x4.mul(v128.load(state, 96), before), c31 = f32x4.mul(v128.load(state, 112), before);
  do {
    const v0 = v128.load(v), v1 = v128.load(v, 16);
    let s = v128.load32_splat(kq); c00 = madd(s, v0, c00); c01 = madd(s, v1, c01);
    s = v128.load32_splat(kq, 4); c10 = madd(s, v0, c10); c11 = madd(s, v1, c11);
    s = v128.load32_splat(kq, 8); c20 = madd(s, v0, c20); c21 = madd(s, v1, c21);
    s = v128.load32_splat(kq, 12); c30 = madd(s, v0, c30); c31 = madd(s, v1, c31);
    s = v128.load32_splat(kq, 16);
    let o0 = madd(s, c00, v128.load(o)), o1 = madd(s, c01, v128.load(o, 16));
    s = v128.load32_splat(kq, 20); o0 = madd(s, c10, o0); o1 = madd(s, c11, o1);
    s = v128.load32_splat(kq, 24); o0 = madd(s, c20, o0); o1 = madd(s, c21, o1);
    s = v128.load32_splat(kq, 28); o0 = madd(s, c30, o0); o1 = madd(s, c31, o1);
    v128.store(o, o0); v128.store(o, o1, 16);
    kq += 32; v += vRow; o += 32;
  } while (--n);
  v128.store(state, f32x4.mul(c00, after)); v128.store(state, f32x4.mul(c01, after), 16);
  v128.store(state, f32x4.mul(c10, after), 32); v128.store(state, f32x4.mul(c11, after), 48);
  v128.store(state, f32x4.mul(c20, after), 64); v128.store(state, f32x4.mul(c21, after), 80);
  v128.store(state, f32x4.mul(c30, after), 96); v128.store(state, f32x4.mul(c31, after), 112);
}

/**
 * Many tokens of one timeline, heads [begin, end), with no decay or one factor a head, constant or by token: the same
 * as recurrentStep token by token. A piece of the state stays in registers for a chunk of tokens, which takes as many
 * multiply-adds as the recurrence has; the masked products of a chunk would take half as many again. Within a chunk the
 * factors g move over to queries and keys:
 *
 *   S_t = g_t S_{t−1} + k_t v_tᵀ,  o_t = q_tᵀ S_t      is, with G_t = g_2 ⋯ g_t, Z_0 = g_1 S_0, S_t = G_t Z_t,
 *   Z_t = Z_{t−1} + (k_t / G_t) v_tᵀ,  o_t = (G_t q_t)ᵀ Z_t
 *
 * A chunk ends before G_t would fall below LEAST: a factor near zero begins the next, where it is g_1.
 *
 * @op 14 heads
 * @live tokens
 * @param out, q, k, v  as in recurrentStep, rows are successive tokens
 * @param states       i32 [1]; keyDim a multiple of 4, valueDim of 8
 * @param decay        f32 factors [keyHeads], row stride decayRow bytes, 0 when the same for
 *                     every token; decay = 0: none
 * @param flags        NORMALISE
 * @param sharing      as in recurrentStep
 * @param scratch      4·(keyDim·valueDim + 64·keyDim) + 1664 bytes, this thread's own
 */
export function recurrentChunks(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  tokens: i32, states: usize, stateOffset: usize, keyDim: i32, valueDim: i32, decay: usize, decayRow: usize, flags: i32,
  eps: f32, sharing: i32, scratch: usize,
): void {
  const keyBytes = <usize>keyDim * 4, tileBytes: usize = CHUNK * PANEL * 4;
  const panels = scratch;
  const pairs = panels + <usize>(keyDim * valueDim) * 4;
  const reads = pairs + <usize>(keyDim >> 2) * tileBytes;
  const sums = reads + tileBytes, factors = sums + CHUNK * 16;
  for (let head = begin; head < end; ++head) {
    const state = <usize>load<i32>(states) + stateOffset + <usize>head * headBytes(keyDim, valueDim, flags);
    const z = state + <usize>valueDim * keyBytes;
    const keyHead = head / sharing;
    const keyColumn = <usize>keyHead * keyBytes;
    const queryColumn = <usize>head * keyBytes;
    for (let j = 0; j < valueDim; j += PANEL) {
      transposeRows(panels + <usize>j * keyBytes, state + <usize>j * keyBytes, keyBytes, keyDim);
    }

    for (let first = 0; first < tokens;) {
      const most = min(CHUNK - first % CHUNK, tokens - first), g = decay + <usize>first * decayRow + <usize>keyHead * 4;
      let n = 1, whole: f32 = 1;
      store<f32>(factors, 1);
      for (; n < most; ++n) {
        const next = decay ? whole * load<f32>(g + <usize>n * decayRow) : whole;
        if (!(next >= LEAST)) break;
        store<f32>(factors + <usize>n * 4, next);
        whole = next;
      }
      const before = f32x4.splat(decay ? load<f32>(g) : 1), after = f32x4.splat(whole);

      for (let t = 0; t < n; ++t) {
        const factor = load<f32>(factors + <usize>t * 4), at = <usize>(first + t);
        pairRow(
          pairs + <usize>t * (PANEL * 4), tileBytes, k + at * kRow + keyColumn, q + at * qRow + queryColumn, keyDim,
          1 / factor, factor,
        );
      }
      if (flags & NORMALISE) {
        normalisers(sums, z, pairs, keyDim, n, before, after);
        for (let t = 0; t < n; ++t) {
          store<f32>(factors + <usize>t * 4, 1 / (sum4(v128.load(sums + <usize>t * 16)) + eps));
        }
      }

      const values = v + <usize>first * vRow + <usize>(keyHead * valueDim) * 4;
      for (let j = 0; j < valueDim; j += PANEL) {
        for (let t = 0; t < n; ++t) {
          v128.store(reads + <usize>t * 32, i32x4.splat(0)); v128.store(reads + <usize>t * 32, i32x4.splat(0), 16);
        }
        const panel = panels + <usize>j * keyBytes, value = values + <usize>j * 4;
        for (let c = 0; c < keyDim; c += 4) {
          tokens4x8(
            panel + <usize>c * (PANEL * 4), pairs + <usize>(c >> 2) * tileBytes, value, vRow, reads, n, before, after,
          );
        }
        const target = out + <usize>first * outRow + <usize>(head * valueDim + j) * 4;
        for (let t = 0; t < n; ++t) {
          const scale = flags & NORMALISE ? v128.load32_splat(factors + <usize>t * 4) : f32x4.splat(1);
          const at = target + <usize>t * outRow;
          v128.store(at, f32x4.mul(v128.load(reads + <usize>t * 32), scale));
          v128.store(at, f32x4.mul(v128.load(reads + <usize>t * 32, 16), scale), 16);
        }
      }
      first += n;
    }
    panelsToRows(state, panels, valueDim, keyDim, keyDim);
  }
}

/** What recurrentChunks touches. */
export function recurrentChunksFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  tokens: i32, states: usize, stateOffset: usize, keyDim: i32, valueDim: i32, decay: usize, decayRow: usize,
  flags: i32, eps: f32, sharing: i32,
): bool {
  return recurrenceTouches(1, states, stateOffset, units, keyDim, valueDim, flags)
    && chunksTouch(units, out, outRow, q, qRow, k, kRow, v, vRow, tokens, keyDim, valueDim, sharing)
    && (!decay || reads(decay, woven(tokens, decayRow, floats(units / sharing))))
    && scratchHolds(floats(keyDim, valueDim + 64) + 1664);
}

/** What the recurrence in chunks has in common: `tokens` rows. */
export function chunksTouch(
  heads: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  tokens: i32, keyDim: i32, valueDim: i32, sharing: i32,
): bool {
  if (keyDim & 3 || valueDim % PANEL || !good(tokens) || !inGroups(heads, sharing)) return false;
  const keyHeads = heads / sharing;
  return writes(out, span(tokens, outRow, floats(heads, valueDim)))
    && reads(q, span(tokens, qRow, floats(heads, keyDim)))
    && reads(k, span(tokens, kRow, floats(keyHeads, keyDim)))
    && reads(v, span(tokens, vRow, floats(keyHeads, valueDim)));
}

/** One token's keys · forKeys and queries · forQueries, four of each in turn, a tile apart. */
function pairRow(
  pairs: usize, tileBytes: usize, key: usize, query: usize, keyDim: i32, forKeys: f32, forQueries: f32,
): void {
  const a = f32x4.splat(forKeys), b = f32x4.splat(forQueries);
  for (let c = keyDim >> 2; c > 0; --c, key += 16, query += 16, pairs += tileBytes) {
    v128.store(pairs, f32x4.mul(v128.load(key), a)); v128.store(pairs, f32x4.mul(v128.load(query), b), 16);
  }
}

/**
 * z ← z + k and sums[t] = q·z, token by token, in four parts each; z begins times `before` and is left times `after`.
 */
function normalisers(sums: usize, z: usize, pairs: usize, keyDim: i32, n: i32, before: v128, after: v128): void {
  for (let t = 0; t < n; ++t) v128.store(sums + <usize>t * 16, i32x4.splat(0));
  for (let c = keyDim >> 2; c > 0; --c, z += 16, pairs += CHUNK * PANEL * 4) {
    let z4 = f32x4.mul(v128.load(z), before);
    for (let t = 0; t < n; ++t) {
      const pair = pairs + <usize>t * (PANEL * 4), sum = sums + <usize>t * 16;
      z4 = f32x4.add(z4, v128.load(pair));
      v128.store(sum, madd(v128.load(pair, 16), z4, v128.load(sum)));
    }
    v128.store(z, f32x4.mul(z4, after));
  }
}
