// Weights as JavaScript floats. Widening is exact: subnormals, infinities and NaN included. Every host of WebAssembly
// is little-endian in practice, as are the files, so F32 and F64 are copies.
import type { FloatDType } from "./dtype.ts";

const bytesPerElement = { F32: 4, F16: 2, BF16: 2, F64: 8 } as const;

/** A new Float32Array, whatever the alignment of `bytes`; F64 is rounded to nearest. */
export function toFloat32(bytes: Uint8Array, dtype: FloatDType): Float32Array<ArrayBuffer> {
  const length = elements(bytes, dtype);
  if (dtype === "F64") return new Float32Array(toFloat64(bytes, dtype));
  const out = new Float32Array(length);
  if (dtype === "F32") {
    new Uint8Array(out.buffer).set(bytes);
    return out;
  }
  const words = new Uint32Array(out.buffer);
  const halves = aligned(bytes, length);
  if (dtype === "BF16") {
    for (let i = 0; i < length; i++) words[i] = halves[i] << 16;
  } else {
    for (let i = 0; i < length; i++) {
      const half = halves[i]!, top = half >>> 10;
      // infinity and NaN keep their bits; any other number is exact in the product
      if ((top & 0x1f) === 0x1f) words[i] = ((half & 0x8000) << 16) | 0x7f800000 | ((half & 0x3ff) << 13);
      else out[i] = halfScale[top]! * ((half & 0x3ff) + ((top & 0x1f) === 0 ? 0 : 1024));
    }
  }
  return out;
}

/** A new Float64Array, whatever the alignment of `bytes`. */
export function toFloat64(bytes: Uint8Array, dtype: FloatDType): Float64Array<ArrayBuffer> {
  const length = elements(bytes, dtype);
  if (dtype !== "F64") return new Float64Array(toFloat32(bytes, dtype));
  const out = new Float64Array(length);
  new Uint8Array(out.buffer).set(bytes);
  return out;
}

function elements(bytes: Uint8Array, dtype: FloatDType): number {
  if (!Object.hasOwn(bytesPerElement, dtype))
    throw new TypeError(`cannot decode dtype ${String(dtype)}, expected F32, F16, BF16 or F64`);
  const length = bytes.byteLength / bytesPerElement[dtype];
  if (!Number.isInteger(length)) {
    throw new RangeError(
      `${bytes.byteLength} bytes are no whole number of ${dtype} elements, expected a multiple of `
        + `${bytesPerElement[dtype]}`,
    );
  }
  return length;
}

function aligned(bytes: Uint8Array, length: number): Uint16Array {
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, length);
  const copy = new Uint16Array(length);
  new Uint8Array(copy.buffer).set(bytes);
  return copy;
}

// what one unit of a half's mantissa is worth, by sign and exponent; exponent 0 is subnormal and counts as 1 without
// the hidden bit
const halfScale = Float64Array.from(
  { length: 64 }, (_, top) => (top & 0x20 ? -1 : 1) * 2 ** (Math.max(top & 0x1f, 1) - 25),
);

/** The complaint about a tensor with a NaN or an infinity. */
export function notFinite(name: string): RangeError {
  return new RangeError(
    `"${name}" holds NaN or infinity: the checkpoint is damaged or training diverged; export it again`,
  );
}
