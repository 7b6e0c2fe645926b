import { test } from "uvu";
import { alignUp, assertClose, assertSplits, builds, loadKernels, padRows, uniform } from "../harness.ts";
import { languageKernels, rmsNorm } from "../naive-language.ts";

const EPS = 1e-6;
const cases = [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 192, 320].map((dim, i) => {
  const rows = [1, 2, 7, 13, 64][i % 5]!;
  return {
    name: `rmsNorm rows=${rows} dim=${dim}`, rows, dim, x: uniform(`rms ${dim} x`, rows * dim),
    weight: uniform(`rms ${dim} weight`, dim, -1.5, 1.5),
  };
});

for (const build of builds) {
  test(`rmsNorm matches naive, also in place: ${build}`, () => {
    for (const { name, rows, dim, x, weight } of cases) {
      const loaded = loadKernels(build);
      const kernels = languageKernels(loaded.kernels);
      const { reserve, put, putRows, getRows, checkGuards, checkPadding } = loaded;
      const stride = dim + 3;
      const out = reserve(rows * (dim + 1));
      const input = putRows(x, dim, stride);
      const w = put(weight);
      const want = rmsNorm(x, weight, EPS);
      kernels.rmsNorm(0, rows, out, (dim + 1) * 4, input, stride * 4, w, dim, EPS);
      kernels.rmsNorm(0, rows, input, stride * 4, input, stride * 4, w, dim, EPS);
      checkGuards();
      for (const [place, at, step] of [["", out, dim + 1], [" in place", input, stride]] as const) {
        checkPadding(name + place, at, dim, step);
        assertClose(name + place, getRows(at, dim, step), want);
      }
    }
  });

  test(`rmsNorm of rows of zeros and of very different sizes: ${build}`, () => {
    const dim = 12, weight = uniform("weight", dim), rows = [0, 1e-12, 1e-3, 1, 1e3, 1e15];
    const x = Float32Array.from(rows.flatMap((size) => [...uniform("x", dim, -size, size)]));
    const loaded = loadKernels(build);
    const at = loaded.put(x);
    languageKernels(loaded.kernels).rmsNorm(0, rows.length, at, dim * 4, at, dim * 4, loaded.put(weight), dim, EPS);
    const got = loaded.get(at), want = rmsNorm(x, weight, EPS);
    rows.forEach((size, r) =>
      assertClose(
        `a row of size ${size}`, got.subarray(r * dim, (r + 1) * dim), want.subarray(r * dim, (r + 1) * dim),
        size ? 1e-6 : 0,
      ),
    );
  });

  test(`rmsNorm in parts has the same bits: ${build}`, () => {
    for (const { name, rows, dim, x, weight } of cases) {
      const loaded = loadKernels(build);
      const kernels = languageKernels(loaded.kernels);
      const width = alignUp(dim, 8);
      const padded = padRows(x, dim, width);
      const at = loaded.put(padded);
      const w = loaded.put(weight);
      assertSplits(
        name, rows, (begin, end) => kernels.rmsNorm(begin, end, at, width * 4, at, width * 4, w, dim, EPS),
        () => loaded.set(at, padded), () => loaded.get(at),
      );
      loaded.checkGuards();
    }
  });
}

test.run();
