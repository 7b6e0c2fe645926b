// What a classifier does beside labels: where in a picture one was seen, tensors at named places, lists of pictures.
import { PANEL } from "../../assembly/header.ts";
import type { Classifier, ClassifyOptions, Evidence, Label, Picture } from "./classifier.ts";
import { tensorOf } from "../plan/record.ts";
import { describe } from "../describe.ts";

/**
 * The last layers are a mean over places and a linear layer, so every place's share of a logit is exact: the class activation map of
 * Zhou et al. (arXiv:1512.04150).
 */
export async function evidence(
  classifier: Classifier, pixels: Float32Array, index: number | undefined, drop: () => void,
): Promise<Evidence> {
  const { runtime } = classifier, { ops } = runtime.plan, [mean, head] = ops.slice(-2);
  if (mean?.name !== "meanRows" || head?.name !== "linear") {
    throw new RangeError("this network does not end in a mean over places and an f32 linear layer: evidence is of SLAB-DeiT, Swin, CSWin and PVT, loaded as f32");
  }
  const { labels } = classifier.config.image;
  if (index !== undefined && !(Number.isInteger(index) && index >= 0 && index < labels.length)) {
    throw new RangeError(`index is ${index}, expected a class from 0 to ${labels.length - 1}`);
  }
  const enter = (): void => classifier.input(pixels);
  const places = tensorOf(mean.args[1]!)!, panels = tensorOf(head.args[5]!)!, panelFloats = places.columns * PANEL;
  const logits = await runtime.pass({ enter, leave: () => runtime.row(classifier.logits, 0).slice() }, drop);
  const of = index ?? logits.reduce((best, logit, i) => (logit > logits[best]! ? i : best), 0);
  // again without the head, which may have written over what it does not read
  const map = await runtime.pass({
    ops: { first: 0, last: ops.length - 2 }, enter,
    leave() {
      // f32 panels [classes/8][channels][8]
      const panel = runtime.floats(panels.address + Math.floor(of / PANEL) * panelFloats * 4, panelFloats);
      const share = (row: Float32Array): number =>
        row.reduce((sum, x, c) => sum + x * panel[c * PANEL + (of % PANEL)]!, 0);
      return Float32Array.from({ length: places.rows }, (_, i) => share(runtime.row(places, i)));
    },
  }, drop);
  const side = Math.sqrt(places.rows);
  return { label: labels[of]!, index: of, height: side, width: side, map };
}

/** A tensor at a named place of the pass, after running up to it. */
export async function activation(classifier: Classifier, mark: string, pixels: Float32Array): Promise<Float32Array> {
  const { runtime } = classifier, { plan } = runtime, place = plan.marks.get(mark);
  if (!place) throw new RangeError(`the plan has no mark "${mark}": use one of ${[...plan.marks.keys()].join(", ")}`);
  const { length } = runtime.row(plan.inputs[0]!, 0);
  if (!(pixels instanceof Float32Array)) throw new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array of ${length} numbers`);
  if (pixels.length !== length) throw new RangeError(`pixels has ${pixels.length} numbers, expected ${length}: one image`);
  return runtime.pass({
    ops: { first: 0, last: place.ops }, enter: () => classifier.input(pixels), leave: () => runtime.dense(place.tensor),
  });
}

/** The labels of several pictures, one after another; an error names the picture. */
export async function classifyAll(
  classifier: Classifier, pictures: readonly Picture[], options: ClassifyOptions,
): Promise<Label[][]> {
  const all: Label[][] = [];
  for (const [i, picture] of pictures.entries()) {
    all.push(await classifier.classify(picture, options).catch((error: Error) => {
      if (error !== options.signal?.reason) error.message = `picture ${i}: ${error.message}`;
      throw error;
    }));
  }
  return all;
}
