import { test } from "uvu";
import * as assert from "uvu/assert";
import { TILE_ROWS } from "../../assembly/header.ts";
import { ACT_GATE, ACT_GELU, ACT_NONE, ACT_RELU, ACT_SILU } from "../../assembly/opcodes.ts";
import type { Build } from "../../bindings/platform/platform.ts";
import * as naive from "../naive.ts";
import * as quantised from "../naive-quantised.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, fromHeadPanels, loadKernels, padRows, toHeadPanels,
  uniform,
} from "../harness.ts";

const ACTS = { none: ACT_NONE, relu: ACT_RELU, gelu: ACT_GELU, silu: ACT_SILU };
const acts = Object.keys(ACTS) as naive.Activation[];
const depths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 64, 192, 320];

const isRelaxed = (build: Build): boolean => build.startsWith("relaxed");
const groupOf = (build: Build): number => (isRelaxed(build) ? 4 : 2);

/** A build's kernels, and what they need of memory. */
function loadWith(build: Build, most: number) {
  const loaded = loadKernels(build), { memory, reserveBytes } = loaded;
  const kernels = loaded.kernels as unknown as Record<
    "int8PanelBytes" | "int8RowBytes" | "linearInt8" | "probeInt8" | "quantizePanelInt8" | "quantizeRows",
    (...args: number[]) => number
  >;
  const putInts = (values: Int32Array): number => {
    const address = reserveBytes(values.length * 4);
    new Int32Array(memory.buffer).set(values, address / 4);
    return address;
  };
  const ints = (address: number, count: number): Int32Array => new Int32Array(memory.buffer, address, count).slice();
  const bytes = (address: number, count: number): Int8Array => new Int8Array(memory.buffer, address, count).slice();

  /** Weights [channels, k], a panel for every eight, packed by the kernel. */
  function packed(w: Float32Array, k: number) {
    const channels = alignUp(w.length / k, 8), panels = channels / 8, panel = kernels.int8PanelBytes(k);
    const padded = new Float32Array(channels * k);
    padded.set(w);
    const out = reserveBytes(panels * panel), scales = loaded.reserve(channels), sums = loaded.reserve(channels);
    for (let p = 0; p < panels; p++) {
      kernels.quantizePanelInt8(
        out + p * panel, scales + p * 32, sums + p * 32, loaded.put(padded.subarray(p * 8 * k, (p + 1) * 8 * k)), k,
        most,
      );
    }
    return { out, scales, sums, panels, panel };
  }

  /** Rows of x, quantised by the kernel. */
  function quantizedRows(x: Float32Array, k: number) {
    const rows = x.length / k;
    const stride = kernels.int8RowBytes(k) + 16;
    const out = reserveBytes(rows * stride);
    const params = loaded.reserve(rows * 2);
    kernels.quantizeRows(0, rows, out, stride, params, loaded.putRows(x, k, k + 1), (k + 1) * 4, k);
    return { out, params, stride };
  }

  /** Rows and parameters as given. */
  function putRows(rows: quantised.Rows, k: number) {
    const count = rows.scales.length;
    const stride = kernels.int8RowBytes(k);
    const out = reserveBytes(count * stride);
    const params = reserveBytes(count * 8);
    const size = isRelaxed(build) ? 1 : 2, view = new DataView(memory.buffer);
    for (let r = 0; r < count; r++) {
      for (let i = 0; i < stride / size; i++) {
        const value = i < k ? rows.q[r * k + i]! : 0;
        if (size === 1) view.setUint8(out + r * stride + i, value);
        else view.setInt16(out + r * stride + i * 2, value, true);
      }
      view.setFloat32(params + r * 8, rows.scales[r]!, true);
      view.setInt32(params + r * 8 + 4, rows.zeros[r]!, true);
    }
    return { out, params, stride };
  }

  return { ...loaded, kernels, putInts, ints, bytes, packed, quantizedRows, putQuantised: putRows };
}

function layerCase(m: number, k: number, outDim: number) {
  const key = `int8 ${m} ${k} ${outDim}`;
  return {
    x: uniform(`${key} x`, m * k, -1, 2), w: uniform(`${key} w`, outDim * k), bias: uniform(`${key} bias`, outDim),
    addend: uniform(`${key} addend`, m * outDim),
  };
}

