// Kernels over a poisoned memory, for tests: what nobody wrote is NaN, and what nobody owns must stay as it is.
import { existsSync, readFileSync } from "node:fs";
import * as assert from "uvu/assert";
import { HEADER_BYTES, PANEL, RUN_PLAN, THREAD_SCRATCH, THREAD_SCRATCH_BYTES, TILE_ROWS } from "../assembly/header.ts";
import type { Kernels } from "../bindings/run/kernels.ts";
import { instantiate } from "../bindings/run/kernels.ts";
import type { Build } from "../bindings/platform/platform.ts";
import { uniform01 } from "../cli/synthetic.ts";

type Kernel = (...args: number[]) => void;

/** The exports that tests call: numbers and addresses, arguments as in assembly/. */
export interface AllKernels extends Kernels {
  linear: Kernel;
  keyValueState: Kernel;
  linearAttention: Kernel;
  scoreAttention: Kernel;
  transposeKeys: Kernel;
  depthwiseConv: Kernel;
  depthwiseConvChannels: Kernel;
  windowAttention: Kernel;
  gatherRows: Kernel;
  gatherPatches: Kernel;
  gatherWindows: Kernel;
  stretchRows: Kernel;
  layerNorm: Kernel;
  affine: Kernel;
  meanRows: Kernel;
  copyBlocks: Kernel;
}

const BUILDS: readonly Build[] = ["simd", "simd-threads", "relaxed", "relaxed-threads"];
/** Register tiles of the matrix product: every result must have the same bits with each. */
export const TILES = [4, 5, 6] as const;

/** The bytes of every build, whether or not this engine accepts them. */
export const binaries = new Map(BUILDS.map((build) => {
  const file = new URL(`../wasm/slab-${build}.wasm`, import.meta.url);
  if (!existsSync(file)) throw new Error(`wasm/slab-${build}.wasm is missing: run node scripts/build.mjs wasm`);
  return [build, new Uint8Array(readFileSync(file))] as const;
}));

/** The builds that this engine accepts. Every test runs on each. */
export const builds = BUILDS.filter((build) => WebAssembly.validate(binaries.get(build)!));
const refused = BUILDS.filter((build) => !builds.includes(build));
console.log(
  `node ${process.versions.node} runs `
    + `${builds.join(", ")}${refused.length ? `; it does not accept ${refused.join(", ")}` : ""}`,
);
if (!builds.includes("simd") || !builds.includes("simd-threads"))
  throw new Error("this engine has no WebAssembly SIMD or threads: use Node 20 or later");

const PAGES = 256;
/** Untouched bytes on either side of every allocation. */
const GUARD = 256;

interface Host {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly kernels: AllKernels;
  /** How far the last user got. */
  used: number;
}

const hosts = new Map<Build, Host>();

function hostOf(build: Build): Host {
  let host = hosts.get(build);
  if (!host) {
    const module = new WebAssembly.Module(binaries.get(build)!);
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: build.endsWith("threads") });
    host = { module, memory, kernels: instantiate(module, memory) as AllKernels, used: PAGES * 65536 };
    hosts.set(build, host);
  }
  return host;
}

/**
 * The poison word at an address: a NaN that says where it lies, so that even a copy of poison is out of place
 * elsewhere.
 */
const poisonAt = (address: number): number => (0xffc00000 | (address >>> 2)) >>> 0;

export interface Loaded extends ReturnType<typeof loadKernels> {}

/**
 * A build's kernels over its one memory, poisoned afresh: addresses from an earlier call are void.
 * `threadScratch` bytes for each of `threads` are allocated and entered into the header, as bindings/run/memory.ts
 * does.
 */
