import { test } from "uvu";
import * as assert from "uvu/assert";
import { WEIGH_LINEAR, WEIGH_SOFTMAX } from "../../assembly/opcodes.ts";
import * as naive from "../naive.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, loadKernels, TILES, toHeadPanels, uniform,
} from "../harness.ts";

const WEIGH = { linear: WEIGH_LINEAR, softmax: WEIGH_SOFTMAX };
const EPS = { linear: 1e-6, softmax: 0 };
const cases = [1, 7, 9, 49, 64, 197].flatMap((tokens) =>
  [4, 6, 7, 8, 20, 32, 64].flatMap((headDim, i) =>
    (["linear", "softmax"] as const).map((weigh) => {
      // not always as many queries as keys
      const heads = 1 + ((i + tokens) % 3);
      const queries = i % 2 ? tokens : (tokens >> 1) + 1;
      const dim = heads * headDim;
      const key = `score attention ${tokens} ${headDim}`;
      const low = weigh === "linear" ? 0 : -1;
      const q = uniform(`${key} q`, queries * dim, low, 1);
      const k = uniform(`${key} k`, tokens * dim, low, 1);
      const v = uniform(`${key} v`, tokens * dim);
      return {
        tokens, queries, heads, headDim, width: alignUp(headDim, 8), weigh, q, k, v,
        want: naive.scoreAttention(q, k, v, heads, headDim, weigh, EPS[weigh]),
      };
    }),
  ),
);
const scratchFor = (tokens: number): number => 12 * alignUp(tokens, 8);