// a narrow layer is one like any other in plain builds
for (const [build, narrow] of builds.flatMap((build) =>
  isRelaxed(build)
    ? ([
        [build, false],
        [build, true],
      ] as const)
    : ([[build, false]] as const),
)) {
  const relaxed = isRelaxed(build);
  const group = groupOf(build);
  const most = narrow ? 63 : 127;
  const variant = narrow ? `${build}, narrow` : build;
  const load = (of: Build) => loadWith(of, most);

  test(`probeInt8 finds this engine exact: ${variant}`, () => {
    const { kernels } = load(build);
    for (let i = 0; i < 3; i++) assert.is(kernels.probeInt8(), 1);
  });

  test(`quantizePanelInt8 matches naive, zeros past k: ${variant}`, () => {
    for (const k of depths) {
      const { kernels, reserveBytes, reserve, put, get, ints, bytes, checkGuards } = load(build);
      const w = uniform(`panel ${k}`, 8 * k, -0.3, 0.2);
      // a channel of zeros, one too small to scale, one with a single weight, one of equal sizes
      w.fill(0, k, 2 * k).fill(1e-38, 2 * k, 3 * k).fill(0, 3 * k, 4 * k).fill(-7, 4 * k, 5 * k);
      w[4 * k - 1] = -3;
      const size = kernels.int8PanelBytes(k);
      const out = reserveBytes(size);
      const scales = reserve(8);
      const sums = reserve(8);
      const want = quantised.quantizeChannels(w, k, most);
      assert.is(size, Math.ceil(k / group) * 8 * group);
      kernels.quantizePanelInt8(out, scales, sums, put(w), k, most);
      checkGuards();
      assert.equal(bytes(out, size), quantised.packInt8(want.q, k, group), `k=${k}`);
      assertSameBits(`scales k=${k}`, get(scales), want.scales);
      assert.equal(ints(sums, 8), want.sums, `sums k=${k}`);
      assert.is(want.scales[1], 0);
      assert.is(want.scales[2], 0);
      for (let i = 0; i < 8 * k; i++)
        assert.ok(
          Math.abs(w[i]! - want.q[i]! * want.scales[Math.floor(i / k)]!)
            <= 0.5001 * want.scales[Math.floor(i / k)]! + 1e-37,
        );
    }
  });

  test(`quantizeRows matches naive, within half a step, zeros past k: ${variant}`, () => {
    for (const k of [...depths, 8192, 8193, 20000]) {
      for (const [low, high] of [[-1, 1], [0, 5], [-3, -2], [-0.2, 1e6], [-1e-30, 1e-30]] as const) {
        const rows = k > 1000 ? 1 : 3;
        const name = `k=${k} in [${low}, ${high})`;
        const { kernels, ints, bytes, get, quantizedRows, untouched, checkGuards } = load(build);
        const x = uniform(`rows ${k}`, rows * k, low, high);
        const want = quantised.quantizeRows(x, k, relaxed);
        const { out, params, stride } = quantizedRows(x, k);
        checkGuards();
        const row = kernels.int8RowBytes(k), size = relaxed ? 1 : 2, width = row / size;
        assert.is(row, alignUp(k * size, 16));
        for (let r = 0; r < rows; r++) {
          const got = bytes(out + r * stride, row), q = relaxed ? Int16Array.from(got) : new Int16Array(got.buffer);
          const padded = new Int16Array(width);
          padded.set(want.q.subarray(r * k, (r + 1) * k));
          assert.equal(q, padded, name);
          for (let i = row / 4; i < stride / 4; i++) assert.ok(untouched(out, (r * stride) / 4 + i), name);
          assert.is(get(params)[r * 2], want.scales[r], name);
          assert.is(ints(params, rows * 2)[r * 2 + 1], want.zeros[r], name);
          if (relaxed) assert.ok(want.zeros[r]! >= 0 && want.zeros[r]! <= 127);
          for (let i = 0; i < k; i++) {
            const error = Math.abs(x[r * k + i]! - (q[i]! - want.zeros[r]!) * want.scales[r]!);
            // the zero point is rounded too, so that an end may be clamped by half a step more
            assert.ok(
              error <= (relaxed ? 1.0001 : 0.501) * want.scales[r]!,
              `${name}: ${error} beyond a step of ${want.scales[r]}`,
            );
          }
        }
      }
    }
  });

  test(`quantizeRows: rows of zeros, of numbers too small, and not finite: ${variant}`, () => {
    for (const k of [3, 16, 21, 64]) {
      for (const place of [0, 1, k - 1]) {
        for (const bad of [NaN, Infinity, -Infinity]) {
          const x = uniform(`bad ${k}`, 4 * k);
          x.fill(0, 0, k).fill(1e-39, k, 2 * k);
          x[2 * k + place] = bad;
          const { kernels, reserve, put, get, bytes, packed, quantizedRows, checkGuards } = load(build);
          const { out, params, stride } = quantizedRows(x, k);
          checkGuards();
          assert.is(get(params)[0], 0);
          assert.is(get(params)[2], 0);
          assert.ok(Number.isNaN(get(params)[4]) && get(params)[6]! > 0);
          if (relaxed) assert.ok(bytes(out + 2 * stride, k).every((q) => q >= 0));
          const { out: w, scales, sums } = packed(uniform("w", 8 * k), k), bias = uniform("bias", 8), y = reserve(32);
          kernels.linearInt8(
            0, 1, y, 32, 32, out, stride, params, w, scales, sums, put(bias), 0, 0, 0, 4, k, ACT_NONE, narrow ? 1 : 0,
          );
          assertSameBits("zeros", get(y).subarray(0, 8), bias);
          assertSameBits("too small", get(y).subarray(8, 16), bias);
          assert.ok(get(y).subarray(16, 24).every(Number.isNaN));
          assert.ok(get(y).subarray(24).every(Number.isFinite));
        }
      }
    }
  });

  test(`quantizeRows in parts has the same bits: ${variant}`, () => {
    for (const k of [5, 33, 64]) {
      const rows = 9;
      const { kernels, reserve, put, get, poison, checkGuards } = load(build);
      const stride = kernels.int8RowBytes(k);
      const x = put(uniform("parts", rows * k)), out = reserve((rows * stride) / 4), params = reserve(rows * 2);
      for (const address of [out, params]) {
        assertSplits(
          "quantizeRows", rows, (begin, end) => kernels.quantizeRows(begin, end, out, stride, params, x, k * 4, k),
          () => [out, params].forEach(poison), () => get(address),
        );
      }
      checkGuards();
    }
  });

  test(`linearInt8 matches naive: ${variant}`, () => {
    const rows = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 64];
    const cases = rows.flatMap((m, i) =>
      depths.map((k, j) => [m, k, [13, 1, 8, 24, 6][(i + j) % 5]!, acts[(i + 2 * j) % 4]!] as const),
    );
    cases.push(
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((panels, i) =>
        (
          [
            [1, 7], [1, 33], [2, 64], [1, 320],
          ] as const
        ).map(([m, k], j) => [m, k, panels * 8, acts[(i + j) % 4]!] as const),
      ),
    );
    for (const [m, k, outDim, act] of cases) {
      const name = `linearInt8 m=${m} k=${k} outDim=${outDim} ${act}`;
      const stride = alignUp(outDim, 8);
      const { x, w, bias, addend } = layerCase(m, k, outDim);
      const { kernels, reserve, put, getRows, packed, quantizedRows, checkGuards } = load(build);
      const weights = packed(w, k);
      const rowsOf = quantizedRows(x, k);
      const out = reserve(m * stride);
      const residual = put(padRows(addend, outDim, stride));
      kernels.linearInt8(
        0, weights.panels, out, stride * 4, 32, rowsOf.out, rowsOf.stride, rowsOf.params, weights.out, weights.scales,
        weights.sums, put(padRows(bias, outDim, stride)), residual, stride * 4, 32, m, k, ACTS[act], narrow ? 1 : 0,
      );
      checkGuards();
      const padding = getRows(out, stride, stride).filter((_, i) => i % stride >= outDim);
      assertClose(`${name}: padding`, padding, new Float64Array(padding.length), 0);
      const want = quantised.linearInt8(
        quantised.quantizeRows(x, k, relaxed), quantised.quantizeChannels(w, k, most), k, { bias, addend, act },
      );
      assertClose(name, getRows(out, outDim, stride), want, m * outDim < 16 ? 1e-5 : 1e-6);
    }
  });

  test(`sums are exact, at the largest sizes too: ${variant}`, () => {
    // scales of 1 show the integers themselves; plain builds allow ±2047 up to k = 8192
    const top = relaxed ? 127 : 2047;
    const patterns: Record<string, (i: number, r: number, c: number) => [number, number]> = {
      "all largest": () => [top, most],
      "all most negative": () => [top, -most],
      "alternating": (i) => [top, i % 2 ? -most : most],
      "in pairs": (i) => [top, i % 4 < 2 ? -most : most],
      "by row and column": (i, r, c) => [(i * 31 + r * 7) % (top + 1), ((i * 17 + c * 29) % (2 * most + 1)) - most],
    };
    for (const [name, at] of Object.entries(patterns)) {
      for (const [m, k, panels] of [[1, 64, 5], [4, 33, 1], [7, 9, 2], [5, 8192, 1], [1, 8192, 4]] as const) {
        const { kernels, reserve, get, put, putBytes, putInts, putQuantised, checkGuards } = load(build);
        const channels = panels * 8;
        const q = new Int16Array(m * k);
        const w = new Int8Array(channels * k);
        const sums = new Int32Array(channels);
        for (let r = 0; r < m; r++) for (let i = 0; i < k; i++) q[r * k + i] = at(i, r, 0)[0];
        for (let c = 0; c < channels; c++) for (let i = 0; i < k; i++) sums[c]! += w[c * k + i] = at(i, 0, c)[1];
        const zeros = new Int32Array(m).fill(relaxed ? 3 : 0), ones = new Float32Array(channels).fill(1);
        const rows = putQuantised({ q, scales: new Float32Array(m).fill(1), zeros }, k), out = reserve(m * channels);
        const packed = Array.from({ length: panels }, (_, p) => [
          ...quantised.packInt8(w.subarray(p * 8 * k, (p + 1) * 8 * k), k, group),
        ]).flat();
        kernels.linearInt8(
          0, panels, out, channels * 4, 32, rows.out, rows.stride, rows.params,
          putBytes(new Uint8Array(Int8Array.from(packed).buffer)), put(ones), putInts(sums),
          put(new Float32Array(channels)), 0, 0, 0, m, k, ACT_NONE, narrow ? 1 : 0,
        );
        checkGuards();
        const want = quantised.linearInt8(
          { q, scales: new Float32Array(m).fill(1), zeros }, { q: w, scales: ones, sums }, k,
        );
        assertSameBits(`${name} m=${m} k=${k}`, get(out).map((v) => v + 0), Float32Array.from(want, (v) => v + 0));
      }
    }
  });

  test(`linearInt8 is close to the f32 layer: ${variant}`, () => {
    for (const [m, k, outDim] of [[1, 320, 64], [16, 192, 64], [64, 64, 24]] as const) {
      const { x, w, bias } = layerCase(m, k, outDim);
      const { kernels, reserve, put, get, packed, quantizedRows } = load(build);
      const weights = packed(w, k), rows = quantizedRows(x, k), out = reserve(m * outDim);
      kernels.linearInt8(
        0, outDim / 8, out, outDim * 4, 32, rows.out, rows.stride, rows.params, weights.out, weights.scales,
        weights.sums, put(bias), 0, 0, 0, m, k, ACT_NONE, narrow ? 1 : 0,
      );
      assertClose(`m=${m} k=${k}`, get(out), naive.linear(x, w, k, { bias }), narrow ? 1.4e-2 : relaxed ? 1e-2 : 6e-3);
    }
  });

  test(`linearInt8 writes head panels, in place, between strange strides, and gates: ${variant}`, () => {
    for (const [m, k, heads, headDim] of [[1, 5, 2, 4], [7, 9, 3, 6], [13, 33, 2, 8]] as const) {
      const { x, w, bias, addend } = layerCase(m, k, heads * headDim), width = alignUp(headDim, 8);
      const { kernels, put, get, packed, quantizedRows, checkGuards } = load(build);
      const spread = (values: Float32Array, columns: number): Float32Array => {
        const out = new Float32Array(heads * width * columns);
        for (let h = 0; h < heads; h++)
          out.set(values.subarray(h * headDim * columns, (h + 1) * headDim * columns), h * width * columns);
        return out;
      };
      const weights = packed(spread(w, k), k);
      const rows = quantizedRows(x, k);
      const out = put(toHeadPanels(addend, heads, headDim));
      const panel = m * 32;
      kernels.linearInt8(
        0, weights.panels, out, 32, panel, rows.out, rows.stride, rows.params, weights.out, weights.scales,
        weights.sums, put(spread(bias, 1)), out, 32, panel, m, k, ACT_RELU, narrow ? 1 : 0,
      );
      checkGuards();
      const want = quantised.linearInt8(
        quantised.quantizeRows(x, k, relaxed), quantised.quantizeChannels(w, k, most), k, { bias, addend, act: "relu" },
      );
      assertClose(`heads=${heads} headDim=${headDim}`, fromHeadPanels(get(out), heads, headDim), want, 1e-5);
    }
    for (const [m, k, outDim] of [[1, 3, 8], [1, 9, 72], [5, 16, 24], [13, 31, 40]] as const) {
      const { x, w, bias, addend: gate } = layerCase(m, k, outDim), stride = outDim + 8;
      const { kernels, reserve, put, putRows, getRows, packed, quantizedRows, checkGuards, checkPadding } = load(build);
      const out = reserve(m * stride);
      const weights = packed(w, k), rows = quantizedRows(x, k);
      kernels.linearInt8(
        0, outDim / 8, out, stride * 4, 32, rows.out, rows.stride, rows.params, weights.out, weights.scales,
        weights.sums, put(bias), putRows(gate, outDim, outDim + 1), (outDim + 1) * 4, 32, m, k, ACT_GATE,
        narrow ? 1 : 0,
      );
      checkGuards();
      checkPadding("gate", out, outDim, stride);
      const want = quantised.linearInt8(
        quantised.quantizeRows(x, k, relaxed), quantised.quantizeChannels(w, k, most), k, { bias },
      );
      assertClose(`gate m=${m}`, getRows(out, outDim, stride), want.map((value, i) => value * gate[i]!), 1e-5);
    }
  });

  test(`linearInt8 in parts, row by row, and with either loop has the same bits: ${variant}`, () => {
    for (const [m, k, outDim, act] of [
      [1, 7, 72, "none"], [7, 9, 56, "gelu"], [13, 33, 64, "silu"], [16, 24, 200, "relu"],
    ] as const) {
      const { x, w, bias, addend } = layerCase(m, k, outDim);
      const { kernels, memory, put, get, set, packed, quantizedRows, checkGuards } = load(build);
      const weights = packed(w, k), rows = quantizedRows(x, k), biases = put(bias), out = put(addend);
      const run = (begin: number, end: number, first = 0, count = m): void =>
        void kernels.linearInt8(
          begin, end, out + first * outDim * 4, outDim * 4, 32, rows.out + first * rows.stride, rows.stride,
          rows.params + first * 8, weights.out, weights.scales, weights.sums, biases, out + first * outDim * 4,
          outDim * 4, 32, count, k, ACTS[act], narrow ? 1 : 0,
        );
      assertSplits(`linearInt8 m=${m}`, outDim / 8, run, () => set(out, addend), () => get(out));
      const whole = get(out);
      for (let a = 1; a <= m; a++) {
        set(out, addend);
        for (let first = 0; first < m; first += a) run(0, outDim / 8, first, Math.min(a, m - first));
        assertSameBits(`${a} rows at a time`, get(out), whole);
      }
      checkGuards();
      set(out, addend);
      new Int32Array(memory.buffer)[TILE_ROWS / 4] = 4;
      run(0, outDim / 8);
      assertSameBits("four rows, not unrolled", get(out), whole);
    }
  });
}

test.run();
