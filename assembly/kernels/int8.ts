// Linear layers on bytes: weights are i8 with one scale per output channel, activations are quantised row by row
// just before. Sums are exact integers, so neither the tile, nor the split of rows or panels, nor the thread
// changes a result's bits.
//
// Relaxed builds multiply bytes: w in −127 … 127, x in 0 … 127 with a zero point; panels are [⌈k/4⌉][8][4] bytes.
// Narrow weights are within −63 … 63: then the products of eight bytes add up in i16 before they are widened, which is
// faster where arithmetic is the bound. Plain builds multiply i16: x within ±2047, no zero point; panels are
// [⌈k/2⌉][8][2] bytes, widened as they are loaded.
import { floats, good, reads, span, writes } from "../extents";
import { PANEL, TILE_ROWS } from "../header";
import { finishPanel, layerTouches, quarterOf } from "./matmul";
import { ACT_GATE } from "../opcodes";
import { BYTE_DOT, bytePairs, constantAt, madd, max4, ONES, ROUND, sum4 } from "../simd";

/** Numbers of k that a 32-bit lane holds. */
// @ts-ignore: decorator
@inline
const GROUP: i32 = BYTE_DOT ? 4 : 2;
/** Bytes of one group of a panel's eight columns. */
// @ts-ignore: decorator
@inline
const GROUP_BYTES: usize = BYTE_DOT ? 32 : 16;
/** 1.5·2^23: adding it to |x| < 2^22 leaves round(x), ties to even, in the low bits. */
const ROUND_F32: f32 = 12582912;
const ROUND_BITS: i32 = 0x4b400000;
/** A smaller scale has no reciprocal in f32: such numbers count as zeros. */
const SMALLEST_SCALE: f32 = 1e-37;

/** Bytes of one packed panel. */
export function int8PanelBytes(k: i32): usize {
  return <usize>((k + GROUP - 1) / GROUP) * GROUP_BYTES;
}

/** Bytes of one quantised row of activations. */
export function int8RowBytes(k: i32): usize {
  return (<usize>k * (BYTE_DOT ? 1 : 2) + 15) & ~(<usize>15);
}

/** Largest size of a quantised activation in a plain build: i32 sums of k products with ±127 cannot overflow. */
// @ts-ignore: decorator
@inline
function largestActivation(k: i32): i32 {
  return min(2047, (1 << 24) / k - 1);
}

/**
 * Eight output channels → one panel: q = round(w / scale), scale = max |w| / most of the channel,
 * 0 for a channel of zeros.
 *
 * @param out     i8 [⌈k/GROUP⌉, 8, GROUP], int8PanelBytes(k) in all; zeros past k
 * @param scales  f32 [8]
 * @param sums    i32 [8]: Σ q of each channel
 * @param rows    f32 [8, k], finite
 * @param most    127, or 63 for narrow weights
 */
export function quantizePanelInt8(out: usize, scales: usize, sums: usize, rows: usize, k: i32, most: f32): void {
  memory.fill(out, 0, int8PanelBytes(k));
  for (let c: usize = 0; c < <usize>PANEL; ++c) {
    const row = rows + c * <usize>k * 4;
    let high = i32x4.splat(0), low = high;
    let at = row;
    for (let i = k >> 2; i > 0; --i, at += 16) {
      const v = v128.load(at);
      high = f32x4.pmax(high, v); low = f32x4.pmin(low, v);
    }
    let largest = max(max4(high), max4(f32x4.neg(low)));
    for (let i = k & 3; i > 0; --i, at += 4) largest = max(largest, abs(load<f32>(at)));
    let scale: f32 = largest / most;
    const used = scale >= SMALLEST_SCALE && scale < Infinity;
    if (!used) scale = 0;
    const inverse: f32 = used ? 1 / scale : 0, inverse4 = f32x4.splat(inverse), round = constantAt(ROUND);
    let total = i32x4.splat(0), sum = 0, target = out + c * <usize>GROUP;
    at = row;
    for (let i = k >> 2; i > 0; --i, at += 16) {
      const q = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at), inverse4), round), round);
      total = i32x4.add(total, q);
      const words = i16x8.narrow_i32x4_s(q, q), bytes = i32x4.extract_lane(i8x16.narrow_i16x8_s(words, words), 0);
      if (BYTE_DOT) {
        store<i32>(target, bytes);
      } else {
        store<i16>(target, <i16>bytes);
        store<i16>(target, <i16>(bytes >> 16), 16);
      }
      target += <usize>(4 / GROUP) * GROUP_BYTES;
    }
    for (let i: i32 = 0; i < (k & 3); ++i, at += 4) {
      const q = reinterpret<i32>(load<f32>(at) * inverse + ROUND_F32) - ROUND_BITS;
      sum += q;
      store<i8>(target + <usize>(i / GROUP) * GROUP_BYTES + <usize>(i % GROUP), <i8>q);
    }
    sum += i32x4.extract_lane(total, 0) + i32x4.extract_lane(total, 1)
      + i32x4.extract_lane(total, 2) + i32x4.extract_lane(total, 3);
    store<f32>(scales + c * 4, scale);
    store<i32>(sums + c * 4, sum);
  }
}

