import { test } from "uvu";
import * as naive from "../naive.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, loadKernels, padRows, uniform,
} from "../harness.ts";

for (const build of builds) {
  test(`meanRows matches naive, in parts too: ${build}`, () => {
    for (const rows of [1, 2, 3, 7, 9, 13, 64, 197]) {
      for (const columns of [1, 6, 8, 20, 64, 192]) {
        const name = `meanRows rows=${rows} columns=${columns}`, width = alignUp(columns, 8), stride = width + 1;
        const x = uniform(name, rows * columns, -0.5, 1);
        const { kernels, reserve, get, poison, putRows, checkGuards } = loadKernels(build);
        const out = reserve(width), input = putRows(padRows(x, columns, width), width, stride);
        assertSplits(
          name, width / 8, (begin, end) => kernels.meanRows(begin, end, out, input, stride * 4, rows),
          () => poison(out), () => get(out),
        );
        checkGuards();
        // a lone column may have a mean near zero
        assertClose(name, get(out).subarray(0, columns), naive.meanRows(x, columns), columns < 6 ? 1e-5 : 1e-6);
        assertSameBits(`${name}: padding`, get(out).slice(columns), new Float32Array(width - columns));
      }
    }
  });

  test(`copyBlocks copies its blocks and no others: ${build}`, () => {
    for (const [blocks, size] of [[1, 1], [1, 192], [5, 3], [9, 8], [13, 20]] as const) {
      const name = `copyBlocks ${blocks}x${size}`;
      const from = uniform(`${name} from`, blocks * size);
      const before = uniform(`${name} out`, blocks * size);
      const { kernels, put, get, set, checkGuards } = loadKernels(build), out = put(before), source = put(from);
      const run = (begin: number, end: number): void => kernels.copyBlocks(begin, end, out, source, size * 4);
      assertSplits(name, blocks, run, () => set(out, before), () => get(out));
      for (const [begin, end] of [[0, 1], [blocks >> 1, blocks], [blocks >> 1, blocks >> 1]] as const) {
        set(out, before);
        run(begin, end);
        assertSameBits(
          `${name} [${begin}, ${end})`, get(out), Float32Array.from(naive.copyBlocks(begin, end, before, from, size)),
        );
      }
      assertSameBits("the source", get(source), from);
      checkGuards();
    }
  });
}

test.run();
