// What several kernels share: multiply-add, horizontal sums, exp, GELU, SiLU.
// V8 rebuilds a splatted constant at every use inside a loop, so constants live in the memory header and
// are loaded before loops.
import { CONSTANTS } from "./header";

/** a·b + c: fused in the relaxed builds, rounded twice in the others. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  else return f32x4.add(f32x4.mul(a, b), c);
}

/**
 * The first half of madd(a, b, c), for a loop that begins a second product before it adds the
 * first: what addProduct takes.
 */
// @ts-ignore: decorator
@inline
export function product(a: v128, b: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return a;
  else return f32x4.mul(a, b);
}

/** The second half: fused, it does the whole. */
// @ts-ignore: decorator
@inline
export function addProduct(p: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(p, b, c);
  else return f32x4.add(p, c);
}

/** Whether products of bytes are one instruction: decides the layout of everything quantised. */
// @ts-ignore: decorator
@inline
export const BYTE_DOT: bool = ASC_FEATURE_RELAXED_SIMD;

/**
 * Products of the bytes of a, signed, and b, 0 … 127, added in pairs: exact while no pair is beyond
 * i16. Only where BYTE_DOT.
 */
// @ts-ignore: decorator
@inline
export function bytePairs(a: v128, b: v128): v128 {
  return i16x8.relaxed_dot_i8x16_i7x16_s(a, b);
}

/** 1 in the relaxed builds: for a host that was handed a module and does not know which it is. */
export function relaxedSimd(): i32 {
  return ASC_FEATURE_RELAXED_SIMD ? 1 : 0;
}

/** Sum of the four lanes, always in the same order. */
// @ts-ignore: decorator
@inline
export function sum4(v: v128): f32 {
  return f32x4.extract_lane(v, 0) + f32x4.extract_lane(v, 1) + (f32x4.extract_lane(v, 2) + f32x4.extract_lane(v, 3));
}

// @ts-ignore: decorator
@inline
export function max4(v: v128): f32 {
  return max(
    max(f32x4.extract_lane(v, 0), f32x4.extract_lane(v, 1)),
    max(f32x4.extract_lane(v, 2), f32x4.extract_lane(v, 3)),
  );
}

function constant(index: usize, value: f32): void {
  v128.store(<usize>CONSTANTS + index * 16, f32x4.splat(value));
}

/** The constant at `index`, four times. */
// @ts-ignore: decorator
@inline
export function constantAt(index: usize): v128 {
  return v128.load(<usize>CONSTANTS + index * 16);
}

/** Indices of constants that quantised kernels load. */
export const ROUND: usize = 17;
export const ONES: usize = 26;
export const BYTE_NIBBLES: usize = 27;
export const WORD_NIBBLES: usize = 28;
export const NIBBLE_LOW: usize = 29;
export const NIBBLE_HIGH: usize = 30;

/** Writes the constants into the header. Once per memory, before any kernel runs. */
export function initialise(): void {
  // GELU: Φ(x) − ½ ≈ x·P(x²)/Q(x²) on |x| ≤ 5.3, minimax to 1.4e-8
  constant(0, 0.5);
  constant(1, 5.3);
  constant(2, -5.3);
  constant(3, 0.3989422365455195);
  constant(4, 0.03365173081916589);
  constant(5, 0.004671977020444314);
  constant(6, 0.0001676628758918041);
  constant(7, 6.429230872690223e-6);
  constant(8, 2.3470758725399722e-8);
  constant(9, 1.0);
  constant(10, 0.2510181262981855);
  constant(11, 0.028548946012001787);
  constant(12, 0.0018777984419257497);
  constant(13, 7.37097197085329e-5);
  constant(14, 1.2240727153127962e-6);
  // exp: 2^n · e^r, n = round(x/ln 2) by adding 1.5·2^23, r in [−ln2/2, ln2/2]
  constant(16, 1.4426950408889634);
  constant(17, 12582912.0);
  constant(18, -0.693145751953125);
  constant(19, -1.4286068203094172e-6);
  constant(20, 0.1666666716337204);
  constant(21, 0.041665733);
  constant(22, 0.008333736);
  constant(23, 0.0013930436);
  constant(24, 88.0);
  constant(25, -87.0);
  // quantised products: ones that add pairs of i16, masks of a nibble in bytes and in i16, the ends of a signed nibble
  v128.store(<usize>CONSTANTS + ONES * 16, i16x8.splat(1));
  v128.store(<usize>CONSTANTS + BYTE_NIBBLES * 16, i8x16.splat(15));
  v128.store(<usize>CONSTANTS + WORD_NIBBLES * 16, i16x8.splat(15));
  constant(NIBBLE_LOW, -8);
  constant(NIBBLE_HIGH, 7);
}

