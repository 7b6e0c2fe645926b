import { test } from "uvu";
import * as assert from "uvu/assert";
import { RAW_BF16, RAW_F16, RAW_F32, RAW_F64 } from "../../assembly/opcodes.ts";
import * as naive from "../naive.ts";
import { assertClose, assertSameBits, builds, loadKernels, uniform } from "../harness.ts";
import type { Build } from "../../bindings/platform/platform.ts";

const FORMATS = { F32: RAW_F32, F16: RAW_F16, BF16: RAW_BF16, F64: RAW_F64 };
const formats = Object.keys(FORMATS) as naive.Format[];

interface Maps {
  a?: Float64Array;
  b?: Float64Array;
  s?: Float64Array;
  t?: Float64Array;
}

/** `rows` rows of k numbers through packPanel; checks that nothing else is read or written. */
function pack(
  build: Build, raw: Uint8Array, format: naive.Format, rows: number, k: number, bias: Float64Array,
  { a, b, s, t }: Maps = {},
) {
  const { kernels, reserve, putDoubles, putBytes, get, checkGuards } = loadKernels(build);
  const at = (values?: Float64Array): number => (values ? putDoubles(values) : 0);
  const out = reserve(k * 8), outBias = reserve(8);
  const change = kernels.packPanel(
    out, outBias, putBytes(raw), FORMATS[format], rows, k, putDoubles(bias), at(a), at(b), at(s), at(t), reserve(8 * k),
  );
  checkGuards();
  return { panel: get(out), bias: get(outBias), change };
}

/** Numbers as a checkpoint in this format holds them; halves have few digits, on purpose. */
function encode(values: ArrayLike<number>, format: naive.Format): Uint8Array {
  if (format === "F32") return new Uint8Array(Float32Array.from(values).buffer);
  if (format === "F64") return new Uint8Array(Float64Array.from(values).buffer);
  const words = new Uint32Array(Float32Array.from(values).buffer);
  // for 2^-14 ≤ |x| < 2^16 a half is a float with the exponent's bias lowered by 112 and 13 bits of mantissa cut off
  const half = (w: number): number => ((w >>> 16) & 0x8000) | (((w & 0x7fffffff) >>> 13) - (112 << 10));
  return new Uint8Array(
    Uint16Array.from(words, (w) => (format === "BF16" ? w >>> 16 : (w & 0x7fffffff) === 0 ? 0 : half(w))).buffer,
  );
}

const doubles = (key: string, count: number, low = -1, high = 1): Float64Array =>
  Float64Array.from(uniform(key, count, low, high));
// away from zero, where a half becomes subnormal: those have a test of their own
const weights = (key: string, count: number): Float32Array => uniform(key, count).map((w) => w + Math.sign(w) / 64);
const decodeAll = (raw: Uint8Array, format: naive.Format, count: number): number[] =>
  Array.from({ length: count }, (_, i) => naive.decode(raw, format, i));

