import { test } from "uvu";
import * as assert from "uvu/assert";
import { ACT_GATE, ACT_GELU, ACT_NONE, ACT_RELU, ACT_SILU } from "../../assembly/opcodes.ts";
import type { Build } from "../../bindings/platform/platform.ts";
import * as naive from "../naive.ts";
import * as quantised from "../naive-quantised.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, loadKernels, packWeights, uniform,
} from "../harness.ts";

const ACTS = { none: ACT_NONE, relu: ACT_RELU, gelu: ACT_GELU, silu: ACT_SILU };
const acts = Object.keys(ACTS) as naive.Activation[];
const depths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 64, 96, 127, 128, 129, 192, 320, 864];

/** A build's kernels, and what they need of memory. */
function load(build: Build) {
  const loaded = loadKernels(build), { memory, reserve, reserveBytes, put } = loaded;
  const kernels = loaded.kernels as unknown as Record<
    | "int4PanelBytes"
    | "int4VectorBytes"
    | "linearInt4"
    | "quantizePanelInt4"
    | "quantizeVectorInt8"
    | "unpackPanelInt4",
    (...args: number[]) => number
  >;
  const bytes = (address: number, count: number): Uint8Array => new Uint8Array(memory.buffer, address, count).slice();

  /** Panels of w [outDim, k], packed by the kernel, zeros up to whole panels. */
  function packed(w: Float32Array, k: number) {
    const rows = alignUp(w.length / k, 8);
    const size = kernels.int4PanelBytes(k);
    const out = reserveBytes((rows / 8) * size);
    const padded = new Float32Array(rows * k);
    padded.set(w);
    const at = put(padded);
    for (let p = 0; p < rows / 8; p++) kernels.quantizePanelInt4(out + p * size, at + p * 8 * k * 4, k);
    return { out, panels: rows / 8, bytes: bytes(out, (rows / 8) * size) };
  }

  /** Activations, quantised by the kernel. */
  function vector(x: Float32Array) {
    const k = x.length, out = reserveBytes(kernels.int4VectorBytes(k)), params = reserve(2 * Math.ceil(k / 32));
    kernels.quantizeVectorInt8(out, params, put(x), k);
    return { out, params };
  }
  return { ...loaded, kernels, bytes, packed, vector };
}

function layerCase(k: number, outDim: number) {
  const key = `int4 ${k} ${outDim}`;
  return {
    x: uniform(`${key} x`, k, -1, 2), w: uniform(`${key} w`, outDim * k), bias: uniform(`${key} bias`, outDim),
    addend: uniform(`${key} addend`, outDim),
  };
}

/** Numbers with the spread of trained weights. */
const normal = (key: string, count: number): Float32Array => {
  const [u, v] = [uniform(`${key} u`, count, 1e-6, 1), uniform(`${key} v`, count, 0, 2 * Math.PI)] as const;
  return u.map((value, i) => Math.sqrt(-2 * Math.log(value)) * Math.cos(v[i]!));
};

const squares = (values: Iterable<number>): number => [...values].reduce((sum, value) => sum + value * value, 0);