/** GELU in its erf form, x·Φ(x): within 2.3e-7·|x| of exact. */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  // pmin and pmax are one instruction each; min and max, with their care for NaN and −0, are eight. NaN stays NaN here
  const c = f32x4.pmax(f32x4.pmin(x, constantAt(1)), constantAt(2));
  const u = f32x4.mul(c, c);
  let p = madd(constantAt(8), u, constantAt(7));
  let q = madd(constantAt(14), u, constantAt(13));
  p = madd(p, u, constantAt(6));
  q = madd(q, u, constantAt(12));
  p = madd(p, u, constantAt(5));
  q = madd(q, u, constantAt(11));
  p = madd(p, u, constantAt(4));
  q = madd(q, u, constantAt(10));
  p = madd(p, u, constantAt(3));
  q = madd(q, u, constantAt(9));
  return f32x4.mul(x, f32x4.add(constantAt(0), f32x4.div(f32x4.mul(c, p), q)));
}

/**
 * GELU of eight neighbours in each of two rows, in place, with the bits of gelu(): constants are
 * loaded once for four vectors.
 */
// @ts-ignore: decorator
@inline
export function geluTwoRows(at: usize, bt: usize): void {
  let k = constantAt(1);
  let c0 = f32x4.pmin(v128.load(at), k), c1 = f32x4.pmin(v128.load(at, 16), k);
  let c2 = f32x4.pmin(v128.load(bt), k), c3 = f32x4.pmin(v128.load(bt, 16), k);
  k = constantAt(2); c0 = f32x4.pmax(c0, k); c1 = f32x4.pmax(c1, k); c2 = f32x4.pmax(c2, k); c3 = f32x4.pmax(c3, k);
  const u0 = f32x4.mul(c0, c0), u1 = f32x4.mul(c1, c1), u2 = f32x4.mul(c2, c2), u3 = f32x4.mul(c3, c3);
  let b = constantAt(8);
  k = constantAt(7); let p0 = madd(b, u0, k), p1 = madd(b, u1, k), p2 = madd(b, u2, k), p3 = madd(b, u3, k);
  k = constantAt(6); p0 = madd(p0, u0, k); p1 = madd(p1, u1, k); p2 = madd(p2, u2, k); p3 = madd(p3, u3, k);
  k = constantAt(5); p0 = madd(p0, u0, k); p1 = madd(p1, u1, k); p2 = madd(p2, u2, k); p3 = madd(p3, u3, k);
  k = constantAt(4); p0 = madd(p0, u0, k); p1 = madd(p1, u1, k); p2 = madd(p2, u2, k); p3 = madd(p3, u3, k);
  k = constantAt(3); p0 = madd(p0, u0, k); p1 = madd(p1, u1, k); p2 = madd(p2, u2, k); p3 = madd(p3, u3, k);
  p0 = f32x4.mul(c0, p0); p1 = f32x4.mul(c1, p1); p2 = f32x4.mul(c2, p2); p3 = f32x4.mul(c3, p3);
  // the denominators take the numerators' registers, and x is loaded again: more would spill
  b = constantAt(14);
  k = constantAt(13); c0 = madd(b, u0, k); c1 = madd(b, u1, k); c2 = madd(b, u2, k); c3 = madd(b, u3, k);
  k = constantAt(12); c0 = madd(c0, u0, k); c1 = madd(c1, u1, k); c2 = madd(c2, u2, k); c3 = madd(c3, u3, k);
  k = constantAt(11); c0 = madd(c0, u0, k); c1 = madd(c1, u1, k); c2 = madd(c2, u2, k); c3 = madd(c3, u3, k);
  k = constantAt(10); c0 = madd(c0, u0, k); c1 = madd(c1, u1, k); c2 = madd(c2, u2, k); c3 = madd(c3, u3, k);
  k = constantAt(9); c0 = madd(c0, u0, k); c1 = madd(c1, u1, k); c2 = madd(c2, u2, k); c3 = madd(c3, u3, k);
  k = constantAt(0);
  v128.store(at, f32x4.mul(v128.load(at), f32x4.add(k, f32x4.div(p0, c0))));
  v128.store(at, f32x4.mul(v128.load(at, 16), f32x4.add(k, f32x4.div(p1, c1))), 16);
  v128.store(bt, f32x4.mul(v128.load(bt), f32x4.add(k, f32x4.div(p2, c2))));
  v128.store(bt, f32x4.mul(v128.load(bt, 16), f32x4.add(k, f32x4.div(p3, c3))), 16);
}

