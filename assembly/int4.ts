// Linear layers on four-bit weights, for decode: one row of activations, quantised to i8, and weights in blocks of 32 along k with
// a scale each. Prefill unpacks a panel and multiplies in f32. Sums within a block are exact integers, the same in every build.
//
// A row of weights: groups of four blocks, then one of two and one of one as needed; of every group first the scales as bfloat16, 2 bytes
// each, then the nibbles, 16 bytes each. 4.5 bits a weight, all in one stream. A bfloat16 has the range of an f32, and its coarse
// steps cost nothing, because the scale is chosen before the nibbles are. Value: (nibble − 8) · scale.
//
// A block's nibbles are four 32-bit words, k = 0 … 15 in the low halves of their bytes, 16 … 31 in the high ones. In a group of four blocks
// lane j of every vector belongs to block j, in a group of two lanes j and j + 2, so that one multiplication scales the whole group.
import { PANEL } from "./header";
import { finishPanel, quarterOf } from "./matmul";
import { ACT_GATE } from "./opcodes";
import { BYTE_DOT, BYTE_NIBBLES, bytePairs, constantAt, madd, max4, NIBBLE_HIGH, NIBBLE_LOW, ONES, ROUND, sum4, WORD_NIBBLES } from "./simd";

/** Weights that share a scale. */
const BLOCK: i32 = 32;
/** Bytes of a group of four blocks, of two, and of one. */
const FOUR_BYTES: usize = 72;
const TWO_BYTES: usize = 36;
const BLOCK_BYTES: usize = 18;
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

/** Bytes of one packed row of weights. */
export function int4RowBytes(k: i32): usize {
  return <usize>blocksOf(k) * BLOCK_BYTES;
}

