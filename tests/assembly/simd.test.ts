// exp, GELU and SiLU have no exports of their own: they are seen through a layer whose weights are the identity.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ACT_GELU, ACT_RELU, ACT_SILU, WEIGH_SOFTMAX } from "../../assembly/opcodes.ts";
import * as naive from "../naive.ts";
import { builds, loadKernels } from "../harness.ts";
import type { Build } from "../../bindings/platform/platform.ts";

/** act(x) of every number, eight a row. */
function activate(build: Build, values: number[], act: number): { x: Float32Array; y: Float32Array } {
  const x = Float32Array.from({ length: Math.ceil(values.length / 8) * 8 }, (_, i) => values[i] ?? 0), m = x.length / 8;
  const { kernels, reserve, put, get, checkGuards } = loadKernels(build);
  // one column at a time, k = 1: inf and NaN stay where they are
  const out = reserve(x.length);
  const columns = reserve(x.length);
  const weights = put([1, 0, 0, 0, 0, 0, 0, 0]);
  const bias = put(new Float32Array(8));
  const input = put(x);
  const y = new Float32Array(x.length);
  for (let c = 0; c < 8; c++) {
    kernels.linear(0, 1, columns, 32, 32, input + c * 4, 32, weights, bias, 0, 0, 0, m, 1, act);
    const panel = get(columns);
    for (let r = 0; r < m; r++) y[r * 8 + c] = panel[r * 8]!;
  }
  kernels.linear(
    0, 1, out, 32, 32, input, 32, put(Array.from({ length: 64 }, (_, i) => (i % 9 ? 0 : 1))), bias, 0, 0, 0, m, 8, act,
  );
  // eight at a time gives the same, wherever 0·x is 0
  get(out).forEach((value, i) => {
    if (x.subarray(i & ~7, (i & ~7) + 8).every(Number.isFinite)) assert.is(value + 0, y[i]! + 0);
  });
  checkGuards();
  return { x, y };
}

const range = (from: number, to: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => from + ((to - from) * i) / (count - 1));
const tiny = [0, -0, 1e-45, -1e-45, 1e-38, -1e-38, 1e-20, -1e-20, 1e-8, -1e-8, 1e-4, -1e-4];

for (const build of builds) {
  test(`GELU is x·Φ(x) within 2.3e-7·|x|: ${build}`, () => {
    const { x, y } = activate(
      build,
      [...tiny, ...range(-12, 12, 20001), ...range(5.29, 5.31, 101), 100, -100, 1e30, -1e30],
      ACT_GELU,
    );
    x.forEach((value, i) => {
      const error = Math.abs(y[i]! - naive.activations.gelu(value));
      // below the smallest normal number nothing is relative
      if (!(error <= 2.3e-7 * Math.abs(value) + 1e-38))
        assert.unreachable(`gelu(${value}) is ${y[i]}, expected ${naive.activations.gelu(value)}`);
    });
    assert.is(y[0], 0);
  });

  test(`SiLU is x·σ(x) within 3.5e-7 of its value: ${build}`, () => {
    // exp to 2e-7, one addition and one division to 6e-8 each
    const { x, y } = activate(build, [...tiny, ...range(-86, 88, 40001), 1e30], ACT_SILU);
    x.forEach((value, i) => {
      const want = naive.activations.silu(value);
      if (!(Math.abs(y[i]! - want) <= 3.5e-7 * Math.abs(want) + 1e-38))
        assert.unreachable(`silu(${value}) is ${y[i]}, expected ${want}`);
    });
    // e^88 stands for all that is larger
    const far = activate(build, range(-1000, -87, 1001), ACT_SILU);
    far.y.forEach((value) => assert.ok(value <= 0 && value > -1e-34));
  });

  test(`ReLU is exact, and no activation hides a NaN: ${build}`, () => {
    const values = [...tiny, ...range(-3, 3, 101), Infinity, -Infinity];
    const { x, y } = activate(build, values, ACT_RELU);
    x.forEach((value, i) => assert.is(y[i]! + 0, Math.max(value, 0) + 0));
    for (const act of [ACT_RELU, ACT_GELU, ACT_SILU]) assert.ok(Number.isNaN(activate(build, [1, NaN, 2], act).y[1]));
  });

  test(`exp is within 2e-7 of its value on [-86, 0]: ${build}`, () => {
    // softmax over two keys with scores 0 and x: the weights' quotient is e^x
    const scores = range(-86, 0, 8001), n = scores.length;
    const { kernels, reserve, put, get, checkGuards } = loadKernels(build, { threadScratch: 12 * 8 * 4 });
    // one channel; key 0 is 0, key 1 is 1; the values are the unit vectors
    const keys = put([0, 1, 0, 0, 0, 0, 0, 0]);
    const values = put([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    const out = reserve(n * 8);
    const scratch = reserve(12 * 8);
    const x = Float32Array.from(scores);
    kernels.scoreAttention(0, n, out, 32, put(x), 4, keys, values, 1, 1, 8, 2, WEIGH_SOFTMAX, 0, scratch);
    checkGuards();
    const result = get(out);
    x.forEach((value, i) => {
      const [zero, one] = [result[i * 8]!, result[i * 8 + 1]!], want = Math.exp(value);
      // each weight is rounded once more on its way
      if (!(Math.abs(one / zero - want) <= 3.5e-7 * want))
        assert.unreachable(`exp(${value}) is ${one / zero}, expected ${want}`);
    });
  });
}

test("the reference's erf agrees with published digits", () => {
  for (const [x, want] of [
    [0.1, 0.1124629160182849], [0.5, 0.5204998778130465], [1, 0.8427007929497149], [2, 0.9953222650189527],
    [3.5, 0.9999992569016276],
  ] as const) {
    assert.ok(Math.abs(naive.erf(x) - want) < 1e-14);
    assert.is(naive.erf(-x), -naive.erf(x));
  }
  assert.ok(Math.abs(naive.erf(2.9999999) - naive.erf(3.0000001)) < 1e-10);
});

test.run();
