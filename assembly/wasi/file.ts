// Reads a model's file to where it belongs, and checks all of it before anything in it is used: sizes,
// order, checksum, every op.
import { checksum } from "../kernels/elementwise";
import { allowDecode, allowMemory, allowPrompt, allowStates } from "../extents";
import { THREAD_SCRATCH, THREAD_SCRATCH_BYTES, TILE_ROWS } from "../header";
import { OP_BYTES, WEIGHTS_INT4 } from "../opcodes";
import { runPlan } from "../plan";
import * as file from "../slab-file";
import { FILE_BASE } from "../slab-file";
import { BYTE_DOT, initialise } from "../simd";
import { checkLive, checkOp, growingField } from "./bounds";
import { close, complain, ensure, giveUp, open, put, putNumber, putZeroEnded, read, sizeOf } from "./system";

/** Rows of the register tile. The host's compiler is unknown; this suits those that have been measured. */
const TILE: i32 = 5;
const LARGEST_SIDE: u32 = 4096, LARGEST_OUTPUTS: u32 = 1 << 20, LARGEST_LIST: u32 = 1 << 20;

/** A word of the file's header. */
// @ts-ignore: decorator
@inline
export function field(offset: usize): u32 {
  return load<u32>(FILE_BASE + offset);
}

// @ts-ignore: decorator
@inline
export function fieldF32(offset: usize): f32 {
  return load<f32>(FILE_BASE + offset);
}

// @ts-ignore: decorator
@inline
export function first(program: u32): u32 {
  return field(file.PROGRAMS + program * 12);
}

// @ts-ignore: decorator
@inline
export function length(program: u32): u32 {
  return field(file.PROGRAMS + program * 12 + 4);
}

// @ts-ignore: decorator
@inline
export function capacity(program: u32): u32 {
  return field(file.PROGRAMS + program * 12 + 8);
}

let path: usize = 0;

function refuse(why: string): void {
  complain();
  putZeroEnded(path);
  put(why);
  giveUp();
}

function expect(good: bool, why: string): void {
  if (!good) refuse(why);
}

/**
 * Reads and checks the model. Afterwards memory is laid out, the kernels are ready, and what
 * follows MEMORY_END is free.
 */
export function openModel(name: usize): void {
  path = name;
  const fd = open(path), size = sizeOf(fd);
  expect(size >= <u64>file.FILE_HEADER_BYTES, " is too short for a model's file: make it with slab pack");
  ensure(FILE_BASE + size);
  expect(read(fd, FILE_BASE, <u32>size) == <u32>size, " ends before its end: copy it again");
  close(fd);
  expect(
    field(file.MAGIC) == file.MAGIC_LOW && field(file.MAGIC + 4) == file.MAGIC_HIGH,
    " is no model's file: make one with slab pack",
  );
  if (field(file.VERSION) != file.FILE_VERSION) {
    complain();
    putZeroEnded(path);
    put(" has version ");
    putNumber(field(file.VERSION));
    put(", this program reads ");
    putNumber(file.FILE_VERSION);
    put(": use the slab-wasi.wasm of the same release as slab pack");
    giveUp();
  }
  if (<u64>field(file.FILE_BYTES) != size) {
    complain();
    putZeroEnded(path);
    put(" has ");
    putNumber(size);
    put(" bytes, expected ");
    putNumber(field(file.FILE_BYTES));
    put(": it is cut off or damaged, copy it again");
    giveUp();
  }
  expect(
    size % 64 == 0 && checksum(FILE_BASE + file.CHECKED_FROM, <usize>size - file.CHECKED_FROM) == field(file.CHECKSUM),
    " is damaged, its checksum is wrong: copy it again",
  );
  checkLayout();
  checkTask();
  checkPrograms();
  // memory is spent on what has been checked
  ensure(field(file.MEMORY_END));
  if (field(file.TASK) == file.TASK_LANGUAGE) {
    store<u32>(field(file.PREFILL_STATE), field(file.STATE));
    for (let i: u32 = 0; i < capacity(file.DECODE); ++i) {
      store<u32>(field(file.DECODE_STATES) + i * 4, field(file.STATE));
    }
  }
  initialise();
  store<i32>(TILE_ROWS, TILE);
  store<usize>(THREAD_SCRATCH, field(file.PRIVATE_SCRATCH));
  store<usize>(THREAD_SCRATCH_BYTES, field(file.PRIVATE_SCRATCH_BYTES));
}

