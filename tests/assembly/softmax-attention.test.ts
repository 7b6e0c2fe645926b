import { test } from "uvu";
import * as assert from "uvu/assert";
import { CACHE_PAGE } from "../../assembly/header.ts";
import { cachedAttention } from "../../bindings/plan/ops/language.ts";
import { StateLayout } from "../../bindings/plan/state.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { rotaryAngles } from "../../models/parts/rotary.ts";
import { assertClose, assertSameBits, assertSplits, builds, loadKernels, TILES, uniform } from "../harness.ts";
import type { Loaded } from "../harness.ts";
import { languageKernels, rotary, softmaxAttention } from "../naive-language.ts";

const THETA = 100;
/** Bytes of a timeline's state before this layer's part, and of another layer's in every page: not to be touched. */
const OFFSET = 192, OTHER = 64;

/**
 * A timeline: all its tokens, what the reference says of them, and how many the cache holds before the rows at hand.
 */
interface Case {
  readonly heads: number;
  readonly headDim: number;
  readonly before: number;
  readonly rows: number;
  readonly sharing?: number;
  readonly turned?: number;
  readonly window?: number;
}

const headBytes = (headDim: number): number => (headDim + Math.ceil(headDim / 8) * 8) * CACHE_PAGE * 4;
const keyHeadsOf = ({ heads, sharing = 1 }: Case): number => heads / sharing;
const pageBytes = (given: Case): number => keyHeadsOf(given) * headBytes(given.headDim) + OTHER;
/** Pages that a window needs in turns, the rows at hand beside it; 0: none. */
const ringOf = ({ window, rows }: Case): number => (window === undefined ? 0 : pagesFor(window + rows - 2) + 1);

function dataOf(key: string, given: Case) {
  const { heads, headDim, before, rows, sharing = 1, turned } = given;
  const dim = heads * headDim;
  const tokens = before + rows;
  const keyDim = dim / sharing;
  // scores far apart, in falling and rising order, so that the largest moves
  const q = uniform(`${key} q`, tokens * dim, -3, 3);
  const k = uniform(`${key} k`, tokens * keyDim);
  const v = uniform(`${key} v`, tokens * keyDim);
  const rotated = rotary(k, heads / sharing, headDim, THETA, 0, turned);
  return {
    dim, keyDim, tokens, q, k, v, rotated,
    want: softmaxAttention(q, k, v, { ...given, theta: THETA }).subarray(before * dim),
  };
}

/**
 * The first `tokens` tokens as the kernels keep them: [pages][heads]{keys [4][headDim][8], values [headDim/8][32][8]},
 * zeros after the last.
 */
function cacheOf(
  given: Case, keys: ArrayLike<number>, values: ArrayLike<number>, tokens: number, pages: number,
): Float32Array {
  const { headDim } = given, heads = keyHeadsOf(given), ring = ringOf(given);
  const page = (heads * headBytes(headDim)) / 4, keysAt = headDim * CACHE_PAGE, out = new Float32Array(pages * page);
  for (let t = 0; t < tokens; t++) {
    const token = t % CACHE_PAGE, number = Math.floor(t / CACHE_PAGE), start = (ring ? number % ring : number) * page;
    // a page that is used again begins empty
    if (token === 0) out.fill(0, start, start + page);
    for (let h = 0; h < heads; h++) {
      const at = start + (h * headBytes(headDim)) / 4;
      for (let c = 0; c < headDim; c++) {
        const from = (t * heads + h) * headDim + c;
        out[at + ((token >> 3) * headDim + c) * 8 + (token & 7)] = keys[from]!;
        out[at + keysAt + ((c >> 3) * CACHE_PAGE + token) * 8 + (c & 7)] = values[from]!;
      }
    }
  }
  return out;
}

