// Token ids to token ids.
import * as file from "../slab-file";
import { capacity, field, runProgram } from "./file";
import { wholeNumber } from "./numbers";
import { accept, openSampler, sample, samplerBytes } from "./sampler";
import { complain, endLine, ensure, fail, giveUp, put, putNumber, readInput } from "./system";

/** Ids that have been read, and that are waiting to be read as one block. */
let position: u32 = 0, waiting: u32 = 0;

export function openLanguage(): void {
  if (field(file.TASK) != file.TASK_LANGUAGE) fail("this is an image model: use classify");
  const room = field(file.MEMORY_END), words = field(file.OUTPUTS);
  ensure(<u64>room + samplerBytes(words));
  openSampler(room, words);
}

/** Takes the next token of the prompt. */
export function takeId(text: usize): void {
  take(<i32>wholeNumber("a token id", text, field(file.OUTPUTS) - 1));
}

function take(id: i32): void {
  checkRoom();
  if (waiting == capacity(file.PREFILL)) readWaiting();
  store<i32>(field(file.PREFILL_IDS) + waiting++ * 4, id);
  accept(id);
}

/** For one more id. */
function checkRoom(): void {
  if (position + waiting < field(file.CONTEXT)) return;
  complain();
  put("the context of ");
  putNumber(field(file.CONTEXT));
  put(" ids is full: give a shorter prompt, or make the file with a larger --context");
  giveUp();
}

function readWaiting(): void {
  store<i32>(field(file.PREFILL_POSITION), position);
  runProgram(file.PREFILL, waiting);
  memory.copy(
    field(file.HIDDEN), field(file.PREFILL_HIDDEN) + (waiting - 1) * field(file.PREFILL_HIDDEN_ROW),
    <usize>field(file.DIM) * 4,
  );
  position += waiting;
  waiting = 0;
}

const text: usize = memory.data(32), byte: usize = memory.data(1);

/** Takes ids from standard input, white space between them. */
export function takeInput(): void {
  let length: usize = 0;
  for (;;) {
    const more = readInput(byte, 1) == 1, c = <i32>load<u8>(byte);
    if (more && c > 32) {
      if (length < 31) store<u8>(text + length++, <u8>c);
      continue;
    }
    store<u8>(text + length, 0);
    if (length > 0) takeId(text);
    length = 0;
    if (!more) return;
  }
}

/** Continues the prompt by up to `most` ids, a line each as they come; ends before the model's end token. */
export function generate(most: u64): void {
  const bos = <i32>field(file.BOS), eos = <i32>field(file.EOS), logits = field(file.LOGITS);
  if (waiting + position == 0) {
    if (bos < 0) fail("there is no prompt, and the model names no token to begin with: give token ids");
    take(bos);
  }
  if (waiting > 0) readWaiting();
  if (most == 0) return;
  checkRoom();
  // an id that is given out needs room too
  most = min(most, <u64>(field(file.CONTEXT) - position));
  runProgram(file.HEAD, 1);
  for (let count: u64 = 1;; ++count) {
    const id = sample(logits);
    if (id == eos) return;
    accept(id);
    putNumber(id);
    endLine();
    if (count == most) return;
    store<i32>(field(file.DECODE_IDS), id);
    store<i32>(field(file.DECODE_POSITIONS), position++);
    runProgram(file.DECODE, 1);
  }
}
