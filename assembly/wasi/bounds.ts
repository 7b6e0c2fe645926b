// What every op of a plan touches, in bytes, so that a plan of a stranger can do no harm: it reads between the file's beginning and the
// end of scratch, writes scratch, and its timeline's state; ids and state addresses it takes from where this program wrote them.
// One case an op; the extents are those in the kernel's own description.
import { int4PanelBytes, int4VectorBytes } from "../int4";
import { int8PanelBytes, int8RowBytes } from "../int8";
import * as op from "../opcodes";
import { OP_ARGS, OP_BYTES } from "../opcodes";
import { CACHE_PAGE } from "../header";
import { strideOf } from "../recurrent";
import * as file from "../slab-file";
import { FILE_BASE } from "../slab-file";

/** Largest number of rows, panels or columns, and of heads, channels of a head, sides of a map: no product below overflows 64 bits. */
const MOST: i32 = 1 << 24, MOST_OF_HEAD: i32 = 1 << 16;

// the record that is being checked, and how many units its op has
let record: usize = 0, units: i32 = 0;

// @ts-ignore: decorator
@inline
function field(offset: usize): u32 {
  return load<u32>(FILE_BASE + offset);
}

/** An argument as a size. */
// @ts-ignore: decorator
@inline
function size(index: usize): i32 {
  return load<i32>(record + OP_ARGS + index * 4);
}

/** An argument as an address or a stride. */
// @ts-ignore: decorator
@inline
function word(index: usize): u64 {
  return load<u32>(record + OP_ARGS + index * 4);
}

/** Argument `index` points at `bytes` to read. */
function reads(index: usize, bytes: u64): bool {
  const at = word(index);
  return at >= <u64>FILE_BASE && at + bytes <= <u64>field(file.MEMORY_END);
}

function writes(index: usize, bytes: u64): bool {
  return word(index) >= <u64>field(file.SCRATCH) && reads(index, bytes);
}

/** More than any memory has. */
const TOO_MUCH: u64 = 1 << 33;

/** `rows` pieces of `bytes`, `stride` apart, none over another: work, too, is bounded by memory. */
// @ts-ignore: decorator
@inline
function span(rows: i32, stride: u64, bytes: u64): u64 {
  return rows > 1 && stride < bytes ? TOO_MUCH : <u64>(rows - 1) * stride + bytes;
}

/** `count` pieces that may lie inside one another, as panels of rows do; or that are one and the same. */
// @ts-ignore: decorator
@inline
function woven(count: i32, stride: u64, bytes: u64): u64 {
  return <u64>(count - 1) * stride + bytes;
}

// @ts-ignore: decorator
@inline
function floats(a: i32, b: i32 = 1): u64 {
  return <u64>a * <u64>b * 4;
}

// @ts-ignore: decorator
@inline
function good(n: i32): bool {
  return n > 0 && n <= MOST;
}

// @ts-ignore: decorator
@inline
function small(n: i32): bool {
  return n > 0 && n <= MOST_OF_HEAD;
}

function scratchHolds(bytes: u64): bool {
  return bytes <= <u64>field(file.PRIVATE_SCRATCH_BYTES);
}

/** Argument `index` is a list of state addresses that this program wrote, at least `rows` long. */
function statesOf(index: usize, rows: i32): bool {
  const at = <u32>word(index);
  if (field(file.TASK) != file.TASK_LANGUAGE) return false;
  return (at == field(file.DECODE_STATES) && <u32>rows <= field(file.PROGRAMS + file.DECODE * 12 + 8)) || (at == field(file.PREFILL_STATE) && rows == 1);
}

/** Arguments `index` and `index` + 1 are lists of states and positions, those of the same program. */
function timelines(index: usize, rows: i32): bool {
  const decode = <u32>word(index) == field(file.DECODE_STATES);
  return statesOf(index, rows) && word(index + 1) == <u64>field(decode ? file.DECODE_POSITIONS : file.PREFILL_POSITION);
}

/** A cache of keys and values with room for the context, its offset at argument `index` and the bytes of its pages after it. */
function cache(index: usize, heads: i32, headDim: i32): bool {
  const pages = (<u64>field(file.CONTEXT) + CACHE_PAGE - 1) / CACHE_PAGE;
  return pages > 0 && pages <= <u64>MOST && inState(index, woven(<i32>pages, word(index + 1), floats(heads, headDim) * (2 * CACHE_PAGE)));
}