/** A state slot: poison, but for this layer's part of the pages that are written to `tokens`. */
function putState(loaded: Loaded, given: Case, pages: number) {
  const address = loaded.reserveBytes(OFFSET + pages * pageBytes(given));
  const own = (keyHeadsOf(given) * headBytes(given.headDim)) / 4;
  const part = (page: number): Float32Array =>
    new Float32Array(loaded.memory.buffer, address + OFFSET + page * pageBytes(given), own);
  return {
    address,
    write(cache: Float32Array): void {
      for (let page = 0; (page + 1) * own <= cache.length; page++)
        part(page).set(cache.subarray(page * own, (page + 1) * own));
    },
    read(count: number): Float32Array {
      const out = new Float32Array(count * own);
      for (let page = 0; page < count; page++) out.set(part(page), page * own);
      return out;
    },
    checkOthers(name: string): void {
      const outside = (byte: number): boolean => byte < OFFSET || (byte - OFFSET) % pageBytes(given) >= own * 4;
      for (let byte = 0; byte < OFFSET + pages * pageBytes(given); byte += 4)
        if (outside(byte) && !loaded.untouched(address, byte / 4))
          assert.unreachable(`${name}: wrote at ${byte} of the state, which is another's`);
    },
  };
}

const putInts = ({ putBytes }: Loaded, values: number[]): number =>
  putBytes(new Uint8Array(Int32Array.from(values).buffer));
const pagesFor = (tokens: number): number => Math.ceil(tokens / CACHE_PAGE);

/** Bytes of scratch that a plan gives the kernel. */
function scratchOf({ heads, headDim }: Case): number {
  const plan = new Plan();
  const rows = () => plan.rows("rows", 1, heads * headDim);
  const ints = () => plan.inputRows("ints", 1, 1);
  const pass = {
    plan, state: new StateLayout(64, 1), timelines: { ids: ints(), states: ints(), positions: ints() }, sequence: true,
  };
  cachedAttention(pass, { heads, q: rows(), k: rows(), v: rows() }, "cache");
  return plan.threadScratch;
}

/** Pages of a case's timeline in memory. */
const pagesIn = (given: Case, tokens: number): number => ringOf(given) || pagesFor(tokens);

/**
 * Rows of several timelines, or successive rows of one, in memory with odd strides; runs of either kernel over units
 * [begin, end).
 */
function inMemory(loaded: Loaded, cases: readonly Case[], sequence: boolean) {
  const kernels = languageKernels(loaded.kernels), [{ heads, headDim }] = cases as [Case], dim = heads * headDim;
  const { sharing = 1, turned = headDim, window = 0 } = cases[0]!, ring = ringOf(cases[0]!), keyDim = dim / sharing;
  const data = cases.map((given, i) => dataOf(`timeline ${i}`, given));
  const tokens = Math.max(...data.map((d) => d.tokens));
  const rows = sequence ? cases[0]!.rows : cases.length;
  const slots = cases.map((given, i) => putState(loaded, given, pagesIn(given, data[i]!.tokens)));
  const widths = { q: dim, k: keyDim, v: keyDim }, strides = { q: dim + 3, k: keyDim + 1, v: keyDim + 2, out: dim + 5 };
  const last = (name: "q" | "k" | "v", i: number): Float32Array =>
    data[i]![name].subarray(cases[i]!.before * widths[name]);
  const joined = (name: "q" | "k" | "v"): Float32Array =>
    Float32Array.from(cases.flatMap((_, i) => [...last(name, i)]));
  const put = (name: "q" | "k" | "v"): number => loaded.putRows(joined(name), widths[name], strides[name]);
  const q = put("q");
  const k = put("k");
  const v = put("v");
  const out = loaded.reserve(rows * strides.out);
  const angles = turned ? loaded.put(rotaryAngles(tokens, turned, THETA)) : 0;
  const states = putInts(loaded, slots.map(({ address }) => address));
  const positions = putInts(loaded, cases.map(({ before }) => before));
  const scratch = loaded.reserveBytes(scratchOf(cases[0]!));
  const size = [rows, heads, headDim, sequence ? 1 : 0, sharing] as const;
  const one = putInts(loaded, [0]);
  const page = pageBytes(cases[0]!);
  return {
    data, slots, rows, dim, strides, q, out,
    /** The caches as they are before the rows. */
    reset(): void {
      slots.forEach((slot, i) =>
        slot.write(
          cacheOf(cases[i]!, data[i]!.rotated, data[i]!.v, cases[i]!.before, pagesIn(cases[i]!, cases[i]!.before)),
        ),
      );
      loaded.set(q, padTo(joined("q"), dim, strides.q));
      loaded.poison(out);
    },
    cache: (begin: number, end: number): void =>
      kernels.cacheTokens(
        begin, end, q, strides.q * 4, k, strides.k * 4, v, strides.v * 4, states, positions, OFFSET, page, angles,
        Math.ceil(turned / 8) * 32, ...size, turned, ring,
      ),
    attend: (begin: number, end: number): void =>
      kernels.cachedAttention(
        begin, end, out, strides.out * 4, q, strides.q * 4, states, positions, OFFSET, page, ...size, window, ring,
        scratch,
      ),
    /** One row of a sequence as decoding would have it, against a cache that may hold later tokens. */
    attendRow(row: number): void {
      new Int32Array(loaded.memory.buffer, one, 1)[0] = cases[0]!.before + row;
      kernels.cachedAttention(
        0, heads, out + row * strides.out * 4, 0, q + row * strides.q * 4, 0, states, one, OFFSET, page, 1, heads,
        headDim, 0, sharing, window, ring, scratch,
      );
    },
    caches: (): Float32Array =>
      Float32Array.from(slots.flatMap((slot, i) => [...slot.read(pagesIn(cases[i]!, data[i]!.tokens))])),
  };
}