for (const build of builds) {
  test(`packPanel without maps copies every number: ${build}`, () => {
    for (const format of formats) {
      for (const k of [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 192]) {
        const rows = 1 + (k % 8), key = `pack ${format} ${k}`, bias = doubles(`${key} bias`, 8);
        const raw = encode(weights(key, rows * k), format);
        const want = naive.packPanel(decodeAll(raw, format, rows * k), k, bias);
        const got = pack(build, raw, format, rows, k, bias);
        assertSameBits(key, got.panel, Float32Array.from(want.panel));
        assertSameBits(`${key} bias`, got.bias, Float32Array.from(want.bias));
        assert.is(got.change, 0);
      }
    }
  });

  test(`packPanel folds the maps before and after in float64: ${build}`, () => {
    for (const format of formats) {
      for (const k of [1, 3, 4, 6, 31, 192]) {
        for (const rows of [1, 2, 5, 8]) {
          const key = `fold ${format} ${k} ${rows}`, bias = doubles(`${key} bias`, 8);
          const maps = {
            a: doubles(`${key} a`, k, 0.5, 2), b: doubles(`${key} b`, k), s: doubles(`${key} s`, 8, -2, 2),
            t: doubles(`${key} t`, 8),
          };
          const raw = encode(weights(key, rows * k), format);
          const want = naive.packPanel(decodeAll(raw, format, rows * k), k, bias, maps);
          const got = pack(build, raw, format, rows, k, bias, maps);
          // one rounding to f32, and for F64 one before it
          assertClose(key, got.panel, want.panel, 1e-7);
          assertClose(`${key} bias`, got.bias, want.bias, 1e-7);
          assert.ok(
            Math.abs(got.change - want.change) <= 1e-6 * want.change,
            `${key}: change ${got.change}, expected ${want.change}`,
          );
          for (let i = 0; i < k * 8; i++) if (i % 8 >= rows) assert.is(got.panel[i], 0);
        }
      }
    }
  });

  test(`identity maps change nothing, and a map on one channel is seen: ${build}`, () => {
    const [rows, k] = [8, 31];
    const w = weights("identity", rows * k);
    const bias = doubles("identity bias", 8);
    const raw = encode(w, "F32");
    const maps = {
      a: new Float64Array(k).fill(1), b: new Float64Array(k), s: new Float64Array(8).fill(1), t: new Float64Array(8),
    };
    const plain = pack(build, raw, "F32", rows, k, bias), mapped = pack(build, raw, "F32", rows, k, bias, maps);
    assertSameBits("panel", mapped.panel, plain.panel);
    assertSameBits("bias", mapped.bias, plain.bias);
    assert.is(mapped.change, 0);
    for (const channel of [0, 3, 27, 28, 30]) {
      const a = Float64Array.from(maps.a, (_, i) => (i === channel ? 3 : 1));
      const largest = Math.max(...Array.from({ length: rows }, (_, o) => 2 * Math.abs(w[o * k + channel]!)));
      assert.ok(Math.abs(pack(build, raw, "F32", rows, k, bias, { ...maps, a }).change - largest) < 1e-6);
    }
  });

  test(`every half and every bfloat16 decodes exactly; none that is not finite passes: ${build}`, () => {
    for (const format of ["F16", "BF16"] as const) {
      const all = Array.from({ length: 65536 }, (_, bits) => bits), finite: number[] = [], others: number[] = [];
      for (const bits of all)
        (Number.isFinite(naive.decode(new Uint8Array(Uint16Array.of(bits).buffer), format, 0)) ? finite : others).push(
          bits,
        );
      const k = finite.length / 8;
      const raw = new Uint8Array(Uint16Array.from(finite).buffer);
      const want = naive.packPanel(decodeAll(raw, format, finite.length), k, new Float64Array(8));
      const { panel, change } = pack(build, raw, format, 8, k, new Float64Array(8));
      assertSameBits(format, panel, Float32Array.from(want.panel));
      assert.is(change, 0);
      // in a whole group of four, and in the rest after it
      for (const k of [5, 8]) {
        for (const bits of others.filter((_, i) => i % 29 === 0 || i % 1024 < 2)) {
          for (const place of [0, k - 1]) {
            const row = Uint16Array.from({ length: 2 * k }, (_, i) => (i === k + place ? bits : finite[1024 + i]!));
            assert.ok(
              Number.isNaN(pack(build, new Uint8Array(row.buffer), format, 2, k, new Float64Array(8)).change),
              `${format} ${bits.toString(16)}`,
            );
          }
        }
      }
    }
  });

  test(`packPanel returns NaN for any number that is not finite: ${build}`, () => {
    const [rows, k] = [3, 6], bias = doubles("poison bias", 8), w = weights("poison", rows * k);
    const maps = {
      a: doubles("poison a", k, 1, 2), b: doubles("poison b", k), s: doubles("poison s", 8, 1, 2),
      t: doubles("poison t", 8),
    };
    const change = (format: naive.Format, values: ArrayLike<number>, bias: Float64Array, maps?: Maps): number =>
      pack(build, encode(values, format), format, rows, k, bias, maps).change;
    const spoiled = (values: ArrayLike<number>, i: number, by: number): Float64Array =>
      Float64Array.from(values, (value, j) => (i === j ? by : value));
    assert.ok(Number.isFinite(change("F32", w, bias, maps)));
    for (const bad of [NaN, Infinity, -Infinity]) {
      for (const format of ["F32", "F64"] as const) {
        for (let i = 0; i < rows * k; i++) {
          assert.ok(Number.isNaN(change(format, spoiled(w, i, bad), bias)), `${format} w[${i}]`);
          assert.ok(Number.isNaN(change(format, spoiled(w, i, bad), bias, maps)), `${format} w[${i}], mapped`);
        }
      }
      for (let i = 0; i < rows; i++) {
        assert.ok(Number.isNaN(change("F32", w, spoiled(bias, i, bad))), `bias[${i}]`);
        assert.ok(Number.isNaN(change("F32", w, bias, { ...maps, s: spoiled(maps.s, i, bad) })), `s[${i}]`);
        assert.ok(Number.isNaN(change("F32", w, bias, { ...maps, t: spoiled(maps.t, i, bad) })), `t[${i}]`);
      }
      for (let i = 0; i < k; i++) {
        assert.ok(Number.isNaN(change("F32", w, bias, { ...maps, a: spoiled(maps.a, i, bad) })), `a[${i}]`);
        assert.ok(Number.isNaN(change("F32", w, bias, { ...maps, b: spoiled(maps.b, i, bad) })), `b[${i}]`);
      }
    }
    // finite as float64, not as float32
    assert.ok(Number.isNaN(change("F64", spoiled(w, 4, 1e300), bias)));
    assert.ok(Number.isNaN(change("F32", w, bias, { ...maps, a: spoiled(maps.a, 5, 1e200) })));
    assert.ok(Number.isNaN(change("F32", w, spoiled(bias, 1, 1e100))));
    // channels past `rows` are not read
    assert.is(change("F32", w, spoiled(bias, rows, NaN)), 0);
  });
}

test.run();