/** Bytes of one quantised vector of activations. */
export function int4VectorBytes(k: i32): usize {
  return <usize>blocksOf(k) * X_BYTES;
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

/** How many blocks are in the group of block `block`. */
// @ts-ignore: decorator
@inline
function groupOf(block: i32, blocks: i32): i32 {
  return block < (blocks & ~3) ? 4 : block < (blocks & ~1) ? 2 : 1;
}

/** Where word `word` of a block is, from its first, when vectors are `vector` bytes apart. */
// @ts-ignore: decorator
@inline
function wordOffset(group: i32, word: i32, vector: usize): usize {
  return group == 4 ? <usize>word * vector : group == 2 ? <usize>(word >> 1) * vector + <usize>(word & 1) * 8 : <usize>word * 4;
}

/** Stores the four words of v where a group's block has them. */
// @ts-ignore: decorator
@inline
function scatter(at: usize, group: i32, vector: usize, v: v128): void {
  v128.store32_lane(at, v, 0);
  v128.store32_lane(at + wordOffset(group, 1, vector), v, 1);
  v128.store32_lane(at + wordOffset(group, 2, vector), v, 2);
  v128.store32_lane(at + wordOffset(group, 3, vector), v, 3);
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

/** Stores a block's scale and returns its nibbles, from the `left` numbers at `row`, or 32. */
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
  const first = narrow(quad(row, left, 0, inverse4), quad(row, left, 4, inverse4), quad(row, left, 8, inverse4), quad(row, left, 12, inverse4));
  const second = narrow(quad(row, left, 16, inverse4), quad(row, left, 20, inverse4), quad(row, left, 24, inverse4), quad(row, left, 28, inverse4));
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
 * One row of weights → one packed row. Each block's scale is the best of fourteen: the largest weight is put at −9, −8.75 … −6 or 7
 * steps, all are rounded, and least squares give the scale of those steps.
 *
 * @param out  int4RowBytes(k)
 * @param row  f32 [k], finite
 */
export function quantizeRowInt4(out: usize, row: usize, k: i32): void {
  const blocks = blocksOf(k);
  for (let block = 0; block < blocks;) {
    const group = groupOf(block, blocks), nibbles = out + <usize>group * 2;
    for (let j: usize = 0; j < <usize>group; ++j, ++block) {
      scatter(nibbles + j * 4, group, 16, quantizeBlock(out + j * 2, row, k - block * BLOCK));
      row += BLOCK * 4;
    }
    out += <usize>group * BLOCK_BYTES;
  }
}

/**
 * Activations → i8 in −127 … 127 with a scale for each block of 32, in the order of a packed row.
 * A block with a NaN or an infinity has scale NaN, which makes every output NaN.
 *
 * @param out     int4VectorBytes(k): i8 in relaxed builds, i16 of the same values in the others, even and odd places apart
 * @param params  f32 [blocks] scales, max |x| / 127, then i32 [blocks] offsets, −8 · Σ q; blocks = ⌈k/32⌉
 * @param x       f32 [k]
 */
export function quantizeVectorInt8(out: usize, params: usize, x: usize, k: i32): void {
  const blocks = blocksOf(k), none = i32x4.splat(0), round = constantAt(ROUND), ones = constantAt(ONES);
  for (let block = 0, left = k; block < blocks; ++block, left -= BLOCK) {
    const x0 = loadSome(x, left), x1 = loadSome(x + 16, left - 4), x2 = loadSome(x + 32, left - 8), x3 = loadSome(x + 48, left - 12);
    const x4 = loadSome(x + 64, left - 16), x5 = loadSome(x + 80, left - 20), x6 = loadSome(x + 96, left - 24), x7 = loadSome(x + 112, left - 28);
    const high = f32x4.pmax(
      f32x4.pmax(f32x4.pmax(f32x4.abs(x0), f32x4.abs(x1)), f32x4.pmax(f32x4.abs(x2), f32x4.abs(x3))),
      f32x4.pmax(f32x4.pmax(f32x4.abs(x4), f32x4.abs(x5)), f32x4.pmax(f32x4.abs(x6), f32x4.abs(x7))),
    );
    const poison4 = f32x4.add(
      f32x4.add(f32x4.add(f32x4.mul(x0, none), f32x4.mul(x1, none)), f32x4.add(f32x4.mul(x2, none), f32x4.mul(x3, none))),
      f32x4.add(f32x4.add(f32x4.mul(x4, none), f32x4.mul(x5, none)), f32x4.add(f32x4.mul(x6, none), f32x4.mul(x7, none))),
    );
    const poison = sum4(poison4);
    let scale: f32 = max4(high) / 127;
    const used = scale >= SMALLEST_SCALE && poison == 0;
    if (!used) scale = 0;
    const inverse = f32x4.splat(used ? 1 / scale : 0);
    const first = narrow(nearest(x0, inverse, round), nearest(x1, inverse, round), nearest(x2, inverse, round), nearest(x3, inverse, round));
    const second = narrow(nearest(x4, inverse, round), nearest(x5, inverse, round), nearest(x6, inverse, round), nearest(x7, inverse, round));
    // sums of pairs of bytes, then of pairs of those
    const pairs = i16x8.add(i16x8.extadd_pairwise_i8x16_s(first), i16x8.extadd_pairwise_i8x16_s(second)), sums = i32x4.dot_i16x8_s(pairs, ones);
    const sum = i32x4.extract_lane(sums, 0) + i32x4.extract_lane(sums, 1) + i32x4.extract_lane(sums, 2) + i32x4.extract_lane(sums, 3);
    store<f32>(params + <usize>block * 4, scale + poison);
    store<i32>(params + <usize>(blocks + block) * 4, -8 * sum);

    const group = groupOf(block, blocks), j = block & (group - 1), at = out + <usize>(block - j) * X_BYTES + <usize>j * 4;
    if (BYTE_DOT) {
      scatter(at, group, X_BYTES, first);
      scatter(at + 16, group, X_BYTES, second);
    } else {
      scatter(at, group, X_BYTES, i16x8.shr_s(i16x8.shl(first, 8), 8));
      scatter(at + 16, group, X_BYTES, i16x8.shr_s(i16x8.shl(second, 8), 8));
      scatter(at + 32, group, X_BYTES, i16x8.shr_s(first, 8));
      scatter(at + 48, group, X_BYTES, i16x8.shr_s(second, 8));
    }
    x += BLOCK * 4;
  }
}

/** round(x · inverse) as integers. */
// @ts-ignore: decorator
@inline
function nearest(x: v128, inverse: v128, round: v128): v128 {
  return i32x4.sub(f32x4.add(f32x4.mul(x, inverse), round), round);
}

/** c + Σ nibble·x of a vector of weights, the nibbles taken as i16: even bytes' low and high, then odd bytes'. */
// @ts-ignore: decorator
@inline
function wordNibbles(c: v128, t: v128, x0: v128, x1: v128, x2: v128, x3: v128, mask: v128): v128 {
  c = i32x4.add(c, i32x4.dot_i16x8_s(v128.and(t, mask), x0));
  c = i32x4.add(c, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(t, 4), mask), x1));
  c = i32x4.add(c, i32x4.dot_i16x8_s(v128.and(i16x8.shr_u(t, 8), mask), x2));
  return i32x4.add(c, i32x4.dot_i16x8_s(i16x8.shr_u(t, 12), x3));
}

