// Linear layers on four-bit weights, for decode: one row of activations, quantised to i8, and weights in blocks of 32
// along k with a scale each. Prefill unpacks a panel and multiplies in f32. Sums within a block are exact integers,
// the same in every build.
//
// A panel of weights, eight output channels, is a run of blocks of 32 k. Of every block come first the scales as
// bfloat16, then four vectors of nibbles of channels 0 … 3, a channel in each 32-bit lane, then those of channels
// 4 … 7. Vector v has k = 4v … 4v + 3 of the block in the low halves of the bytes and 16 + 4v … 16 + 4v + 3 in the high
// ones, so that a product broadcasts four activations and the sums of channels come out side by side. Scales of
// channels c and c + 4 share a lane: one in its low half, the other in its high one. 4.5 bits a weight, all in one
// stream. A bfloat16 has the range of an f32, and its coarse steps cost nothing, because the scale is chosen before the
// nibbles are. Value: (nibble − 8) · scale.
import { floats, good, reads, writes } from "../extents";
import { PANEL } from "../header";
import { finishPanel } from "./matmul";
import { ACT_GATE } from "../opcodes";
import {
  BYTE_DOT, BYTE_NIBBLES, bytePairs, constantAt, madd, max4, NIBBLE_HIGH, NIBBLE_LOW, ONES, ROUND, sum4, WORD_NIBBLES,
} from "../simd";

/** Weights that share a scale. */
const BLOCK: i32 = 32;
/** Bytes of a block of a panel: scales, and nibbles of its first and of its last four channels. */
const SCALES_BYTES: usize = 16;
const HALF_BYTES: usize = 64;
const BLOCK_BYTES: usize = SCALES_BYTES + 2 * HALF_BYTES;
/** Bytes of a block of activations: i8 where bytes are multiplied, i16 elsewhere. */
// @ts-ignore: decorator
@inline
const X_BYTES: usize = BYTE_DOT ? 32 : 64;
/** A smaller scale has no reciprocal in f32: such numbers count as zeros. */
const SMALLEST_SCALE: f32 = 1e-37;

// @ts-ignore: decorator
@inline
function blocksOf(k: i32): i32 {
  return (k + BLOCK - 1) / BLOCK;
}

/** Bytes of one packed panel of weights. */
export function int4PanelBytes(k: i32): usize {
  return <usize>blocksOf(k) * BLOCK_BYTES;
}

/** Bytes of one quantised vector of activations. */
export function int4VectorBytes(k: i32): usize {
  return <usize>blocksOf(k) * X_BYTES;
}

/** Bytes of its scales and offsets. */
export function int4ParamBytes(k: i32): usize {
  return <usize>blocksOf(k) * 8;
}

/** Four floats, of which the first `left` are read and the others are 0. */
// @ts-ignore: decorator
@inline
function loadSome(at: usize, left: i32): v128 {
  if (left >= 4) return v128.load(at);
  if (left <= 0) return i32x4.splat(0);
  let v = v128.load32_zero(at);
  if (left > 1) v = f32x4.replace_lane(v, 1, load<f32>(at, 4));
  if (left > 2) v = f32x4.replace_lane(v, 2, load<f32>(at, 8));
  return v;
}

