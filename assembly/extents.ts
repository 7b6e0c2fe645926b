// What ops may touch. Beside every kernel stands a function of its name and `Fits`, which says in the words of this
// file what it reads and writes, how much scratch it needs and what sizes it can take: where that holds, the plan of a
// stranger can do no harm. It gets the op's units, which are good, and its arguments without begin, end and scratch.
import { CACHE_PAGE } from "./header";

/** Most rows, panels or columns; most heads, channels of a head, pixels of a side: no product overflows 64 bits. */
const MOST: i32 = 1 << 24, MOST_OF_HEAD: i32 = 1 << 16;
/** More bytes than any memory has. */
const TOO_MUCH: u64 = 1 << 33;

// what there is

let readable: usize = 0, writable: usize = 0, memoryEnd: usize = 0, tablesEnd: usize = 0;
let privateScratch: usize = 0;
let stateBytes: usize = 0, context: u32 = 0, vocabulary: u32 = 0;
let promptIds: usize = 0, promptRows: u32 = 0, promptState: usize = 0, promptPosition: usize = 0;
let decodeIds: usize = 0, decodeRows: u32 = 0, decodeStates: usize = 0, decodePositions: usize = 0;

/** Memory to read, [from, end), and to write, [scratch, end); where tables end; bytes of a thread's own scratch. */
export function allowMemory(from: usize, tables: usize, scratch: usize, end: usize, ownScratch: usize): void {
  readable = from; tablesEnd = tables; writable = scratch; memoryEnd = end; privateScratch = ownScratch;
}

/** Timelines: bytes of a state, tokens that its cache has room for, and how many ids there are. */
export function allowStates(bytes: usize, tokens: u32, ids: u32): void {
  stateBytes = bytes; context = tokens; vocabulary = ids;
}

/** Lists that the caller writes for one timeline: ids [rows], a state's address [1], a position [1]. */
export function allowPrompt(rows: u32, ids: usize, state: usize, position: usize): void {
  promptRows = rows; promptIds = ids; promptState = state; promptPosition = position;
}

/** Lists that the caller writes for a timeline a row: ids, addresses of states, positions. */
export function allowDecode(rows: u32, ids: usize, states: usize, positions: usize): void {
  decodeRows = rows; decodeIds = ids; decodeStates = states; decodePositions = positions;
}

// a list of what was asked for, which tests take; where nobody does, the compiler drops it

const READ: i32 = 0, WRITE: i32 = 1, UPDATE: i32 = 2, TABLE: i32 = 3, LIST: i32 = 4, STATE: i32 = 5, SCRATCH: i32 = 6;

let journal: usize = 0;

/** From now on extents are listed at `at`: i32 how many; from byte 16 on i32 kind, i32 address, i64 bytes of each. */
export function listExtents(at: usize): void {
  journal = at;
}

function note(kind: i32, at: usize, bytes: u64): void {
  if (!journal) return;
  const count = load<i32>(journal) + 1, entry = journal + <usize>count * 16;
  store<i32>(journal, count);
  store<i32>(entry, kind); store<usize>(entry, at, 4); store<u64>(entry, bytes, 8);
}

// sizes

/** Whether `n` can be a number of rows, panels or columns. */
export function good(n: i32): bool {
  return n > 0 && n <= MOST;
}

/** Whether a · b can, a good number times a small one. */
export function goodProduct(a: i32, b: i32): bool {
  return <i64>a * b <= MOST;
}

/** Whether `n` can be a number of heads, of channels of a head, a side of a map. */
export function small(n: i32): bool {
  return n > 0 && n <= MOST_OF_HEAD;
}

/** Whether `units` are whole heads of `width` channels, eight a unit. */
export function wholeHeads(units: i32, width: i32): bool {
  return small(width) && width % 8 == 0 && units % (width / 8) == 0;
}

/** Bytes of a · b floats. */
export function floats(a: i32, b: i32 = 1): u64 {
  return <u64>a * <u64>b * 4;
}

/** `rows` pieces of `bytes`, `stride` apart, none over another: work, too, is bounded by memory. */
export function span(rows: i32, stride: usize, bytes: u64): u64 {
  return rows > 1 && <u64>stride < bytes ? TOO_MUCH : <u64>(rows - 1) * stride + bytes;
}

