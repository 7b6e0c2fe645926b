// Looking inside a pass: where in a picture a label was seen, and tensors at named places.
import { PANEL } from "../../assembly/header.ts";
import type { Classifier, Evidence } from "./classifier.ts";
import { describe } from "../describe.ts";
import { tensorOf } from "../plan/record.ts";

/**
 * The last layers are a mean over places and a linear layer, so every place's share of a logit is exact: the class activation map of
 * Zhou et al. (arXiv:1512.04150).
 */
export function evidence(classifier: Classifier, pixels: Float32Array, index: number | undefined): Evidence {
  const { runtime } = classifier, { ops } = runtime.plan, [mean, head] = ops.slice(-2);
  if (mean?.name !== "meanRows" || head?.name !== "linear") {
    throw new RangeError("this network does not end in a mean over places and an f32 linear layer: evidence is of SLAB-DeiT, Swin, CSWin and PVT, loaded as f32");
  }
  const { labels } = classifier.config.image;
  if (index !== undefined && !(Number.isInteger(index) && index >= 0 && index < labels.length)) {
    throw new RangeError(`index is ${index}, expected a class from 0 to ${labels.length - 1}`);
  }
  classifier.input(pixels);
  runtime.run(0, ops.length);
  const logits = runtime.row(classifier.logits, 0), of = index ?? logits.reduce((best, logit, i) => (logit > logits[best]! ? i : best), 0);
  // again without the head, which may have written over what it does not read
  runtime.run(0, ops.length - 2);
  const places = tensorOf(mean.args[1]!)!, panels = tensorOf(head.args[5]!)!;
  // f32 panels [classes/8][channels][8]
  const column = runtime.floats(panels.address + Math.floor(of / PANEL) * places.columns * PANEL * 4, places.columns * PANEL);
  const map = Float32Array.from({ length: places.rows }, (_, i) => runtime.row(places, i).reduce((sum, x, c) => sum + x * column[c * PANEL + (of % PANEL)]!, 0));
  const side = Math.sqrt(places.rows);
  return { label: labels[of]!, index: of, height: side, width: side, map };
}

/** A tensor at a named place of the pass, after running up to it. */
export function activation(classifier: Classifier, mark: string, pixels: Float32Array): Float32Array {
  const { runtime } = classifier, { plan } = runtime, place = plan.marks.get(mark);
  if (!place) throw new RangeError(`the plan has no mark "${mark}": use one of ${[...plan.marks.keys()].join(", ")}`);
  const { length } = runtime.row(plan.inputs[0]!, 0);
  if (!(pixels instanceof Float32Array)) throw new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array of ${length} numbers`);
  if (pixels.length !== length) throw new RangeError(`pixels has ${pixels.length} numbers, expected ${length}: one image`);
  classifier.input(pixels);
  runtime.run(0, place.ops);
  return runtime.dense(place.tensor);
}
