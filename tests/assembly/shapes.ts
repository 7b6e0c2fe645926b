// Seeded shapes of every op that its kernel can take, odd ones among them: arguments by name, in the kernel's order.
import { CACHE_PAGE } from "../../assembly/header.ts";
import * as op from "../../assembly/opcodes.ts";
import { uniform01 } from "../../cli/synthetic.ts";
import { alignUp } from "../harness.ts";

/** Memory that an argument points at. */
export interface Piece {
  address: number;
  bytes: number;
  /** What lies in it. */
  fill(bytes: number, key: string): Uint8Array;
  /** What lies in it instead, once all pieces have their addresses: indices, addresses, positions. */
  readonly words?: () => readonly number[];
}

/** The lists that a caller keeps: for one timeline, or for one a row. Those that are arguments have memory. */
export interface Timelines {
  readonly prompt: boolean;
  readonly rows: number;
  readonly lists: { readonly ids: Piece; readonly states: Piece; readonly positions: Piece };
  readonly states: readonly Piece[];
  readonly context: number;
  readonly vocabulary: number;
}

export interface Shape {
  readonly units: number;
  readonly args: Readonly<Record<string, number | Piece>>;
  readonly timelines?: Timelines;
}

// pieces

const floats = (low = -1, high = 1): Piece => ({
  address: 0, bytes: 0,
  fill(bytes, key) {
    const values = Float32Array.from(uniform01(key, Math.ceil(bytes / 4)), (u) => low + (high - low) * u);
    return new Uint8Array(values.buffer, 0, bytes);
  },
});

const bytesWithin = (low: number, high: number): Piece => ({
  address: 0, bytes: 0,
  fill: (bytes, key) => Uint8Array.from(uniform01(key, bytes), (u) => low + Math.floor(u * (high + 1 - low))),
});

const words = (values: () => readonly number[]): Piece => ({ ...floats(), words: values });

// choices

export type Draw = ReturnType<typeof drawFrom>;

export function drawFrom(key: string) {
  const values = uniform01(key, 1024);
  let next = 0;
  const below = (n: number): number => Math.floor(values[next++ % values.length]! * n);
  const pick = <T>(choices: readonly T[]): T => choices[below(choices.length)]!;
  return {
    below, pick,
    upTo: (n: number): number => 1 + below(n),
    /** The stride of rows of so many bytes: with padding, or without. */
    row: (bytes: number): number => bytes + pick([0, 0, 4, 28, 64]),
    /** Indices below `rows`, and −1 now and then. */
    indices: (count: number, rows: number): number[] => Array.from({ length: count }, () => below(rows + 1) - 1),
  };
}

const eights = (n: number): number => alignUp(n, 8);

/** Row and panel strides: row-major, or panel after panel. */
const strides = ({ pick, row }: Draw, rows: number, panels: number): [number, number] =>
  pick([[row(32 * panels), 32], [32, row(32 * rows)]]);

/** A gate, or what is added: nothing, the outputs themselves, or anything of their shape. */
function addendOf(draw: Draw, out: Piece, rows: number, panels: number, own: [number, number], gate: boolean) {
  const [addendRow, addendPanel] = strides(draw, rows, panels), other = { addend: floats(), addendRow, addendPanel };
  const none = { addend: 0, addendRow: 0, addendPanel: 0 };
  return gate ? other : draw.pick<{ addend: number | Piece; addendRow: number; addendPanel: number }>([
    none, { addend: out, addendRow: own[0], addendPanel: own[1] }, other,
  ]);
}

/** Arguments of a linear layer, but for its input and weights. */
function layer(draw: Draw) {
  const { pick, upTo } = draw, panels = upTo(9), m = pick([1, upTo(15)]), k = pick([upTo(70), 16 * upTo(4)]);
  const act = pick([op.ACT_NONE, op.ACT_RELU, op.ACT_GELU, op.ACT_SILU, op.ACT_GATE]), out = floats();
  const own = strides(draw, m, panels), addend = addendOf(draw, out, m, panels, own, act === op.ACT_GATE);
  return { units: panels, k, out: { out, outRow: own[0], outPanel: own[1] }, rest: { ...addend, m, k, act } };
}

