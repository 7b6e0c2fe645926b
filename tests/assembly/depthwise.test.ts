import { test } from "uvu";
import * as assert from "uvu/assert";
import { ACT_GELU, ACT_NONE } from "../../assembly/opcodes.ts";
import { depthwiseConvChannels } from "../../bindings/plan/ops/convolution.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import * as naive from "../naive.ts";
import { assertClose, assertSplits, builds, fromHeadPanels, loadKernels, toHeadPanels, uniform } from "../harness.ts";
import type { Loaded } from "../harness.ts";

// every remainder of a row after its tiles of seven and four; more than one map; one panel, two, an odd number of them
const maps = [
  [1, 1, 1], [2, 3, 5], [1, 5, 3], [3, 2, 6], [1, 7, 7], [2, 8, 8], [1, 3, 9], [1, 1, 10], [1, 2, 11], [1, 3, 12],
  [2, 4, 13], [1, 14, 14],
] as const;
const cases = maps.flatMap(([count, height, side], m) =>
  ([3, 5] as const).flatMap((size) =>
    [8, 16, 24, 56].map((channels, i) => {
      const values = count * height * side * channels, key = `depthwise ${count} ${height} ${side} ${size} ${channels}`;
      const data = {
        map: uniform(`${key} map`, values), taps: uniform(`${key} taps`, channels * size ** 2),
        bias: uniform(`${key} bias`, channels), addend: uniform(`${key} addend`, values),
      };
      return {
        ...data, key, rows: count * height, height, side, size, channels, group: [2, 4, 64][(m + i) % 3]!,
        added: (m + i) % 2 === 0, gelu: i % 2 === 0, panels: (m + i) % 4 > 1,
      };
    }),
  ),
);
type Case = (typeof cases)[number];

/** The case in memory, in rows of a wider stride or in panels. */
function inMemory({ reserve, put, putRows, get, getRows, set, poison, checkPadding, kernels }: Loaded, given: Case) {
  const { key, map, taps, bias, addend, rows, height, side, size, channels, group, added, gelu, panels } = given;
  const pixels = rows * side;
  const stride = channels + 8;
  const laid = (values: Float32Array): number =>
    panels ? put(toHeadPanels(values, 1, channels)) : putRows(values, channels, stride);
  const [row, panel] = panels ? [32, pixels * 32] : [stride * 4, 32];
  const x = laid(map);
  const out = panels ? reserve(pixels * channels) : reserve(pixels * stride);
  const w = put(toHeadPanels(turn(taps, size ** 2), 1, channels));
  const start = put(bias);
  const plus = added ? laid(addend) : 0;
  const scratch = reserve((Math.min(group, 2 * Math.ceil(channels / 16)) / 2) * 16 * size * (side + size - 1));
  const kept = added ? get(plus) : undefined, together = Math.min(group, 2 * Math.ceil(channels / 16));
  return {
    run: (begin: number, end: number, into = out): void =>
      kernels.depthwiseConvChannels(
        begin, end, into, row, panel, x, row, panel, w, start, plus, plus ? row : 0, plus ? panel : 0, height, side,
        channels / 8, size, gelu ? ACT_GELU : ACT_NONE, 1, together, scratch,
      ),
    out, plus, reset: () => { poison(out); poison(scratch); if (kept) set(plus, kept); },
    raw: (at = out) => get(at),
    read: (at = out): Float32Array => (panels ? fromHeadPanels(get(at), 1, channels) : getRows(at, channels, stride)),
    check: () => { if (!panels) checkPadding(key, out, channels, stride); },
    want: naive.depthwiseConvChannels(map, taps, size, height, side, {
      bias, ...(added ? { addend } : {}), act: gelu ? "gelu" : "none",
    }),
  };
}

/** [channels, count] → [count, channels]. */
const turn = (values: Float32Array, count: number): Float32Array =>
  Float32Array.from(
    values, (_, i) => values[(i % (values.length / count)) * count + Math.floor(i / (values.length / count))]!,
  );