/** Sixteen bytes from four vectors of integers within i8. */
// @ts-ignore: decorator
@inline
function narrow(a: v128, b: v128, c: v128, d: v128): v128 {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

// @ts-ignore: decorator
@inline
function roundToBfloat16(value: f32): u32 {
  const bits = reinterpret<u32>(value);
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

/** The nearest steps to four weights, within −8 … 7, as floats. */
// @ts-ignore: decorator
@inline
function steps(w: v128, inverse: v128): v128 {
  const round = constantAt(ROUND);
  const nearest = f32x4.sub(f32x4.add(f32x4.mul(w, inverse), round), round);
  return f32x4.pmin(f32x4.pmax(nearest, constantAt(NIBBLE_LOW)), constantAt(NIBBLE_HIGH));
}

/** Where the largest weight of a block is put, in steps: −9, −8.75 … −6, and the last at 7. */
const TRIALS: i32 = 14;

/** Stores a block's scale and returns its nibbles, a vector's in each word, from the `left` numbers at `row`, or 32. */
function quantizeBlock(scaleAt: usize, row: usize, left: i32): v128 {
  left = min(left, BLOCK);
  let high4 = i32x4.splat(0), low4 = high4;
  for (let i = 0; i < left; i += 4) {
    const w = loadSome(row + <usize>i * 4, left - i);
    high4 = f32x4.pmax(high4, w); low4 = f32x4.pmin(low4, w);
  }
  const high = max4(high4), low: f32 = -max4(f32x4.neg(low4)), extreme = high > -low ? high : low;
  let scale: f32 = 0, inverse: f32 = 0;
  if (abs(extreme) >= 16 * SMALLEST_SCALE && abs(extreme) < Infinity) {
    let best: f32 = -1;
    for (let trial = 0; trial < TRIALS; ++trial) {
      inverse = (trial == TRIALS - 1 ? 7 : <f32>trial * 0.25 - 9) / extreme;
      const inverse4 = f32x4.splat(inverse);
      let product4 = i32x4.splat(0), square4 = product4;
      for (let i = 0; i < left; i += 4) {
        const w = loadSome(row + <usize>i * 4, left - i), l = steps(w, inverse4);
        product4 = f32x4.add(product4, f32x4.mul(l, f32x4.mul(w, inverse4)));
        square4 = f32x4.add(square4, f32x4.mul(l, l));
      }
      // with the scale of least squares, product/square, the squares of the errors fall by product²/square
      const product = sum4(product4), ratio = product / sum4(square4), gain = product * ratio / (inverse * inverse);
      if (gain > best) { best = gain; scale = ratio / inverse; }
    }
    const rounded = roundToBfloat16(scale);
    scale = reinterpret<f32>(rounded << 16);
    inverse = 1 / scale;
    store<u16>(scaleAt, <u16>rounded);
  } else {
    inverse = 0;
    store<u16>(scaleAt, 0);
  }
  const inverse4 = f32x4.splat(inverse);
  const first = narrow(
    quad(row, left, 0, inverse4), quad(row, left, 4, inverse4),
    quad(row, left, 8, inverse4), quad(row, left, 12, inverse4),
  );
  const second = narrow(
    quad(row, left, 16, inverse4), quad(row, left, 20, inverse4),
    quad(row, left, 24, inverse4), quad(row, left, 28, inverse4),
  );
  const eight = i8x16.splat(8);
  return v128.or(i8x16.add(first, eight), i16x8.shl(i8x16.add(second, eight), 4));
}

/** Steps of weights i … i + 3 as integers; past `left` 0. */
// @ts-ignore: decorator
@inline
function quad(row: usize, left: i32, i: i32, inverse4: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(steps(loadSome(row + <usize>i * 4, left - i), inverse4));
}

/**
 * Eight output channels → one panel. Each block's scale is the best of fourteen: the largest weight is put at −9,
 * −8.75 … −6 or 7 steps, all are rounded, and least squares give the scale of those steps.
 *
 * @param out   int4PanelBytes(k)
 * @param rows  f32 [8, k], finite
 */
export function quantizePanelInt4(out: usize, rows: usize, k: i32): void {
  for (let c: usize = 0; c < <usize>PANEL; ++c) {
    let scale = out + (c & 3) * 4 + (c >> 2) * 2, word = out + SCALES_BYTES + (c >> 2) * HALF_BYTES + (c & 3) * 4;
    let at = rows + c * <usize>k * 4;
    for (let left = k; left > 0; left -= BLOCK) {
      const words = quantizeBlock(scale, at, left);
      v128.store32_lane(word, words, 0);
      v128.store32_lane(word, words, 1, 16);
      v128.store32_lane(word, words, 2, 32);
      v128.store32_lane(word, words, 3, 48);
      scale += BLOCK_BYTES; word += BLOCK_BYTES; at += BLOCK * 4;
    }
  }
}

/**
 * Activations → i8 in −127 … 127 with a scale for each block of 32.
 * A block with a NaN or an infinity has scale NaN, which makes every output NaN.
 *
 * @op 20 vectors quantizeVector
 * @param out     int4VectorBytes(k): i8 in relaxed builds; i16 of the same values in the others, of every block the
 *                even places, then the odd ones
 * @param params  f32 [blocks] scales, max |x| / 127, then i32 [blocks] offsets, −8 · Σ q; blocks = ⌈k/32⌉
 * @param x       f32 [k]
 */
export function quantizeVectorInt8(out: usize, params: usize, x: usize, k: i32): void {
  const blocks = blocksOf(k), none = i32x4.splat(0), round = constantAt(ROUND), ones = constantAt(ONES);
  for (let block = 0, left = k; block < blocks; ++block, left -= BLOCK) {
    const x0 = loadSome(x, left), x1 = loadSome(x + 16, left - 4);
    const x2 = loadSome(x + 32, left - 8), x3 = loadSome(x + 48, left - 12);
    const x4 = loadSome(x + 64, left - 16), x5 = loadSome(x + 80, left - 20);
    const x6 = loadSome(x + 96, left - 24), x7 = loadSome(x + 112, left - 28);
    const high = f32x4.pmax(
      f32x4.pmax(f32x4.pmax(f32x4.abs(x0), f32x4.abs(x1)), f32x4.pmax(f32x4.abs(x2), f32x4.abs(x3))),
      f32x4.pmax(f32x4.pmax(f32x4.abs(x4), f32x4.abs(x5)), f32x4.pmax(f32x4.abs(x6), f32x4.abs(x7))),
    );
    const poison4 = f32x4.add(
      f32x4.add(
        f32x4.add(f32x4.mul(x0, none), f32x4.mul(x1, none)), f32x4.add(f32x4.mul(x2, none), f32x4.mul(x3, none)),
      ),
      f32x4.add(
        f32x4.add(f32x4.mul(x4, none), f32x4.mul(x5, none)), f32x4.add(f32x4.mul(x6, none), f32x4.mul(x7, none)),
      ),
    );
    const poison = sum4(poison4);
    let scale: f32 = max4(high) / 127;
    const used = scale >= SMALLEST_SCALE && poison == 0;
    if (!used) scale = 0;
    const inverse = f32x4.splat(used ? 1 / scale : 0);
    const first = narrow(
      nearest(x0, inverse, round), nearest(x1, inverse, round),
      nearest(x2, inverse, round), nearest(x3, inverse, round),
    );
    const second = narrow(
      nearest(x4, inverse, round), nearest(x5, inverse, round),
      nearest(x6, inverse, round), nearest(x7, inverse, round),
    );
    // sums of pairs of bytes, then of pairs of those
    const pairs = i16x8.add(i16x8.extadd_pairwise_i8x16_s(first), i16x8.extadd_pairwise_i8x16_s(second));
    const sums = i32x4.dot_i16x8_s(pairs, ones);
    const sum = i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1)
      + i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3);
    store<f32>(params + <usize>block * 4, scale + poison);
    store<i32>(params + <usize>(blocks + block) * 4, -8 * sum);

    if (BYTE_DOT) {
      v128.store(out, first);
      v128.store(out, second, 16);
    } else {
      v128.store(out, i16x8.shr_s(i16x8.shl(first, 8), 8));
      v128.store(out, i16x8.shr_s(i16x8.shl(second, 8), 8), 16);
      v128.store(out, i16x8.shr_s(first, 8), 32);
      v128.store(out, i16x8.shr_s(second, 8), 48);
    }
    out += X_BYTES;
    x += BLOCK * 4;
  }
}

