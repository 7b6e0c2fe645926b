import { test } from "uvu";
import * as assert from "uvu/assert";
import * as naive from "../naive.ts";
import { alignUp, assertClose, assertSplits, builds, loadKernels, padRows, uniform } from "../harness.ts";

const EPS = 1e-5;
const cases = [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 192].map((dim, i) => {
  const rows = [1, 7, 13, 64, 197][i % 5]!, key = `norm ${rows} ${dim}`;
  return {
    rows, dim, x: uniform(`${key} x`, rows * dim), weight: uniform(`${key} weight`, dim, 0.5, 1.5),
    bias: uniform(`${key} bias`, dim),
  };
});

for (const build of builds) {
  test(`layerNorm matches naive, also in place: ${build}`, () => {
    for (const { rows, dim, x, weight, bias } of cases) {
      const name = `layerNorm rows=${rows} dim=${dim}`, want = naive.layerNorm(x, weight, bias, EPS);
      const { kernels, reserve, put, putRows, getRows, checkGuards, checkPadding } = loadKernels(build);
      const stride = dim + 3;
      const out = reserve(rows * (dim + 1));
      const input = putRows(x, dim, stride);
      const [w, b] = [weight, bias].map((values) => put(padRows(values, dim, alignUp(dim, 4)))) as [number, number];
      kernels.layerNorm(0, rows, out, (dim + 1) * 4, input, stride * 4, w, b, dim, EPS);
      kernels.layerNorm(0, rows, input, stride * 4, input, stride * 4, w, b, dim, EPS);
      checkGuards();
      for (const [place, at, step] of [["", out, dim + 1], [" in place", input, stride]] as const) {
        checkPadding(name + place, at, dim, step);
        // two channels are a difference over a difference
        assertClose(name + place, getRows(at, dim, step), want, dim < 8 ? 1e-5 : 1e-6);
      }
    }
  });

  test(`layerNorm of rows far from zero, and of equal numbers: ${build}`, () => {
    const [rows, dim] = [5, 64], ones = new Float32Array(dim).fill(1), zeros = new Float32Array(dim);
    const { kernels, put, get } = loadKernels(build), [w, b] = [put(ones), put(zeros)];
    const far = uniform("norm far", rows * dim, 999, 1001), at = put(far);
    kernels.layerNorm(0, rows, at, dim * 4, at, dim * 4, w, b, dim, EPS);
    // the mean is known to 1000·6e-8, beside a deviation of 0.58
    assertClose("far", get(at), naive.layerNorm(far, ones, zeros, EPS), 2e-4);
    const bias = uniform("norm bias", dim), same = put(new Float32Array(dim).fill(0.25));
    kernels.layerNorm(0, 1, same, dim * 4, same, dim * 4, w, put(bias), dim, EPS);
    assert.equal(get(same), bias);
  });

  test(`affine matches naive, also in place: ${build}`, () => {
    for (const { rows, dim, x, weight, bias } of cases) {
      const name = `affine rows=${rows} dim=${dim}`;
      const width = alignUp(dim, 8);
      const stride = width + 3;
      const want = naive.affine(x, weight, bias);
      const { kernels, reserve, put, getRows, checkGuards, checkPadding } = loadKernels(build);
      const out = reserve(rows * stride);
      const input = put(padRows(x, dim, width));
      const [w, b] = [weight, bias].map((values) => put(padRows(values, dim, width))) as [number, number];
      kernels.affine(0, rows, out, stride * 4, input, width * 4, w, b, dim);
      kernels.affine(0, rows, input, width * 4, input, width * 4, w, b, dim);
      checkGuards();
      checkPadding(name, out, width, stride);
      // a product and a term of opposite signs, once; more of them only average
      const tolerance = dim < 8 ? 2e-6 : 1e-6;
      assertClose(name, getRows(out, dim, stride), want, tolerance);
      assertClose(`${name} in place`, getRows(input, dim, width), want, tolerance);
    }
  });

  test(`layerNorm and affine in parts have the same bits: ${build}`, () => {
    for (const { rows, dim, x, weight, bias } of cases) {
      const { kernels, put, get, set, checkGuards } = loadKernels(build);
      const width = alignUp(dim, 8);
      const padded = padRows(x, dim, width);
      const at = put(padded);
      const [w, b] = [weight, bias].map((values) => put(padRows(values, dim, width))) as [number, number];
      const [reset, read] = [() => set(at, padded), () => get(at)];
      assertSplits(
        `layerNorm rows=${rows}`, rows,
        (begin, end) => kernels.layerNorm(begin, end, at, width * 4, at, width * 4, w, b, dim, EPS), reset, read,
      );
      assertSplits(
        `affine rows=${rows}`, rows,
        (begin, end) => kernels.affine(begin, end, at, width * 4, at, width * 4, w, b, dim), reset, read,
      );
      checkGuards();
    }
  });
}

test.run();
