import { test } from "uvu";
import * as naive from "../naive.ts";
import {
  assertClose, assertSameBits, assertSplits, builds, fromHeadPanels, loadKernels, toHeadPanels, uniform,
} from "../harness.ts";

// [channels, height, side, kernel, stride, pad]: windows that tile the map, that overlap, that reach over one border,
// over both at once, and that lie outside altogether
const windows = [
  [1, 1, 1, 1, 1, 0], [3, 4, 4, 2, 2, 0], [3, 6, 10, 2, 2, 0], [1, 9, 6, 3, 3, 0], [4, 12, 4, 4, 4, 0],
  [3, 32, 48, 16, 16, 0], [2, 5, 5, 5, 5, 0], [3, 28, 28, 4, 4, 0], [3, 32, 32, 7, 4, 3], [3, 32, 36, 7, 4, 2],
  [8, 14, 14, 3, 2, 1], [5, 7, 9, 3, 2, 1], [2, 2, 3, 5, 1, 2], [1, 1, 1, 3, 1, 1], [4, 3, 2, 2, 3, 4],
  [16, 6, 6, 3, 1, 1],
] as const;

for (const build of builds) {
  test(`gatherPatches and gatherWindows are exact, in parts too: ${build}`, () => {
    for (const [channels, height, side, kernel, stride, pad] of windows) {
      const across = Math.floor((side + 2 * pad - kernel) / stride) + 1;
      const count = (Math.floor((height + 2 * pad - kernel) / stride) + 1) * across;
      const name = `[${channels}, ${height}, ${side}] kernel=${kernel} stride=${stride} pad=${pad}`;
      const image = uniform(name, channels * height * side), columns = channels * kernel * kernel, row = columns + 3;
      const { kernels, reserve, put, putRows, get, getRows, poison, checkGuards, checkPadding } = loadKernels(build);
      const out = reserve(count * row);
      const pixels = put(image);
      const gathered = (what: string, run: (begin: number, end: number) => void, want: Float64Array): void => {
        assertSplits(`${what} ${name}`, count, run, () => poison(out), () => get(out));
        assertSameBits(`${what} ${name}`, getRows(out, columns, row), Float32Array.from(want));
        checkPadding(`${what} ${name}`, out, columns, row);
        checkGuards();
      };
      gathered(
        "gatherPatches",
        (begin, end) =>
          kernels.gatherPatches(begin, end, out, row * 4, pixels, channels, height, side, kernel, stride, pad, across),
        naive.gatherPatches(image, channels, height, side, kernel, { stride, pad }),
      );
      // the same numbers as pixels of a map, densely and with room after each
      for (const room of [0, 5]) {
        const map = putRows(image, channels, channels + room);
        gathered(
          `gatherWindows room=${room}`,
          (begin, end) =>
            kernels.gatherWindows(
              begin, end, out, row * 4, map, (channels + room) * 4, channels, height, side, kernel, stride, pad, across,
            ),
          naive.gatherWindows(image, channels, height, side, kernel, { stride, pad }),
        );
      }
    }
  });

  test(`stretchRows matches naive, in parts too: ${build}`, () => {
    for (const [heads, headDim, from, to] of [
      [1, 8, 1, 1], [2, 4, 4, 16], [1, 20, 1, 9], [3, 8, 49, 196], [2, 8, 3, 5], [1, 8, 7, 3],
    ] as const) {
      const name = `stretchRows ${heads}×${headDim} ${from}→${to}`;
      const x = uniform(name, heads * headDim * from);
      const panels = toHeadPanels(x, heads, headDim);
      const { kernels, reserve, put, get, poison, checkGuards } = loadKernels(build);
      const count = panels.length / (8 * from);
      const out = reserve(count * to * 8);
      const rows = put(panels);
      assertSplits(
        name, count, (begin, end) => kernels.stretchRows(begin, end, out, rows, from, to), () => poison(out),
        () => get(out),
      );
      assertClose(name, fromHeadPanels(get(out), heads, headDim), naive.stretchRows(x, heads * headDim, to));
      checkGuards();
    }
  });
}

test.run();