/** What quantizeVectorInt8 touches. */
export function quantizeVectorInt8Fits(units: i32, out: usize, params: usize, x: usize, k: i32): bool {
  return good(k) && writes(out, int4VectorBytes(k)) && writes(params, int4ParamBytes(k)) && reads(x, floats(k));
}

/** round(x · inverse) as integers. */
// @ts-ignore: decorator
@inline
function nearest(x: v128, inverse: v128, round: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(x, inverse), round), round);
}

/** Products of a vector of nibbles in i16: of the low halves with x0 and of the high ones with x1. */
// @ts-ignore: decorator
@inline
function nibblePairs(t: v128, x0: v128, x1: v128, mask: v128): v128 {
  return i16x8.add(bytePairs(x0, v128.and(t, mask)), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
}

/** c + Σ nibble·x of a vector of nibbles, taken as i16: even bytes' low and high, then odd bytes'. */
// @ts-ignore: decorator
@inline
function addNibbles(c: v128, t: v128, x0: v128, x1: v128, x2: v128, x3: v128, mask: v128): v128 {
  c = i32x4.add(c, i32x4.dot_i16x8_s(v128.and(t, mask), x0));
  c = i32x4.add(c, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(t, 4), mask), x1));
  c = i32x4.add(c, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(t, 8), mask), x2));
  return i32x4.add(c, i32x4.dot_i16x8_s(i16x8.shr_u(t, 12), x3));
}