/** `bytes` from argument `index` on, an offset, are within a state. */
function inState(index: usize, bytes: u64): bool {
  return word(index) + bytes <= <u64>field(file.STATE_BYTES);
}

/** The largest of the indices that argument `index` points at, −1 when all are; −2 when they are not the file's own, or not indices. */
function largestIndex(index: usize, count: u64): i32 {
  // what ops can write is no table
  if (!reads(index, count * 4) || word(index) + count * 4 > <u64>field(file.STATE)) return -2;
  let largest = -1;
  for (let i: usize = 0, at = <usize>word(index); i < <usize>count; ++i, at += 4) {
    const row = load<i32>(at);
    if (row < -1 || row >= MOST) return -2;
    largest = max(largest, row);
  }
  return largest;
}

/** Whether any of those indices is −1: a row that is not there, for which there is another address. */
function negative(index: usize, count: u64): bool {
  for (let i: usize = 0, at = <usize>word(index); i < <usize>count; ++i, at += 4) if (load<i32>(at) < 0) return true;
  return false;
}

/** What linear layers have in common: out, outRow, outPanel first; addend, its row and panel strides, m, k, act at `addend`. */
function linearLayer(addend: usize): bool {
  const m = size(addend + 3), act = size(addend + 5);
  if (!good(m) || !good(size(addend + 4)) || <u32>act > <u32>op.ACT_GATE) return false;
  if (word(addend) ? !reads(addend, woven(units, word(addend + 2), span(m, word(addend + 1), 32))) : act == op.ACT_GATE) return false;
  return writes(0, woven(units, word(2), span(m, word(1), 32)));
}

/** Row kernels: out, outRow, x, xRow of `dim` floats. */
function rowsToRows(dim: i32): bool {
  return good(dim) && writes(0, span(units, word(1), floats(dim))) && reads(2, span(units, word(3), floats(dim)));
}

