// Image models: pixels to logits, pictures to labels.
import type { ImageModelConfig } from "../config/config.ts";
import { overdue } from "../run/breathe.ts";
import type { Image } from "../image/index.ts";
import { decodeImage, preprocess } from "../image/index.ts";
import type { Interruptible } from "../config/options.ts";
import { checkOptions } from "../config/options.ts";
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

export interface ClassifyOptions extends Interruptible {
  /** How many labels; default 5. */
  readonly topK?: number | undefined;
}

export interface EvidenceOptions extends Interruptible {
  /** The class; default: the most likely one. */
  readonly index?: number | undefined;
}

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

  async forward(pixels: Float32Array, options?: Interruptible): Promise<Float32Array> {
    const { classes, channels, imageSize } = this.config.network;
    const perImage = channels * imageSize * imageSize;
    if (!(pixels instanceof Float32Array) || pixels.length === 0 || pixels.length % perImage) {
      throw (await import("../extras.ts")).pixelsFault(pixels, this.config.network);
    }
    // a copy: the caller's may change before they are read
    const images = pixels.slice(), runtime = this.runtime;
    const logits = new Float32Array((pixels.length / perImage) * classes);
    await checkOptions("forward", options);
    const drop = (): void => options?.signal?.throwIfAborted();
    for (let b = 0; b * perImage < images.length; b++) {
      drop();
      await runtime.pass({
        enter: () => this.input(images.subarray(b * perImage, (b + 1) * perImage)),
        leave: () => logits.set(runtime.row(this.logits, 0), b * classes),
      }, drop);
    }
    return logits;
  }

  async classify(given: Picture, options?: ClassifyOptions): Promise<Label[]>;
  async classify(given: Picture | readonly Picture[], options?: ClassifyOptions): Promise<Label[] | Label[][]>;
  async classify(given: Picture | readonly Picture[], options: ClassifyOptions = {}): Promise<Label[] | Label[][]> {
    await checkOptions("classify", options, "topK signal");
    if (Array.isArray(given)) return (await import("../extras.ts")).classifyAll(this, given, options);
    const { topK = 5, signal } = options, { labels } = this.config.image;
    if (!(Number.isInteger(topK) && topK >= 1)) throw (await import("../extras.ts")).topKFault(topK);
    const logits = await this.forward(await this.#pixels(given as Picture, signal), { signal });
    const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
    const weights = Array.from(logits, (l) => Math.exp(l - top));
    const sum = weights.reduce((a, b) => a + b, 0);
    return weights
      .map((w, index) => ({ label: labels[index]!, score: w / sum, index }))
      .sort((a, b) => b.score - a.score || a.index - b.index)
      .slice(0, topK);
  }

  async evidence(picture: Picture, options: EvidenceOptions = {}): Promise<Evidence> {
    await checkOptions("evidence", options, "index signal");
    const { index, signal } = options, pixels = await this.#pixels(picture, signal);
    const { evidence } = await import("../extras.ts");
    return evidence(this, pixels, index, () => signal?.throwIfAborted());
  }

  async activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    const { activation } = await import("../extras.ts");
    return activation(this, mark, pixels);
  }

  /** A picture as the network takes it, with turns of the event loop between the steps. */
  async #pixels(picture: Picture, signal: AbortSignal | undefined): Promise<Float32Array> {
    signal?.throwIfAborted();
    void this.runtime.memory;
    const image = await decoded(picture);
    await overdue();
    signal?.throwIfAborted();
    return preprocess(image, this.config.image.preprocessing);
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
    throw (await import("../extras.ts")).pictureFault(picture);
  }
  return picture;
}
