// slab-wasi: a command for any WASI host (wasi_snapshot_preview1) that runs the files of slab pack.
// One thread, no JavaScript.
import { WEIGHTS_F32, WEIGHTS_INT8 } from "../opcodes";
import * as file from "../slab-file";
import { classifyFile, classifyInput, openClassifier } from "./classify";
import { field, openModel } from "./file";
import { generate, openLanguage, takeId, takeInput } from "./generate";
import { decimal, outOfRange, wholeNumber } from "./numbers";
import { setRepetitionPenalty, setSeed, setTemperature, setTopK, setTopP } from "./sampler";
import {
  argument, argumentCount, complain, endLine, exit, fail, giveUp, is, put, putNumber, putText, putZeroEnded,
  readArguments,
} from "./system";

const HELP = `slab-wasi: runs a model that slab pack has written to one file

  slab-wasi classify FILE [PICTURE ...] [options]   pictures to labels
  slab-wasi generate FILE [ID ...] [options]        token ids to token ids
  slab-wasi info FILE                               what the file holds

A PICTURE is a file of RGB bytes, rows from the top, in the size that info says; without any they come one
after another on standard input. One line each: the labels, best first, with their probabilities.
  --top K                   how many labels (5)
  --logits                  f32 logits instead, little-endian, one picture after another

IDs are the prompt; - reads them from standard input. Ids of the continuation come a line each.
  --max N                   most ids (256)
  --temperature T           0 (default): always the most likely id; above: drawn
  --top-k K, --top-p P      only the K most likely ids, or those that together reach P
  --repetition-penalty R    1 (default): none
  --seed S                  of the draws (0); the same seed gives the same ids on every host`;

const SOME_NUMBER: u64 = 9007199254740992;

/** The value of an option. */
function value(index: i32): usize {
  if (index + 1 >= argumentCount) {
    complain();
    putZeroEnded(argument(index));
    put(" needs a value: see --help");
    giveUp();
  }
  return argument(index + 1);
}

function unknown(what: string, text: usize): void {
  complain();
  put("there is no ");
  put(what);
  put(" ");
  putZeroEnded(text);
  put(": see --help");
  giveUp();
}

function isOption(index: i32): bool {
  return load<u16>(argument(index)) == 0x2d2d;
}

/** The model's file, which comes before what it is given. */
function openFirst(): void {
  if (argumentCount < 3) fail("which model? give the file that slab pack has written: see --help");
  openModel(argument(2));
}

function runClassify(): void {
  openFirst();
  openClassifier();
  let top = 5, raw = false, pictures = 0;
  for (let i = 3; i < argumentCount; ++i) {
    if (!isOption(i)) ++pictures;
    else if (is(argument(i), "--logits")) raw = true;
    else if (is(argument(i), "--top")) {
      top = <i32>wholeNumber("--top", value(i++), 1 << 20);
      if (top == 0) outOfRange("--top", argument(i), "a whole number from 1");
    } else unknown("option", argument(i));
  }
  if (pictures == 0) return classifyInput(top, raw);
  for (let i = 3; i < argumentCount; ++i) {
    if (is(argument(i), "--top")) ++i;
    else if (!isOption(i)) classifyFile(argument(i), top, raw);
  }
}

function runGenerate(): void {
  openFirst();
  openLanguage();
  let most: u64 = 256, seed: u64 = 0;
  for (let i = 3; i < argumentCount; ++i) {
    const name = argument(i);
    if (!isOption(i)) {
      if (is(name, "-")) takeInput();
      else takeId(name);
      continue;
    }
    const text = value(i++);
    if (is(name, "--max")) most = wholeNumber("--max", text, SOME_NUMBER);
    else if (is(name, "--seed")) seed = wholeNumber("--seed", text, SOME_NUMBER);
    else if (is(name, "--top-k")) setTopK(<i32>wholeNumber("--top-k", text, i32.MAX_VALUE));
    else if (is(name, "--temperature")) setTemperature(decimal("--temperature", text));
    else if (is(name, "--top-p")) {
      const share = decimal("--top-p", text);
      if (share <= 0 || share > 1) outOfRange("--top-p", text, "a number above 0, up to 1");
      setTopP(share);
    } else if (is(name, "--repetition-penalty")) {
      const penalty = decimal("--repetition-penalty", text);
      if (penalty <= 0) outOfRange("--repetition-penalty", text, "a number above 0");
      setRepetitionPenalty(penalty);
    } else unknown("option", name);
  }
  setSeed(seed);
  generate(most);
}

function line(name: string, amount: u64): void {
  put(name);
  putNumber(amount);
  endLine();
}

function runInfo(): void {
  openFirst();
  const kind = field(file.WEIGHT_KIND), images = field(file.TASK) == file.TASK_IMAGES;
  put("model         ");
  putText(field(file.NAME), field(file.NAME_BYTES));
  endLine();
  put("takes         ");
  if (images) {
    putNumber(field(file.SIDE));
    put(" x ");
    putNumber(field(file.SIDE));
    put(" RGB, ");
    putNumber(field(file.SIDE) * field(file.SIDE) * 3);
    put(" bytes a picture");
  } else put("token ids");
  endLine();
  line(images ? "classes       " : "vocabulary    ", field(file.OUTPUTS));
  put("weights       ");
  put(kind == WEIGHTS_F32 ? "f32" : kind == WEIGHTS_INT8 ? "int8" : "int4");
  endLine();
  line("ops           ", field(file.OPS));
  line("file bytes    ", field(file.FILE_BYTES));
  if (!images) line("state bytes   ", field(file.STATE_BYTES));
  line("memory bytes  ", field(file.MEMORY_END));
}

export function _start(): void {
  readArguments();
  for (let i = 1; i < argumentCount; ++i) {
    if (!is(argument(i), "--help") && !is(argument(i), "-h")) continue;
    put(HELP);
    endLine();
    exit();
  }
  if (argumentCount < 2) fail("which command? classify, generate or info: see --help");
  const command = argument(1);
  if (is(command, "classify")) runClassify();
  else if (is(command, "generate")) runGenerate();
  else if (is(command, "info")) runInfo();
  else unknown("command", command);
  exit();
}
