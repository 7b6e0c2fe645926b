// Image models: pixels to logits, pictures to labels.
import type { ImageModelConfig } from "../config/config.ts";
import { describe } from "../describe.ts";
import type { Image } from "../image/index.ts";
import { decodeImage, preprocess } from "../image/index.ts";
import type { Tensor } from "../plan/plan.ts";
import type { Runtime } from "../run/runtime.ts";

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
  readonly kind = "images";
  readonly config: ImageModelConfig;
  readonly runtime: Runtime;
  /** Where a run leaves its result. */
  readonly logits: Tensor;

  constructor(config: ImageModelConfig, runtime: Runtime, logits: Tensor) {
    [this.config, this.runtime, this.logits] = [config, runtime, logits];
  }

  async forward(pixels: Float32Array): Promise<Float32Array> {
    const { classes, channels, imageSize } = this.config.network;
    const perImage = channels * imageSize * imageSize;
    if (!(pixels instanceof Float32Array)) throw new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array [${channels}, ${imageSize}, ${imageSize}]`);
    if (pixels.length === 0 || pixels.length % perImage) {
      throw new RangeError(`pixels has ${pixels.length} numbers, expected ${perImage} ([${channels}, ${imageSize}, ${imageSize}]) or a multiple of it`);
    }
    const runtime = this.runtime, batch = pixels.length / perImage;
    const logits = new Float32Array(batch * classes);
    for (let b = 0; b < batch; b++) {
      this.input(pixels.subarray(b * perImage, (b + 1) * perImage));
      runtime.run(0, runtime.plan.ops.length);
      logits.set(runtime.row(this.logits, 0), b * classes);
    }
    return logits;
  }

  async classify(picture: Picture, { topK = 5 }: { topK?: number } = {}): Promise<Label[]> {
    if (!(Number.isInteger(topK) && topK >= 1)) throw new RangeError(`topK is ${topK}, expected a whole number of at least 1`);
    void this.runtime.memory;
    const image = await decoded(picture);
    const { preprocessing, labels } = this.config.image;
    const logits = await this.forward(preprocess(image, preprocessing));
    const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const weights = Array.from(logits, (l) => Math.exp(l - top));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights
      .map((w, index) => ({ label: labels[index]!, score: w / sum, index }))
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, topK);
  }

  async evidence(picture: Picture, { index }: { index?: number } = {}): Promise<Evidence> {
    const [{ evidence }, image] = await Promise.all([import("../extras.ts"), decoded(picture)]);
    return evidence(this, preprocess(image, this.config.image.preprocessing), index);
  }

  async activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    const { activation } = await import("../extras.ts");
    return activation(this, mark, pixels);
  }

  /** Puts one image where a run reads it. */
  input(pixels: Float32Array): void {
    this.runtime.floats(this.runtime.plan.inputs[0]!.address, pixels.length).set(pixels);
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
