// Image models: pixels to logits, pictures to labels.
import type { ImageModelConfig } from "../models/config.ts";
import type { Image } from "./image/index.ts";
import { decodeImage, preprocess } from "./image/index.ts";
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

export class Classifier {
  readonly #config: ImageModelConfig;
  readonly #runtime: Runtime;
  readonly #logits: Tensor;

  constructor(config: ImageModelConfig, runtime: Runtime, logits: Tensor) {
    [this.#config, this.#runtime, this.#logits] = [config, runtime, logits];
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