/**
 * Rows [begin, end) of activations: q = round(x / scale) + zero.
 * Relaxed: scale = (max(x, 0) − min(x, 0)) / 127, q in 0 … 127. Plain: scale = max |x| / 2047 (less for k > 8192),
 * zero = 0. A row of zeros has scale 0; a row with a NaN or an infinity has scale NaN, which makes all its outputs NaN.
 *
 * @op 18 rows
 * @live units
 * @param out     u8 or i16 [rows, k], row stride outRow ≥ int8RowBytes(k), a multiple of 4; zeros up to int8RowBytes(k)
 * @param params  per row: f32 scale, i32 zero
 * @param x       f32 [rows, k], row stride xRow bytes
 */
export function quantizeRows(
  begin: i32, end: i32, out: usize, outRow: usize, params: usize, x: usize, xRow: usize, k: i32,
): void {
  for (let r = <usize>begin; r < <usize>end; ++r) quantizeRow(out + r * outRow, params + r * 8, x + r * xRow, k);
}

/** What quantizeRows touches. */
export function quantizeRowsFits(
  units: i32, out: usize, outRow: usize, params: usize, x: usize, xRow: usize, k: i32,
): bool {
  return good(k) && writes(out, span(units, outRow, int8RowBytes(k))) && writes(params, floats(units, 2))
    && reads(x, span(units, xRow, floats(k)));
}

function quantizeRow(out: usize, params: usize, x: usize, k: i32): void {
  const none = i32x4.splat(0), stop = out + int8RowBytes(k);
  let high = none, low = none, poison4 = none, at = x;
  // two at a time: a sum waits for itself longer than the rest of a turn takes
  for (let i = k >> 3; i > 0; --i, at += 32) {
    const v = v128.load(at), w = v128.load(at, 16);
    high = f32x4.pmax(high, f32x4.pmax(v, w)); low = f32x4.pmin(low, f32x4.pmin(v, w));
    poison4 = f32x4.add(poison4, f32x4.add(f32x4.mul(v, none), f32x4.mul(w, none)));
  }
  if (k & 4) {
    const v = v128.load(at);
    high = f32x4.pmax(high, v); low = f32x4.pmin(low, v);
    poison4 = f32x4.add(poison4, f32x4.mul(v, none));
    at += 16;
  }
  let largest = max4(high), smallest: f32 = -max4(f32x4.neg(low)), poison: f32 = sum4(poison4);
  for (let i = k & 3; i > 0; --i, at += 4) {
    const v = load<f32>(at);
    largest = max(largest, v); smallest = min(smallest, v);
    poison += v * 0;
  }
  // divided before they are subtracted: the range may be beyond f32
  let scale: f32 = BYTE_DOT ? largest / 127 - smallest / 127 : max(largest, -smallest) / <f32>largestActivation(k);
  const used = scale >= SMALLEST_SCALE && poison == 0;
  if (!used) scale = 0;
  const inverse: f32 = used ? 1 / scale : 0;
  const zero = BYTE_DOT && used ? reinterpret<i32>(ROUND_F32 - smallest * inverse) - ROUND_BITS : 0;
  store<f32>(params, scale + poison);
  store<i32>(params, zero, 4);

  const inverse4 = f32x4.splat(inverse);
  const shift: f32 = ROUND_F32 + <f32>zero;
  const shift4 = f32x4.splat(shift);
  const round = constantAt(ROUND);
  at = x;
  if (BYTE_DOT) {
    for (let i = k >> 4; i > 0; --i, at += 64, out += 16) {
      const q0 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at), inverse4), shift4), round);
      const q1 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at, 16), inverse4), shift4), round);
      const q2 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at, 32), inverse4), shift4), round);
      const q3 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at, 48), inverse4), shift4), round);
      // the ends may round to −1 and 128: narrowing stops at 127
      v128.store(
        out, i8x16.max_s(i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(q0, q1), i16x8.narrow_i32x4_s(q2, q3)), none),
      );
    }
  } else {
    for (let i = k >> 3; i > 0; --i, at += 32, out += 16) {
      const q0 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at), inverse4), shift4), round);
      const q1 = i32x4.sub(f32x4.add(f32x4.mul(v128.load(at, 16), inverse4), shift4), round);
      v128.store(out, i16x8.narrow_i32x4_s(q0, q1));
    }
  }
  if (out == stop) return;
  v128.store(out, none);
  for (const after = x + <usize>k * 4; at < after; at += 4) {
    const q = reinterpret<i32>(load<f32>(at) * inverse + shift) - ROUND_BITS;
    if (BYTE_DOT) store<u8>(out++, <u8>max(0, min(127, q)));
    else { store<i16>(out, <i16>q); out += 2; }
  }
}