/** Scales of channels 0 … 3. */
// @ts-ignore: decorator
@inline
function firstScales(scales: v128): v128 {
  return i32x4.shl(scales, 16);
}

/** Scales of channels 4 … 7. */
// @ts-ignore: decorator
@inline
function secondScales(scales: v128): v128 {
  return v128.and(scales, i32x4.splat(0xffff0000));
}

/** acc + sums · scales. */
// @ts-ignore: decorator
@inline
function addScaled(acc: v128, sums: v128, offset: v128, scales: v128, xScale: v128): v128 {
  return madd(f32x4.convert_i32x4_s(i32x4.add(sums, offset)), f32x4.mul(scales, xScale), acc);
}

/**
 * Panels p0 and p1, which may be the same: out = w · x + bias + addend of each. No output is stored before every addend
 * is read, since they may be one.
 */
function twoPanels(
  p0: usize, p1: usize, out: usize, outPanel: usize, x: usize, params: usize, w: usize, bias: usize, addend: usize,
  addendPanel: usize, blocks: i32,
): void {
  const stream = <usize>blocks * BLOCK_BYTES;
  let w0 = w + p0 * stream, w1 = w + p1 * stream;
  let acc0 = i32x4.splat(0), acc1 = acc0, acc2 = acc0, acc3 = acc0;
  let s0: v128, s1: v128, s2: v128, s3: v128, x0: v128, x1: v128;
  let offsets = params + <usize>blocks * 4;
  const ones = constantAt(ONES), mask = constantAt(BYTE_DOT ? BYTE_NIBBLES : WORD_NIBBLES);
  for (let block = blocks; block > 0; --block) {
    if (BYTE_DOT) {
      // nibbles of the first four channels from 16 on, of the others from 80; eight pairs of at most
      // 15 · 127 each: no i16 overflows
      x0 = v128.load32_splat(x); x1 = v128.load32_splat(x, 16);
      s0 = nibblePairs(v128.load(w0, 16), x0, x1, mask);
      s1 = nibblePairs(v128.load(w0, 80), x0, x1, mask);
      s2 = nibblePairs(v128.load(w1, 16), x0, x1, mask);
      s3 = nibblePairs(v128.load(w1, 80), x0, x1, mask);
      x0 = v128.load32_splat(x, 4); x1 = v128.load32_splat(x, 20);
      s0 = i16x8.add(s0, nibblePairs(v128.load(w0, 32), x0, x1, mask));
      s1 = i16x8.add(s1, nibblePairs(v128.load(w0, 96), x0, x1, mask));
      s2 = i16x8.add(s2, nibblePairs(v128.load(w1, 32), x0, x1, mask));
      s3 = i16x8.add(s3, nibblePairs(v128.load(w1, 96), x0, x1, mask));
      x0 = v128.load32_splat(x, 8); x1 = v128.load32_splat(x, 24);
      s0 = i16x8.add(s0, nibblePairs(v128.load(w0, 48), x0, x1, mask));
      s1 = i16x8.add(s1, nibblePairs(v128.load(w0, 112), x0, x1, mask));
      s2 = i16x8.add(s2, nibblePairs(v128.load(w1, 48), x0, x1, mask));
      s3 = i16x8.add(s3, nibblePairs(v128.load(w1, 112), x0, x1, mask));
      x0 = v128.load32_splat(x, 12); x1 = v128.load32_splat(x, 28);
      s0 = i16x8.add(s0, nibblePairs(v128.load(w0, 64), x0, x1, mask));
      s1 = i16x8.add(s1, nibblePairs(v128.load(w0, 128), x0, x1, mask));
      s2 = i16x8.add(s2, nibblePairs(v128.load(w1, 64), x0, x1, mask));
      s3 = i16x8.add(s3, nibblePairs(v128.load(w1, 128), x0, x1, mask));
      s0 = i32x4.dot_i16x8_s(s0, ones);
      s1 = i32x4.dot_i16x8_s(s1, ones);
      s2 = i32x4.dot_i16x8_s(s2, ones);
      s3 = i32x4.dot_i16x8_s(s3, ones);
    } else {
      let x2: v128, x3: v128;
      s0 = s1 = s2 = s3 = i32x4.splat(0);
      let xs = x, t0 = w0 + SCALES_BYTES, t1 = w1 + SCALES_BYTES, v = 4;
      do {
        x0 = v128.load32_splat(xs); x1 = v128.load32_splat(xs, 16);
        x2 = v128.load32_splat(xs, 32); x3 = v128.load32_splat(xs, 48);
        s0 = addNibbles(s0, v128.load(t0), x0, x1, x2, x3, mask);
        s1 = addNibbles(s1, v128.load(t0, HALF_BYTES), x0, x1, x2, x3, mask);
        s2 = addNibbles(s2, v128.load(t1), x0, x1, x2, x3, mask);
        s3 = addNibbles(s3, v128.load(t1, HALF_BYTES), x0, x1, x2, x3, mask);
        xs += 4; t0 += 16; t1 += 16;
      } while (--v);
    }
    const xScale = v128.load32_splat(params), offset = v128.load32_splat(offsets);
    x0 = v128.load(w0); x1 = v128.load(w1);
    acc0 = addScaled(acc0, s0, offset, firstScales(x0), xScale);
    acc1 = addScaled(acc1, s1, offset, secondScales(x0), xScale);
    acc2 = addScaled(acc2, s2, offset, firstScales(x1), xScale);
    acc3 = addScaled(acc3, s3, offset, secondScales(x1), xScale);
    x += X_BYTES; params += 4; offsets += 4;
    w0 += BLOCK_BYTES; w1 += BLOCK_BYTES;
  }
  const bias0 = bias + p0 * (PANEL * 4), bias1 = bias + p1 * (PANEL * 4);
  acc0 = f32x4.add(acc0, v128.load(bias0)); acc1 = f32x4.add(acc1, v128.load(bias0, 16));
  acc2 = f32x4.add(acc2, v128.load(bias1)); acc3 = f32x4.add(acc3, v128.load(bias1, 16));
  if (addend) {
    const addend0 = addend + p0 * addendPanel, addend1 = addend + p1 * addendPanel;
    acc0 = f32x4.add(acc0, v128.load(addend0)); acc1 = f32x4.add(acc1, v128.load(addend0, 16));
    acc2 = f32x4.add(acc2, v128.load(addend1)); acc3 = f32x4.add(acc3, v128.load(addend1, 16));
  }
  const out0 = out + p0 * outPanel, out1 = out + p1 * outPanel;
  v128.store(out0, acc0); v128.store(out0, acc1, 16);
  v128.store(out1, acc2); v128.store(out1, acc3, 16);
}