const DAMAGED = " does not fit together: make it again with slab pack";

function checkLayout(): void {
  const layout = field(file.LAYOUT), end = <u64>FILE_BASE + field(file.FILE_BYTES);
  expect(layout <= <u32>file.LAYOUT_RELAXED && field(file.WEIGHT_KIND) <= <u32>WEIGHTS_INT4, DAMAGED);
  if (layout != file.LAYOUT_ANY && (layout == file.LAYOUT_RELAXED) != BYTE_DOT) {
    refuse(BYTE_DOT
      ? " is quantised for the plain build: run it with slab-wasi.wasm"
      : " is quantised for the relaxed build: run it with slab-wasi-relaxed.wasm");
  }
  const plan = <u64>field(file.PLAN);
  const state = <u64>field(file.STATE);
  const inputs = <u64>field(file.INPUTS);
  const scratch = <u64>field(file.SCRATCH);
  const own = <u64>field(file.PRIVATE_SCRATCH), tables = <u64>FILE_BASE + file.FILE_HEADER_BYTES;
  expect(plan >= tables && plan + <u64>field(file.OPS) * OP_BYTES <= end && end <= state, DAMAGED);
  expect(state + field(file.STATE_BYTES) <= inputs && inputs <= scratch && scratch <= own, DAMAGED);
  expect(own + field(file.PRIVATE_SCRATCH_BYTES) == <u64>field(file.MEMORY_END), DAMAGED);
  // networks need up to five times their weights; a small one, for a long timeline or a large picture, more
  const most = file.MEMORY_BYTES + <u64>field(file.FILE_BYTES) * file.MEMORY_PER_BYTE;
  const use = " asks for more memory than a file of its size has a use for: make it again with slab pack";
  expect(<u64>field(file.MEMORY_END) - end <= most, use);
  expect(
    inside(file.LIVE, <u64>field(file.LIVE_COUNT) * (file.LIVE_WORDS * 4))
      && inside(file.NAME, field(file.NAME_BYTES)) && inside(file.LABELS, field(file.LABELS_BYTES)),
    DAMAGED,
  );
  for (let program: u32 = 0; program < <u32>file.PROGRAM_COUNT; ++program) {
    expect(<u64>first(program) + length(program) <= <u64>field(file.OPS) && capacity(program) <= LARGEST_LIST, DAMAGED);
  }
}

/** Whether a table at the address in field `at` lies between header and plan. */
function inside(at: usize, bytes: u64): bool {
  return field(at) >= <u32>(FILE_BASE + file.FILE_HEADER_BYTES) && <u64>field(at) + bytes <= <u64>field(file.PLAN);
}

/** Whether `bytes` at the address in field `at` lie in [from, MEMORY_END). */
function within(at: usize, bytes: u64, from: u32): bool {
  return field(at) >= from && <u64>field(at) + bytes <= <u64>field(file.MEMORY_END);
}

function checkTask(): void {
  const outputs = field(file.OUTPUTS), inputs = field(file.INPUTS), scratch = field(file.SCRATCH);
  expect(outputs > 0 && outputs <= LARGEST_OUTPUTS && within(file.LOGITS, <u64>outputs * 4, scratch), DAMAGED);
  if (field(file.TASK) == file.TASK_IMAGES) {
    const side = field(file.SIDE);
    expect(side > 0 && side <= LARGEST_SIDE && within(file.IMAGE, <u64>side * side * 12, inputs), DAMAGED);
    for (let c: usize = 0; c < 12; c += 4) {
      expect(fieldF32(file.STD + c) > 0 && abs(fieldF32(file.MEAN + c)) < Infinity, DAMAGED);
    }
    let labels: u32 = 0;
    for (let i: u32 = 0; i < field(file.LABELS_BYTES); ++i) if (load<u8>(field(file.LABELS) + i) == 0) ++labels;
    expect(labels == outputs, DAMAGED);
  } else if (field(file.TASK) == file.TASK_LANGUAGE) {
    const many = <u64>capacity(file.PREFILL) * 4, few = <u64>capacity(file.DECODE) * 4, row = <u64>field(file.DIM) * 4;
    expect(
      many > 0 && few > 0 && field(file.DIM) > 0 && field(file.PREFILL_HIDDEN_ROW) >= row && length(file.DECODE) > 0,
      DAMAGED,
    );
    // ids and state addresses are this program's to write: each in a place of its own, which no op can reach
    expect(
      field(file.PREFILL_IDS) >= inputs && field(file.PREFILL_IDS) + many <= <u64>field(file.PREFILL_STATE), DAMAGED,
    );
    expect(
      <u64>field(file.PREFILL_STATE) + 4 <= <u64>field(file.PREFILL_POSITION)
        && <u64>field(file.PREFILL_POSITION) + 4 <= <u64>field(file.DECODE_IDS),
      DAMAGED,
    );
    expect(
      field(file.DECODE_IDS) + few <= <u64>field(file.DECODE_STATES)
        && field(file.DECODE_STATES) + few <= <u64>field(file.DECODE_POSITIONS),
      DAMAGED,
    );
    expect(field(file.DECODE_POSITIONS) + few <= <u64>scratch, DAMAGED);
    expect(
      within(file.PREFILL_HIDDEN, (<u64>capacity(file.PREFILL) - 1) * field(file.PREFILL_HIDDEN_ROW) + row, scratch)
        && within(file.HIDDEN, row, scratch),
      DAMAGED,
    );
    for (let word: usize = file.BOS; word <= <usize>file.EOS; word += 4) {
      expect(field(word) == <u32>-1 || field(word) < outputs, DAMAGED);
    }
  } else refuse(DAMAGED);
}