/** Rows of `stride` whose padding is what it was before a kernel ran: NaN. */
function padTo(values: Float32Array, columns: number, stride: number): Float32Array {
  const out = new Float32Array((values.length / columns) * stride).fill(NaN);
  values.forEach((value, i) => { out[Math.floor(i / columns) * stride + (i % columns)] = value; });
  return out;
}

const sequences: Case[] = [8, 16, 24, 40, 64, 128, 12, 38].flatMap((headDim, a) =>
  [0, 1, 7, 31, 32, 33, 64, 100].flatMap((before, b) => {
    const rows = [1, 2, 6, 13, 24, 25, 32, 60][(a + 3 * b) % 8]!;
    return [{ headDim, before, rows, heads: 1 + ((a + b) % 3) }];
  }),
);
/** One row each, of timelines of other lengths. */
const batches: Case[][] = [8, 24, 64, 128, 6, 36].flatMap((headDim, a) =>
  [1, 2, 5].map((count) =>
    Array.from({ length: count }, (_, i) => ({
      headDim, heads: 1 + (a % 3), rows: 1, before: [31, 0, 64, 95, 12][i]!,
    })),
  ),
);
/** Grouped queries, some channels turned or none, windows within rings. */
const wide: Case[] = [
  { heads: 4, headDim: 16, sharing: 2, before: 33, rows: 25 },
  { heads: 6, headDim: 8, sharing: 3, before: 0, rows: 60, turned: 0 },
  { heads: 2, headDim: 32, turned: 8, before: 31, rows: 32 },
  { heads: 2, headDim: 24, turned: 16, before: 100, rows: 1 },
  { heads: 6, headDim: 10, turned: 4, sharing: 2, before: 40, rows: 33 },
  ...[1, 7, 32, 33, 64, 100].flatMap((window) =>
    [0, 5, 64, 130, 300].map((before, i): Case => ({
      heads: 2, headDim: 16, sharing: 1 + (i % 2), turned: 8, window, before,
      rows: [1, 40, 2, 60, 33][(i + window) % 5]!,
    })),
  ),
];
const wideBatches: Case[][] = [
  [31, 0, 64, 95].map((before) => ({ heads: 4, headDim: 16, sharing: 4, turned: 8, rows: 1, before })),
  [31, 0, 64, 295].map((before) => ({ heads: 4, headDim: 16, sharing: 2, window: 40, rows: 1, before })),
];
sequences.push(...wide);
batches.push(...wideBatches);
const all = [
  ...sequences.map((given) => ({ cases: [given], sequence: true })),
  ...batches.map((cases) => ({ cases, sequence: false })),
].map((given) => ({
  ...given,
  name:
    `${given.sequence ? "sequence" : "batch"} of `
    + `${given.cases.map(({ before, rows }) => `${rows} after ${before}`).join(", ")}: `
    + `${JSON.stringify({ ...given.cases[0], before: undefined, rows: undefined })}`,
}));