export function loadKernels(
  build: Build,
  {
    tileRows = 6, threadScratch = 0, threads = 1,
  }: { tileRows?: number; threadScratch?: number; threads?: number } = {},
) {
  const host = hostOf(build), { kernels, memory, module } = host;
  const words = new Uint32Array(memory.buffer), floats = new Float32Array(memory.buffer);
  const header = words.subarray(0, HEADER_BYTES / 4).fill(0);
  for (let i = HEADER_BYTES / 4; i < Math.min(words.length, (host.used + GUARD) / 4); i++) words[i] = poisonAt(i * 4);
  kernels.initialise();

  const sizes = new Map<number, number>();
  host.used = HEADER_BYTES;

  /** Room for `bytes`, a multiple of 4; poisoned. */
  function reserveBytes(bytes: number): number {
    const address = Math.ceil((host.used + GUARD) / 64) * 64;
    host.used = address + bytes;
    if (host.used + GUARD > memory.buffer.byteLength)
      throw new RangeError(`a test memory has ${memory.buffer.byteLength} bytes: raise PAGES`);
    sizes.set(address, bytes);
    return address;
  }

  header[THREAD_SCRATCH_BYTES / 4] = threadScratch;
  header[THREAD_SCRATCH / 4] = threadScratch ? reserveBytes(threadScratch * threads) : 0;
  header[TILE_ROWS / 4] = tileRows;
  const headerBefore = header.slice();

  const view = (address: number): Float32Array => {
    const bytes = sizes.get(address);
    if (bytes === undefined) throw new RangeError(`no allocation begins at ${address}`);
    return new Float32Array(memory.buffer, address, bytes / 4);
  };

  return {
    build, kernels, memory, module, reserveBytes,
    /** Room for f32s; poisoned. */
    reserve: (count: number): number => reserveBytes(count * 4),
    /** A copy of f32s in memory. */
    put(values: ArrayLike<number>): number {
      const address = reserveBytes(values.length * 4);
      floats.set(values, address / 4);
      return address;
    },
    putInts(values: ArrayLike<number>): number {
      const address = reserveBytes(values.length * 4);
      new Int32Array(memory.buffer, address, values.length).set(values);
      return address;
    },
    putDoubles(values: ArrayLike<number>): number {
      const address = reserveBytes(values.length * 8);
      new Float64Array(memory.buffer, address, values.length).set(values);
      return address;
    },
    /** Bytes; the rest of the last word stays poison. */
    putBytes(values: Uint8Array): number {
      const address = reserveBytes(Math.ceil(values.length / 4) * 4);
      new Uint8Array(memory.buffer).set(values, address);
      return address;
    },
    /** Row-major values into rows of `stride` floats, whose padding stays poison. */
    putRows(values: ArrayLike<number>, columns: number, stride: number): number {
      const rows = values.length / columns, address = reserveBytes(rows * stride * 4);
      for (let r = 0; r < rows; r++)
        for (let c = 0; c < columns; c++) floats[address / 4 + r * stride + c] = values[r * columns + c]!;
      return address;
    },
    /** A copy of all of an allocation. */
    get: (address: number): Float32Array => view(address).slice(),
    /** The first `columns` of every row of `stride` floats. */
    getRows: (address: number, columns: number, stride: number): Float32Array =>
      dropPadding(view(address), columns, stride),
    /** Overwrites an allocation. */
    set: (address: number, values: ArrayLike<number>): void => view(address).set(values),
    /** Makes an allocation unwritten again. */
    poison(address: number): void {
      for (let i = address / 4, end = i + view(address).length; i < end; i++) words[i] = poisonAt(i * 4);
    },
    /** Whether float `index` of an allocation was never written. */
    untouched: (address: number, index: number): boolean =>
      words[address / 4 + index] === poisonAt(address + index * 4),
    /** Columns [from, stride) of every row were never written. */
    checkPadding(name: string, address: number, from: number, stride: number): void {
      for (let i = 0; i < view(address).length; i++) {
        if (i % stride >= from && words[address / 4 + i] !== poisonAt(address + i * 4)) {
          assert.unreachable(
            `${name}: wrote column ${i % stride} of row ${Math.floor(i / stride)}, expected none from ${from} on`,
          );
        }
      }
    },
    /** Nothing outside the allocations was written, and in the header only what the executor keeps there. */
    checkGuards(): void {
      header.forEach((word, i) => {
        const executors = i * 4 < RUN_PLAN + 12;
        if (!executors && word !== headerBefore[i]) assert.unreachable(`the header was written at ${i * 4}`);
      });
      let at = HEADER_BYTES;
      for (const [address, bytes] of [...sizes, [host.used + GUARD, 0] as const]) {
        for (; at < address; at += 4)
          if (words[at / 4] !== poisonAt(at))
            assert.unreachable(`written outside every allocation, ${address - at} bytes before ${address}`);
        at = Math.max(at, address + bytes);
      }
    },
  };
}

// data

/** `count` f32 values in [low, high), seeded by the key. */
export function uniform(key: string, count: number, low = -1, high = 1): Float32Array {
  const u = uniform01(key, count), out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = low + (high - low) * u[i]!;
  return out;
}

// layouts

export const alignUp = (n: number, to: number): number => Math.ceil(n / to) * to;

/** Row-major values with every row padded to `stride` by zeros. */
export function padRows(values: ArrayLike<number>, columns: number, stride: number): Float32Array {
  const rows = values.length / columns, out = new Float32Array(rows * stride);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[r * stride + c] = values[r * columns + c]!;
  return out;
}

export function dropPadding(values: Float32Array, columns: number, stride: number): Float32Array {
  const rows = values.length / stride, out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * stride, r * stride + columns), r * columns);
  return out;
}

