// Weights as JavaScript floats. Widening is exact: subnormals, infinities and NaN included. Every host of WebAssembly is
// little-endian in practice, as are the files, so F32 and F64 are copies.
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
    const table = (halfTable ??= makeHalfTable());
    for (let i = 0; i < length; i++) words[i] = table[halves[i]];
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
  if (!Object.hasOwn(bytesPerElement, dtype)) throw new TypeError(`cannot decode dtype ${String(dtype)}, expected F32, F16, BF16 or F64`);
  const length = bytes.byteLength / bytesPerElement[dtype];
  if (!Number.isInteger(length)) {
    throw new RangeError(`${bytes.byteLength} bytes are no whole number of ${dtype} elements, expected a multiple of ${bytesPerElement[dtype]}`);
  }
  return length;
}

function aligned(bytes: Uint8Array, length: number): Uint16Array {
  if (bytes.byteOffset % 2 === 0) return new Uint16Array(bytes.buffer, bytes.byteOffset, length);
  const copy = new Uint16Array(length);
  new Uint8Array(copy.buffer).set(bytes);
  return copy;
}

// F16 bits → F32 bits, made when the first F16 tensor is decoded
let halfTable: Uint32Array | undefined;

function makeHalfTable(): Uint32Array {
  const table = new Uint32Array(1 << 16);
  for (let half = 0; half < table.length; half++) {
    const sign = (half & 0x8000) << 16;
    let exponent = (half >> 10) & 0x1f;
    let mantissa = half & 0x3ff;
    if (exponent === 0x1f) table[half] = sign | 0x7f800000 | (mantissa << 13);
    else if (exponent === 0 && mantissa === 0) table[half] = sign;
    else {
      if (exponent === 0) {
        // F32 has room to make every F16 subnormal a normal number
        const shift = Math.clz32(mantissa) - 21;
        mantissa = (mantissa << shift) & 0x3ff;
        exponent = 1 - shift;
      }
      table[half] = sign | ((exponent + 112) << 23) | (mantissa << 13);
    }
  }
  return table;
}
