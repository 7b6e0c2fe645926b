// Every kernel in memory that is exactly what it says to touch: it writes nothing else, it reads nothing else, not even
// in vain, and it is refused where any of it is missing. assembly/extents.ts has the words that kernels say it in.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { HEADER_BYTES, TILE_ROWS } from "../../assembly/header.ts";
import * as kernels from "../../bindings/plan/op-table.ts";
import { builds, TILES } from "../harness.ts";
import type { Piece, Shape } from "./shapes.ts";
import { drawFrom, ops } from "./shapes.ts";

const SHAPES = 24;
/** Where kernels list their extents, and where pieces of memory lie: one in a slot, but the last up to the very end. */
const LIST = 2048, FIRST = 4096, SLOT = 1 << 15, PAGES = 9, END = PAGES * 65536;

/** Pieces whose last word makes no difference to any result. */
const UNUSED: Readonly<Record<string, readonly string[]>> = {
  // plain builds quantise without a zero point
  "linearInt8 simd": ["params", "sums"],
  // the kernel asks for more than it needs
  "recurrentChunksByChannel simd": ["scratch"], "recurrentChunksByChannel relaxed": ["scratch"],
};

// what kernels say

interface Extent {
  readonly kind: "read" | "write" | "update" | "table" | "list" | "state" | "scratch";
  /** An address; of a state, bytes from its beginning. */
  readonly at: number;
  readonly bytes: number;
}

/** As extents.ts numbers them. */
const KINDS: readonly Extent["kind"][] = ["read", "write", "update", "table", "list", "state", "scratch"];

/** What a kernel may touch, as extents.ts is told. */
interface Limits {
  readonly from: number;
  readonly tables: number;
  readonly scratch: number;
  readonly end: number;
  readonly ownScratch: number;
  readonly stateBytes: number;
  readonly rows: number;
  readonly ids: number;
  readonly states: number;
  readonly positions: number;
}

/** The tightest limits that extents fit into. */
function limitsOf(extents: readonly Extent[], { timelines }: Shape): Limits {
  const of = (...kinds: Extent["kind"][]): Extent[] => extents.filter(({ kind }) => kinds.includes(kind));
  const begin = (among: readonly Extent[]): number => Math.min(END, ...among.map(({ at }) => at));
  const end = (among: readonly Extent[]): number => Math.max(0, ...among.map(({ at, bytes }) => at + bytes));
  const memory = of("read", "write", "update", "table"), lists = timelines?.lists;
  return {
    from: begin(memory), tables: end(of("table")), scratch: begin(of("write", "update")), end: end(memory),
    ownScratch: end(of("scratch")), stateBytes: end(of("state")), rows: timelines?.rows ?? 0,
    ids: lists?.ids.address ?? 0, states: lists?.states.address ?? 0, positions: lists?.positions.address ?? 0,
  };
}

/** Limits with one of them a byte, a row or a word off. */
function cutsOf(limits: Limits, { args, timelines }: Shape): { limit: keyof Limits; cut: Limits }[] {
  const by = (change: number, names: readonly (keyof Limits)[]) =>
    names.map((limit) => ({ limit, cut: { ...limits, [limit]: limits[limit] + change } }));
  const lists = (["ids", "states", "positions"] as const).filter((name) => timelines && name in args);
  return [
    ...by(-1, (["tables", "end", "ownScratch", "stateBytes", "rows"] as const).filter((name) => limits[name] > 0)),
    ...by(1, (["from", "scratch"] as const).filter((name) => limits[name] < END)), ...by(4, lists),
  ];
}

// memory

/** NaNs that say where they lie; with some bits of every byte flipped they are ordinary numbers. */
function poison(flipped: number): Uint8Array {
  const bytes = new Uint8Array(END), view = new DataView(bytes.buffer);
  for (let at = 0; at < END; at += 4) view.setUint32(at, (0xffc00000 | at) ^ flipped, true);
  return bytes;
}

const NANS = poison(0), NUMBERS = poison(0xc0808080);