/** Whether an op can run, with all of its rows live. */
export function checkOp(at: usize): bool {
  record = at;
  units = load<i32>(at, 4);
  if (!good(units)) return false;
  const eights = <u64>units * 32;
  switch (load<i32>(at)) {
    case op.LINEAR:
      return linearLayer(7) && reads(3, span(size(10), word(4), floats(size(11)))) && reads(5, eights * size(11)) && reads(6, eights);
    case op.LINEAR_INT8: {
      const m = size(13), k = size(14);
      return linearLayer(10) && reads(3, span(m, word(4), int8RowBytes(k))) && reads(5, <u64>m * 8) && reads(6, <u64>units * int8PanelBytes(k))
        && reads(7, eights) && reads(8, eights) && reads(9, eights);
    }
    case op.LINEAR_INT4: {
      const k = size(13);
      return linearLayer(9) && reads(3, span(size(12), word(4), floats(k))) && reads(5, int4VectorBytes(k)) && reads(6, <u64>((k + 31) / 32) * 8)
        && reads(7, <u64>units * int4PanelBytes(k)) && reads(8, eights) && scratchHolds(<u64>k * 32);
    }
    case op.QUANTIZE_ROWS: {
      const k = size(5);
      return good(k) && writes(0, span(units, word(1), int8RowBytes(k))) && writes(2, <u64>units * 8) && reads(3, span(units, word(4), floats(k)));
    }
    case op.QUANTIZE_VECTOR: {
      const k = size(3);
      return good(k) && writes(0, int4VectorBytes(k)) && writes(1, <u64>((k + 31) / 32) * 8) && reads(2, floats(k));
    }
    case op.KEY_VALUE_STATE: {
      const tokens = size(3), width = size(4);
      if (!good(tokens) || !heads(width)) return false;
      return writes(0, <u64>(units / (width / 8)) * floats(width, width + 1)) && reads(1, eights * tokens) && reads(2, eights * tokens);
    }
    case op.LINEAR_ATTENTION: {
      const n = size(5), headDim = size(6), width = size(7);
      return attention(n, headDim, width) && reads(2, span(units, word(3), floats(n, headDim))) && reads(4, <u64>n * floats(width, width + 1));
    }
    case op.TRANSPOSE_KEYS: {
      const tokens = size(3), headDim = size(4);
      if (!good(tokens) || !good(headDim)) return false;
      const panels = (tokens + 7) / 8;
      return units % panels == 0 && writes(0, eights * headDim) && reads(1, span(tokens, word(2), floats(units / panels, headDim)));
    }
    case op.SCORE_ATTENTION: {
      const n = size(6), headDim = size(7), width = size(8), tokens = size(9);
      if (!good(tokens)) return false;
      const panels = <u64>((tokens + 7) / 8);
      return attention(n, headDim, width) && reads(2, span(units, word(3), floats(n, headDim))) && reads(4, panels * floats(n, headDim) * 8)
        && reads(5, <u64>tokens * floats(n, width)) && scratchHolds(panels * (12 * 32));
    }
    case op.DEPTHWISE_CONV: {
      const height = size(4), side = size(5), headDim = size(6), width = size(7);
      if (!small(height) || !small(side) || !small(headDim) || headDim > width || !heads(width)) return false;
      const places = <u64>height * side;
      if (places > <u64>MOST) return false;
      return writes(0, span(<i32>places, word(1), floats(units / (width / 8), headDim))) && reads(2, eights * places) && reads(3, floats(width, 25))
        && scratchHolds(<u64>(height + 4) * <u64>(side + 4) * 32);
    }
    case op.DEPTHWISE_CONV_CHANNELS: {
      const height = size(11), side = size(12), panels = size(13), taps = size(14), act = size(15), across = size(16), group = size(17);
      if (!small(height) || !small(side) || !small(panels) || !small(group) || group & 1 || !small(across) || units % (height * across) || (taps != 3 && taps != 5) || <u32>act >= <u32>op.ACT_GATE) return false;
      const places = <u64>units * side;
      if (places > <u64>MOST) return false;
      if (word(8) && !reads(8, woven(panels, word(10), span(<i32>places, word(9), 32)))) return false;
      return writes(0, woven(panels, word(2), span(<i32>places, word(1), 32))) && reads(3, woven(panels, word(5), span(<i32>places, word(4), 32)))
        && reads(6, floats(panels, taps * taps) * 8) && reads(7, floats(panels, 8)) && scratchHolds(floats(group, taps) * 8 * (side + taps - 1));
    }
    case op.WINDOW_ATTENTION: {
      const tokens = size(11), n = size(12), headDim = size(13), padded = (tokens + 7) & ~7;
      if (!small(tokens) || !small(n) || !small(headDim) || headDim & 7 || units % n) return false;
      const members = <u64>(units / n) * padded, rows = largestIndex(8, members) + 1, row = floats(n, headDim);
      if (rows < 0 || (word(9) && !reads(9, members * 4)) || (word(10) && !reads(10, floats(n, tokens) * padded))) return false;
      if (rows > 0 && !(writes(0, span(rows, word(1), row)) && reads(2, span(rows, word(5), row)) && reads(3, span(rows, word(5), row)) && reads(4, span(rows, word(5), row)))) return false;
      return (negative(8, members) ? reads(6, row) && reads(7, row) : true) && scratchHolds(floats(headDim, padded + tokens + 23) + floats(padded, 23) + 92 * 4);
    }
    case op.GATHER_ROWS: {
      const group = size(8), columns = size(11);
      if (!small(group) || !good(columns) || columns & 7 || <u32>size(12) > <u32>op.ACT_RELU) return false;
      const groups = (units + group - 1) / group, members = <u64>groups * ((group + 7) & ~7), rows = largestIndex(7, members) + 1, row = floats(columns);
      if (rows < 0 || (word(9) && !reads(9, span(group, word(10), row))) || (rows > 0 && !reads(4, span(rows, word(5), row)))) return false;
      return (negative(7, members) ? reads(6, row) : true) && writes(0, woven(groups, word(1), woven(group, word(2), span(columns / 8, word(3), 32))));
    }
    case op.GATHER_PATCHES: {
      const channels = size(3), height = size(4), side = size(5), kernel = size(6);
      return small(channels) && windows(height, side, kernel, 7) && writes(0, span(units, word(1), floats(kernel, kernel) * channels)) && reads(2, floats(height, side) * channels);
    }
    case op.GATHER_WINDOWS: {
      const channels = size(4), height = size(5), side = size(6), kernel = size(7);
      if (!small(channels) || !windows(height, side, kernel, 8) || <u64>height * side > <u64>MOST) return false;
      return writes(0, span(units, word(1), floats(kernel, kernel) * channels)) && reads(2, span(height * side, word(3), floats(channels)));
    }
    case op.STRETCH_ROWS:
      return good(size(2)) && good(size(3)) && writes(0, eights * size(3)) && reads(1, eights * size(2));
    case op.CACHE_TOKENS: {
      const rows = size(11), n = size(12), headDim = size(13), sequence = size(14) != 0, row = floats(n, headDim);
      if (!good(rows) || !small(n) || !small(headDim) || headDim & 7 || units != (sequence ? n : rows * n)) return false;
      return timelines(6, sequence ? 1 : rows) && cache(8, n, headDim) && writes(0, span(rows, word(1), row)) && reads(2, span(rows, word(3), row)) && reads(4, span(rows, word(5), row))
        && reads(10, floats(headDim) * field(file.CONTEXT));
    }
    case op.CACHED_ATTENTION: {
      const rows = size(8), n = size(9), headDim = size(10), sequence = size(11) != 0, row = floats(n, headDim);
      if (!good(rows) || !small(n) || !small(headDim) || headDim & 7 || units != rows * n) return false;
      return timelines(4, sequence ? 1 : rows) && cache(6, n, headDim) && writes(0, span(rows, word(1), row)) && reads(2, span(rows, word(3), row)) && scratchHolds(24 * (CACHE_PAGE * 4 + 8));
    }
    case op.MEAN_ROWS:
      return good(size(3)) && writes(0, eights) && reads(1, span(size(3), word(2), eights));
    case op.AFFINE: {
      const dim = (size(6) + 7) & ~7;
      return rowsToRows(dim) && reads(4, floats(dim)) && reads(5, floats(dim));
    }
    case op.LAYER_NORM:
      return rowsToRows(size(6)) && reads(4, floats(size(6))) && reads(5, floats(size(6)));
    case op.RMS_NORM:
      return rowsToRows(size(5)) && reads(4, floats(size(5)));
    case op.COPY:
      return writes(0, <u64>units * word(2)) && reads(1, <u64>units * word(2));
    case op.EMBED: {
      const ids = <u32>word(2), format = size(4), dim = size(5);
      const decode = ids == field(file.DECODE_IDS) && <u32>units <= field(file.PROGRAMS + file.DECODE * 12 + 8);
      if (!decode && !(ids == field(file.PREFILL_IDS) && <u32>units <= field(file.PROGRAMS + file.PREFILL * 12 + 8))) return false;
      if (!good(dim) || <u32>format > <u32>op.RAW_F64 || field(file.TASK) != file.TASK_LANGUAGE) return false;
      const bytes = format == op.RAW_F64 ? 8 : format == op.RAW_F32 ? 4 : 2;
      return writes(0, span(units, word(1), floats(dim))) && reads(3, <u64>field(file.OUTPUTS) * dim * bytes);
    }
    case op.RECURRENT_STEP: {
      const n = size(10), keyDim = size(11), valueDim = size(12), kind = size(13);
      if (!recurrence(n, keyDim, valueDim, size(17)) || units % n || <u32>kind > <u32>op.DECAY_VALUE) return false;
      const rows = units / n;
      if (kind != op.DECAY_NONE && !reads(14, woven(rows, word(15), kind == op.DECAY_SCALAR ? floats(n) : floats(n, kind == op.DECAY_KEY ? keyDim : valueDim)))) return false;
      if (word(16) && !reads(16, floats(n, keyDim))) return false;
      return writes(0, span(rows, word(1), floats(n, valueDim))) && reads(2, span(rows, word(3), floats(n, keyDim))) && reads(4, span(rows, word(5), floats(n, keyDim)))
        && reads(6, span(rows, word(7), floats(n, valueDim))) && statesOf(8, rows) && inState(9, <u64>n * stateBytes(keyDim, valueDim, size(17))) && scratchHolds(<u64>strideOf(keyDim) * 16);
    }
    case op.RECURRENT_CHUNKS: {
      const tokens = size(7), room = size(8), keyDim = size(11), valueDim = size(12);
      if (!recurrence(units, keyDim, valueDim, size(15)) || keyDim & 3 || valueDim & 7 || !good(tokens) || !good(room) || tokens > room) return false;
      if (word(13) && !reads(13, woven(tokens, word(14), floats(units)))) return false;
      return writes(0, span(tokens, word(1), floats(units, valueDim))) && reads(2, span(tokens, word(3), floats(units, keyDim))) && reads(4, span(tokens, word(5), floats(units, keyDim)))
        && reads(6, floats(units, valueDim) * room) && statesOf(9, 1) && inState(10, <u64>units * stateBytes(keyDim, valueDim, size(15)))
        && scratchHolds(floats(keyDim, valueDim) + floats(keyDim, 64) + 1664);
    }
    case op.CAUSAL_CONV: {
      const rows = size(8), channels = size(9), taps = size(10), sequence = size(11) != 0;
      if (!good(rows) || !good(channels) || !good(taps)) return false;
      const row = floats((channels + 7) & ~7);
      return eights <= row && writes(0, span(rows, word(1), eights)) && reads(2, woven(units, word(4), span(rows, word(3), 32))) && reads(5, row * taps)
        && statesOf(6, sequence ? 1 : rows) && inState(7, row * (taps - 1));
    }
  }
  return false;
}

