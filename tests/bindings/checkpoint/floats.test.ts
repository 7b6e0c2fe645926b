import { test } from "uvu";
import * as assert from "uvu/assert";
import { toFloat32, toFloat64 } from "../../../bindings/checkpoint/index.ts";
import type { FloatDType } from "../../../bindings/checkpoint/index.ts";

/** IEEE 754 by its definition, in doubles. */
function decode(bits: number, exponentBits: number, mantissaBits: number): number {
  const sign = bits >>> (exponentBits + mantissaBits) ? -1 : 1;
  const exponent = (bits >>> mantissaBits) & (2 ** exponentBits - 1);
  const mantissa = bits & (2 ** mantissaBits - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa ? NaN : sign * Infinity;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / 2 ** mantissaBits) * 2 ** (exponent - bias);
}

const allHalves = new Uint8Array(Uint16Array.from({ length: 1 << 16 }, (_, i) => i).buffer);

/** The same bytes at an odd address. */
function unaligned(bytes: Uint8Array): Uint8Array {
  const shifted = new Uint8Array(bytes.byteLength + 3).subarray(3);
  shifted.set(bytes);
  return shifted;
}

for (const [dtype, exponentBits, mantissaBits] of [["F16", 5, 10], ["BF16", 8, 7]] as const) {
  test(`${dtype}: all 65536 values, aligned and not`, () => {
    for (const bytes of [allHalves, unaligned(allHalves)]) {
      const [f32, f64] = [toFloat32(bytes, dtype), toFloat64(bytes, dtype)];
      for (let bits = 0; bits < 1 << 16; bits++) {
        const expected = decode(bits, exponentBits, mantissaBits);
        if (!Object.is(f32[bits], expected) || !Object.is(f64[bits], expected))
          assert.unreachable(`${bits.toString(16)}: ${f32[bits]} and ${f64[bits]}, expected ${expected}`);
      }
    }
  });
}

test("F16 keeps the payload of NaN", () => {
  const words = new Uint32Array(toFloat32(Uint8Array.of(0x01, 0x7c, 0x00, 0xfe), "F16").buffer);
  assert.equal([...words], [0x7f802000, 0xffc00000]);
});

test("F32: every exponent, subnormals, infinities, zeros; the bits of NaN", () => {
  const words = Uint32Array.from({ length: 1 << 16 }, (_, i) => Math.imul(i, 0x10001) >>> 0);
  for (const bytes of [new Uint8Array(words.buffer), unaligned(new Uint8Array(words.buffer))]) {
    const f32 = toFloat32(bytes, "F32");
    assert.equal(f32.buffer, words.buffer);
    const f64 = toFloat64(bytes, "F32");
    for (let i = 0; i < words.length; i++)
      if (!Object.is(f64[i], decode(words[i], 8, 23))) assert.unreachable(`${words[i].toString(16)}: ${f64[i]}`);
  }
});

test("F64: a copy, and rounded to F32", () => {
  const values = Float64Array.of(0.1, -0, 5e-324, Number.MAX_VALUE, -Infinity, NaN, 1 + 2 ** -30);
  for (const bytes of [new Uint8Array(values.buffer), unaligned(new Uint8Array(values.buffer))]) {
    assert.equal(toFloat64(bytes, "F64").buffer, values.buffer);
    assert.equal(toFloat32(bytes, "F64").buffer, Float32Array.from(values).buffer);
  }
});

test("results are copies, of Buffers too", () => {
  for (const dtype of ["F32", "F16", "BF16", "F64"] as const) {
    const bytes = Buffer.alloc(8);
    for (const out of [toFloat32(bytes, dtype), toFloat64(bytes, dtype)]) out.fill(1);
    assert.ok(bytes.every((byte) => byte === 0));
  }
});

test("refuses a part of an element and other types", () => {
  assert.throws(
    () => toFloat32(new Uint8Array(3), "F16"), /3 bytes are no whole number of F16 elements, expected a multiple of 2/,
  );
  assert.throws(() => toFloat64(new Uint8Array(12), "F64"), /12 bytes/);
  for (const dtype of ["I64", "toString", undefined])
    assert.throws(() => toFloat32(new Uint8Array(8), dtype as FloatDType), /cannot decode dtype/);
  assert.is(toFloat32(new Uint8Array(0), "F16").length, 0);
});

test.run();
