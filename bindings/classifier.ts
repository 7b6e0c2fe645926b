// Image models: pixels to logits, pictures to labels.
import { PANEL } from "../assembly/header.ts";
import { LINEAR, MEAN_ROWS } from "../assembly/opcodes.ts";
import type { ImageModelConfig } from "../models/config.ts";
import type { Image } from "./image/index.ts";
import { decodeImage, preprocess } from "./image/index.ts";
import { tensorOf } from "./plan-record.ts";
import type { Tensor } from "./plan.ts";
import type { Runtime } from "./runtime.ts";
import { describe } from "./runtime.ts";

export interface Label {
  readonly label: string;
  /** Probability: softmax over the classes. */
  readonly score: number;
  readonly index: number;
}

/** Decoded pixels, or the bytes of a PNG, JPEG or WebP file. */
export type Picture = Image | Uint8Array | ArrayBuffer | Blob;

/** Where in the picture a label was seen. */
export interface Evidence {
  readonly label: string;
  readonly index: number;
  /** Places of the map, rows from the top; it covers what preprocessing keeps of the picture. */
  readonly height: number;
  readonly width: number;
  /** f32 [height, width]: what each place adds to the label's logit; their mean and the head's bias are the logit. */
  readonly map: Float32Array;
}

export class Classifier {
  readonly #config: ImageModelConfig;
  readonly #runtime: Runtime;
  readonly #logits: Tensor;

  constructor(config: ImageModelConfig, runtime: Runtime, logits: Tensor) {
    [this.#config, this.#runtime, this.#logits] = [config, runtime, logits];
  }

  /** @internal where a run leaves its result */
  get logits(): Tensor {
    return this.#logits;
  }

  async forward(pixels: Float32Array): Promise<Float32Array> {
    const { classes, channels, imageSize } = this.#config.network;
    const perImage = channels * imageSize * imageSize;
    if (!(pixels instanceof Float32Array)) throw new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array [${channels}, ${imageSize}, ${imageSize}]`);
    if (pixels.length === 0 || pixels.length % perImage) {
      throw new RangeError(`pixels has ${pixels.length} numbers, expected ${perImage} ([${channels}, ${imageSize}, ${imageSize}]) or a multiple of it`);
    }
    const runtime = this.#runtime, batch = pixels.length / perImage;
    const logits = new Float32Array(batch * classes);
    for (let b = 0; b < batch; b++) {
      this.#input(pixels.subarray(b * perImage, (b + 1) * perImage));
      runtime.run(0, runtime.plan.ops.length);
      logits.set(runtime.row(this.#logits, 0), b * classes);
    }
    return logits;
  }

  async classify(picture: Picture, { topK = 5 }: { topK?: number } = {}): Promise<Label[]> {
    if (!(Number.isInteger(topK) && topK >= 1)) throw new RangeError(`topK is ${topK}, expected a whole number of at least 1`);
    void this.#runtime.memory;
    const image = await decoded(picture);
    const { preprocessing, labels } = this.#config.image;
    const logits = await this.forward(preprocess(image, preprocessing));
    const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const weights = Array.from(logits, (l) => Math.exp(l - top));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights
      .map((w, index) => ({ label: labels[index]!, score: w / sum, index }))
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, topK);
  }

  /**
   * The last layers are a mean over places and a linear layer, so every place's share of a logit is exact: the class activation map of
   * Zhou et al. (arXiv:1512.04150).
   */
  async evidence(picture: Picture, { index }: { index?: number } = {}): Promise<Evidence> {
    const runtime = this.#runtime, { ops } = runtime.plan, [mean, head] = ops.slice(-2);
    if (mean?.code !== MEAN_ROWS || head?.code !== LINEAR) {
      throw new RangeError("this network does not end in a mean over places and an f32 linear layer: evidence is of SLAB-DeiT, Swin, CSWin and PVT, loaded as f32");
    }
    const { labels, preprocessing } = this.#config.image;
    if (index !== undefined && !(Number.isInteger(index) && index >= 0 && index < labels.length)) {
      throw new RangeError(`index is ${index}, expected a class from 0 to ${labels.length - 1}`);
    }
    this.#input(preprocess(await decoded(picture), preprocessing));
    runtime.run(0, ops.length);
    const logits = runtime.row(this.#logits, 0), of = index ?? logits.reduce((best, logit, i) => (logit > logits[best]! ? i : best), 0);
    // again without the head, which may have written over what it does not read
    runtime.run(0, ops.length - 2);
    const places = tensorOf(mean.args[1]!)!, panels = tensorOf(head.args[5]!)!;
    // f32 panels [classes/8][channels][8]
    const column = runtime.floats(panels.address + Math.floor(of / PANEL) * places.columns * PANEL * 4, places.columns * PANEL);
    const map = Float32Array.from({ length: places.rows }, (_, i) => runtime.row(places, i).reduce((sum, x, c) => sum + x * column[c * PANEL + (of % PANEL)]!, 0));
    const side = Math.sqrt(places.rows);
    return { label: labels[of]!, index: of, height: side, width: side, map };
  }

  async activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    const { plan } = this.#runtime, place = plan.marks.get(mark);
    if (!place) throw new RangeError(`the plan has no mark "${mark}": use one of ${[...plan.marks.keys()].join(", ")}`);
    const { length } = this.#runtime.row(plan.inputs[0]!, 0);
    if (!(pixels instanceof Float32Array)) throw new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array of ${length} numbers`);
    if (pixels.length !== length) throw new RangeError(`pixels has ${pixels.length} numbers, expected ${length}: one image`);
    this.#input(pixels);
    this.#runtime.run(0, place.ops);
    return this.#runtime.dense(place.tensor);
  }

  #input(pixels: Float32Array): void {
    this.#runtime.floats(this.#runtime.plan.inputs[0]!.address, pixels.length).set(pixels);
  }
}

async function decoded(picture: Picture): Promise<Image> {
  if (picture instanceof Uint8Array) return decodeImage(picture);
  if (picture instanceof ArrayBuffer) return decodeImage(new Uint8Array(picture));
  if (picture instanceof Blob) return decodeImage(new Uint8Array(await picture.arrayBuffer()));
  if (typeof picture !== "object" || picture === null || !("data" in picture)) {
    throw new TypeError(`the picture is ${describe(picture)}, expected { data, width, height } or the bytes of a PNG, JPEG or WebP file`);
  }
  return picture;
}