/** c + Σ w·x of each lane: four products of bytes, or two of i16. */
// @ts-ignore: decorator
@inline
function dotAdd(c: v128, w: v128, x: v128, ones: v128): v128 {
  // two instructions that most processors have beat the one that few have
  if (BYTE_DOT) return i32x4.add(c, i32x4.dot_i16x8_s(bytePairs(w, x), ones));
  else return i32x4.add(c, i32x4.dot_i16x8_s(w, x));
}

/**
 * c + Σ w·x + Σ v·y of each lane: eight products of bytes, whose sums in pairs are at most
 * 4 · 63 · 127. Only of narrow weights.
 */
// @ts-ignore: decorator
@inline
function dotTwo(c: v128, w: v128, x: v128, v: v128, y: v128, ones: v128): v128 {
  return i32x4.add(c, i32x4.dot_i16x8_s(i16x8.add(bytePairs(w, x), bytePairs(v, y)), ones));
}

/** out[0..8) = (c − zero·sums)·scales·scale + bias + addend, of one row. */
// @ts-ignore: decorator
@inline
function finish(
  out: usize, c0: v128, c1: v128, params: usize, scales: usize, sums: usize, bias: usize, addend: usize, added: bool,
): void {
  const scale = v128.load32_splat(params);
  if (BYTE_DOT) {
    const zero = v128.load32_splat(params, 4);
    c0 = i32x4.sub(c0, i32x4.mul(zero, v128.load(sums)));
    c1 = i32x4.sub(c1, i32x4.mul(zero, v128.load(sums, 16)));
  }
  c0 = madd(f32x4.convert_i32x4_s(c0), f32x4.mul(scale, v128.load(scales)), v128.load(bias));
  c1 = madd(f32x4.convert_i32x4_s(c1), f32x4.mul(scale, v128.load(scales, 16)), v128.load(bias, 16));
  if (added) { c0 = f32x4.add(c0, v128.load(addend)); c1 = f32x4.add(c1, v128.load(addend, 16)); }
  v128.store(out, c0); v128.store(out, c1, 16);
}

/**
 * One panel for R ≤ 4 rows, of narrow weights R ≤ 3, and 4·quads + rest groups of k. R and narrow are constants at
 * every call, so the branches on them vanish.
 * @unrolled
 */