/** Rows in and out, perhaps in place. */
function rowsOf({ pick, row }: Draw, bytes: number) {
  const out = floats(), outRow = row(bytes);
  return pick([{ out, outRow, x: floats(), xRow: row(bytes) }, { out, outRow, x: out, xRow: outRow }]);
}

/** Queries of bidirectional attention. */
function attention({ upTo, row }: Draw) {
  const heads = upTo(3), headDim = upTo(20), width = eights(headDim);
  const outRow = row(4 * ((heads - 1) * headDim + width)), qRow = row(4 * heads * headDim);
  return { units: upTo(30), queries: { out: floats(), outRow, q: floats(), qRow }, sizes: { heads, headDim, width } };
}

/** Windows in lines over a map; the last line need not be whole. */
function windows({ below, row, upTo }: Draw) {
  const height = upTo(9), side = upTo(9), kernel = upTo(5), stride = upTo(3), pad = below(kernel), channels = upTo(4);
  const along = (length: number): number => upTo(Math.ceil((length + pad) / stride)), across = along(side);
  const outRow = row(4 * channels * kernel ** 2), sizes = { channels, height, side, kernel, stride, pad, across };
  return { units: (along(height) - 1) * across + upTo(across), outRow, sizes };
}

/** Timelines for rows each of its own, or one for successive rows. */
function timelinesOf({ below, pick }: Draw, rows: number, sequence: number, context = 0): Timelines {
  const prompt = sequence > 0 || (rows === 1 && pick([true, false])), count = prompt ? 1 : rows;
  const states = Array.from({ length: count }, () => floats()), most = context - (sequence ? rows : 1);
  const drawn = states.map(() => pick([most, below(most + 1)])), positions = words(() => drawn);
  const lists = { ids: floats(), states: words(() => states.map(({ address }) => address)), positions };
  return { prompt, rows: count, lists, states, context, vocabulary: 0 };
}

/** Rows of a cache of keys and values, which has room for the context, or turns in a ring. */
function cached(draw: Draw) {
  const { pick, row, upTo, below } = draw, sequence = pick([0, 1]);
  const rows = sequence ? pick([upTo(5), upTo(60)]) : upTo(3);
  const [heads, headDim] = pick([[1, 32], [2, 16], [1, 8], [4, 8], [1, 24], [2, 12], [3, 10]] as const);
  const sharing = pick([1, heads]), keyHeads = heads / sharing, window = pick([0, 0, upTo(40)]);
  const ring = window ? Math.ceil((window + rows - 2) / CACHE_PAGE) + 1 : 0;
  const timelines = timelinesOf(draw, rows, sequence, pick([rows + below(90 - rows), 64, 96]));
  const { states, positions } = timelines.lists, bytes = 4 * heads * headDim, keyBytes = 4 * keyHeads * headDim;
  const pageBytes = row(CACHE_PAGE * 4 * keyHeads * (headDim + eights(headDim)));
  const cache = { states, positions, cacheOffset: 64 * below(3), pageBytes };
  return { bytes, keyBytes, timelines, cache, sizes: { rows, heads, headDim, sequence, sharing }, window, ring };
}

/** A recurrence's factors, a row for each token, or one for all; and how it is read. */
function variant({ pick, row }: Draw, heads: number, keyDim: number, valueDim: number, kinds: readonly number[]) {
  const decayKind = pick(kinds), before = pick([0, op.READ_BEFORE]);
  const flags = before | (decayKind === op.DECAY_VALUE ? 0 : pick([0, op.NORMALISE]));
  const factors = decayKind === op.DECAY_SCALAR ? 1 : decayKind === op.DECAY_KEY ? keyDim : valueDim;
  const decay = decayKind === op.DECAY_NONE ? 0 : floats(0.5, 1), decayRow = pick([0, row(4 * heads * factors)]);
  return { decayKind, decay, decayRow, bonus: before ? pick([0, floats()]) : 0, flags };
}

