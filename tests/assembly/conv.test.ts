import { test } from "uvu";
import * as naive from "../naive.ts";
import { alignUp, assertClose, assertSplits, builds, loadKernels, toHeadPanels, uniform } from "../harness.ts";

// every remainder of a row after its tiles of seven and four
const maps = [
  [1, 1], [3, 5], [5, 3], [2, 6], [7, 7], [8, 8], [3, 9], [1, 10], [2, 11], [3, 12], [4, 13], [14, 14],
] as const;
const cases = maps.flatMap(([height, side]) => [4, 5, 6, 7, 8, 20, 32, 64].map((headDim, i) => {
  const heads = 1 + ((i + height) % 3);
  const count = height * side * heads * headDim;
  const key = `conv ${height} ${side} ${headDim}`;
  const before = uniform(`${key} out`, count);
  const map = uniform(`${key} map`, count);
  const taps = uniform(`${key} taps`, headDim * 25);
  return {
    height, side, heads, headDim, width: alignUp(headDim, 8), before, map, taps,
    want: naive.depthwiseConv(before, map, taps, height, side, heads, headDim),
  };
}));

/** Head panels with ones for padding: a channel too many would show. */
function fillPadding(panels: Float32Array, heads: number, headDim: number): Float32Array {
  const owned = toHeadPanels(new Float32Array((panels.length / alignUp(headDim, 8)) * headDim).fill(1), heads, headDim);
  return panels.map((value, i) => (owned[i] ? value : 1));
}

/** Taps [headDim, 5, 5] → [width/8][25][8]: head panels whose rows are the taps. */
const packTaps = (taps: Float32Array, headDim: number): Float32Array =>
  toHeadPanels(Float32Array.from(taps, (_, i) => taps[(i % headDim) * 25 + Math.floor(i / headDim)]!), 1, headDim);

for (const build of builds) {
  test(`depthwiseConv matches naive and touches its own channels only: ${build}`, () => {
    for (const { height, side, heads, headDim, width, before, map, taps, want } of cases) {
      const name = `depthwiseConv ${height}x${side} heads=${heads} headDim=${headDim}`;
      const dim = heads * headDim;
      const stride = dim + 5;
      const { kernels, reserve, put, putRows, getRows, checkGuards, checkPadding } = loadKernels(build);
      const out = putRows(before, dim, stride), scratch = reserve((height + 4) * (side + 4) * 8);
      const panels = put(fillPadding(toHeadPanels(map, heads, headDim), heads, headDim));
      const packed = put(fillPadding(packTaps(taps, headDim), 1, headDim));
      kernels.depthwiseConv(
        0, (heads * width) / 8, out, stride * 4, panels, packed, height, side, headDim, width, scratch,
      );
      checkGuards();
      checkPadding(name, out, dim, stride);
      assertClose(name, getRows(out, dim, stride), want);
    }
  });

  test(`depthwiseConv in parts has the same bits: ${build}`, () => {
    for (const { height, side, heads, headDim, width, before, map, taps } of cases) {
      const { kernels, reserve, put, get, set, poison, checkGuards } = loadKernels(build);
      const out = put(before);
      const panels = put(toHeadPanels(map, heads, headDim));
      const packed = put(packTaps(taps, headDim));
      const scratch = reserve((height + 4) * (side + 4) * 8);
      assertSplits(
        `depthwiseConv ${height}x${side} headDim=${headDim}`,
        (heads * width) / 8,
        (begin, end) =>
          kernels.depthwiseConv(
            begin, end, out, heads * headDim * 4, panels, packed, height, side, headDim, width, scratch,
          ),
        () => {
          set(out, before);
          poison(scratch);
        },
        () => get(out),
      );
      checkGuards();
    }
  });
}

test.run();
