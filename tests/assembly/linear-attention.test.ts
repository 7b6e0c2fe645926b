import { test } from "uvu";
import * as assert from "uvu/assert";
import * as naive from "../naive.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, loadKernels, TILES, toHeadPanels, uniform,
} from "../harness.ts";

const EPS = 1e-6;
const cases = [1, 7, 9, 49, 64, 197].flatMap((tokens) => [4, 6, 7, 8, 20, 32, 64].map((headDim, i) => {
  const heads = 1 + ((i + tokens) % 3), count = tokens * heads * headDim, key = `linear attention ${tokens} ${headDim}`;
  // q and k come through φ, so they are not negative, and their sums not near zero
  const q = uniform(`${key} q`, count, 0, 1), k = uniform(`${key} k`, count, 0, 1), v = uniform(`${key} v`, count);
  const state = naive.keyValueState(k, v, heads, headDim);
  return {
    tokens, heads, headDim, width: alignUp(headDim, 8), q, k, v, state,
    want: naive.linearAttention(q, state, heads, headDim, EPS),
  };
}));

/** The reference's state as the kernels lay it out: per head kᵀv [width/8][width][8], then Σk [width]. */
function layOut(
  { product, keySum }: ReturnType<typeof naive.keyValueState>, heads: number, headDim: number,
): Float32Array {
  const width = alignUp(headDim, 8), size = width * width + width, out = new Float32Array(heads * size);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < headDim; i++) {
      out[h * size + width * width + i] = keySum[h * headDim + i]!;
      for (let j = 0; j < headDim; j++)
        out[h * size + ((j >> 3) * width + i) * 8 + (j & 7)] = product[(h * headDim + i) * headDim + j]!;
    }
  }
  return out;
}

for (const build of builds) {
  test(`keyValueState matches naive, in parts too: ${build}`, () => {
    for (const { tokens, heads, headDim, width, k, v, state } of cases) {
      const { kernels, reserve, put, get, poison, checkGuards } = loadKernels(build);
      const name = `keyValueState tokens=${tokens} headDim=${headDim} heads=${heads}`;
      const out = reserve(heads * (width * width + width));
      const keys = put(toHeadPanels(k, heads, headDim));
      const values = put(toHeadPanels(v, heads, headDim));
      kernels.keyValueState(0, (heads * width) / 8, out, keys, values, tokens, width);
      checkGuards();
      assertClose(name, get(out), layOut(state, heads, headDim));
      assertSplits(
        name, (heads * width) / 8, (begin, end) => kernels.keyValueState(begin, end, out, keys, values, tokens, width),
        () => poison(out), () => get(out),
      );
    }
  });

  test(`linearAttention matches naive, with the same bits from every register tile: ${build}`, () => {
    for (const { tokens, heads, headDim, width, q, state, want } of cases) {
      const name = `linearAttention tokens=${tokens} headDim=${headDim} heads=${heads}`;
      const dim = heads * headDim, room = (heads - 1) * headDim + width, outStride = room + 3, qStride = dim + 1;
      const results = TILES.map((tileRows) => {
        const { kernels, reserve, put, putRows, getRows, checkGuards, checkPadding } = loadKernels(build, { tileRows });
        const out = reserve(tokens * outStride), queries = putRows(q, dim, qStride);
        kernels.linearAttention(
          0, tokens, out, outStride * 4, queries, qStride * 4, put(layOut(state, heads, headDim)), heads, headDim,
          width, EPS,
        );
        checkGuards();
        checkPadding(name, out, room, outStride);
        return getRows(out, dim, outStride);
      });
      assertClose(name, results[0]!, want);
      for (const other of results.slice(1)) assertSameBits(`${name}, another tile`, other, results[0]!);
    }
  });

  test(`linearAttention in parts has the same bits: ${build}`, () => {
    for (const { tokens, heads, headDim, width, q, state } of cases.filter(({ headDim }) => headDim < 32)) {
      const { kernels, reserve, put, get, poison, checkGuards } = loadKernels(build, { tileRows: 5 });
      const stride = alignUp((heads - 1) * headDim + width, 8);
      const out = reserve(tokens * stride);
      const queries = put(q);
      const laidOut = put(layOut(state, heads, headDim));
      assertSplits(
        `linearAttention tokens=${tokens} headDim=${headDim}`,
        tokens,
        (begin, end) =>
          kernels.linearAttention(
            begin, end, out, stride * 4, queries, heads * headDim * 4, laidOut, heads, headDim, width, EPS,
          ),
        () => poison(out),
        () => get(out),
      );
      checkGuards();
    }
  });

  test(`linearAttention of queries that φ made zero is zero: ${build}`, () => {
    const { heads, headDim, width, state } = cases.find(({ headDim }) => headDim === 20)!;
    const { kernels, reserve, put, getRows } = loadKernels(build), dim = heads * headDim, stride = dim + width;
    const out = reserve(3 * stride);
    kernels.linearAttention(
      0, 3, out, stride * 4, put(new Float32Array(3 * dim)), dim * 4, put(layOut(state, heads, headDim)), heads,
      headDim, width, EPS,
    );
    assert.ok(getRows(out, dim, stride).every((value) => value === 0));
  });
}

test.run();
