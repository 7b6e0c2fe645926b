// Plain references of the quantised kernels. Integers are exact; what a kernel rounds in f32, to choose integers, is
// rounded here too.
import type { Activation } from "./naive.ts";
import { activations } from "./naive.ts";

type Numbers = ArrayLike<number>;

const f32 = Math.fround;
/** round(x), ties to even, |x| < 2^22, of an f32. */
const round = (x: number): number => f32(f32(x) + 12582912) - 12582912;
const largest = (values: Numbers): number =>
  Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
/** 1 / scale, and 0 for a scale too small to have one. */
const inverseOf = (scale: number): number => (scale >= f32(1e-37) ? f32(1 / scale) : 0);
const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

// int8

export interface Channels {
  /** [channels, k] */
  q: Int8Array;
  scales: Float32Array;
  sums: Int32Array;
}

/** q = round(w / scale), scale = max |w| / most, of every row of w [channels, k]. */
export function quantizeChannels(w: Numbers, k: number, most: number): Channels {
  const channels = w.length / k;
  const q = new Int8Array(w.length);
  const scales = new Float32Array(channels);
  const sums = new Int32Array(channels);
  for (let c = 0; c < channels; c++) {
    const row = Array.prototype.slice.call(w, c * k, (c + 1) * k) as number[];
    const scale = f32(largest(row) / most);
    const inverse = inverseOf(scale);
    scales[c] = inverse ? scale : 0;
    row.forEach((value, i) => {
      q[c * k + i] = round(f32(value * inverse));
      sums[c]! += q[c * k + i]!;
    });
  }
  return { q, scales, sums };
}

/** q [8, k] → [⌈k/group⌉][8][group], zeros past k. */
export function packInt8(q: Int8Array, k: number, group: number): Int8Array {
  const out = new Int8Array(Math.ceil(k / group) * 8 * group);
  for (let c = 0; c < 8; c++)
    for (let i = 0; i < k; i++) out[(Math.floor(i / group) * 8 + c) * group + (i % group)] = q[c * k + i]!;
  return out;
}

export interface Rows {
  /** [rows, k] */
  q: Int16Array;
  scales: Float32Array;
  zeros: Int32Array;
}

/** Asymmetric 0 … 127 with a zero point, or symmetric ±2047, less if k products with ±127 could overflow an i32. */
export function quantizeRows(x: Numbers, k: number, relaxed: boolean): Rows {
  const rows = x.length / k;
  const q = new Int16Array(x.length);
  const scales = new Float32Array(rows);
  const zeros = new Int32Array(rows);
  const limit = Math.min(2047, Math.floor(2 ** 24 / k) - 1);
  for (let r = 0; r < rows; r++) {
    const row = Array.prototype.slice.call(x, r * k, (r + 1) * k) as number[];
    const [high, low] = [Math.max(0, ...row), Math.min(0, ...row)];
    const scale = relaxed ? f32(f32(high / 127) - f32(low / 127)) : f32(Math.max(high, -low) / limit);
    const inverse = inverseOf(scale);
    scales[r] = inverse ? scale : 0;
    const zero = relaxed ? f32(12582912 - f32(low * inverse)) - 12582912 : 0;
    zeros[r] = zero;
    row.forEach((value, i) => {
      const nearest = f32(f32(value * inverse) + (12582912 + zero)) - 12582912;
      q[r * k + i] = relaxed ? clamp(nearest, 0, 127) : nearest;
    });
  }
  return { q, scales, zeros };
}

/** act(Σ w·(q − zero) · scales + bias + addend), [rows, channels]. */
export function linearInt8(
  x: Rows,
  w: Channels,
  k: number,
  { bias, addend, act = "none" }: { bias?: Numbers; addend?: Numbers; act?: Activation } = {},
): Float64Array {
  const rows = x.scales.length, channels = w.scales.length, out = new Float64Array(rows * channels);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < channels; c++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += w.q[c * k + i]! * (x.q[r * k + i]! - x.zeros[r]!);
      out[r * channels + c] = activations[act](
        sum * w.scales[c]! * x.scales[r]! + (bias?.[c] ?? 0) + (addend?.[r * channels + c] ?? 0),
      );
    }
  }
  return out;
}

// int4

/** Bytes of a packed panel of eight output channels: blocks of 32 k, each eight scales and 256 nibbles. */
export const int4PanelBytes = (k: number): number => Math.ceil(k / 32) * 144;

const bits = new Int32Array(1), asFloat = new Float32Array(bits.buffer);

/** Weight i of output channel o in packed panels: its step, −8 … 7, and its block's scale. */
export function int4At(panels: Uint8Array, o: number, i: number, k: number): { step: number; scale: number } {
  const channel = o & 7, lane = channel & 3, half = channel >> 2, block = (o >> 3) * int4PanelBytes(k) + (i >> 5) * 144;
  const scale = block + lane * 4 + half * 2, byte = block + 16 + half * 64 + ((i & 15) >> 2) * 16 + lane * 4 + (i & 3);
  bits[0] = (panels[scale]! << 16) | (panels[scale + 1]! << 24);
  return { step: ((panels[byte]! >> ((i & 16) >> 2)) & 15) - 8, scale: asFloat[0]! };
}

/** The floats that output channel o stands for. */
export const unpackRowInt4 = (panels: Uint8Array, o: number, k: number): Float32Array =>
  Float32Array.from({ length: k }, (_, i) => {
    const { step, scale } = int4At(panels, o, i, k);
    return step * scale;
  });

/** q = round(x / scale) in blocks of 32, scale = max |x| / 127; −8 · Σ q of each. */
export function quantizeVectorInt8(x: Numbers): { q: Int8Array; scales: Float32Array; offsets: Int32Array } {
  const k = x.length;
  const blocks = Math.ceil(k / 32);
  const q = new Int8Array(k);
  const scales = new Float32Array(blocks);
  const offsets = new Int32Array(blocks);
  for (let b = 0; b < blocks; b++) {
    const block = Array.prototype.slice.call(x, b * 32, b * 32 + 32) as number[];
    const scale = f32(largest(block) / 127);
    const inverse = inverseOf(scale);
    scales[b] = inverse ? scale : 0;
    block.forEach((value, i) => {
      q[b * 32 + i] = round(f32(value * inverse));
      offsets[b]! -= 8 * q[b * 32 + i]!;
    });
  }
  return { q, scales, offsets };
}

/** act(w · x + bias + addend) of packed panels w. */
export function linearInt4(
  x: ReturnType<typeof quantizeVectorInt8>,
  w: Uint8Array,
  { bias, addend, act = "none" }: { bias?: Numbers; addend?: Numbers; act?: Activation } = {},
): Float64Array {
  const k = x.q.length;
  return Float64Array.from({ length: (w.length / int4PanelBytes(k)) * 8 }, (_, o) => {
    let sum = 0;
    for (let i = 0; i < k; i++) {
      const { step, scale } = int4At(w, o, i, k);
      sum += step * x.q[i]! * scale * x.scales[i >> 5]!;
    }
    return activations[act](sum + (bias?.[o] ?? 0) + (addend?.[o] ?? 0));
  });
}