const isPiece = (arg: number | Piece): arg is Piece => typeof arg === "object";
const addressOf = (arg: number | Piece): number => (isPiece(arg) ? arg.address : arg);
const differ = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) !== 0;
const contains = ({ address, bytes }: Piece, extent: Extent): boolean =>
  extent.at >= address && extent.at + extent.bytes <= address + bytes;

type Exports = Record<string, (...args: number[]) => number>;
type Module = ReturnType<typeof load>;

function load(build: string) {
  const file = new URL(`../../wasm/extents-${build}.wasm`, import.meta.url);
  if (!existsSync(file)) throw new Error(`wasm/extents-${build}.wasm is missing: run node scripts/build.mjs wasm`);
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES }), view = new DataView(memory.buffer);
  const module = new WebAssembly.Module(readFileSync(file));
  const exports = new WebAssembly.Instance(module, { env: { memory } }).exports as Exports;
  exports.initialise!();

  /** Whether a kernel fits into limits. */
  function fits(kernel: string, { units, args, timelines }: Shape, limits: Limits): boolean {
    const { from, tables, scratch, end, ownScratch, stateBytes, rows, ids, states, positions } = limits;
    const none = [0, 0, 0, 0] as const, lists = [rows, ids, states, positions] as const;
    exports.allowMemory!(from, tables, scratch, end, ownScratch);
    exports.allowStates!(stateBytes, timelines?.context ?? 0, timelines?.vocabulary ?? 0);
    exports.allowPrompt!(...(timelines?.prompt ? lists : none));
    exports.allowDecode!(...(timelines?.prompt ? none : lists));
    return exports[`${kernel}Fits`]!(units, ...Object.values(args).map(addressOf)) === 1;
  }

  /** What a kernel says to touch, where it may touch anything. */
  function extentsOf(kernel: string, shape: Shape): Extent[] {
    const any = { from: FIRST, tables: END, scratch: FIRST, end: END, ownScratch: END, stateBytes: END };
    view.setInt32(LIST, 0, true);
    exports.listExtents!(LIST);
    const fit = fits(kernel, shape, { ...limitsOf([], shape), ...any });
    exports.listExtents!(0);
    assert.ok(fit, "it is refused");
    return Array.from({ length: view.getInt32(LIST, true) }, (_, i) => {
      const [kind, at, low, high] = [0, 4, 8, 12].map((word) => view.getUint32(LIST + 16 * (i + 1) + word, true));
      return { kind: KINDS[kind!]!, at: at!, bytes: low! + 2 ** 32 * high! };
    });
  }

  return { exports, memory: new Uint8Array(memory.buffer), before: new Uint8Array(END), view, fits, extentsOf };
}

// a kernel and its pieces of memory

const directory = new URL("../../assembly/kernels/", import.meta.url);
const sources = readdirSync(directory).filter((name) => name.endsWith(".ts"))
  .map((name) => readFileSync(new URL(name, directory), "utf8")).join("\n");

/** A function's parameters with their types. */
function parametersOf(name: string): string[] {
  const found = new RegExp(`export function ${name}\\(([^)]*)\\)`).exec(sources);
  if (!found) throw new Error(`assembly/ exports no function ${name}`);
  return found[1]!.split(",").map((parameter) => parameter.trim()).filter(Boolean);
}

/** What the executor adds to an op's arguments. */
const ADDED = ["begin: i32", "end: i32", "scratch: usize"];