for (const build of builds) {
  test(`transposeKeys is exact, in parts too: ${build}`, () => {
    for (const { tokens, heads, headDim, k } of cases.filter(({ weigh }) => weigh === "linear")) {
      const { kernels, reserve, putRows, get, poison, checkGuards } = loadKernels(build);
      const dim = heads * headDim;
      const units = heads * Math.ceil(tokens / 8);
      const out = reserve(units * headDim * 8);
      const keys = putRows(k, dim, dim + 1);
      const want = Float32Array.from(naive.transposeKeys(k, heads, headDim));
      const run = (begin: number, end: number): void =>
        kernels.transposeKeys(begin, end, out, keys, (dim + 1) * 4, tokens, headDim);
      assertSplits(`transposeKeys tokens=${tokens} headDim=${headDim}`, units, run, () => poison(out), () => get(out));
      assertSameBits("transposeKeys", get(out), want);
      checkGuards();
    }
  });

  test(`scoreAttention matches naive, with the same bits from every register tile: ${build}`, () => {
    for (const { tokens, queries, heads, headDim, width, weigh, q, k, v, want } of cases) {
      const name = `scoreAttention ${weigh} tokens=${tokens} queries=${queries} headDim=${headDim} heads=${heads}`;
      const dim = heads * headDim, room = (heads - 1) * headDim + width, outStride = room + 3, qStride = dim + 1;
      const results = TILES.map((tileRows) => {
        const { kernels, reserve, put, putRows, getRows, checkGuards, checkPadding } = loadKernels(build, { tileRows });
        const out = reserve(queries * outStride);
        const keys = put(naive.transposeKeys(k, heads, headDim));
        const values = put(toHeadPanels(v, heads, headDim));
        kernels.scoreAttention(
          0, queries, out, outStride * 4, putRows(q, dim, qStride), qStride * 4, keys, values, heads, headDim, width,
          tokens, WEIGH[weigh], EPS[weigh], reserve(scratchFor(tokens)),
        );
        checkGuards();
        checkPadding(name, out, room, outStride);
        return getRows(out, dim, outStride);
      });
      assertClose(name, results[0]!, want);
      for (const other of results.slice(1)) assertSameBits(`${name}, another tile`, other, results[0]!);
    }
  });

  test(`scoreAttention in parts has the same bits: ${build}`, () => {
    for (const { tokens, queries, heads, headDim, width, weigh, q, k, v } of cases.filter(
      ({ headDim, tokens }) => headDim < 32 && tokens < 100,
    )) {
      const { kernels, reserve, put, get, poison, checkGuards } = loadKernels(build, { tileRows: 5 });
      const dim = heads * headDim;
      const stride = (heads - 1) * headDim + width;
      const out = reserve(queries * stride);
      const scratch = reserve(scratchFor(tokens));
      const operands = [
        put(q), dim * 4, put(naive.transposeKeys(k, heads, headDim)), put(toHeadPanels(v, heads, headDim)),
      ];
      assertSplits(
        `scoreAttention ${weigh} tokens=${tokens} headDim=${headDim}`,
        queries,
        (begin, end) =>
          kernels.scoreAttention(
            begin, end, out, stride * 4, ...operands, heads, headDim, width, tokens, WEIGH[weigh], EPS[weigh], scratch,
          ),
        () => {
          poison(out);
          poison(scratch);
        },
        () => get(out),
      );
      checkGuards();
    }
  });

  test(`softmax of scores far apart neither overflows nor loses its sum: ${build}`, () => {
    const [tokens, headDim] = [13, 8];
    const q = uniform("far q", tokens * headDim, -40, 40);
    const k = uniform("far k", tokens * headDim, -40, 40);
    const ones = new Float32Array(tokens * headDim).fill(1);
    const { kernels, reserve, put, get } = loadKernels(build), out = reserve(tokens * headDim);
    kernels.scoreAttention(
      0, tokens, out, 32, put(q), 32, put(naive.transposeKeys(k, 1, headDim)), put(toHeadPanels(ones, 1, headDim)), 1,
      headDim, 8, tokens, WEIGH_SOFTMAX, 0, reserve(scratchFor(tokens)),
    );
    assertClose("weights sum to one", get(out), ones);
    const v = uniform("far v", tokens * headDim);
    kernels.scoreAttention(
      0, tokens, out, 32, put(q), 32, put(naive.transposeKeys(k, 1, headDim)), put(toHeadPanels(v, 1, headDim)), 1,
      headDim, 8, tokens, WEIGH_SOFTMAX, 0, reserve(scratchFor(tokens)),
    );
    // a score of thousands is known to 1e-4, and so is then e to its power
    assertClose("far scores", get(out), naive.scoreAttention(q, k, v, 1, headDim, "softmax", 0), 1e-3);
  });

  test(`softmax of scores all far below zero: ${build}`, () => {
    // the keys' padding has scores of zero, which must not count as the largest
    for (const tokens of [1, 7, 9, 13]) {
      const q = new Float32Array(8).fill(-20);
      const k = uniform("below k", tokens * 8, 1, 1.05);
      const v = uniform("below v", tokens * 8);
      const { kernels, reserve, put, get } = loadKernels(build), out = reserve(8);
      kernels.scoreAttention(
        0, 1, out, 32, put(q), 32, put(naive.transposeKeys(k, 1, 8)), put(toHeadPanels(v, 1, 8)), 1, 8, 8, tokens,
        WEIGH_SOFTMAX, 0, reserve(scratchFor(tokens)),
      );
      // scores of -160 are known to 2e-5
      assertClose(`tokens=${tokens}`, get(out), naive.scoreAttention(q, k, v, 1, 8, "softmax", 0), 1e-4);
    }
  });

  test(`linear scores give what the key-value state gives: ${build}`, () => {
    for (const { tokens, queries, heads, headDim, width, weigh, q, k, v } of cases) {
      if (weigh !== "linear" || queries !== tokens) continue;
      const { kernels, reserve, put, getRows } = loadKernels(build), dim = heads * headDim, stride = dim + width;
      const out = reserve(tokens * stride);
      const state = reserve(heads * (width * width + width));
      const values = put(toHeadPanels(v, heads, headDim));
      const queriesAt = put(q);
      kernels.scoreAttention(
        0, tokens, out, stride * 4, queriesAt, dim * 4, put(naive.transposeKeys(k, heads, headDim)), values, heads,
        headDim, width, tokens, WEIGH_LINEAR, 1e-6, reserve(scratchFor(tokens)),
      );
      const byScores = getRows(out, dim, stride);
      kernels.keyValueState(0, (heads * width) / 8, state, put(toHeadPanels(k, heads, headDim)), values, tokens, width);
      kernels.linearAttention(0, tokens, out, stride * 4, queriesAt, dim * 4, state, heads, headDim, width, 1e-6);
      // two roundings of the same product
      assertClose(`tokens=${tokens} headDim=${headDim}`, getRows(out, dim, stride), byScores, 2e-6);
    }
  });
}

test("one key takes all the weight", () => {
  const { kernels, reserve, put, getRows } = loadKernels("simd"), v = uniform("one v", 6), out = reserve(8);
  kernels.scoreAttention(
    0, 1, out, 32, put(uniform("one q", 6)), 24, put(naive.transposeKeys(uniform("one k", 6), 1, 6)),
    put(toHeadPanels(v, 1, 6)), 1, 6, 8, 1, WEIGH_SOFTMAX, 0, reserve(scratchFor(1)),
  );
  assert.equal([...getRows(out, 6, 8)], [...v]);
});

test.run();