for (const build of builds) {
  test(`cacheTokens and cachedAttention match naive: ${build}`, () => {
    for (const { name, cases, sequence } of all) {
      const loaded = loadKernels(build);
      const { data, slots, rows, dim, strides, q, out, reset, cache, attend, caches } = inMemory(
        loaded, cases, sequence,
      );
      const { heads, headDim } = cases[0]!;
      reset();
      cache(0, sequence ? heads : rows * heads);
      const turned = cases.flatMap((given, i) => [
        ...rotary(data[i]!.q.subarray(given.before * dim), heads, headDim, THETA, given.before, given.turned),
      ]);
      assertClose(`${name}: q`, loaded.getRows(q, dim, strides.q), turned, 1e-6);
      assertClose(
        `${name}: caches`,
        caches(),
        cases.flatMap((given, i) => [
          ...cacheOf(given, data[i]!.rotated, data[i]!.v, data[i]!.tokens, pagesIn(given, data[i]!.tokens)),
        ]),
        1e-6,
      );
      attend(0, rows * heads);
      assertClose(name, loaded.getRows(out, dim, strides.out), data.flatMap(({ want }) => [...want]), 3e-6, 4e-5);
      loaded.checkPadding(name, out, dim, strides.out);
      for (const slot of slots) slot.checkOthers(name);
      loaded.checkGuards();
    }
  });

  test(`cacheTokens and cachedAttention in parts have the same bits: ${build}`, () => {
    for (const { name, cases, sequence } of all.filter(
      ({ cases: [given], sequence }, i) => given!.headDim < 64 && (sequence ? given!.rows > 2 && i % 3 === 0 : true),
    )) {
      const loaded = loadKernels(build);
      const { rows, dim, strides, q, out, reset, cache, attend, caches } = inMemory(loaded, cases, sequence);
      const { heads } = cases[0]!;
      const units = sequence ? heads : rows * heads;
      assertSplits(`cacheTokens, ${name}`, units, cache, reset, () =>
        Float32Array.from([...caches(), ...loaded.getRows(q, dim, strides.q)]),
      );
      reset();
      cache(0, units);
      assertSplits(
        `cachedAttention, ${name}`, rows * heads, attend, () => loaded.poison(out),
        () => loaded.getRows(out, dim, strides.out),
      );
      loaded.checkGuards();
    }
  });

  test(`a sequence has the bits of its rows one by one, with every tile: ${build}`, () => {
    const given: Case = { heads: 2, headDim: 40, before: 30, rows: 70 }, dim = 80;
    let want: Float32Array | undefined;
    for (const tileRows of TILES) {
      const loaded = loadKernels(build, { tileRows });
      const { out, strides, reset, cache, attend, attendRow } = inMemory(loaded, [given], true);
      reset();
      cache(0, 2);
      attend(0, 140);
      const got = loaded.getRows(out, dim, strides.out);
      assertSameBits(`tiles of ${tileRows}`, got, want ??= got);
      loaded.poison(out);
      for (let row = 0; row < given.rows; row++) attendRow(row);
      assertSameBits(`row by row, tiles of ${tileRows}`, loaded.getRows(out, dim, strides.out), want);
    }
  });
}

test.run();