function stage({ exports, memory, before, extentsOf }: Module, kernel: string, shape: Shape, key: string) {
  const { units, args, timelines } = shape, parameters = parametersOf(kernel);
  const scratch: Piece = { address: 0, bytes: 0, fill: (bytes) => new Uint8Array(bytes) };
  const names = new Map<Piece, string>();
  for (const [name, arg] of Object.entries(args)) if (isPiece(arg) && !names.has(arg)) names.set(arg, name);
  for (const state of timelines?.states ?? []) names.set(state, "state");
  names.set(scratch, "scratch");
  const pieces = [...names.keys()], data = new Map<Piece, Uint8Array>();

  /** Lays the pieces out in an order, the last of them up to the end of memory, and asks the kernel about them. */
  function place(order: readonly Piece[]): { extents: Extent[]; ranges: Extent[] } {
    const last = order.length - 1;
    for (const [i, piece] of order.entries()) piece.address = i < last ? FIRST + i * SLOT : END - piece.bytes;
    for (const piece of pieces) {
      if (!piece.words) continue;
      data.set(piece, new Uint8Array(Int32Array.from(piece.words()).buffer));
      memory.set(data.get(piece)!, piece.address);
    }
    const extents = extentsOf(kernel, shape), bases = { state: timelines?.states ?? [], scratch: [scratch] };
    const ranges = extents.flatMap((extent) => {
      if (extent.kind !== "state" && extent.kind !== "scratch") return [extent];
      return bases[extent.kind].map(({ address }) => ({ ...extent, at: address + extent.at }));
    });
    return { extents, ranges: ranges.filter(({ bytes }) => bytes > 0) };
  }

  function pieceOf(extent: Extent): Piece {
    const piece = pieces.find((one) => contains(one, extent));
    if (!piece) throw new RangeError(`${extent.bytes} bytes ${extent.kind}: slots have ${SLOT}, take a smaller shape`);
    return piece;
  }

  // a slot each at first, to learn how large they are
  for (const piece of pieces) piece.bytes = SLOT;
  const ends = place(pieces).ranges.map((range) => [pieceOf(range), range.at + range.bytes] as const);
  for (const [piece, name] of names) {
    piece.bytes = Math.max(0, ...ends.filter(([owner]) => owner === piece).map(([, end]) => end - piece.address));
    if (piece.words) assert.is(piece.bytes, data.get(piece)!.length, `bytes of ${name}`);
    else data.set(piece, piece.fill(piece.bytes, `${key} ${name}`));
  }

  /**
   * Runs the kernel with `background` where it does not read, perhaps with another last word. Returns what was in the
   * ranges that it writes before and after. Throws when it writes anything else.
   */
  function run(ranges: readonly Extent[], background: Uint8Array, altered = false) {
    const read = ranges.filter(({ kind }) => kind !== "write" && kind !== "scratch");
    const written = ranges.filter(({ kind }) => ["write", "update", "state", "scratch"].includes(kind));
    const contents = (): Uint8Array[] => written.map(({ at, bytes }) => memory.slice(at, at + bytes));
    memory.set(background.subarray(HEADER_BYTES), HEADER_BYTES);
    for (const range of read) {
      const piece = pieceOf(range), offset = range.at - piece.address;
      memory.set(data.get(piece)!.subarray(offset, offset + range.bytes), range.at);
    }
    if (altered) for (let at = END - 4; at < END; at++) memory[at]! ^= 0x81;
    before.set(memory);
    const old = contents(), [begin, , own] = ADDED.map((parameter) => parameters.includes(parameter));
    const given = Object.values(args).map(addressOf);
    exports[kernel]!(...(begin ? [0, units] : []), ...given, ...(own ? [scratch.address] : []));
    const results = contents();
    for (const { at, bytes } of written) memory.set(before.subarray(at, at + bytes), at);
    if (differ(memory, before)) {
      const at = memory.findIndex((byte, i) => byte !== before[i]);
      const piece = pieces.filter(({ address }) => address <= at).sort((a, b) => b.address - a.address)[0];
      throw new Error(`it writes byte ${at - (piece?.address ?? 0)} of ${piece ? names.get(piece) : "the header"}`);
    }
    return written.map((range, i) => ({ range, before: old[i]!, after: results[i]! }));
  }

  return { pieces, nameOf: (piece: Piece): string => names.get(piece)!, pieceOf, place, run };
}

// tests

test("every op has shapes, and its kernel says what it touches by the same arguments", () => {
  assert.equal(Object.keys(ops).sort(), Object.keys(kernels).sort());
  for (const [kernel, { shape }] of Object.entries(ops)) {
    const own = parametersOf(kernel).filter((parameter) => !ADDED.includes(parameter));
    assert.equal(parametersOf(`${kernel}Fits`), ["units: i32", ...own], kernel);
    assert.equal(Object.keys(shape(drawFrom(kernel)).args), own.map((parameter) => parameter.split(":")[0]), kernel);
  }
});