for (const build of builds) {
  test(`quantizePanelInt4 rounds every weight to its nearest step, the same in every build: ${build}`, () => {
    for (const k of depths) {
      for (const [low, high] of [[-1, 1], [-0.1, 0.3], [-5, 0], [1, 1.5], [-1e-20, 1e-20], [-1e15, 1e15]] as const) {
        const name = `k=${k} in [${low}, ${high})`;
        const w = uniform(`rows ${k}`, 7 * k, low, high);
        const { kernels, packed, checkGuards } = load(build);
        const got = packed(w, k).bytes;
        checkGuards();
        assert.is(kernels.int4PanelBytes(k), quantised.int4PanelBytes(k));
        for (let o = 0; o < 8; o++) {
          for (let i = 0; i < alignUp(k, 32); i++) {
            const { step, scale } = quantised.int4At(got, o, i, k), weight = w[o * k + i] ?? 0;
            if (i >= k || o >= 7) assert.is(step + 0, 0, name);
            // at a tie, or within f32's rounding of one, either neighbour is right
            else
              assert.ok(
                Math.abs(weight / scale - step) <= 0.5 + 1e-5 || step === (weight / scale < 0 ? -8 : 7),
                `${name}: ${weight} at step ${step} of ${scale}`,
              );
          }
        }
        assert.equal(got, load(builds[0]!).packed(w, k).bytes, `${name}, another build`);
      }
    }
  });

  test(`quantizePanelInt4 is within 1 % of the best scale that a dense search finds: ${build}`, () => {
    const k = 2048, w = normal("weights", k), got = quantised.unpackRowInt4(load(build).packed(w, k).bytes, 0, k);
    let [error, densest, plain] = [0, 0, 0];
    for (let b = 0; b < k; b += 32) {
      const block = [...w.subarray(b, b + 32)];
      const size = block.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      const errorOf = (scale: number): number =>
        squares(block.map((value) => value - scale * Math.min(7, Math.max(-8, Math.round(value / scale)))));
      const own = squares(block.map((value, i) => value - got[b + i]!));
      const scales = Array.from({ length: 1000 }, (_, i) => size / (i < 500 ? 5 + i / 100 : -i / 100));
      const best = Math.min(...scales.map(errorOf));
      assert.ok(own <= 1.1 * best, `block ${b / 32}: ${own} against ${best}`);
      error += own;
      densest += best;
      plain += errorOf(size / 7);
    }
    assert.ok(error <= 1.01 * densest && error < 0.8 * plain, `${error} against ${densest}, and ${plain} by max/7`);
    assert.ok(Math.sqrt(error / squares(w)) < 0.085, `relative error ${Math.sqrt(error / squares(w))}`);
  });

  test(`quantizePanelInt4: zeros, numbers too small, one weight, equal weights: ${build}`, () => {
    for (const k of [5, 32, 70, 128, 300]) {
      const alone = new Float32Array(k), { packed } = load(build);
      alone[k - 1] = -3;
      assertSameBits(
        "zeros", quantised.unpackRowInt4(packed(new Float32Array(k), k).bytes, 0, k).map((v) => v + 0),
        new Float32Array(k),
      );
      assertSameBits(
        "too small", quantised.unpackRowInt4(packed(new Float32Array(k).fill(1e-38), k).bytes, 0, k).map((v) => v + 0),
        new Float32Array(k),
      );
      assertClose("alone", quantised.unpackRowInt4(packed(alone, k).bytes, 0, k), alone, 4e-3);
      assertClose(
        "equal", quantised.unpackRowInt4(packed(new Float32Array(k).fill(0.7), k).bytes, 0, k),
        new Float32Array(k).fill(0.7), 4e-3,
      );
      // what is not finite must not stop the engine
      packed(new Float32Array(k).fill(NaN), k);
      packed(Float32Array.from({ length: k }, (_, i) => (i % 2 ? Infinity : -Infinity)), k);
    }
  });

  test(`quantizeVectorInt8 matches naive: ${build}`, () => {
    const relaxed = build.startsWith("relaxed");
    for (const k of depths) {
      const x = uniform(`vector ${k}`, k, -1, 3);
      const { kernels, bytes, vector, checkGuards } = load(build);
      const { out, params } = vector(x);
      const want = quantised.quantizeVectorInt8(x);
      checkGuards();
      const blocks = Math.ceil(k / 32), size = relaxed ? 1 : 2;
      assert.is(kernels.int4VectorBytes(k), blocks * 32 * size);
      const view = new DataView(bytes(out, blocks * 32 * size).buffer);
      const numbers = new DataView(bytes(params, blocks * 8).buffer);
      for (let i = 0; i < blocks * 32; i++) {
        // in plain builds a block's even places, then its odd ones
        const at = relaxed ? i : ((i & ~31) + (i & 1) * 16 + ((i & 31) >> 1)) * 2;
        assert.is(relaxed ? view.getInt8(at) : view.getInt16(at, true), want.q[i] ?? 0, `k=${k} place ${i}`);
      }
      for (let b = 0; b < blocks; b++) {
        assert.is(numbers.getFloat32(b * 4, true), want.scales[b]);
        assert.is(numbers.getInt32((blocks + b) * 4, true), want.offsets[b]);
      }
      x.forEach((value, i) =>
        assert.ok(Math.abs(value - want.q[i]! * want.scales[i >> 5]!) <= 0.501 * want.scales[i >> 5]!),
      );
    }
  });

  test(`linearInt4 matches naive: ${build}`, () => {
    const cases = depths.flatMap((k, i) =>
      [1, 5, 8, 24, 72].map((outDim, j) => [k, outDim, acts[(i + j) % 4]!] as const),
    );
    cases.push(
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 17].flatMap((panels, i) =>
        [33, 192, 320].map((k, j) => [k, panels * 8, acts[(i + j) % 4]!] as const),
      ),
    );
    for (const [k, outDim, act] of cases) {
      const name = `linearInt4 k=${k} outDim=${outDim} ${act}`;
      const { x, w, bias, addend } = layerCase(k, outDim);
      const { kernels, reserve, put, get, packed, vector, checkGuards } = load(build);
      const weights = packed(w, k), q = vector(x), width = weights.panels * 8, out = reserve(width);
      const wide = (values: Float32Array): Float32Array =>
        Float32Array.from({ length: width }, (_, i) => values[i] ?? 0);
      kernels.linearInt4(
        0, weights.panels, out, 32, q.out, q.params, weights.out, put(wide(bias)), put(wide(addend)), 32, k, ACTS[act],
      );
      checkGuards();
      const want = quantised.linearInt4(quantised.quantizeVectorInt8(x), weights.bytes, {
        bias: wide(bias), addend: wide(addend), act,
      });
      if (outDim > 16) assertClose(name, get(out), want);
      // a few outputs may all be small beside the terms they sum
      else want.forEach((value, o) => {
        const terms = 2 + x.reduce((sum, number, i) => sum + Math.abs(number * (w[o * k + i] ?? 0)), 0);
        assert.ok(Math.abs(get(out)[o]! - value) <= 1e-6 * terms, `${name}: ${get(out)[o]}, expected ${value}`);
      });
    }
  });

  test(`linearInt4 between strange strides, in place, without addend, and gated: ${build}`, () => {
    for (const [k, outDim] of [[7, 8], [33, 40], [160, 72]] as const) {
      const { x, w, bias, addend } = layerCase(k, outDim);
      const { kernels, reserve, put, putRows, getRows, packed, vector, checkGuards, checkPadding } = load(build);
      const weights = packed(w, k);
      const q = vector(x);
      const biases = put(bias);
      const panels = outDim / 8;
      const naiveVector = quantised.quantizeVectorInt8(x);
      const inPlace = putRows(addend, 8, 11), plain = reserve(panels * 9), gated = reserve(panels * 8);
      kernels.linearInt4(0, panels, inPlace, 44, q.out, q.params, weights.out, biases, inPlace, 44, k, ACT_GELU);
      kernels.linearInt4(0, panels, plain, 36, q.out, q.params, weights.out, biases, 0, 0, k, ACT_NONE);
      kernels.linearInt4(
        0, panels, gated, 32, q.out, q.params, weights.out, biases, putRows(addend, 8, 10), 40, k, ACT_GATE,
      );
      checkGuards();
      checkPadding("in place", inPlace, 8, 11);
      checkPadding("plain", plain, 8, 9);
      const product = quantised.linearInt4(naiveVector, weights.bytes, { bias });
      assertClose(
        "in place", getRows(inPlace, 8, 11),
        quantised.linearInt4(naiveVector, weights.bytes, { bias, addend, act: "gelu" }), 1e-5,
      );
      assertClose("plain", getRows(plain, 8, 9), product, 1e-5);
      assertClose("gated", getRows(gated, 8, 8), product.map((value, i) => value * addend[i]!), 1e-5);
    }
  });

  test(`linearInt4 in parts has the same bits: ${build}`, () => {
    for (const [k, panels, act] of [[9, 13, "none"], [96, 8, "gelu"], [320, 11, "silu"], [128, 40, "relu"]] as const) {
      const { x, w, bias, addend } = layerCase(k, panels * 8);
      const { kernels, put, get, set, packed, vector, checkGuards } = load(build);
      const weights = packed(w, k), q = vector(x), biases = put(bias), out = put(addend);
      assertSplits(
        `linearInt4 k=${k}`,
        panels,
        (begin, end) =>
          kernels.linearInt4(begin, end, out, 32, q.out, q.params, weights.out, biases, out, 32, k, ACTS[act]),
        () => set(out, addend),
        () => get(out),
      );
      checkGuards();
    }
  });

  test(`linearInt4 is exact at the largest sizes: ${build}`, () => {
    // a panel packed by hand: nibbles of one kind, scale 1; activations of ±127, whose scale is 1
    for (const k of [32, 64, 96, 128, 160, 224, 4096]) {
      for (const nibbles of [0x00, 0xff, 0x0f, 0xf0]) {
        for (const sign of [
          () => 1, () => -1, (i: number) => (i % 2 ? -1 : 1), (i: number) => (i % 32 < 16 ? 1 : -1),
        ]) {
          const { kernels, reserve, put, putBytes, get, vector } = load(build);
          const x = Float32Array.from({ length: k }, (_, i) => 127 * sign(i));
          const panel = new Uint8Array(kernels.int4PanelBytes(k)).fill(nibbles);
          for (let at = 0; at < panel.length; at += 144)
            for (let c = 0; c < 8; c++) panel.set([0x80, 0x3f], at + c * 2);
          const q = vector(x), out = reserve(8), zeros = put(new Float32Array(8));
          kernels.linearInt4(0, 1, out, 32, q.out, q.params, putBytes(panel), zeros, 0, 0, k, ACT_NONE);
          const want = quantised.linearInt4(quantised.quantizeVectorInt8(x), panel);
          assertSameBits(
            `k=${k} nibbles ${nibbles}`, get(out).map((v) => v + 0), Float32Array.from(want, (v) => v + 0),
          );
        }
      }
    }
  });

  test(`a vector of zeros gives the bias, one that is not finite NaN: ${build}`, () => {
    for (const k of [5, 40, 128, 200]) {
      const { w, bias } = layerCase(k, 16);
      const { kernels, reserve, put, get, packed, vector, checkGuards } = load(build);
      const weights = packed(w, k);
      const biases = put(bias);
      for (const [name, x] of [
        ["zeros", new Float32Array(k)], ["too small", new Float32Array(k).fill(1e-38)],
      ] as const) {
        const q = vector(x), out = reserve(16);
        kernels.linearInt4(0, 2, out, 32, q.out, q.params, weights.out, biases, 0, 0, k, ACT_NONE);
        assertSameBits(name, get(out), bias);
      }
      for (const bad of [NaN, Infinity, -Infinity]) {
        for (const place of [0, k - 1]) {
          const x = uniform("x", k);
          x[place] = bad;
          const q = vector(x), out = reserve(16);
          kernels.linearInt4(0, 2, out, 32, q.out, q.params, weights.out, biases, 0, 0, k, ACT_NONE);
          assert.ok(get(out).every(Number.isNaN), `${bad} at ${place}`);
        }
      }
      checkGuards();
    }
  });

  test(`unpackPanelInt4 gives back the same floats as a panel: ${build}`, () => {
    for (const k of depths) {
      const w = uniform(`unpack ${k}`, 16 * k);
      const { kernels, reserve, get, packed, checkGuards } = load(build);
      const weights = packed(w, k);
      for (const panel of [0, 1]) {
        const out = reserve(8 * k);
        kernels.unpackPanelInt4(out, weights.out, panel, k);
        checkGuards();
        const rows = Array.from({ length: 8 }, (_, c) => [
          ...quantised.unpackRowInt4(weights.bytes, panel * 8 + c, k),
        ]).flat();
        assertSameBits(`k=${k} panel ${panel}`, get(out), packWeights(rows, k));
      }
    }
  });

  test(`linearInt4 is close to the f32 layer: ${build}`, () => {
    // enough outputs to show the error's size: it is that of the weights
    for (const [k, outDim] of [[320, 512], [1024, 512]] as const) {
      const x = normal(`close x ${k}`, k);
      const w = normal(`close w ${k}`, k * outDim);
      const { kernels, reserve, put, get, packed, vector } = load(build);
      const weights = packed(w, k), q = vector(x), out = reserve(outDim);
      kernels.linearInt4(
        0, outDim / 8, out, 32, q.out, q.params, weights.out, put(new Float32Array(outDim)), 0, 0, k, ACT_NONE,
      );
      assertClose(`k=${k}`, get(out), naive.linear(x, w, k), 0.095, 0.5);
    }
  });
}

test.run();