for (const build of builds) {
  test(`depthwiseConvChannels matches naive, into its addend too: ${build}`, () => {
    for (const given of cases) {
      const loaded = loadKernels(build), { run, read, check, plus, want } = inMemory(loaded, given);
      run(0, given.rows);
      check();
      assertClose(given.key, read(), want);
      if (plus) {
        run(0, given.rows, plus);
        assertClose(`${given.key} in place of its addend`, read(plus), want);
      }
      loaded.checkGuards();
    }
  });

  test(`depthwiseConvChannels in parts has the same bits: ${build}`, () => {
    for (const given of cases) {
      const loaded = loadKernels(build), { run, reset, raw } = inMemory(loaded, given);
      assertSplits(given.key, given.rows, run, reset, raw);
      loaded.checkGuards();
    }
  });
}

for (const build of builds) {
  test(`depthwiseConvChannels of maps side by side, in parts too: ${build}`, () => {
    for (const [lines, across, height, side, size, channels] of [
      [1, 2, 14, 7, 3, 16], [2, 3, 3, 5, 5, 24], [1, 4, 1, 1, 3, 8], [3, 2, 4, 8, 3, 8], [2, 1, 3, 4, 5, 16],
    ] as const) {
      const key = `stripes ${lines} ${across} ${height} ${side} ${size} ${channels}`;
      const pixels = lines * across * height * side;
      const stride = channels + 8;
      const map = uniform(`${key} map`, pixels * channels);
      const taps = uniform(`${key} taps`, channels * size ** 2);
      const bias = uniform(`${key} bias`, channels);
      const { kernels, reserve, put, putRows, get, getRows, poison, checkGuards, checkPadding } = loadKernels(build);
      const x = putRows(map, channels, stride);
      const out = reserve(pixels * stride);
      const w = put(toHeadPanels(turn(taps, size ** 2), 1, channels));
      const start = put(bias);
      const group = 2 * Math.ceil(channels / 16), scratch = reserve((group / 2) * 16 * size * (side + size - 1));
      assertSplits(
        key,
        lines * across * height,
        (begin, end) =>
          kernels.depthwiseConvChannels(
            begin, end, out, stride * 4, 32, x, stride * 4, 32, w, start, 0, 0, 0, height, side, channels / 8, size,
            ACT_NONE, across, group, scratch,
          ),
        () => {
          poison(out);
          poison(scratch);
        },
        () => get(out),
      );
      // where pixel i of the maps one after another lies when they are side by side
      const place = (i: number): number => {
        const m = Math.floor(i / (height * side)), y = Math.floor((i % (height * side)) / side);
        return ((Math.floor(m / across) * height + y) * across + (m % across)) * side + (i % side);
      };
      const apart = Float64Array.from(map, (_, i) => map[place(Math.floor(i / channels)) * channels + (i % channels)]!);
      const alone = naive.depthwiseConvChannels(apart, taps, size, height, side, { bias });
      const want = new Float64Array(alone.length);
      alone.forEach((value, i) => { want[place(Math.floor(i / channels)) * channels + (i % channels)] = value; });
      assertClose(key, getRows(out, channels, stride), want);
      checkPadding(key, out, channels, stride);
      checkGuards();
    }
  });
}

test("the recorder refuses what the kernel cannot do", () => {
  const plan = new Plan();
  const x = plan.rows("x", 12, 16);
  const taps = { name: "taps", read: async () => new Float32Array(16 * 9) };
  assert.throws(() => depthwiseConvChannels(plan, x, taps, 3, 5, 3), /x has 12 rows, expected whole maps of 5×3/);
  assert.throws(() => depthwiseConvChannels(plan, x, taps, 3, 4, 3, { out: x }), /cannot be written over it/);
  assert.throws(
    () => depthwiseConvChannels(plan, x, taps, 3, 4, 3, { out: plan.rows("y", 12, 24) }), /but y is \[12, 24\]/,
  );
  assert.throws(
    () => depthwiseConvChannels(plan, x, taps, 3, 4, 3, { across: 2 }), /expected whole maps of 4×3, 2 side by side/,
  );
  assert.throws(
    () => depthwiseConvChannels(plan, x, taps, 3, 4, 3, { first: 8 }),
    /16 channels of x from 8, to 0: expected multiples of 8 within its 16/,
  );
  assert.throws(
    () => depthwiseConvChannels(plan, x, taps, 3, 4, 3, { channels: 8, to: 8, out: plan.rows("y", 12, 8) }),
    /but y is \[12, 8\]/,
  );
  assert.is(depthwiseConvChannels(plan, x, taps, 3, 2, 2).rows, 12);
});

test.run();