/** Whether `units` are whole heads of `width` channels. */
function heads(width: i32): bool {
  return small(width) && width % 8 == 0 && units % (width / 8) == 0;
}

/** Windows of a map; stride, pad and windows in a line from argument `index` on. The last in a line begins inside the map, no pad is as wide as a window. */
function windows(height: i32, side: i32, kernel: i32, index: usize): bool {
  const stride = size(index), pad = size(index + 1), across = size(index + 2);
  return small(height) && small(side) && small(kernel) && small(stride) && small(across) && pad >= 0 && pad < kernel && <u64>(across - 1) * stride < <u64>(side + pad);
}

/** Sizes and output of attention kernels. */
function attention(n: i32, headDim: i32, width: i32): bool {
  return small(n) && small(headDim) && small(width) && width % 8 == 0 && headDim <= width && writes(0, span(units, word(1), floats(n - 1, headDim) + floats(width)));
}

function recurrence(n: i32, keyDim: i32, valueDim: i32, flags: i32): bool {
  return small(n) && small(keyDim) && small(valueDim) && <u32>flags <= <u32>(op.NORMALISE | op.READ_BEFORE) && stateBytes(keyDim, valueDim, flags) < 0x80000000;
}

/** headBytes(), which cannot overflow here. */
function stateBytes(keyDim: i32, valueDim: i32, flags: i32): u64 {
  return floats(strideOf(keyDim), valueDim + (flags & op.NORMALISE ? 1 : 0));
}