const ALL_KINDS = [op.DECAY_NONE, op.DECAY_SCALAR, op.DECAY_KEY, op.DECAY_VALUE];

/** Successive tokens that a recurrence takes in chunks. */
function tokensOf(draw: Draw) {
  const { below, pick, row, upTo } = draw, heads = upTo(4), keyDim = 4 * upTo(4), valueDim = 8 * upTo(2);
  const sharing = pick([1, heads]), keyHeads = heads / sharing, tokens = pick([upTo(5), upTo(70)]);
  const timelines = timelinesOf(draw, tokens, 1), out = { out: floats(), outRow: row(4 * heads * valueDim) };
  const keys = { k: floats(), kRow: row(4 * keyHeads * keyDim), v: floats(), vRow: row(4 * keyHeads * valueDim) };
  const state = { tokens, states: timelines.lists.states, stateOffset: 64 * below(3) };
  const args = { ...out, q: floats(), qRow: row(4 * heads * keyDim), ...keys, ...state, keyDim, valueDim };
  return { units: heads, keyHeads, sharing, timelines, keyDim, valueDim, args };
}

/** A program of map over up to six inputs, its words, and how each input lies. */
function formula({ below, pick }: Draw, columns: number) {
  const modes = Array.from({ length: op.MAP_INPUTS }, () => pick([0, 0, 1, 3, columns, -1, -3]));
  const two = [op.MAP_ADD, op.MAP_SUB, op.MAP_MUL, op.MAP_MAX, op.MAP_MIN];
  const one = [
    op.MAP_NEG, op.MAP_EXP, op.MAP_SIGMOID, op.MAP_SOFTPLUS, op.MAP_TANH, op.MAP_RELU, op.MAP_SILU, op.MAP_GELU,
  ];
  const inputs = Array.from({ length: op.MAP_INPUTS }, (_, i) => i + 1), words: number[] = [];
  const used = inputs.filter(() => below(3) > 0), leaf = (): number => pick(used.length ? used : [1]);
  for (const [i, input] of (used.length ? used : [1]).entries()) {
    words.push(op.MAP_PUSH | (input << 8));
    if (below(2)) words.push(pick(one));
    if (below(2)) words.push(pick(two) | (leaf() << 8));
    if (below(2)) words.push(pick(two) | (op.MAP_CONSTANT << 8), new Int32Array(Float32Array.of(0.5).buffer)[0]!);
    if (i) words.push(pick(two));
  }
  return { modes, words, used: used.length ? used : [1] };
}

// ops