// @ts-ignore: decorator
@inline
function tile(
  R: i32, narrow: bool, out: usize, outRow: usize, q: usize, qRow: usize, params: usize, w: usize, quads: i32,
  rest: i32, scales: usize, sums: usize, bias: usize, addend: usize, addendRow: usize,
): void {
  const added = addend != 0;
  let c00 = i32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  let a0 = q, a1 = q + qRow, a2 = a1 + qRow, a3 = a2 + qRow;
  let b0: v128, b1: v128, b2: v128, b3: v128, s: v128, t: v128;
  const ones = constantAt(ONES);
  // as in the f32 tile, the offsets 4, 8, 12 are shared by all rows
  for (; quads > 0; --quads) {
    if (BYTE_DOT && narrow) {
      // two groups at a time, a row's activations broadcast once for both halves of the columns: a fourth row would
      // not fit into the registers
      b0 = v128.load(w); b1 = v128.load(w, 16); b2 = v128.load(w, 32); b3 = v128.load(w, 48);
      s = v128.load32_splat(a0); t = v128.load32_splat(a0, 4); c00 = dotTwo(c00, b0, s, b2, t, ones); c01 = dotTwo(c01, b1, s, b3, t, ones);
      if (R > 1) { s = v128.load32_splat(a1); t = v128.load32_splat(a1, 4); c10 = dotTwo(c10, b0, s, b2, t, ones); c11 = dotTwo(c11, b1, s, b3, t, ones); }
      if (R > 2) { s = v128.load32_splat(a2); t = v128.load32_splat(a2, 4); c20 = dotTwo(c20, b0, s, b2, t, ones); c21 = dotTwo(c21, b1, s, b3, t, ones); }
      b0 = v128.load(w, 64); b1 = v128.load(w, 80); b2 = v128.load(w, 96); b3 = v128.load(w, 112);
      s = v128.load32_splat(a0, 8); t = v128.load32_splat(a0, 12); c00 = dotTwo(c00, b0, s, b2, t, ones); c01 = dotTwo(c01, b1, s, b3, t, ones);
      if (R > 1) { s = v128.load32_splat(a1, 8); t = v128.load32_splat(a1, 12); c10 = dotTwo(c10, b0, s, b2, t, ones); c11 = dotTwo(c11, b1, s, b3, t, ones); }
      if (R > 2) { s = v128.load32_splat(a2, 8); t = v128.load32_splat(a2, 12); c20 = dotTwo(c20, b0, s, b2, t, ones); c21 = dotTwo(c21, b1, s, b3, t, ones); }
    } else {
      b0 = BYTE_DOT ? v128.load(w) : v128.load8x8_s(w); b1 = BYTE_DOT ? v128.load(w, 16) : v128.load8x8_s(w, 8);
      s = v128.load32_splat(a0); c00 = dotAdd(c00, b0, s, ones); c01 = dotAdd(c01, b1, s, ones);
      if (R > 1) { s = v128.load32_splat(a1); c10 = dotAdd(c10, b0, s, ones); c11 = dotAdd(c11, b1, s, ones); }
      if (R > 2) { s = v128.load32_splat(a2); c20 = dotAdd(c20, b0, s, ones); c21 = dotAdd(c21, b1, s, ones); }
      if (R > 3) { s = v128.load32_splat(a3); c30 = dotAdd(c30, b0, s, ones); c31 = dotAdd(c31, b1, s, ones); }
      b0 = BYTE_DOT ? v128.load(w, 32) : v128.load8x8_s(w, 16); b1 = BYTE_DOT ? v128.load(w, 48) : v128.load8x8_s(w, 24);
      s = v128.load32_splat(a0, 4); c00 = dotAdd(c00, b0, s, ones); c01 = dotAdd(c01, b1, s, ones);
      if (R > 1) { s = v128.load32_splat(a1, 4); c10 = dotAdd(c10, b0, s, ones); c11 = dotAdd(c11, b1, s, ones); }
      if (R > 2) { s = v128.load32_splat(a2, 4); c20 = dotAdd(c20, b0, s, ones); c21 = dotAdd(c21, b1, s, ones); }
      if (R > 3) { s = v128.load32_splat(a3, 4); c30 = dotAdd(c30, b0, s, ones); c31 = dotAdd(c31, b1, s, ones); }
      b0 = BYTE_DOT ? v128.load(w, 64) : v128.load8x8_s(w, 32); b1 = BYTE_DOT ? v128.load(w, 80) : v128.load8x8_s(w, 40);
      s = v128.load32_splat(a0, 8); c00 = dotAdd(c00, b0, s, ones); c01 = dotAdd(c01, b1, s, ones);
      if (R > 1) { s = v128.load32_splat(a1, 8); c10 = dotAdd(c10, b0, s, ones); c11 = dotAdd(c11, b1, s, ones); }
      if (R > 2) { s = v128.load32_splat(a2, 8); c20 = dotAdd(c20, b0, s, ones); c21 = dotAdd(c21, b1, s, ones); }
      if (R > 3) { s = v128.load32_splat(a3, 8); c30 = dotAdd(c30, b0, s, ones); c31 = dotAdd(c31, b1, s, ones); }
      b0 = BYTE_DOT ? v128.load(w, 96) : v128.load8x8_s(w, 48); b1 = BYTE_DOT ? v128.load(w, 112) : v128.load8x8_s(w, 56);
      s = v128.load32_splat(a0, 12); c00 = dotAdd(c00, b0, s, ones); c01 = dotAdd(c01, b1, s, ones);
      if (R > 1) { s = v128.load32_splat(a1, 12); c10 = dotAdd(c10, b0, s, ones); c11 = dotAdd(c11, b1, s, ones); }
      if (R > 2) { s = v128.load32_splat(a2, 12); c20 = dotAdd(c20, b0, s, ones); c21 = dotAdd(c21, b1, s, ones); }
      if (R > 3) { s = v128.load32_splat(a3, 12); c30 = dotAdd(c30, b0, s, ones); c31 = dotAdd(c31, b1, s, ones); }
    }
    w += 4 * GROUP_BYTES; a0 += 16;
    if (R > 1) a1 += 16;
    if (R > 2) a2 += 16;
    if (R > 3) a3 += 16;
  }
  for (; rest > 0; --rest) {
    b0 = BYTE_DOT ? v128.load(w) : v128.load8x8_s(w); b1 = BYTE_DOT ? v128.load(w, 16) : v128.load8x8_s(w, 8);
    s = v128.load32_splat(a0); c00 = dotAdd(c00, b0, s, ones); c01 = dotAdd(c01, b1, s, ones); a0 += 4;
    if (R > 1) { s = v128.load32_splat(a1); c10 = dotAdd(c10, b0, s, ones); c11 = dotAdd(c11, b1, s, ones); a1 += 4; }
    if (R > 2) { s = v128.load32_splat(a2); c20 = dotAdd(c20, b0, s, ones); c21 = dotAdd(c21, b1, s, ones); a2 += 4; }
    if (R > 3) { s = v128.load32_splat(a3); c30 = dotAdd(c30, b0, s, ones); c31 = dotAdd(c31, b1, s, ones); a3 += 4; }
    w += GROUP_BYTES;
  }
  finish(out, c00, c01, params, scales, sums, bias, addend, added); out += outRow; params += 8; addend += addendRow;
  if (R > 1) { finish(out, c10, c11, params, scales, sums, bias, addend, added); out += outRow; params += 8; addend += addendRow; }
  if (R > 2) { finish(out, c20, c21, params, scales, sums, bias, addend, added); out += outRow; params += 8; addend += addendRow; }
  if (R > 3) { finish(out, c30, c31, params, scales, sums, bias, addend, added); }
}

