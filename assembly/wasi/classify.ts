// Pictures to labels.
import * as file from "../slab-file";
import { field, fieldF32, runProgram } from "./file";
import { exp } from "./sampler";
import {
  close, complain, endLine, ensure, fail, giveUp, open, put, putFloats, putNumber, putShare, putText, putZeroEnded,
  read, readInput, sizeOf,
} from "./system";

// after the model: RGB bytes of one picture, f64 weights of the classes, addresses of their labels
let pixels: usize = 0, weights: usize = 0, labels: usize = 0, pictureBytes: u32 = 0, classes: i32 = 0;

export function openClassifier(): void {
  if (field(file.TASK) != file.TASK_IMAGES) fail("this is a language model: use generate");
  const side = field(file.SIDE);
  pictureBytes = side * side * 3;
  classes = field(file.OUTPUTS);
  const end = <u64>field(file.MEMORY_END) + pictureBytes + <u64>classes * 12;
  ensure(end);
  pixels = field(file.MEMORY_END);
  weights = pixels + pictureBytes;
  labels = weights + <usize>classes * 8;
  let at = field(file.LABELS);
  for (let i: usize = 0; i < <usize>classes; ++i) {
    store<usize>(labels + i * 4, at);
    while (load<u8>(at++)) {}
  }
}

/** A line for the picture in a file. */
export function classifyFile(path: usize, top: i32, raw: bool): void {
  const fd = open(path), size = sizeOf(fd);
  if (size != pictureBytes || read(fd, pixels, pictureBytes) != pictureBytes) wrongSize(path, 0, size);
  close(fd);
  classify(top, raw);
}

/** A line for every picture on standard input. */
export function classifyInput(top: i32, raw: bool): void {
  for (let n = 1;; ++n) {
    const got = readInput(pixels, pictureBytes);
    if (got == 0 && n > 1) return;
    if (got != pictureBytes) wrongSize(0, n, got);
    classify(top, raw);
  }
}

function wrongSize(path: usize, n: i32, bytes: u64): void {
  complain();
  if (path) putZeroEnded(path);
  else {
    put("picture ");
    putNumber(n);
    put(" on standard input");
  }
  put(" has ");
  putNumber(bytes);
  put(" bytes, expected ");
  putNumber(pictureBytes);
  put(": RGB of ");
  putNumber(field(file.SIDE));
  put(" x ");
  putNumber(field(file.SIDE));
  put(" pixels, no header");
  giveUp();
}

/** The picture in memory: its labels, or its logits as they are. */
function classify(top: i32, raw: bool): void {
  const image = field(file.IMAGE), plane = <usize>field(file.SIDE) * field(file.SIDE), logits = field(file.LOGITS);
  for (let c: usize = 0; c < 3; ++c) {
    const mean = fieldF32(file.MEAN + c * 4), std = fieldF32(file.STD + c * 4), out = image + c * plane * 4;
    for (let i: usize = 0; i < plane; ++i) {
      store<f32>(out + i * 4, (<f32>load<u8>(pixels + i * 3 + c) / 255 - mean) / std);
    }
  }
  runProgram(file.FORWARD, 1);
  let highest: f32 = -Infinity;
  for (let i: usize = 0; i < <usize>classes; ++i) {
    const logit = load<f32>(logits + i * 4);
    if (logit != logit) fail("a logit is NaN: the weights are damaged, make the file again");
    highest = max(highest, logit);
  }
  if (raw) {
    putFloats(logits, classes);
    return;
  }
  let sum: f64 = 0;
  for (let i: usize = 0; i < <usize>classes; ++i) {
    const logit = load<f32>(logits + i * 4), weight = logit == highest ? 1 : exp(<f64>logit - <f64>highest);
    store<f64>(weights + i * 8, weight);
    sum += weight;
  }
  for (let n = 0; n < min(top, classes); ++n) {
    let best: usize = 0;
    for (let i: usize = 1; i < <usize>classes; ++i) {
      if (load<f64>(weights + i * 8) > load<f64>(weights + best * 8)) best = i;
    }
    if (n > 0) put("\t");
    const label = load<usize>(labels + best * 4);
    const next = best + 1 < <usize>classes
      ? load<usize>(labels + best * 4, 4)
      : field(file.LABELS) + field(file.LABELS_BYTES);
    putText(label, <i32>(next - label) - 1);
    put(" ");
    putShare(load<f64>(weights + best * 8) / sum);
    // below every weight: it has had its turn
    store<f64>(weights + best * 8, -1);
  }
  endLine();
}