/** e^x, x clamped to [−87, 88]: relative error below 2e-7. */
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  const clamped = f32x4.pmax(f32x4.pmin(x, constantAt(24)), constantAt(25));
  const shifted = f32x4.add(f32x4.mul(clamped, constantAt(16)), constantAt(17));
  const n = f32x4.sub(shifted, constantAt(17));
  const r = madd(n, constantAt(19), madd(n, constantAt(18), clamped));
  let p = madd(constantAt(23), r, constantAt(22));
  p = madd(p, r, constantAt(21));
  p = madd(p, r, constantAt(20));
  p = madd(p, r, constantAt(0));
  p = madd(p, r, constantAt(9));
  p = madd(p, r, constantAt(9));
  // the low bits of 1.5·2^23 + n hold n: moved to the exponent
  return i32x4.add(p, i32x4.shl(shifted, 23));
}

/**
 * Eight floats in place, x → e^(x − peak), none above peak; returns the sum of the two halves. Twice exp4 with
 * each constant loaded once.
 */
// @ts-ignore: decorator
@inline
export function exp8(at: usize, peak: v128): v128 {
  const least = constantAt(25);
  const log2e = constantAt(16);
  const round = constantAt(17);
  const high = constantAt(18);
  const low = constantAt(19);
  const x0 = f32x4.pmax(f32x4.sub(v128.load(at), peak), least);
  const x1 = f32x4.pmax(f32x4.sub(v128.load(at, 16), peak), least);
  const s0 = f32x4.add(f32x4.mul(x0, log2e), round), s1 = f32x4.add(f32x4.mul(x1, log2e), round);
  const n0 = f32x4.sub(s0, round), n1 = f32x4.sub(s1, round);
  const r0 = madd(n0, low, madd(n0, high, x0)), r1 = madd(n1, low, madd(n1, high, x1));
  let c = constantAt(22), p0 = constantAt(23), p1 = p0;
  p0 = madd(p0, r0, c); p1 = madd(p1, r1, c); c = constantAt(21);
  p0 = madd(p0, r0, c); p1 = madd(p1, r1, c); c = constantAt(20);
  p0 = madd(p0, r0, c); p1 = madd(p1, r1, c); c = constantAt(0);
  p0 = madd(p0, r0, c); p1 = madd(p1, r1, c); c = constantAt(9);
  p0 = madd(madd(p0, r0, c), r0, c); p1 = madd(madd(p1, r1, c), r1, c);
  p0 = i32x4.add(p0, i32x4.shl(s0, 23)); p1 = i32x4.add(p1, i32x4.shl(s1, 23));
  v128.store(at, p0); v128.store(at, p1, 16);
  return f32x4.add(p0, p1);
}

/** x·σ(x). */
// @ts-ignore: decorator
@inline
export function silu(x: v128): v128 {
  return f32x4.div(x, f32x4.add(constantAt(9), exp4(f32x4.neg(x))));
}