/** What ops may touch. */
function allow(): void {
  const own = field(file.PRIVATE_SCRATCH_BYTES);
  allowMemory(FILE_BASE, field(file.STATE), field(file.SCRATCH), field(file.MEMORY_END), own);
  if (field(file.TASK) != file.TASK_LANGUAGE) return;
  allowStates(field(file.STATE_BYTES), field(file.CONTEXT), field(file.OUTPUTS));
  allowPrompt(capacity(file.PREFILL), field(file.PREFILL_IDS), field(file.PREFILL_STATE), field(file.PREFILL_POSITION));
  allowDecode(capacity(file.DECODE), field(file.DECODE_IDS), field(file.DECODE_STATES), field(file.DECODE_POSITIONS));
}

function checkPrograms(): void {
  allow();
  for (let i: u32 = 0; i < field(file.OPS); ++i) {
    if (checkOp(field(file.PLAN) + i * OP_BYTES)) continue;
    complain();
    putZeroEnded(path);
    put(": op ");
    putNumber(i);
    put(" of kind ");
    putNumber(load<u32>(field(file.PLAN) + i * OP_BYTES));
    put(" is unknown or reaches outside its memory: make the file again with the slab pack of this release");
    giveUp();
  }
  for (let i: u32 = 0; i < field(file.OPS); ++i) {
    const growing = growingField(field(file.PLAN) + i * OP_BYTES);
    expect(growing == 0 || followsPrompt(growing), DAMAGED);
  }
  for (let i: u32 = 0; i < field(file.LIVE_COUNT); ++i) {
    const entry = field(file.LIVE) + i * (file.LIVE_WORDS * 4);
    const program = load<u32>(entry);
    const before = i > 0 ? load<u32>(entry - file.LIVE_WORDS * 4, 4) : 0;
    expect(
      program < <u32>file.PROGRAM_COUNT && checkLive(
        load<u32>(entry, 4), before, load<u32>(entry, 8), field(file.PLAN) + first(program) * OP_BYTES, length(program),
        capacity(program),
      ),
      DAMAGED,
    );
  }
}

/** Whether PREFILL writes its number of rows to this field. */
function followsPrompt(at: usize): bool {
  for (let i: u32 = 0; i < field(file.LIVE_COUNT); ++i) {
    const entry = field(file.LIVE) + i * (file.LIVE_WORDS * 4);
    if (load<u32>(entry) == file.PREFILL && load<usize>(entry, 4) == at && load<u32>(entry, 8) == 1) return true;
  }
  return false;
}

/** Runs a program on its first `rows` rows. */
export function runProgram(program: u32, rows: u32): void {
  for (let i: u32 = 0; i < field(file.LIVE_COUNT); ++i) {
    const entry = field(file.LIVE) + i * (file.LIVE_WORDS * 4);
    if (load<u32>(entry) == program) store<u32>(load<u32>(entry, 4), rows * load<u32>(entry, 8));
  }
  runPlan(field(file.PLAN) + first(program) * OP_BYTES, length(program));
}