/** Which argument of an op is a number of rows that may change from run to run; −1: none. */
function liveArgument(code: i32): i32 {
  switch (code) {
    case op.LINEAR: return 10;
    case op.LINEAR_INT8: return 13;
    case op.LINEAR_INT4: return 12;
    case op.RECURRENT_CHUNKS: return 7;
    case op.CAUSAL_CONV: case op.CACHED_ATTENTION: return 8;
    case op.CACHE_TOKENS: return 11;
  }
  return -1;
}

/** Ops of which fewer units may run. */
function liveUnits(code: i32): bool {
  switch (code) {
    case op.EMBED: case op.RMS_NORM: case op.QUANTIZE_ROWS: case op.RECURRENT_STEP: case op.CACHE_TOKENS: case op.CACHED_ATTENTION: return true;
  }
  return false;
}

/** Whether a live field is the number of rows of an op of its program: then fewer rows than were checked touch nothing more. `before`: the field before it. */
export function checkLive(at: u32, before: u32, factor: u32, from: usize, ops: u32, rows: u32): bool {
  if (at < from || rows == 0 || factor == 0) return false;
  const index = (at - from) / OP_BYTES, start = from + index * OP_BYTES;
  if (index >= ops || <u64>load<u32>(at) != <u64>rows * factor) return false;
  const code = load<i32>(start), argument = liveArgument(code);
  if (at - start == 4) return liveUnits(code);
  if (argument < 0 || at - start != OP_ARGS + <u32>argument * 4) return false;
  // its units are heads of rows, head by head: fewer rows are fewer units
  return code != op.CACHED_ATTENTION || before == start + 4;
}

/** The field that has to be live, with one row for each token, or the op would go on past the context; 0: none. */
export function growingField(start: usize): usize {
  record = start;
  const code = load<i32>(start);
  const sequence = code == op.CACHE_TOKENS ? size(14) : code == op.CACHED_ATTENTION ? size(11) : 0;
  return sequence ? start + OP_ARGS + <usize>liveArgument(code) * 4 : 0;
}
