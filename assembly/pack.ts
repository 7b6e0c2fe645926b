// Load time: raw checkpoint bytes → folded, packed panels. Folding is done in float64 and rounded once.
import { PANEL } from "./header";
import { RAW_BF16, RAW_F16, RAW_F32 } from "./opcodes";

/** One number of a checkpoint as f64. A half's infinities and NaNs come out as NaN. */
// @ts-ignore: decorator
@inline
function decode(at: usize, format: i32): f64 {
  if (format == RAW_F32) return <f64>load<f32>(at);
  if (format == RAW_BF16) return <f64>reinterpret<f32>(<u32>load<u16>(at) << 16);
  if (format == RAW_F16) {
    const half = <u32>load<u16>(at);
    if ((half & 0x7c00) == 0x7c00) return NaN;
    // the half's exponent and mantissa in a float's place are too small by 2^112, subnormals included
    const magnitude = <f64>reinterpret<f32>((half & 0x7fff) << 13) * 5.192296858534828e33;
    return half & 0x8000 ? -magnitude : magnitude;
  }
  return load<f64>(at);
}

/**
 * Packs eight output channels of a linear layer, with the affine maps before and after it folded in:
 *
 *   w' = s_o · w · a_i        bias'_o = s_o · (bias_o + Σ_i w · b_i) + t_o
 *
 * @param out       f32 [k, 8]; outBias f32 [8]
 * @param raw       eight rows of k numbers in `format`; rows ≥ `rows` are zeros
 * @param bias      f64 [8]
 * @param a, b      f64 [k]: the affine map on the input
 * @param s, t      f64 [8]: the affine map on the output
 * @returns the largest |w' − w|; NaN if any number is not finite
 */
export function packPanel(
  out: usize, outBias: usize, raw: usize, format: i32, rows: i32, k: i32, bias: usize, a: usize, b: usize, s: usize, t: usize,
): f64 {
  let largest: f64 = 0, poison: f64 = 0;
  const size: usize = format == RAW_F32 ? 4 : format == RAW_F16 || format == RAW_BF16 ? 2 : 8;
  for (let row = 0; row < PANEL; ++row) {
    let target = out + <usize>row * 4;
    if (row >= rows) {
      for (let i = 0; i < k; ++i, target += PANEL * 4) store<f32>(target, 0);
      store<f32>(outBias + <usize>row * 4, 0);
      continue;
    }
    const scale = load<f64>(s + <usize>row * 8);
    let source = raw + <usize>row * <usize>k * size, ai = a, bi = b;
    let shift: f64 = load<f64>(bias + <usize>row * 8);
    for (let i = 0; i < k; ++i) {
      const w = decode(source, format);
      const folded = <f32>(w * load<f64>(ai) * scale);
      shift += w * load<f64>(bi);
      store<f32>(target, folded);
      largest = max(largest, abs(<f64>folded - w));
      poison += <f64>folded * 0;
      target += PANEL * 4; source += size; ai += 8; bi += 8;
    }
    const folded = <f32>(shift * scale + load<f64>(t + <usize>row * 8));
    store<f32>(outBias + <usize>row * 4, folded);
    poison += <f64>folded * 0;
  }
  return largest + poison;
}