/**
 * Linear layer of one row on four-bit weights, output panels [begin, end) of eight columns. Two panels are read at a
 * time, from both halves of the range, so that each stream is long.
 *
 *   out = act(q · Wᵀ + bias + addend)      or, with ACT_GATE,      out = (q · Wᵀ + bias) ⊙ addend
 *
 * @param out        f32 [panels, 8], panels outPanel bytes apart
 * @param q, params  as quantizeVectorInt8 leaves them
 * @param w          [panels] of int4PanelBytes(k), as quantizePanelInt4 leaves them
 * @param bias       f32 [panels, 8]
 * @param addend     f32 [panels, 8], panels addendPanel bytes apart; 0 = none. May be `out` itself, but not a gate
 * @param act        ACT_NONE | ACT_RELU | ACT_GELU | ACT_SILU | ACT_GATE
 */
export function linearInt4(
  begin: i32, end: i32, out: usize, outPanel: usize, q: usize, params: usize, w: usize, bias: usize, addend: usize,
  addendPanel: usize, k: i32, act: i32,
): void {
  const added = act == ACT_GATE ? 0 : addend;
  const blocks = blocksOf(k);
  const half = <usize>(end - begin) >> 1;
  const middle = <usize>begin + half;
  for (let p = <usize>begin; p < middle; ++p) {
    twoPanels(p, p + half, out, outPanel, q, params, w, bias, added, addendPanel, blocks);
  }
  if (middle + half < <usize>end) {
    twoPanels(middle + half, middle + half, out, outPanel, q, params, w, bias, added, addendPanel, blocks);
  }
  for (let p = <usize>begin; p < <usize>end; ++p) {
    finishPanel(out + p * outPanel, 0, addend + p * addendPanel, 0, 1, act);
  }
}

