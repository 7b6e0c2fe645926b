// Linear layers of one row, as decoding has them, and gated ones: panels are taken four at a time, with the bits of one
// at a time.
import { test } from "uvu";
import { ACT_GATE, ACT_GELU, ACT_NONE, ACT_RELU, ACT_SILU } from "../../assembly/opcodes.ts";
import {
  assertClose, assertSameBits, assertSplits, builds, loadKernels, packWeights, TILES, uniform,
} from "../harness.ts";
import * as naive from "../naive.ts";

const ACTS = { none: ACT_NONE, relu: ACT_RELU, gelu: ACT_GELU, silu: ACT_SILU, gate: ACT_GATE };
type Act = keyof typeof ACTS;
const acts = Object.keys(ACTS) as Act[];
const cases = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((panels, i) => [1, 2, 3, 4, 5, 6, 7, 8, 9, 320].flatMap((k, j) =>
  // every activation over a few neighbours, with and without an addend
  [0, 2].map((turn) => ({ panels, k, act: acts[(i + j + turn) % 5]!, added: (i + 2 * j + turn) % 3 > 0 }))));
type Case = (typeof cases)[number];
const nameOf = ({ panels, k, act, added }: Case): string =>
  `linear m=1 panels=${panels} k=${k} ${act}${added ? " with addend" : ""}`;

/** Operands of m rows; the first row is the same for any m. */
function dataOf({ panels, k }: Case, m: number) {
  const outDim = panels * 8;
  const first = (key: string, size: number): Float32Array =>
    Float32Array.from(Array.from({ length: m }, (_, r) => [...uniform(`${key} ${r}`, size)]).flat());
  return {
    outDim, x: first("x", k), w: uniform("w", outDim * k), bias: uniform("bias", outDim),
    addend: first("addend", outDim),
  };
}

function wantedOf(given: Case): Float64Array {
  const { x, w, bias, addend } = dataOf(given, 1), { k, act, added } = given;
  if (act === "gate") return naive.linear(x, w, k, { bias }).map((value, i) => value * addend[i]!);
  return naive.linear(x, w, k, { bias, act, ...(added ? { addend } : {}) });
}

for (const build of builds) {
  test(`one row matches naive, with the same bits as among other rows and in parts: ${build}`, () => {
    for (const given of cases) {
      const { panels, k, act, added } = given, name = nameOf(given), hasAddend = added || act === "gate";
      const results = TILES.flatMap((tileRows) => [1, 2, 7].map((m) => {
        const loaded = loadKernels(build, { tileRows });
        const { kernels, reserve, put, putRows, get, poison, getRows, checkGuards } = loaded;
        const { outDim, x, w, bias, addend } = dataOf(given, m);
        const out = reserve(m * outDim);
        const input = putRows(x, k, k + 1);
        const operands = [
          input, (k + 1) * 4, put(packWeights(w, k)), put(bias), hasAddend ? putRows(addend, outDim, outDim + 4) : 0,
          hasAddend ? (outDim + 4) * 4 : 0, hasAddend ? 32 : 0,
        ];
        const run = (begin: number, end: number): void =>
          kernels.linear(begin, end, out, outDim * 4, 32, ...operands, m, k, ACTS[act]);
        if (m === 1 && k < 10) assertSplits(name, panels, run, () => poison(out), () => get(out));
        else run(0, panels);
        checkGuards();
        return getRows(out, outDim, outDim).subarray(0, outDim);
      }));
      // a few outputs may all be small beside the terms they sum
      assertClose(name, results[0]!, wantedOf(given), 1e-5);
      for (const other of results.slice(1))
        assertSameBits(`${name}, among other rows or another tile`, other, results[0]!);
    }
  });

  test(`one row goes into panels far apart, and into its own addend: ${build}`, () => {
    for (const given of cases.filter(({ k }) => k === 5 || k === 320)) {
      const { panels, k, act, added } = given;
      const { outDim, x, w, bias, addend } = dataOf(given, 1);
      const want = wantedOf(given);
      const { kernels, reserve, put, putRows, get, getRows, checkGuards, checkPadding } = loadKernels(build);
      const [input, weights, biases] = [put(x), put(packWeights(w, k)), put(bias)];
      // panels of 8 floats, 24 floats apart; the addend's 16 apart
      const out = reserve(panels * 24), spread = added || act === "gate" ? putRows(addend, 8, 16) : 0;
      kernels.linear(0, panels, out, 32, 96, input, k * 4, weights, biases, spread, 32, 64, 1, k, ACTS[act]);
      checkPadding(nameOf(given), out, 8, 24);
      assertClose(nameOf(given), getRows(out, 8, 24), want, 1e-5);
      if (added && act !== "gate") {
        const both = put(addend);
        kernels.linear(
          0, panels, both, outDim * 4, 32, input, k * 4, weights, biases, both, outDim * 4, 32, 1, k, ACTS[act],
        );
        assertSameBits(`${nameOf(given)} in place`, get(both), getRows(out, 8, 24));
      }
      checkGuards();
    }
  });
}

test.run();
