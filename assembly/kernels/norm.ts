// Per-row norms, and the per-channel affine map, for networks whose norms do not fold.
import { floats, good, reads, span, writes } from "../extents";
import { PANEL } from "../header";
import { madd, sum4 } from "../simd";

/**
 * Layer norm, rows [begin, end): y = (x − mean)/√(var + eps) · weight + bias, variance over the row (biased).
 *
 * @op 10 rows
 * @param out, x        f32 [rows, dim], row strides in bytes; out may be x
 * @param weight, bias  f32 [dim], padded with zeros to a multiple of 4
 */
export function layerNorm(
  begin: i32, end: i32, out: usize, outRow: usize, x: usize, xRow: usize, weight: usize, bias: usize, dim: i32,
  eps: f32,
): void {
  const whole = dim & ~3;
  for (let r = begin; r < end; ++r) {
    const row = x + <usize>r * xRow, target = out + <usize>r * outRow;
    let s = i32x4.splat(0);
    for (let i = 0; i < whole; i += 4) s = f32x4.add(s, v128.load(row + <usize>i * 4));
    let sum = sum4(s);
    for (let i = whole; i < dim; ++i) sum += load<f32>(row + <usize>i * 4);
    const mean = sum / <f32>dim, mean4 = f32x4.splat(mean);
    s = i32x4.splat(0);
    for (let i = 0; i < whole; i += 4) {
      const d = f32x4.sub(v128.load(row + <usize>i * 4), mean4);
      s = madd(d, d, s);
    }
    sum = sum4(s);
    for (let i = whole; i < dim; ++i) {
      const d = load<f32>(row + <usize>i * 4) - mean;
      sum += d * d;
    }
    const scale = <f32>(1.0 / Math.sqrt(<f64>sum / <f64>dim + <f64>eps)), scale4 = f32x4.splat(scale);
    for (let i = 0; i < whole; i += 4) {
      const at = <usize>i * 4;
      const n = f32x4.mul(f32x4.sub(v128.load(row + at), mean4), scale4);
      v128.store(target + at, madd(n, v128.load(weight + at), v128.load(bias + at)));
    }
    for (let i = whole; i < dim; ++i) {
      const at = <usize>i * 4;
      store<f32>(target + at, (load<f32>(row + at) - mean) * scale * load<f32>(weight + at) + load<f32>(bias + at));
    }
  }
}

/** What layerNorm touches. */
export function layerNormFits(
  units: i32, out: usize, outRow: usize, x: usize, xRow: usize, weight: usize, bias: usize, dim: i32, eps: f32,
): bool {
  return normTouches(units, out, outRow, x, xRow, dim) && reads(weight, floats(dim)) && reads(bias, floats(dim));
}

/** What norms have in common. */
function normTouches(units: i32, out: usize, outRow: usize, x: usize, xRow: usize, dim: i32): bool {
  return good(dim) && writes(out, span(units, outRow, floats(dim))) && reads(x, span(units, xRow, floats(dim)));
}

/**
 * Per-channel affine map, rows [begin, end): y = x ⊙ weight + bias, over whole panels of eight channels.
 * An unfolded RepBN at inference (SLAB, arXiv:2405.11582).
 *
 * @op 9 rows
 * @param out, x        f32 [rows, dim padded to 8], row strides in bytes; out may be x
 * @param weight, bias  f32 [dim padded to 8]
 */
export function affine(
  begin: i32, end: i32, out: usize, outRow: usize, x: usize, xRow: usize, weight: usize, bias: usize, dim: i32,
): void {
  for (let r = begin; r < end; ++r) {
    const row = x + <usize>r * xRow, target = out + <usize>r * outRow;
    for (let i = 0; i < dim; i += 4) {
      const at = <usize>i * 4;
      v128.store(target + at, madd(v128.load(row + at), v128.load(weight + at), v128.load(bias + at)));
    }
  }
}

/** What affine touches. */
export function affineFits(
  units: i32, out: usize, outRow: usize, x: usize, xRow: usize, weight: usize, bias: usize, dim: i32,
): bool {
  const padded = (dim + PANEL - 1) & -PANEL;
  return normTouches(units, out, outRow, x, xRow, padded)
    && reads(weight, floats(padded)) && reads(bias, floats(padded));
}

/**
 * RMS norm, rows [begin, end): y = x/√(mean(x²) + eps) · weight, over whole vectors of four channels.
 *
 * @op 16 rows
 * @live units
 * @param out, x   f32 [rows, dim], row strides in bytes; out may be x
 * @param weight   f32 [dim]
 */
export function rmsNorm(
  begin: i32, end: i32, out: usize, outRow: usize, x: usize, xRow: usize, weight: usize, dim: i32, eps: f32,
): void {
  const whole = dim & ~3;
  for (let r = begin; r < end; ++r) {
    const row = x + <usize>r * xRow, target = out + <usize>r * outRow;
    let s = i32x4.splat(0);
    for (let i = 0; i < whole; i += 4) {
      const v = v128.load(row + <usize>i * 4);
      s = madd(v, v, s);
    }
    let sum = sum4(s);
    for (let i = whole; i < dim; ++i) {
      const v = load<f32>(row + <usize>i * 4);
      sum += v * v;
    }
    const scale = <f32>(1.0 / Math.sqrt(<f64>sum / <f64>dim + <f64>eps)), scale4 = f32x4.splat(scale);
    for (let i = 0; i < whole; i += 4) {
      const at = <usize>i * 4;
      v128.store(target + at, f32x4.mul(f32x4.mul(v128.load(row + at), scale4), v128.load(weight + at)));
    }
    for (let i = whole; i < dim; ++i) {
      const at = <usize>i * 4;
      store<f32>(target + at, load<f32>(row + at) * scale * load<f32>(weight + at));
    }
  }
}

/** What rmsNorm touches. */
export function rmsNormFits(
  units: i32, out: usize, outRow: usize, x: usize, xRow: usize, weight: usize, dim: i32, eps: f32,
): bool {
  return normTouches(units, out, outRow, x, xRow, dim) && reads(weight, floats(dim));
}
