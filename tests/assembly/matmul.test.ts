import { test } from "uvu";
import { ACT_GATE, ACT_GELU, ACT_NONE, ACT_RELU, ACT_SILU } from "../../assembly/opcodes.ts";
import * as naive from "../naive.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, fromHeadPanels, loadKernels, packWeights, padRows, TILES,
  toHeadPanels, uniform,
} from "../harness.ts";

const ACTS = { none: ACT_NONE, relu: ACT_RELU, gelu: ACT_GELU, silu: ACT_SILU };
const acts = Object.keys(ACTS) as naive.Activation[];

/** A layer's operands, and what it should give. */
function layerCase(m: number, k: number, outDim: number, act: naive.Activation) {
  const key = `linear ${m} ${k} ${outDim}`;
  const x = uniform(`${key} x`, m * k);
  const w = uniform(`${key} w`, outDim * k);
  const bias = uniform(`${key} bias`, outDim);
  const addend = uniform(`${key} addend`, m * outDim);
  return { m, k, outDim, act, x, w, bias, addend, want: naive.linear(x, w, k, { bias, addend, act }) };
}

const rows = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 64, 197];
const depths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 192];
// every number of rows with every depth; output columns and activations take turns
const cases = rows.flatMap((m, i) =>
  depths.map((k, j) => layerCase(m, k, [13, 1, 8, 24, 6][(i + j) % 5]!, acts[(i + 2 * j) % 4]!)),
);
// one row takes four panels at a time: none, one or two times four, and some left
cases.push(
  ...[32, 40, 61, 64, 90].flatMap((outDim, i) =>
    [1, 7, 8, 64].map((k, j) => layerCase(1, k, outDim, acts[(i + j) % 4]!)),
  ),
);
// deep enough for several blocks of rows
cases.push(...acts.map((act, i) => layerCase(41 + i, 1030, 13, act)));