/** acc + sums · scales, where sums are those of a four and scales are at w. */
// @ts-ignore: decorator
@inline
function scaleFour(acc: v128, sums: v128, offsets: v128, w: usize, xScales: v128): v128 {
  const scales = f32x4.mul(i32x4.shl(v128.load16x4_u(w), 16), xScales);
  return madd(f32x4.convert_i32x4_s(i32x4.add(sums, offsets)), scales, acc);
}

/** The sums of a group of two blocks, its nibbles at w. */
// @ts-ignore: decorator
@inline
function twoSums(w: usize, x: usize): v128 {
  const t = v128.load(w), u = v128.load(w, 16);
  if (BYTE_DOT) {
    const mask = constantAt(BYTE_NIBBLES);
    return i32x4.dot_i16x8_s(i16x8.add(
      i16x8.add(bytePairs(v128.load(x), v128.and(t, mask)), bytePairs(v128.load(x, 16), v128.and(i16x8.shr_u(t, 4), mask))),
      i16x8.add(bytePairs(v128.load(x, 32), v128.and(u, mask)), bytePairs(v128.load(x, 48), v128.and(i16x8.shr_u(u, 4), mask))),
    ), constantAt(ONES));
  }
  const mask = constantAt(WORD_NIBBLES);
  return wordNibbles(
    wordNibbles(i32x4.splat(0), t, v128.load(x), v128.load(x, 16), v128.load(x, 32), v128.load(x, 48), mask),
    u, v128.load(x, 64), v128.load(x, 80), v128.load(x, 96), v128.load(x, 112), mask,
  );
}

/** acc + sums · scales of a group of two; its two scales are at w, offsets are in the first two lanes. */
// @ts-ignore: decorator
@inline
function scaleTwo(acc: v128, sums: v128, offsets: v128, w: usize, xScales: v128): v128 {
  const scales = f32x4.mul(i32x4.shl(i32x4.extend_low_i16x8_u(v128.load32_splat(w)), 16), xScales);
  return madd(f32x4.convert_i32x4_s(i32x4.add(sums, offsets)), scales, acc);
}

/** acc + one block's product, lanes not yet summed. */
// @ts-ignore: decorator
@inline
function addBlock(acc: v128, w: usize, x: usize, scale: f32, offset: v128): v128 {
  const t = v128.load(w, 2);
  let sums: v128;
  if (BYTE_DOT) {
    const mask = constantAt(BYTE_NIBBLES);
    const pairs = i16x8.add(bytePairs(v128.load(x), v128.and(t, mask)), bytePairs(v128.load(x, 16), v128.and(i16x8.shr_u(t, 4), mask)));
    sums = i32x4.add(offset, i32x4.dot_i16x8_s(pairs, constantAt(ONES)));
  } else {
    sums = wordNibbles(offset, t, v128.load(x), v128.load(x, 16), v128.load(x, 32), v128.load(x, 48), constantAt(WORD_NIBBLES));
  }
  return madd(f32x4.convert_i32x4_s(sums), f32x4.splat(reinterpret<f32>(<u32>load<u16>(w) << 16) * scale), acc);
}