/** Weights from the lowest nibble of every lane. */
// @ts-ignore: decorator
@inline
function decodeNibbles(t: v128, low: v128, scales: v128): v128 {
  return f32x4.mul(f32x4.add(f32x4.convert_i32x4_u(v128.and(t, i32x4.splat(15))), low), scales);
}

/**
 * One panel of packed weights → f32, for panelProduct.
 *
 * @param out    f32 [k, 8]
 * @param w      [panels] of int4PanelBytes(k)
 * @param panel  which
 */
export function unpackPanelInt4(out: usize, w: usize, panel: i32, k: i32): void {
  const low = constantAt(NIBBLE_LOW);
  let at = w + <usize>panel * int4PanelBytes(k);
  for (let left = k; left > 0; left -= BLOCK, at += BLOCK_BYTES, out += BLOCK * PANEL * 4) {
    const scales = v128.load(at), scales0 = firstScales(scales), scales1 = secondScales(scales);
    let vector = at + SCALES_BYTES, target = out;
    for (let i = 0; i < min(left, BLOCK / 2); vector += 16) {
      let t0 = v128.load(vector), t1 = v128.load(vector, HALF_BYTES);
      for (let end = min(left, i + 4); i < end; ++i, target += PANEL * 4) {
        v128.store(target, decodeNibbles(t0, low, scales0));
        v128.store(target, decodeNibbles(t1, low, scales1), 16);
        if (i + BLOCK / 2 < left) {
          v128.store(target, decodeNibbles(i32x4.shr_u(t0, 4), low, scales0), BLOCK / 2 * PANEL * 4);
          v128.store(target, decodeNibbles(i32x4.shr_u(t1, 4), low, scales1), BLOCK / 2 * PANEL * 4 + 16);
        }
        t0 = i32x4.shr_u(t0, 8); t1 = i32x4.shr_u(t1, 8);
      }
    }
  }
}