for (const build of builds) {
  test(`linear matches naive, with the same bits from every register tile: ${build}`, () => {
    for (const { m, k, outDim, act, x, w, bias, addend, want } of cases) {
      const name = `linear m=${m} k=${k} outDim=${outDim} ${act}`, stride = alignUp(outDim, 8), panels = stride / 8;
      const results = TILES.map((tileRows) => {
        const { kernels, reserve, put, putRows, getRows, checkGuards } = loadKernels(build, { tileRows });
        // a row of x has room for one number more, which must not be read
        const input = putRows(x, k, k + 1), out = reserve(m * stride), residual = put(padRows(addend, outDim, stride));
        kernels.linear(
          0, panels, out, stride * 4, 32, input, (k + 1) * 4, put(packWeights(w, k)),
          put(padRows(bias, outDim, stride)), residual, stride * 4, 32, m, k, ACTS[act],
        );
        checkGuards();
        const padding = getRows(out, stride, stride).filter((_, i) => i % stride >= outDim);
        assertClose(`${name}: padding`, padding, new Float64Array(padding.length), 0);
        return getRows(out, outDim, stride);
      });
      // a few outputs may all be small beside the terms they sum
      assertClose(name, results[0]!, want, m * outDim < 16 ? 1e-5 : 1e-6);
      for (const other of results.slice(1)) assertSameBits(`${name}, another tile`, other, results[0]!);
    }
  });

  test(`linear writes head panels, and adds head panels: ${build}`, () => {
    for (const [m, k, heads, headDim] of [
      [1, 5, 2, 4], [7, 9, 3, 6], [13, 8, 2, 8], [49, 31, 1, 20], [64, 64, 3, 32],
    ] as const) {
      const { x, w, bias, addend, want } = layerCase(m, k, heads * headDim, "relu");
      const { kernels, reserve, put, get, checkGuards } = loadKernels(build), width = alignUp(headDim, 8);
      // a layer's output channels are packed head by head, each padded to whole panels
      const packed = Array.from({ length: heads }, (_, h) => [
        ...packWeights(w.subarray(h * headDim * k, (h + 1) * headDim * k), k),
      ]).flat();
      const biases = Array.from({ length: heads }, (_, h) => [
        ...padRows(bias.subarray(h * headDim, (h + 1) * headDim), headDim, width),
      ]).flat();
      const out = reserve(heads * width * m), panel = m * 32;
      kernels.linear(
        0, (heads * width) / 8, out, 32, panel, put(x), k * 4, put(packed), put(biases),
        put(toHeadPanels(addend, heads, headDim)), 32, panel, m, k, ACT_RELU,
      );
      checkGuards();
      assertClose(`heads=${heads} headDim=${headDim}`, fromHeadPanels(get(out), heads, headDim), want);
      assertSameBits(
        "padding is zero", get(out), toHeadPanels(fromHeadPanels(get(out), heads, headDim), heads, headDim),
      );
    }
  });

  test(`linear without addend, into its own addend, and between strange strides: ${build}`, () => {
    for (const [m, k, outDim] of [[1, 3, 8], [5, 16, 24], [12, 33, 16], [17, 64, 40]] as const) {
      const { x, w, bias, addend, want } = layerCase(m, k, outDim, "gelu");
      const { kernels, reserve, put, putRows, getRows, checkGuards, checkPadding } = loadKernels(build);
      const [input, weights, biases, stride] = [put(x), put(packWeights(w, k)), put(bias), outDim + 8];
      const residual = putRows(addend, outDim, stride);
      kernels.linear(
        0, outDim / 8, residual, stride * 4, 32, input, k * 4, weights, biases, residual, stride * 4, 32, m, k,
        ACT_GELU,
      );
      assertClose("in place", getRows(residual, outDim, stride), want);
      checkPadding("in place", residual, outDim, stride);
      const plain = reserve(m * stride);
      kernels.linear(0, outDim / 8, plain, stride * 4, 32, input, k * 4, weights, biases, 0, 0, 0, m, k, ACT_NONE);
      assertClose("no addend", getRows(plain, outDim, stride), naive.linear(x, w, k, { bias }));
      checkPadding("no addend", plain, outDim, stride);
      checkGuards();
    }
  });

  test(`linear multiplies by a gate: ${build}`, () => {
    for (const [m, k, outDim] of [[1, 3, 8], [1, 9, 72], [5, 16, 24], [13, 31, 40]] as const) {
      const { x, w, bias, addend: gate } = layerCase(m, k, outDim, "none"), stride = outDim + 8;
      const { kernels, reserve, put, putRows, getRows, checkGuards, checkPadding } = loadKernels(build);
      const out = reserve(m * stride);
      kernels.linear(
        0, outDim / 8, out, stride * 4, 32, put(x), k * 4, put(packWeights(w, k)), put(bias),
        putRows(gate, outDim, outDim + 1), (outDim + 1) * 4, 32, m, k, ACT_GATE,
      );
      checkGuards();
      checkPadding("gate", out, outDim, stride);
      assertClose(
        `gate m=${m}`, getRows(out, outDim, stride),
        naive.linear(x, w, k, { bias }).map((value, i) => value * gate[i]!), 2e-6,
      );
    }
  });

  test(`linear in parts has the same bits: ${build}`, () => {
    for (const [m, k, outDim, act] of [
      [1, 7, 72, "none"], [7, 9, 56, "gelu"], [13, 31, 64, "silu"], [64, 24, 200, "relu"],
    ] as const) {
      const { x, w, bias, addend } = layerCase(m, k, outDim, act);
      const { kernels, put, get, set, checkGuards } = loadKernels(build, { tileRows: 5 });
      const operands = [put(x), k * 4, put(packWeights(w, k)), put(bias)], out = put(addend);
      assertSplits(
        `linear m=${m}`,
        outDim / 8,
        (begin, end) =>
          kernels.linear(begin, end, out, outDim * 4, 32, ...operands, out, outDim * 4, 32, m, k, ACTS[act]),
        () => set(out, addend),
        () => get(out),
      );
      checkGuards();
    }
  });

  test(`a row's result does not depend on the rows beside it: ${build}`, () => {
    const [m, k, outDim] = [29, 20, 16], { x, w, bias } = layerCase(m, k, outDim, "none");
    for (const tileRows of TILES) {
      const { kernels, reserve, put, get } = loadKernels(build, { tileRows });
      const [input, weights, biases, out] = [put(x), put(packWeights(w, k)), put(bias), reserve(m * outDim)];
      const run = (first: number, count: number): void =>
        kernels.linear(
          0, outDim / 8, out + first * outDim * 4, outDim * 4, 32, input + first * k * 4, k * 4, weights, biases, 0, 0,
          0, count, k, ACT_NONE,
        );
      run(0, m);
      const whole = get(out);
      for (let a = 1; a < m; a++) {
        run(0, a);
        run(a, m - a);
        assertSameBits(`rows [0, ${a}) and [${a}, ${m}), tile of ${tileRows}`, get(out), whole);
      }
    }
  });
}

test.run();