/** Every op by its kernel. */
export const ops: Readonly<Record<string, { shape(draw: Draw): Shape }>> = {
  linear: {
    shape(draw) {
      const { units, k, out, rest } = layer(draw);
      return { units, args: { ...out, x: floats(), xRow: draw.row(4 * k), w: floats(), bias: floats(), ...rest } };
    },
  },
  linearInt8: {
    shape(draw) {
      const { units, k, out, rest } = layer(draw), qRow = draw.row(alignUp(2 * k, 16)), narrow = draw.pick([0, 1]);
      const weights = { w: bytesWithin(0, 63), scales: floats(), sums: floats(), bias: floats() };
      return { units, args: { ...out, q: bytesWithin(0, 127), qRow, params: floats(), ...weights, ...rest, narrow } };
    },
  },
  linearInt4Rows: {
    shape(draw) {
      const { units, k, out, rest } = layer(draw);
      const inputs = { x: floats(), xRow: draw.row(4 * k), q: bytesWithin(0, 127), params: floats() };
      // the panels' scales are bfloat16: neither large nor small of these bytes
      return { units, args: { ...out, ...inputs, w: bytesWithin(0x3c, 0x3f), bias: floats(), ...rest } };
    },
  },
  quantizeRows: {
    shape({ row, upTo }) {
      const k = upTo(70), out = { out: floats(), outRow: row(alignUp(2 * k, 16)), params: floats() };
      return { units: upTo(9), args: { ...out, x: floats(), xRow: row(4 * k), k } };
    },
  },
  quantizeVectorInt8: {
    shape: ({ upTo }) => ({ units: 1, args: { out: floats(), params: floats(), x: floats(), k: upTo(130) } }),
  },
  keyValueState: {
    shape({ upTo }) {
      const width = 8 * upTo(3), args = { state: floats(), k: floats(), v: floats(), tokens: upTo(20), width };
      return { units: upTo(3) * width / 8, args };
    },
  },
  linearAttention: {
    shape(draw) {
      const { units, queries, sizes } = attention(draw);
      return { units, args: { ...queries, state: floats(), ...sizes, eps: 1e-6 } };
    },
  },
  transposeKeys: {
    shape({ row, upTo }) {
      const heads = upTo(3), tokens = upTo(20), headDim = upTo(20), kRow = row(4 * heads * headDim);
      return { units: heads * eights(tokens) / 8, args: { out: floats(), k: floats(), kRow, tokens, headDim } };
    },
  },
  scoreAttention: {
    shape(draw) {
      const { units, queries, sizes } = attention(draw), weigh = draw.pick([op.WEIGH_LINEAR, op.WEIGH_SOFTMAX]);
      const args = { ...queries, k: floats(), v: floats(), ...sizes, tokens: draw.upTo(20), weigh, eps: 1e-6 };
      return { units, args };
    },
  },
  depthwiseConv: {
    shape({ row, upTo }) {
      const heads = upTo(3), headDim = upTo(20), width = eights(headDim), outRow = row(4 * heads * headDim);
      const maps = { out: floats(), outRow, map: floats(), w: floats(), height: upTo(9), side: upTo(9) };
      return { units: heads * width / 8, args: { ...maps, headDim, width } };
    },
  },
  depthwiseConvChannels: {
    shape(draw) {
      const { pick, upTo } = draw, height = upTo(5), side = upTo(9), panels = upTo(4), across = upTo(2);
      const units = height * across * upTo(2), pixels = units * side, out = floats();
      const own = strides(draw, pixels, panels);
      const [xRow, xPanel] = strides(draw, pixels, panels), addend = addendOf(draw, out, pixels, panels, own, false);
      const maps = { out, outRow: own[0], outPanel: own[1], x: floats(), xRow, xPanel, w: floats(), bias: floats() };
      const act = pick([op.ACT_NONE, op.ACT_RELU, op.ACT_GELU, op.ACT_SILU]), taps = pick([3, 5]);
      return { units, args: { ...maps, ...addend, height, side, panels, taps, act, across, group: pick([2, 4]) } };
    },
  },
  windowAttention: {
    shape({ below, indices, pick, row, upTo }) {
      const count = upTo(3), tokens = pick([upTo(30), 8 * upTo(3), 23]), heads = upTo(2), headDim = 8 * upTo(2);
      const members = Array.from({ length: count }, () => indices(tokens, 40)).flatMap((own) =>
        Array.from({ length: eights(tokens) }, (_, i) => own[Math.min(i, tokens - 1)]!));
      const labels = members.map(() => below(2)), regions = pick([0, words(() => labels)]);
      const bytes = 4 * heads * headDim;
      const map = { out: floats(), outRow: row(bytes), q: floats(), k: floats(), v: floats(), row: row(bytes) };
      const tables = { padKey: floats(), padValue: floats(), members: words(() => members), regions };
      return { units: count * heads, args: { ...map, ...tables, bias: pick([0, floats()]), tokens, heads, headDim } };
    },
  },
  gatherRows: {
    shape({ indices, pick, row, upTo }) {
      const group = upTo(12), groups = upTo(3), columns = 8 * upTo(4), bytes = 4 * columns, panel = row(32 * group);
      const members = indices(groups * eights(group), 20), wide = row(bytes);
      // rows, panels of each group, and the rows of a group side by side
      const places = [[group * wide, wide, 32], [panel * columns / 8, 32, panel], [group * bytes, bytes, 32]] as const;
      const [outGroup, outRow, outPanel] = pick(places);
      const from = { from: floats(), fromRow: row(bytes), padding: floats(), members: words(() => members), group };
      const table = { table: pick([0, floats()]), tableRow: row(bytes) }, act = pick([op.ACT_NONE, op.ACT_RELU]);
      const args = { out: floats(), outGroup, outRow, outPanel, ...from, ...table, columns, act };
      return { units: (groups - 1) * group + upTo(group), args };
    },
  },
  gatherPatches: {
    shape(draw) {
      const { units, outRow, sizes } = windows(draw);
      return { units, args: { out: floats(), outRow, image: floats(), ...sizes } };
    },
  },
  gatherWindows: {
    shape(draw) {
      const { units, outRow, sizes } = windows(draw), mapRow = draw.row(4 * sizes.channels);
      return { units, args: { out: floats(), outRow, map: floats(), mapRow, ...sizes } };
    },
  },
  stretchRows: {
    shape: ({ upTo }) => ({ units: upTo(4), args: { out: floats(), x: floats(), from: upTo(12), to: upTo(12) } }),
  },
  meanRows: {
    shape({ row, upTo }) {
      const units = upTo(5);
      return { units, args: { out: floats(), x: floats(), xRow: row(32 * units), rows: upTo(12) } };
    },
  },
  affine: {
    shape(draw) {
      const dim = draw.upTo(40), rows = rowsOf(draw, 4 * eights(dim));
      return { units: draw.upTo(9), args: { ...rows, weight: floats(), bias: floats(), dim } };
    },
  },
  layerNorm: {
    shape(draw) {
      const dim = draw.upTo(40), rows = rowsOf(draw, 4 * dim);
      return { units: draw.upTo(9), args: { ...rows, weight: floats(), bias: floats(), dim, eps: 1e-6 } };
    },
  },
  rmsNorm: {
    shape(draw) {
      const dim = draw.upTo(40), rows = rowsOf(draw, 4 * dim);
      return { units: draw.upTo(9), args: { ...rows, weight: floats(), dim, eps: 1e-6 } };
    },
  },
  copyBlocks: {
    shape: ({ upTo }) => ({ units: upTo(5), args: { out: floats(), from: floats(), bytes: upTo(100) } }),
  },
  embed: {
    shape(draw) {
      const { below, pick, row, upTo } = draw, units = upTo(9), dim = upTo(40), vocabulary = upTo(9);
      const numbers = Array.from({ length: units }, () => below(vocabulary)), ids = words(() => numbers);
      const { lists, ...rest } = timelinesOf(draw, units, 0, 1), prompt = pick([true, false]);
      const timelines = { ...rest, prompt, rows: units, lists: { ...lists, ids }, vocabulary };
      const format = pick([op.RAW_F32, op.RAW_F16, op.RAW_BF16, op.RAW_F64]);
      return { units, timelines, args: { out: floats(), outRow: row(4 * dim), ids, table: floats(), format, dim } };
    },
  },
  recurrentStep: {
    shape(draw) {
      const { below, pick, row, upTo } = draw, count = upTo(3), heads = upTo(4), keyDim = upTo(18), valueDim = upTo(18);
      const sharing = pick([1, heads]), keyHeads = heads / sharing;
      const { bonus, flags, ...decay } = variant(draw, keyHeads, keyDim, valueDim, ALL_KINDS);
      const timelines = timelinesOf(draw, count, 0), out = { out: floats(), outRow: row(4 * heads * valueDim) };
      const state = { states: timelines.lists.states, stateOffset: 64 * below(3) };
      const keys = { k: floats(), kRow: row(4 * keyHeads * keyDim), v: floats(), vRow: row(4 * keyHeads * valueDim) };
      const inputs = { q: floats(), qRow: row(4 * heads * keyDim), ...keys };
      const args = { ...out, ...inputs, ...state, heads, keyDim, valueDim, ...decay, bonus, flags, eps: 1e-6, sharing };
      return { units: count * heads, timelines, args };
    },
  },
  recurrentChunks: {
    shape(draw) {
      const { units, keyHeads, sharing, timelines, keyDim, valueDim, args } = tokensOf(draw);
      const { decay, decayRow, flags } = variant(draw, keyHeads, keyDim, valueDim, [op.DECAY_NONE, op.DECAY_SCALAR]);
      return { units, timelines, args: { ...args, decay, decayRow, flags: flags & op.NORMALISE, eps: 1e-6, sharing } };
    },
  },
  recurrentChunksByChannel: {
    shape(draw) {
      const { units, keyHeads, sharing, timelines, keyDim, valueDim, args } = tokensOf(draw);
      return {
        units, timelines,
        args: { ...args, ...variant(draw, keyHeads, keyDim, valueDim, ALL_KINDS), eps: 1e-6, sharing },
      };
    },
  },
  causalConv: {
    shape(draw) {
      const { below, upTo, pick, row } = draw, sequence = pick([0, 1]), rows = upTo(sequence ? 9 : 3);
      const channels = upTo(30), units = eights(channels) / 8, [xRow, xPanel] = strides(draw, rows, units);
      const timelines = timelinesOf(draw, rows, sequence);
      const maps = { out: floats(), outRow: row(32 * units), x: floats(), xRow, xPanel, w: floats() };
      const state = { states: timelines.lists.states, stateOffset: 64 * below(3) };
      return { units, timelines, args: { ...maps, ...state, rows, channels, taps: upTo(5), sequence } };
    },
  },
  cacheTokens: {
    shape(draw) {
      const { bytes, keyBytes, timelines, cache, sizes, ring } = cached(draw), { pick, row } = draw;
      const keys = { k: floats(), kRow: row(keyBytes), v: floats(), vRow: row(keyBytes) };
      const rotary = pick([0, 2, sizes.headDim]), units = sizes.sequence ? sizes.heads : sizes.rows * sizes.heads;
      const turns = { angles: rotary ? floats() : 0, anglesRow: row(4 * rotary) };
      return {
        units, timelines, args: { q: floats(), qRow: row(bytes), ...keys, ...cache, ...turns, ...sizes, rotary, ring },
      };
    },
  },
  cachedAttention: {
    shape(draw) {
      const { bytes, timelines, cache, sizes, window, ring } = cached(draw), { row } = draw;
      const rows = { out: floats(), outRow: row(bytes), q: floats(), qRow: row(bytes) };
      return { units: sizes.rows * sizes.heads, timelines, args: { ...rows, ...cache, ...sizes, window, ring } };
    },
  },
  map: {
    shape(draw) {
      const { pick, row, upTo } = draw, rows = upTo(4), columns = pick([upTo(20), 60 + upTo(80)]);
      const { modes, words: list, used } = formula(draw, columns), program = words(() => [...modes, ...list]);
      const inputs = ["a", "b", "c", "d", "e", "f"].map((name, i): Record<string, number | Piece> => {
        const mode = modes[i]!;
        const numbers = mode === 0 ? alignUp(columns, 4) : mode > 0 ? Math.ceil(columns / mode) : -mode;
        return { [name]: used.includes(i + 1) ? floats() : 0, [`${name}Row`]: pick([0, row(4 * numbers)]) };
      });
      const args = { out: floats(), outRow: row(4 * alignUp(columns, 4)), program, length: list.length, columns };
      return { units: rows, args: Object.assign({}, args, ...inputs) };
    },
  },
};
