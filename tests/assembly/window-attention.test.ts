import { test } from "uvu";
import * as assert from "uvu/assert";
import * as naive from "../naive.ts";
import { uniform01 } from "../../cli/synthetic.ts";
import {
  alignUp, assertClose, assertSameBits, assertSplits, builds, loadKernels, padRows, TILES, uniform,
} from "../harness.ts";

/** Bytes of scratch, as the kernel's comment and bindings/plan/ops/attention.ts have it, in floats. */
const scratchFor = (size: number, headDim: number): number =>
  headDim * (alignUp(size, 8) + size + 23) + 23 * alignUp(size, 8) + 92;

/** Members in random order of a map that some are outside of; the last tokens of the map are in no window. */
function cut(
  key: string, windows: number, size: number, outside: boolean,
): { members: Int32Array; regions: Int32Array; mapTokens: number } {
  const count = windows * size, random = uniform01(key, 3 * count);
  const members = Int32Array.from({ length: count }, (_, i) => i).sort((a, b) => random[a]! - random[b]!);
  if (outside) for (let i = 1; i < count; i++) if (random[count + i]! < 0.2) members[i] = -1;
  // the first window is all of one region
  const regions = Int32Array.from({ length: count }, (_, i) => (i < size ? 4 : Math.floor(random[2 * count + i]! * 3)));
  return { members, regions, mapTokens: count + 2 };
}

const cases = [1, 2, 7, 8, 12, 23, 24, 49, 98].flatMap((size, s) =>
  [8, 24, 32].flatMap((headDim, i) =>
    [false, true].map((extras) => {
      const windows = 1 + ((s + i) % 3);
      const heads = 1 + ((s + 2 * i) % 3);
      const dim = heads * headDim;
      const key = `window attention ${size} ${headDim} ${extras}`;
      const { members, regions, mapTokens } = cut(key, windows, size, extras);
      const qkv = uniform(`${key} qkv`, mapTokens * 3 * dim);
      const padding = uniform(`${key} padding`, 3 * dim);
      const bias = uniform(`${key} bias`, heads * size * size, -2, 2);
      const columns = (from: number): Float32Array => qkv.filter((_, c) => Math.floor((c % (3 * dim)) / dim) === from);
      const options = extras
        ? { regions, bias, padKey: padding.subarray(dim, 2 * dim), padValue: padding.subarray(2 * dim) }
        : {};
      const want = naive.windowAttention(columns(0), columns(1), columns(2), members, size, heads, headDim, options);
      return {
        name:
          `size=${size} headDim=${headDim} heads=${heads} `
          + `windows=${windows}${extras ? ", bias, regions, padding" : ""}`,
        extras, size, headDim, windows, heads, dim, mapTokens, members, regions, qkv, padding, bias, want,
      };
    }),
  ),
);

/** Groups padded to whole panels by their last. */
const padGroups = (values: Int32Array, size: number): number[] => {
  const padded = alignUp(size, 8);
  return Array.from(
    { length: (values.length / size) * padded },
    (_, i) => values[Math.floor(i / padded) * size + Math.min(i % padded, size - 1)]!,
  );
};

function install(
  build: (typeof builds)[number],
  tileRows: number,
  { extras, size, headDim, heads, dim, mapTokens, members, regions, qkv, padding, bias }: (typeof cases)[number],
) {
  const loaded = loadKernels(build, { tileRows }), { kernels, reserve, put, putInts, putRows } = loaded;
  const stride = dim + 8;
  const out = reserve(mapTokens * stride);
  const rows = putRows(qkv, 3 * dim, 3 * dim + 8);
  const pad = put(padding);
  const scratch = reserve(scratchFor(size, headDim));
  const tables = [
    putInts(padGroups(members, size)), extras ? putInts(padGroups(regions, size)) : 0,
    extras ? put(padRows(bias, size, alignUp(size, 8))) : 0,
  ];
  const run = (begin: number, end: number): void =>
    kernels.windowAttention(
      begin, end, out, stride * 4, rows, rows + dim * 4, rows + 2 * dim * 4, (3 * dim + 8) * 4, pad + dim * 4,
      pad + 2 * dim * 4, ...tables, size, heads, headDim, scratch,
    );
  return { ...loaded, run, out, stride, scratch };
}

for (const build of builds) {
  test(`windowAttention matches naive, with the same bits from every register tile: ${build}`, () => {
    for (const c of cases) {
      const results = TILES.map((tileRows) => {
        const { run, out, stride, getRows, untouched, checkGuards, checkPadding } = install(build, tileRows, c);
        run(0, c.windows * c.heads);
        checkGuards();
        checkPadding(c.name, out, c.dim, stride);
        for (let token = 0; token < c.mapTokens; token++) {
          assert.is(untouched(out, token * stride), !c.members.includes(token), `${c.name}: token ${token}`);
        }
        // what is in no window is not written: 0 in the reference
        return getRows(out, c.dim, stride).map((value, i) => (c.members.includes(Math.floor(i / c.dim)) ? value : 0));
      });
      assertClose(c.name, results[0]!, c.want);
      for (const other of results.slice(1)) assertSameBits(`${c.name}, another tile`, other, results[0]!);
    }
  });

  test(`windowAttention in parts has the same bits: ${build}`, () => {
    for (const c of cases.filter(({ size, headDim }) => size < 60 && headDim < 32)) {
      const { run, out, scratch, get, poison, checkGuards } = install(build, 5, c);
      assertSplits(c.name, c.windows * c.heads, run, () => { poison(out); poison(scratch); }, () => get(out));
      checkGuards();
    }
  });
}

test.run();