function tile1(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(1, false, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }
function narrow1(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(1, BYTE_DOT, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }
function tile2(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(2, false, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }
function narrow2(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(2, BYTE_DOT, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }
function tile3(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(3, false, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }
function narrow3(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(3, BYTE_DOT, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }
function tile4(
  o: usize, or: usize, a: usize, ar: usize, p: usize, w: usize, g4: i32, g: i32, s: usize, z: usize, b: usize, d: usize,
  dr: usize,
): void { tile(4, false, o, or, a, ar, p, w, g4, g, s, z, b, d, dr); }

/**
 * Four panels with one row, `stream` bytes apart, all that belongs to them `apart` panels: four weight streams at
 * once, as memory likes it.
 */
function fourPanels(
  out: usize, outPanel: usize, q: usize, params: usize, w: usize, stream: usize, scales: usize, sums: usize,
  bias: usize, apart: usize, addend: usize, addendPanel: usize, groups: i32,
): void {
  const eights = apart * (PANEL * 4);
  let w0 = w, w1 = w + stream, w2 = w1 + stream, w3 = w2 + stream;
  let c00 = i32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  const ones = constantAt(ONES), added = addend != 0;
  do {
    const s = v128.load32_splat(q);
    c00 = dotAdd(c00, BYTE_DOT ? v128.load(w0) : v128.load8x8_s(w0), s, ones);
    c01 = dotAdd(c01, BYTE_DOT ? v128.load(w0, 16) : v128.load8x8_s(w0, 8), s, ones);
    c10 = dotAdd(c10, BYTE_DOT ? v128.load(w1) : v128.load8x8_s(w1), s, ones);
    c11 = dotAdd(c11, BYTE_DOT ? v128.load(w1, 16) : v128.load8x8_s(w1, 8), s, ones);
    c20 = dotAdd(c20, BYTE_DOT ? v128.load(w2) : v128.load8x8_s(w2), s, ones);
    c21 = dotAdd(c21, BYTE_DOT ? v128.load(w2, 16) : v128.load8x8_s(w2, 8), s, ones);
    c30 = dotAdd(c30, BYTE_DOT ? v128.load(w3) : v128.load8x8_s(w3), s, ones);
    c31 = dotAdd(c31, BYTE_DOT ? v128.load(w3, 16) : v128.load8x8_s(w3, 8), s, ones);
    q += 4; w0 += GROUP_BYTES; w1 += GROUP_BYTES; w2 += GROUP_BYTES; w3 += GROUP_BYTES;
  } while (--groups);
  finish(out, c00, c01, params, scales, sums, bias, addend, added); out += outPanel; addend += addendPanel;
  finish(out, c10, c11, params, scales + eights, sums + eights, bias + eights, addend, added);
  out += outPanel; addend += addendPanel;
  finish(out, c20, c21, params, scales + 2 * eights, sums + 2 * eights, bias + 2 * eights, addend, added);
  out += outPanel; addend += addendPanel;
  finish(out, c30, c31, params, scales + 3 * eights, sums + 3 * eights, bias + 3 * eights, addend, added);
}

/**
 * Linear layer on bytes, output panels [begin, end) of eight columns; everything else as in `linear`.
 *
 *   out = act((q − zero)·Wᵀ · scale · scales + bias + addend)
 *
 * @op 19 panels
 * @live m
 * @param out       f32 [m rows] of whole panels: row-major when outPanel = 32, panels of their own when outRow = 32
 * @param q, params [m, k] and [m, 2] as quantizeRows leaves them, row stride qRow bytes
 * @param w         [panels] of int8PanelBytes(k), as quantizePanelInt8 leaves them; scales f32 and sums i32 [panels, 8]
 * @param bias      f32 [panels, 8]
 * @param addend    f32 laid out by addendRow, addendPanel; 0 = none. May be `out` itself, but not a gate
 * @param m, k      ≥ 1; m = 1 (decode) reads four quarters of the panels at a time
 * @param act       ACT_NONE | ACT_RELU | ACT_GELU | ACT_SILU | ACT_GATE
 * @param narrow    1: all weights are within −63 … 63, which a relaxed build makes use of; a wider one
 *                  would make the result wrong
 */
export function linearInt8(
  begin: i32, end: i32, out: usize, outRow: usize, outPanel: usize, q: usize, qRow: usize, params: usize, w: usize,
  scales: usize, sums: usize, bias: usize, addend: usize, addendRow: usize, addendPanel: usize, m: i32, k: i32,
  act: i32, narrow: i32,
): void {
  const added = act == ACT_GATE ? 0 : addend, stream = int8PanelBytes(k), groups = (k + GROUP - 1) / GROUP;
  let p = <usize>begin;
  if (m == 1) {
    const quarter = quarterOf(end - begin, stream);
    for (const stop = p + quarter; p < stop; ++p) {
      const eights = p * (PANEL * 4);
      fourPanels(
        out + p * outPanel, quarter * outPanel, q, params, w + p * stream, quarter * stream, scales + eights,
        sums + eights, bias + eights, quarter, added ? added + p * addendPanel : 0, quarter * addendPanel, groups,
      );
    }
    p = <usize>begin + 4 * quarter;
  }
  for (; p < <usize>end; ++p) {
    const eights = p * (PANEL * 4);
    panelRows(
      out + p * outPanel, outRow, q, qRow, params, w + p * stream, groups, scales + eights, sums + eights,
      bias + eights, added ? added + p * addendPanel : 0, addendRow, m, narrow != 0,
    );
    if (m > 1) finishPanel(out + p * outPanel, outRow, addend + p * addendPanel, addendRow, m, act);
  }
  if (m == 1) {
    for (p = begin; p < <usize>end; ++p) {
      finishPanel(out + p * outPanel, outRow, addend + p * addendPanel, addendRow, 1, act);
    }
  }
}

/** What linearInt8 touches. */
export function linearInt8Fits(
  units: i32, out: usize, outRow: usize, outPanel: usize, q: usize, qRow: usize, params: usize, w: usize, scales: usize,
  sums: usize, bias: usize, addend: usize, addendRow: usize, addendPanel: usize, m: i32, k: i32, act: i32, narrow: i32,
): bool {
  const columns = floats(units, PANEL);
  return layerTouches(units, out, outRow, outPanel, addend, addendRow, addendPanel, m, k, act)
    && reads(q, span(m, qRow, int8RowBytes(k))) && reads(params, floats(m, 2))
    && reads(w, <u64>units * int8PanelBytes(k)) && reads(scales, columns)
    && reads(sums, columns) && reads(bias, columns);
}

/** One panel, all rows. */
function panelRows(
  out: usize, outRow: usize, q: usize, qRow: usize, params: usize, w: usize, groups: i32, scales: usize, sums: usize,
  bias: usize, addend: usize, addendRow: usize, m: i32, narrow: bool,
): void {
  // engines that get four rows hoist every load of a loop body and would spill an unrolled one
  const unrolls = load<i32>(TILE_ROWS) != 4, quads = unrolls ? groups >> 2 : 0, rest = unrolls ? groups & 3 : groups;
  const most = narrow && BYTE_DOT ? 3 : 4;
  while (m > 0) {
    // the last rows are shared evenly: 3 + 2 rather than 4 + 1
    const rows = m >= 2 * most || m == most ? most : m > most ? (m + 1) >> 1 : m;
    switch (rows) {
      case 1:
        if (narrow) narrow1(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow);
        else tile1(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow);
        break;
      case 2:
        if (narrow) narrow2(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow);
        else tile2(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow);
        break;
      case 3:
        if (narrow) narrow3(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow);
        else tile3(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow);
        break;
      case 4: tile4(out, outRow, q, qRow, params, w, quads, rest, scales, sums, bias, addend, addendRow); break;
    }
    out += <usize>rows * outRow; q += <usize>rows * qRow; params += <usize>rows * 8; m -= rows;
    if (addend) addend += <usize>rows * addendRow;
  }
}

/**
 * 1 if this engine multiplies bytes exactly, else 0: then only a plain build is right. The order of the operands,
 * the sign of the first, and pairs up to 2 · 127 · 127 are tried. An engine's compilers may differ: a 1 speaks
 * for the one that has run.
 */
export function probeInt8(): i32 {
  if (!BYTE_DOT) return 1;
  // multiplied by ones from memory, so that no compiler can work out the products beforehand
  const ones = constantAt(ONES);
  for (let turn = 0; turn < 8; ++turn) {
    const w0 = turn & 1 ? -127 : 127, w1 = turn & 2 ? -127 : 127, x1 = turn & 4 ? 127 : 1;
    const w = i16x8.mul(ones, i16x8.splat(<i16>((w0 & 255) | (w1 << 8))));
    const x = i16x8.mul(ones, i16x8.splat(<i16>(127 | (x1 << 8))));
    if (v128.any_true(v128.xor(bytePairs(w, x), i16x8.splat(<i16>(127 * w0 + x1 * w1))))) return 0;
  }
  const w = i16x8.mul(ones, i8x16(1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12, 13, -14, 15, -16));
  const x = i16x8.mul(ones, i8x16(127, 1, 126, 2, 125, 3, 124, 4, 123, 5, 122, 6, 121, 7, 120, 8));
  return v128.any_true(v128.xor(bytePairs(w, x), i16x8(125, 370, 607, 836, 1057, 1270, 1475, 1672))) ? 0 : 1;
}