/** `count` pieces that may lie inside one another, as panels of rows do; or that are one and the same. */
export function woven(count: i32, stride: usize, bytes: u64): u64 {
  return <u64>(count - 1) * stride + bytes;
}

/** `bytes` for every id of the vocabulary. */
export function eachId(bytes: u64): u64 {
  return vocabulary * bytes;
}

/** `bytes` for every position that a timeline can come to, `stride` apart. */
export function acrossPositions(stride: usize, bytes: u64): u64 {
  return context ? <u64>(context - 1) * stride + bytes : 0;
}

// memory

function within(at: usize, bytes: u64): bool {
  return at >= readable && at <= memoryEnd && bytes <= <u64>(memoryEnd - at);
}

/** `bytes` at `at` are read. */
export function reads(at: usize, bytes: u64): bool {
  note(READ, at, bytes);
  return within(at, bytes);
}

/** `bytes` at `at` are written, and read only after that. */
export function writes(at: usize, bytes: u64): bool {
  note(WRITE, at, bytes);
  return at >= writable && within(at, bytes);
}

/** `bytes` at `at` are read and written. */
export function updates(at: usize, bytes: u64): bool {
  note(UPDATE, at, bytes);
  return at >= writable && within(at, bytes);
}

/** The thread's own scratch holds `bytes`. */
export function scratchHolds(bytes: u64): bool {
  note(SCRATCH, 0, bytes);
  return bytes <= <u64>privateScratch;
}

/** The largest of `count` indices at `at`, −1 when all are; −2 when they are no indices, or where ops may write. */
export function largestIndex(at: usize, count: u64): i32 {
  note(TABLE, at, count * 4);
  if (!within(at, count * 4) || at + count * 4 > <u64>tablesEnd) return -2;
  let largest = -1;
  for (const end = at + <usize>count * 4; at < end; at += 4) {
    const row = load<i32>(at);
    if (row < -1 || row >= MOST) return -2;
    largest = max(largest, row);
  }
  return largest;
}

/** `bytes` at `at` are a table, which no op can have written. */
export function isTable(at: usize, bytes: u64): bool {
  note(TABLE, at, bytes);
  return within(at, bytes) && at + bytes <= <u64>tablesEnd;
}

/** Whether any of those indices is −1: a row that is not there, for which there is another address. */
export function negative(at: usize, count: u64): bool {
  for (const end = at + <usize>count * 4; at < end; at += 4) if (load<i32>(at) < 0) return true;
  return false;
}

// timelines

/** A list of at least `rows` ids. */
export function idsOf(ids: usize, rows: i32): bool {
  note(LIST, ids, floats(rows));
  return (ids == decodeIds && <u32>rows <= decodeRows) || (ids == promptIds && <u32>rows <= promptRows);
}

/** A list of the addresses of at least `rows` states. */
export function statesOf(states: usize, rows: i32): bool {
  note(LIST, states, floats(rows));
  return (states == decodeStates && <u32>rows <= decodeRows) || (states == promptState && rows == 1 && promptRows > 0);
}

/** Lists of the states and the positions of the same timelines. */
export function timelines(states: usize, positions: usize, rows: i32): bool {
  note(LIST, positions, floats(rows));
  return statesOf(states, rows) && positions == (states == decodeStates ? decodePositions : promptPosition);
}

/** `bytes` of a state from `offset` on are read and written. */
export function inState(offset: usize, bytes: u64): bool {
  note(STATE, offset, bytes);
  return offset <= stateBytes && bytes <= <u64>(stateBytes - offset);
}

/**
 * A cache of keys and values that has room for the context, or `ring` pages; `own` bytes of each, page 0
 * `offset` bytes into a state.
 */
export function cacheInState(offset: usize, pageBytes: usize, own: u64, ring: i32): bool {
  const pages = ring ? <u64>ring : (<u64>context + CACHE_PAGE - 1) / CACHE_PAGE;
  return pages > 0 && pages <= <u64>MOST && inState(offset, woven(<i32>pages, pageBytes, own));
}
