// Linear attention: softmax(q·kᵀ)·v becomes φ(q)·(φ(k)ᵀ·v), so a head's keys and values fit in one
// headDim × headDim state. Bidirectional form (images): one state over all tokens, then one product per token. φ is
// applied where q and k are produced. Keys and values come in head panels, f32 [heads][width/8][tokens][8],
// width = headDim padded to 8 with zeros.
import { floats, good, reads, small, span, wholeHeads, writes } from "../extents";
import { PANEL, ZEROS } from "../header";
import { panelProduct } from "./matmul";
import { madd, sum4 } from "../simd";

/** Bytes of one head's state: kᵀv as f32 [width/8][width][8], then Σk as f32 [width]. */
// @ts-ignore: decorator
@inline
function stateBytes(width: usize): usize {
  return (width * width + width) * 4;
}

/**
 * Four key channels × eight value channels: at ← at ∘ decay + Σ_i k_i v_iᵀ. The decay is by key channel (four lanes of
 * d0), or by value channel (d0, d1) when `byValue`.
 */
export function addOuter(
  at: usize, key: usize, keyRow: usize, value: usize, n: i32, d0: v128, d1: v128, byValue: bool,
): void {
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

/**
 * State of bidirectional linear attention, units [begin, end); a unit is eight value channels of one head.
 *
 *   state[h] = φ(k)ᵀ · v   [headDim, headDim]      and      Σ_n φ(k)_n   [headDim]
 *
 * @op 2 panels
 * @param state   f32 [heads], stateBytes(width) each
 * @param k, v    f32 head panels; k already through φ
 * @param tokens  any; width a multiple of 8
 */
export function keyValueState(begin: i32, end: i32, state: usize, k: usize, v: usize, tokens: i32, width: i32): void {
  const panels = width / PANEL;
  const panelBytes = <usize>tokens * (PANEL * 4), none = f32x4.splat(1);
  for (let unit = begin; unit < end; ++unit) {
    const head = unit / panels, panel = unit - head * panels;
    const keys = k + <usize>(head * panels) * panelBytes;
    const values = v + <usize>unit * panelBytes;
    const headState = state + <usize>head * stateBytes(width);
    let target = headState + <usize>panel * <usize>width * (PANEL * 4);
    memory.fill(target, 0, <usize>width * (PANEL * 4));
    for (let channel = 0; channel < width; channel += 4) {
      addOuter(
        target, keys + <usize>(channel >> 3) * panelBytes + <usize>(channel & 7) * 4, PANEL * 4, values, tokens, none,
        none, true,
      );
      target += 128;
    }
    // the unit of value panel p sums key panel p: every panel has exactly one owner
    let key = keys + <usize>panel * panelBytes, n = tokens;
    let s0 = i32x4.splat(0), s1 = s0;
    do {
      s0 = f32x4.add(s0, v128.load(key)); s1 = f32x4.add(s1, v128.load(key, 16));
      key += PANEL * 4;
    } while (--n);
    const sums = headState + <usize>width * <usize>width * 4 + <usize>panel * (PANEL * 4);
    v128.store(sums, s0); v128.store(sums, s1, 16);
  }
}

/** What keyValueState touches. */
export function keyValueStateFits(units: i32, state: usize, k: usize, v: usize, tokens: i32, width: i32): bool {
  if (!good(tokens) || !wholeHeads(units, width)) return false;
  const heads = units / (width / PANEL), panels = floats(units, PANEL) * tokens;
  return writes(state, heads * floats(width, width + 1)) && reads(k, panels) && reads(v, panels);
}

/** Multiplies `count` floats by `factor`. */
export function scaleRow(at: usize, count: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  for (; count >= 4; count -= 4, at += 16) v128.store(at, f32x4.mul(v128.load(at), f));
  for (; count > 0; --count, at += 4) store<f32>(at, load<f32>(at) * factor);
}

/** Σ a·b over `count` floats. */
function dot(a: usize, b: usize, count: i32): f32 {
  let s = i32x4.splat(0);
  for (; count >= 4; count -= 4, a += 16, b += 16) s = madd(v128.load(a), v128.load(b), s);
  let rest: f32 = 0;
  for (; count > 0; --count, a += 4, b += 4) rest += load<f32>(a) * load<f32>(b);
  return sum4(s) + rest;
}

/**
 * Rows whose queries and outputs stay in the first-level cache while all heads pass: a multiple of every register tile.
 */
const BLOCK: i32 = 60;

/** Divides rows of one head by φ(q)·Σk + eps. Four rows at once have the same bits as one by one. */
function normaliseRows(
  out: usize, outRow: usize, q: usize, qRow: usize, sums: usize, rows: i32, headDim: i32, eps: f32,
): void {
  const eps4 = f32x4.splat(eps), one = f32x4.splat(1), bytes = <usize>headDim * 4;
  for (; rows >= 4 && (headDim & 3) == 0; rows -= 4) {
    const q1 = q + qRow, q2 = q1 + qRow, q3 = q2 + qRow;
    let a0 = i32x4.splat(0), a1 = a0, a2 = a0, a3 = a0;
    for (let i: usize = 0; i < bytes; i += 16) {
      const s = v128.load(sums + i);
      a0 = madd(v128.load(q + i), s, a0); a1 = madd(v128.load(q1 + i), s, a1);
      a2 = madd(v128.load(q2 + i), s, a2); a3 = madd(v128.load(q3 + i), s, a3);
    }
    // turned over, so that a lane is a row, and summed as sum4 sums
    const low0 = i32x4.shuffle(a0, a1, 0, 4, 1, 5), low1 = i32x4.shuffle(a2, a3, 0, 4, 1, 5);
    const high0 = i32x4.shuffle(a0, a1, 2, 6, 3, 7), high1 = i32x4.shuffle(a2, a3, 2, 6, 3, 7);
    const low = f32x4.add(i64x2.shuffle(low0, low1, 0, 2), i64x2.shuffle(low0, low1, 1, 3));
    const high = f32x4.add(i64x2.shuffle(high0, high1, 0, 2), i64x2.shuffle(high0, high1, 1, 3));
    const f = f32x4.div(one, f32x4.add(f32x4.add(low, high), eps4));
    const f0 = i32x4.shuffle(f, f, 0, 0, 0, 0), f1 = i32x4.shuffle(f, f, 1, 1, 1, 1);
    const f2 = i32x4.shuffle(f, f, 2, 2, 2, 2), f3 = i32x4.shuffle(f, f, 3, 3, 3, 3);
    const o1 = out + outRow, o2 = o1 + outRow, o3 = o2 + outRow;
    for (let i: usize = 0; i < bytes; i += 16) {
      v128.store(out + i, f32x4.mul(v128.load(out + i), f0)); v128.store(o1 + i, f32x4.mul(v128.load(o1 + i), f1));
      v128.store(o2 + i, f32x4.mul(v128.load(o2 + i), f2)); v128.store(o3 + i, f32x4.mul(v128.load(o3 + i), f3));
    }
    q = q3 + qRow; out = o3 + outRow;
  }
  for (; rows > 0; --rows, q += qRow, out += outRow) scaleRow(out, headDim, 1 / (dot(q, sums, headDim) + eps));
}

/**
 * Output of bidirectional linear attention, tokens [begin, end).
 *
 *   out_n = φ(q)_n · state / (φ(q)_n · Σk + eps)       (SLAB, arXiv:2405.11582, with eps 1e-6)
 *
 * @op 3 tokens
 * @param out    f32 [tokens, heads·headDim], row stride outRow bytes, with room for
 *               (heads − 1)·headDim + width floats a row
 * @param q      f32 [tokens, heads·headDim], row stride qRow bytes, already through φ
 * @param state  from keyValueState
 */
export function linearAttention(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, state: usize, heads: i32, headDim: i32,
  width: i32, eps: f32,
): void {
  for (let row = begin; row < end; row += BLOCK) {
    const rows = min(BLOCK, end - row);
    for (let head = 0; head < heads; ++head) {
      const columns = <usize>(head * headDim) * 4;
      const queries = q + <usize>row * qRow + columns;
      const target = out + <usize>row * outRow + columns;
      const headState = state + <usize>head * stateBytes(width), sums = headState + <usize>width * <usize>width * 4;
      for (let c = 0; c < width; c += PANEL) {
        panelProduct(
          target + <usize>c * 4, outRow, queries, qRow, headState + <usize>c * <usize>width * 4, rows, headDim, ZEROS,
          0, 0,
        );
      }
      normaliseRows(target, outRow, queries, qRow, sums, rows, headDim, eps);
    }
  }
}

/** What linearAttention touches. */
export function linearAttentionFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, state: usize, heads: i32, headDim: i32, width: i32,
  eps: f32,
): bool {
  return attentionTouches(units, out, outRow, q, qRow, heads, headDim, width)
    && reads(state, heads * floats(width, width + 1));
}

/** What attention kernels have in common: queries, and outputs of whole panels a head. */
export function attentionTouches(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, heads: i32, headDim: i32, width: i32,
): bool {
  if (!small(heads) || !small(headDim) || !small(width) || width % PANEL || headDim > width) return false;
  return writes(out, span(units, outRow, floats(heads - 1, headDim) + floats(width)))
    && reads(q, span(units, qRow, floats(heads, headDim)));
}
