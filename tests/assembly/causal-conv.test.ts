import { test } from "uvu";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, dropPadding, loadKernels, padRows, toHeadPanels, uniform,
} from "../harness.ts";
import type { Loaded } from "../harness.ts";
import { causalConv, languageKernels } from "../naive-language.ts";

/** Bytes of a timeline's state before this layer's part. */
const OFFSET = 64;
const cases = [1, 2, 4, 7].flatMap((taps) =>
  [1, 2, 3, 4, 5, 6].flatMap((rows) =>
    (
      [
        [1, 5], [2, 8], [3, 16],
      ] as const
    ).flatMap(([heads, headDim]) =>
      (["rows", "head panels"] as const).flatMap((layout) =>
        [true, false].map((sequence) => ({ taps, rows, heads, headDim, channels: heads * headDim, layout, sequence })),
      ),
    ),
  ),
);
type Case = (typeof cases)[number];
const nameOf = ({ taps, rows, channels, layout, sequence }: Case): string =>
  `causalConv taps=${taps} rows=${rows} channels=${channels} ${layout}, `
  + `${sequence ? "one sequence" : "a timeline each"}`;

function dataOf({ taps, rows, channels, sequence }: Case) {
  return {
    out: uniform("out", rows * channels), x: uniform("x", rows * channels), w: uniform("w", taps * channels),
    caches: Array.from({ length: sequence ? 1 : rows }, (_, r) => uniform(`cache ${r}`, (taps - 1) * channels)),
  };
}

/** The case in memory: channels padded to panels, outputs in longer rows, caches a few bytes into their states. */
function inMemory(loaded: Loaded, given: Case) {
  const { taps, rows, heads, headDim, channels, layout, sequence } = given;
  const width = alignUp(channels, 8);
  const stride = width + 8;
  const { out, x, w, caches } = dataOf(given);
  const { memory, reserveBytes, put, putBytes, putRows } = loaded;
  const kernels = languageKernels(loaded.kernels);
  // room for more rows than are there, as in a prefill that is not full
  const capacity = rows + 2, more = new Float32Array(capacity * channels).fill(NaN);
  more.set(x);
  const input =
    layout === "rows" ? putRows(padRows(x, channels, width), width, stride) : put(toHeadPanels(more, heads, headDim));
  const [xRow, xPanel] = layout === "rows" ? [stride * 4, 32] : [32, capacity * 32];
  const padded = caches.map((cache) => padRows(cache, channels, width));
  const slots = padded.map((cache) => reserveBytes(OFFSET + cache.length * 4));
  const view = (r: number): Float32Array => new Float32Array(memory.buffer, slots[r]! + OFFSET, padded[r]!.length);
  const states = putBytes(new Uint8Array(Int32Array.from(slots).buffer));
  const target = putRows(padRows(out, channels, width), width, stride);
  const taken = put(padRows(w, channels, width));
  const reset = (): void => {
    padded.forEach((cache, r) => view(r).set(cache));
    new Float32Array(memory.buffer, target, rows * stride).forEach((_, i, all) => {
      if (i % stride < width)
        all[i] = i % stride < channels ? out[Math.floor(i / stride) * channels + (i % stride)]! : 0;
    });
  };
  reset();
  return {
    width, stride, target, reset, panels: width / 8,
    caches: (): Float32Array =>
      Float32Array.from(slots.flatMap((_, r) => [...dropPadding(view(r).slice(), channels, width)])),
    got: (): Float32Array => dropPadding(loaded.getRows(target, width, stride), channels, width),
    /** Rows [first, first + count), channel panels [begin, end). */
    run(begin: number, end: number, first = 0, count = rows): void {
      kernels.causalConv(
        begin, end, target + first * stride * 4, stride * 4, input + first * xRow, xRow, xPanel, taken,
        sequence ? states : states + first * 4, OFFSET, count, channels, taps, sequence ? 1 : 0,
      );
    },
  };
}

/** What the reference says, caches included. */
function wantedOf(given: Case): { out: Float64Array; caches: Float64Array } {
  const { rows, channels, sequence } = given;
  const { out, x, w, caches } = dataOf(given);
  const memories = caches.map((cache) => Float64Array.from(cache));
  const parts = memories.map((memory, r) => {
    const [begin, end] = sequence ? [0, rows * channels] : [r * channels, (r + 1) * channels];
    return causalConv(out.subarray(begin, end), x.subarray(begin, end), w, memory, channels);
  });
  return {
    out: Float64Array.from(parts.flatMap((part) => [...part])),
    caches: Float64Array.from(memories.flatMap((memory) => [...memory])),
  };
}

for (const build of builds) {
  test(`causalConv matches naive and keeps the last inputs: ${build}`, () => {
    for (const given of cases) {
      const loaded = loadKernels(build);
      const { width, stride, target, panels, run, got, caches } = inMemory(loaded, given);
      const want = wantedOf(given);
      run(0, panels);
      loaded.checkGuards();
      loaded.checkPadding(nameOf(given), target, width, stride);
      assertClose(nameOf(given), got(), want.out, 2e-6);
      assertSameBits(`${nameOf(given)}: cache`, caches(), Float32Array.from(want.caches));
    }
  });

  test(`causalConv in parts has the same bits, of channels and of rows: ${build}`, () => {
    for (const given of cases) {
      const loaded = loadKernels(build);
      const { panels, run, reset, got, caches } = inMemory(loaded, given);
      const { rows } = given;
      const read = (): Float32Array => Float32Array.from([...got(), ...caches()]);
      assertSplits(nameOf(given), panels, run, reset, read);
      reset();
      run(0, panels);
      const whole = read();
      for (let split = 0; split <= rows; split++) {
        reset();
        run(0, panels, 0, split);
        run(0, panels, split, rows - split);
        assertSameBits(`${nameOf(given)}, split at row ${split}`, read(), whole);
      }
      reset();
      for (let r = 0; r < rows; r++) run(0, panels, r, 1);
      assertSameBits(`${nameOf(given)}, row by row`, read(), whole);
      loaded.checkGuards();
    }
  });
}

test.run();