/** Row-major [rows, heads·headDim] → head panels [heads][width/8][rows][8], padded with zeros. */
export function toHeadPanels(values: ArrayLike<number>, heads: number, headDim: number): Float32Array {
  const rows = values.length / (heads * headDim);
  const width = alignUp(headDim, PANEL);
  const out = new Float32Array(heads * width * rows);
  eachOfHeads(rows, heads, headDim, (row, panel) => { out[panel] = values[row]!; });
  return out;
}

/** Head panels → row-major. */
export function fromHeadPanels(panels: ArrayLike<number>, heads: number, headDim: number): Float32Array {
  const rows = panels.length / (heads * alignUp(headDim, PANEL)), out = new Float32Array(rows * heads * headDim);
  eachOfHeads(rows, heads, headDim, (row, panel) => { out[row] = panels[panel]!; });
  return out;
}

function eachOfHeads(
  rows: number, heads: number, headDim: number, visit: (rowMajor: number, panels: number) => void,
): void {
  const width = alignUp(headDim, PANEL);
  for (let h = 0; h < heads; h++) {
    for (let c = 0; c < headDim; c++) {
      const panel = (h * width + c) >> 3;
      for (let r = 0; r < rows; r++) visit((r * heads + h) * headDim + c, (panel * rows + r) * PANEL + (c & 7));
    }
  }
}

/** A weight matrix [outDim, k] → packed panels [⌈outDim/8⌉][k][8], as packPanel makes them. */
export const packWeights = (w: ArrayLike<number>, k: number): Float32Array => {
  const outDim = w.length / k, packed = new Float32Array(alignUp(outDim, PANEL) * k);
  for (let o = 0; o < outDim; o++)
    for (let i = 0; i < k; i++) packed[((o >> 3) * k + i) * PANEL + (o & 7)] = w[o * k + i]!;
  return packed;
};

// assertions

/**
 * `got` is within `relativeRms` of `want`, in the root mean square over all numbers; and no number is off by more than
 * `most` (default: ten times that) of the root mean square of `want`.
 */
export function assertClose(
  name: string, got: ArrayLike<number>, want: ArrayLike<number>, relativeRms = 1e-6, most = 10 * relativeRms,
): void {
  assert.is(got.length, want.length, `${name}: ${got.length} numbers, expected ${want.length}`);
  let error = 0, norm = 0, worst = 0, worstError = -1;
  for (let i = 0; i < want.length; i++) {
    const difference = got[i]! - want[i]!;
    if (!Number.isFinite(difference)) assert.unreachable(`${name}[${i}] is ${got[i]}, expected ${want[i]}`);
    error += difference ** 2;
    norm += want[i]! ** 2;
    if (Math.abs(difference) > worstError) [worst, worstError] = [i, Math.abs(difference)];
  }
  const rms = Math.sqrt(norm / want.length), relative = norm ? Math.sqrt(error / norm) : Math.sqrt(error);
  const at = `worst at ${worst}: ${got[worst]}, expected ${want[worst]}`;
  if (relative > relativeRms)
    assert.unreachable(`${name}: relative RMS error ${relative.toExponential(2)} above ${relativeRms}; ${at}`);
  if (worstError > most * (rms || 1))
    assert.unreachable(
      `${name}: largest error ${worstError.toExponential(2)} above ${most} of the RMS ${rms.toExponential(2)}; ${at}`,
    );
}

/** The same bits, NaN payloads and signs of zero included. */
export function assertSameBits(name: string, got: Float32Array, want: Float32Array): void {
  assert.is(got.length, want.length, `${name}: ${got.length} numbers, expected ${want.length}`);
  const [a, b] = [got, want].map((f) => new Uint32Array(f.buffer, f.byteOffset, f.length)) as [
    Uint32Array, Uint32Array,
  ];
  for (let i = 0; i < a.length; i++)
    if (a[i] !== b[i]) assert.unreachable(`${name}[${i}] is ${got[i]}, expected exactly ${want[i]}`);
}

/** Split points of [0, n): all of them when there are few. */
export const splitPoints = (n: number): number[] =>
  [...Array(n + 1).keys()].filter((a) => n <= 14 || a < 3 || a > n - 3 || a % Math.ceil(n / 8) === 0);

/**
 * A kernel's [0, n) has the same bits as [0, a) and [a, n), in either order: a part neither needs nor touches another.
 * `reset` brings the outputs to their state before the kernel; `read` returns them.
 */
export function assertSplits(
  name: string, n: number, run: (begin: number, end: number) => void, reset: () => void, read: () => Float32Array,
): void {
  reset();
  run(0, n);
  const whole = read();
  for (const a of splitPoints(n)) {
    for (const parts of [[[0, a], [a, n]], [[a, n], [0, a]]] as const) {
      reset();
      for (const [begin, end] of parts) run(begin, end);
      assertSameBits(`${name}, ${parts.map((p) => `[${p})`).join(" then ")}`, read(), whole);
    }
  }
}