/** Four rows of weights, `stream` bytes apart: out = w · x + bias + addend of each, `outStream` and `biasStream` bytes apart. */
function fourRows(
  out: usize, outStream: usize, x: usize, params: usize, w: usize, stream: usize, bias: usize, biasStream: usize,
  addend: usize, addendStream: usize, blocks: i32,
): void {
  let w0 = w, w1 = w + stream, w2 = w1 + stream, w3 = w2 + stream;
  let acc0 = i32x4.splat(0), acc1 = acc0, acc2 = acc0, acc3 = acc0;
  let s0: v128, s1: v128, s2: v128, s3: v128, t: v128, x0: v128, x1: v128;
  let offsets = params + <usize>blocks * 4;
  const ones = constantAt(ONES), mask = constantAt(BYTE_DOT ? BYTE_NIBBLES : WORD_NIBBLES);
  for (let fours = blocks >> 2; fours > 0; --fours) {
    if (BYTE_DOT) {
      // at most eight pairs of 15 · 127 each: no i16 overflows
      x0 = v128.load(x); x1 = v128.load(x, 16);
      t = v128.load(w0, 8); s0 = i16x8.add(bytePairs(x0, v128.and(t, mask)), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w1, 8); s1 = i16x8.add(bytePairs(x0, v128.and(t, mask)), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w2, 8); s2 = i16x8.add(bytePairs(x0, v128.and(t, mask)), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w3, 8); s3 = i16x8.add(bytePairs(x0, v128.and(t, mask)), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      x0 = v128.load(x, 32); x1 = v128.load(x, 48);
      t = v128.load(w0, 24); s0 = i16x8.add(i16x8.add(s0, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w1, 24); s1 = i16x8.add(i16x8.add(s1, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w2, 24); s2 = i16x8.add(i16x8.add(s2, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w3, 24); s3 = i16x8.add(i16x8.add(s3, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      x0 = v128.load(x, 64); x1 = v128.load(x, 80);
      t = v128.load(w0, 40); s0 = i16x8.add(i16x8.add(s0, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w1, 40); s1 = i16x8.add(i16x8.add(s1, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w2, 40); s2 = i16x8.add(i16x8.add(s2, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w3, 40); s3 = i16x8.add(i16x8.add(s3, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      x0 = v128.load(x, 96); x1 = v128.load(x, 112);
      t = v128.load(w0, 56); s0 = i16x8.add(i16x8.add(s0, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w1, 56); s1 = i16x8.add(i16x8.add(s1, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w2, 56); s2 = i16x8.add(i16x8.add(s2, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      t = v128.load(w3, 56); s3 = i16x8.add(i16x8.add(s3, bytePairs(x0, v128.and(t, mask))), bytePairs(x1, v128.and(i16x8.shr_u(t, 4), mask)));
      s0 = i32x4.dot_i16x8_s(s0, ones);
      s1 = i32x4.dot_i16x8_s(s1, ones);
      s2 = i32x4.dot_i16x8_s(s2, ones);
      s3 = i32x4.dot_i16x8_s(s3, ones);
    } else {
      let x2: v128, x3: v128, at = x, v = 4;
      s0 = s1 = s2 = s3 = i32x4.splat(0);
      do {
        x0 = v128.load(at); x1 = v128.load(at, 16); x2 = v128.load(at, 32); x3 = v128.load(at, 48);
        s0 = wordNibbles(s0, v128.load(w0, 8), x0, x1, x2, x3, mask);
        s1 = wordNibbles(s1, v128.load(w1, 8), x0, x1, x2, x3, mask);
        s2 = wordNibbles(s2, v128.load(w2, 8), x0, x1, x2, x3, mask);
        s3 = wordNibbles(s3, v128.load(w3, 8), x0, x1, x2, x3, mask);
        at += 64; w0 += 16; w1 += 16; w2 += 16; w3 += 16;
      } while (--v);
      w0 -= 64; w1 -= 64; w2 -= 64; w3 -= 64;
    }
    x0 = v128.load(params); x1 = v128.load(offsets);
    acc0 = scaleFour(acc0, s0, x1, w0, x0);
    acc1 = scaleFour(acc1, s1, x1, w1, x0);
    acc2 = scaleFour(acc2, s2, x1, w2, x0);
    acc3 = scaleFour(acc3, s3, x1, w3, x0);
    x += 4 * X_BYTES; params += 16; offsets += 16;
    w0 += FOUR_BYTES; w1 += FOUR_BYTES; w2 += FOUR_BYTES; w3 += FOUR_BYTES;
  }
  if (blocks & 2) {
    x0 = v128.load64_splat(params); x1 = v128.load64_zero(offsets);
    acc0 = scaleTwo(acc0, twoSums(w0 + 4, x), x1, w0, x0);
    acc1 = scaleTwo(acc1, twoSums(w1 + 4, x), x1, w1, x0);
    acc2 = scaleTwo(acc2, twoSums(w2 + 4, x), x1, w2, x0);
    acc3 = scaleTwo(acc3, twoSums(w3 + 4, x), x1, w3, x0);
    x += 2 * X_BYTES; params += 8; offsets += 8;
    w0 += TWO_BYTES; w1 += TWO_BYTES; w2 += TWO_BYTES; w3 += TWO_BYTES;
  }
  if (blocks & 1) {
    const scale = load<f32>(params), offset = v128.load32_zero(offsets);
    acc0 = addBlock(acc0, w0, x, scale, offset);
    acc1 = addBlock(acc1, w1, x, scale, offset);
    acc2 = addBlock(acc2, w2, x, scale, offset);
    acc3 = addBlock(acc3, w3, x, scale, offset);
  }
  // lanes 0 + 1 and 2 + 3 of two rows, then the sums of all four
  s0 = f32x4.add(i32x4.shuffle(acc0, acc1, 0, 2, 4, 6), i32x4.shuffle(acc0, acc1, 1, 3, 5, 7));
  s1 = f32x4.add(i32x4.shuffle(acc2, acc3, 0, 2, 4, 6), i32x4.shuffle(acc2, acc3, 1, 3, 5, 7));
  s0 = f32x4.add(i32x4.shuffle(s0, s1, 0, 2, 4, 6), i32x4.shuffle(s0, s1, 1, 3, 5, 7));
  s0 = f32x4.add(s0, gather(bias, biasStream));
  if (addend) s0 = f32x4.add(s0, gather(addend, addendStream));
  v128.store32_lane(out, s0, 0); out += outStream;
  v128.store32_lane(out, s0, 1); out += outStream;
  v128.store32_lane(out, s0, 2); out += outStream;
  v128.store32_lane(out, s0, 3);
}

/** Four floats `stream` bytes apart. */
// @ts-ignore: decorator
@inline
function gather(at: usize, stream: usize): v128 {
  let v = v128.load32_zero(at);
  v = v128.load32_lane(at + stream, v, 1);
  v = v128.load32_lane(at + 2 * stream, v, 2);
  return v128.load32_lane(at + 3 * stream, v, 3);
}

/**
 * Linear layer of one row on four-bit weights, output panels [begin, end) of eight columns. Four rows of weights are read at a time, from
 * four quarters of the range, so that each stream is long.
 *
 *   out = act(q · Wᵀ + bias + addend)      or, with ACT_GATE,      out = (q · Wᵀ + bias) ⊙ addend
 *
 * @param out        f32 [panels, 8], panels outPanel bytes apart
 * @param q, params  as quantizeVectorInt8 leaves them
 * @param w          [panels, 8] rows of int4RowBytes(k), as quantizeRowInt4 leaves them
 * @param bias       f32 [panels, 8]
 * @param addend     f32 [panels, 8], panels addendPanel bytes apart; 0 = none. May be `out` itself, but not a gate
 * @param act        ACT_NONE | ACT_RELU | ACT_GELU | ACT_SILU | ACT_GATE
 */
export function linearInt4(
  begin: i32, end: i32, out: usize, outPanel: usize, q: usize, params: usize, w: usize, bias: usize, addend: usize, addendPanel: usize, k: i32, act: i32,
): void {
  const added = act == ACT_GATE ? 0 : addend, row = int4RowBytes(k), blocks = blocksOf(k);
  const quarter = quarterOf(end - begin, PANEL * row), far = <usize>begin + 4 * quarter;
  let p = <usize>begin;
  for (; p < <usize>begin + quarter; ++p) {
    for (let r: usize = 0; r < <usize>PANEL; ++r) {
      fourRows(
        out + p * outPanel + r * 4, quarter * outPanel, q, params, w + (p * PANEL + r) * row, quarter * PANEL * row,
        bias + (p * PANEL + r) * 4, quarter * (PANEL * 4), added ? added + p * addendPanel + r * 4 : 0, quarter * addendPanel, blocks,
      );
    }
  }
  for (p = far; p < <usize>end; ++p) {
    for (let r: usize = 0; r < <usize>PANEL; r += 4) {
      fourRows(
        out + p * outPanel + r * 4, 4, q, params, w + (p * PANEL + r) * row, row,
        bias + (p * PANEL + r) * 4, 4, added ? added + p * addendPanel + r * 4 : 0, 4, blocks,
      );
    }
  }
  for (p = begin; p < <usize>end; ++p) finishPanel(out + p * outPanel, 0, addend + p * addendPanel, 0, 1, act);
}

/** Four weights from a word of nibbles: bits `shift` … of each byte. */
// @ts-ignore: decorator
@inline
function decodeQuad(at: usize, shift: i32, scale: v128): v128 {
  const bytes = v128.and(i32x4.shr_u(v128.load32_zero(at), shift), constantAt(BYTE_NIBBLES));
  const steps = f32x4.convert_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes)));
  return f32x4.mul(f32x4.add(steps, constantAt(NIBBLE_LOW)), scale);
}

// @ts-ignore: decorator
@inline
function scaleAt(at: usize): v128 {
  return f32x4.splat(reinterpret<f32>(<u32>load<u16>(at) << 16));
}

/**
 * Eight rows of packed weights → one panel of f32, for panelProduct.
 *
 * @param out    f32 [k, 8]
 * @param w      [panels, 8] rows of int4RowBytes(k)
 * @param panel  which
 */
export function unpackPanelInt4(out: usize, w: usize, panel: i32, k: i32): void {
  const row = int4RowBytes(k), blocks = blocksOf(k);
  for (let half: usize = 0; half < 2; ++half) {
    const rows = w + (<usize>panel * PANEL + half * 4) * row;
    for (let block = 0; block < blocks; ++block) {
      const group = groupOf(block, blocks), j = <usize>(block & (group - 1)), first = rows + (<usize>block - j) * BLOCK_BYTES;
      const scales = first + j * 2, nibbles = first + <usize>group * 2 + j * 4;
      const scale0 = scaleAt(scales), scale1 = scaleAt(scales + row), scale2 = scaleAt(scales + 2 * row), scale3 = scaleAt(scales + 3 * row);
      for (let i = 0; i < 8; ++i) {
        const left = k - block * BLOCK - i * 4, at = nibbles + wordOffset(group, i & 3, 16), shift = i & 4;
        if (left <= 0) break;
        const target = out + <usize>(block * BLOCK + i * 4) * 32 + half * 16;
        const v0 = decodeQuad(at, shift, scale0), v1 = decodeQuad(at + row, shift, scale1);
        const v2 = decodeQuad(at + 2 * row, shift, scale2), v3 = decodeQuad(at + 3 * row, shift, scale3);
        const a = i32x4.shuffle(v0, v1, 0, 4, 1, 5), b = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
        const c = i32x4.shuffle(v0, v1, 2, 6, 3, 7), d = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
        v128.store(target, i32x4.shuffle(a, b, 0, 1, 4, 5));
        if (left > 1) v128.store(target, i32x4.shuffle(a, b, 2, 3, 6, 7), 32);
        if (left > 2) v128.store(target, i32x4.shuffle(c, d, 0, 1, 4, 5), 64);
        if (left > 3) v128.store(target, i32x4.shuffle(c, d, 2, 3, 6, 7), 96);
      }
    }
  }
}