/** One shape, each of its pieces at the end of memory in turn. Returns their names, and whether last words matter. */
function check(module: Module, kernel: string, shape: Shape, key: string): (readonly [string, boolean])[] {
  const { pieces, nameOf, pieceOf, place, run } = stage(module, kernel, shape, key);
  return pieces.flatMap((last, turn) => {
    if (last.bytes === 0) return [];
    const { extents, ranges } = place([...pieces.slice(turn + 1), ...pieces.slice(0, turn + 1)]);
    const limits = limitsOf(extents, shape);
    assert.ok(module.fits(kernel, shape, limits), "with just what it touches it is refused");
    for (const { limit, cut } of cutsOf(limits, shape)) {
      assert.not(module.fits(kernel, shape, cut), `with ${limit} ${cut[limit]}, not ${limits[limit]}, it is accepted`);
    }

    const first = run(ranges, NANS), second = run(ranges, NUMBERS);
    for (const [i, { range, before, after }] of first.entries()) {
      if (range.kind === "scratch") continue;
      // bytes that no run writes stay different
      const other = second[i]!, at = after.findIndex((byte, j) =>
        byte !== other.after[j] && (byte !== before[j] || other.after[j] !== other.before[j]));
      assert.is(at, -1, `byte ${at} of ${nameOf(pieceOf(range))} comes from what it says not to read`);
    }

    if (last.words) return [];
    const third = run(ranges, NANS, true);
    const matters = first.some(({ range, before, after }, i) => {
      if (range.at + range.bytes === END && differ(before.subarray(-4), after.subarray(-4))) return true;
      const [a, b] = [after, third[i]!.after].map((bytes) => bytes.subarray(0, END - 4 - range.at));
      return range.kind !== "scratch" && differ(a!, b!);
    });
    return [[nameOf(last), matters] as const];
  });
}

/** Sizes at which products overflow, or become zero. */
const ABSURD = [0, -1, 7, 1 << 15, 1 << 16, 1 << 24, (1 << 24) + 1, 2 ** 31 - 1, -(2 ** 31)];

for (const build of builds.filter((name) => !name.endsWith("threads"))) {
  const module = load(build);

  test(`no sizes make a kernel's answer trap: ${build}`, () => {
    for (const [kernel, { shape: shapeOf }] of Object.entries(ops)) {
      const shape = shapeOf(drawFrom(kernel)), { pieces, place } = stage(module, kernel, shape, kernel);
      const limits = limitsOf(place(pieces).extents, shape), { units, args } = shape;
      const names = Object.keys(args).filter((name) => !isPiece(args[name]!));
      for (const first of names) for (const second of names) for (const size of ABSURD) {
        const odd = { ...args, [first]: size, [second]: size }, what = `${kernel} with ${first} and ${second} ${size}`;
        for (const many of [units, 1, 1 << 24]) {
          assert.not.throws(() => module.fits(kernel, { ...shape, units: many, args: odd }, limits), what);
        }
      }
    }
  });

  for (const [kernel, { shape }] of Object.entries(ops)) {
    test(`${kernel} touches what it says: ${build}`, () => {
      const pieces = new Map<string, boolean>();
      for (let i = 0; i < SHAPES; i++) {
        const key = `${kernel} ${i}`;
        module.view.setInt32(TILE_ROWS, TILES[i % TILES.length]!, true);
        try {
          for (const [piece, matters] of check(module, kernel, shape(drawFrom(key)), key)) {
            pieces.set(piece, matters || pieces.get(piece) === true);
          }
        } catch (error) {
          throw new Error(`${kernel}, shape ${i}: ${(error as Error).message}`, { cause: error });
        }
      }
      const unused = [...pieces].filter(([, matters]) => !matters).map(([piece]) => piece).sort();
      assert.equal(unused, UNUSED[`${kernel} ${build}`] ?? [], `${kernel} says to touch more than it does`);
    });
  }
}

test.run();
