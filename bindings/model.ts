// A loaded model: packed weights and a plan in one memory. Immutable; every forward pass is one call into WebAssembly.
import type { ModelConfig } from "../models/config.ts";
import type { Image } from "./image/index.ts";
import { decodeImage, preprocess } from "./image/index.ts";
import type { Caps } from "./kernels.ts";
import type { MemoryReport, ModelMemory } from "./memory.ts";
import type { Plan, Tensor } from "./plan.ts";
import { pool } from "./pool.ts";

export interface Label {
  readonly label: string;
  /** Probability: softmax over the classes. */
  readonly score: number;
  readonly index: number;
}

/** Decoded pixels, or the bytes of a PNG, JPEG or WebP file. */
export type Picture = Image | Uint8Array | ArrayBuffer | Blob;

export class Model {
  readonly config: ModelConfig;
  readonly caps: Caps;
  readonly plan: Plan;
  readonly #logits: Tensor;
  #memory: ModelMemory | undefined;
  readonly #member: number | undefined;

  /** @internal use load() */
  constructor(config: ModelConfig, caps: Caps, plan: Plan, logits: Tensor, memory: ModelMemory) {
    [this.config, this.caps, this.plan, this.#logits, this.#memory] = [config, caps, plan, logits, memory];
    if (caps.threads > 1 && memory.kernels.runShared) {
      this.#member = pool().join({ module: memory.module, memory: memory.memory, threads: caps.threads });
    }
  }

  /** Bytes of every region of the model's memory. */
  memory(): MemoryReport {
    return this.#alive().report;
  }

  /**
   * Logits of normalised images.
   * @param pixels  f32 [3, H, W] or [B, 3, H, W]: the length says which
   * @returns f32 [classes] or [B, classes]
   * @throws RangeError when the length is not a whole number of images
   */
  async forward(pixels: Float32Array): Promise<Float32Array> {
    const { classes, channels, imageSize } = this.config.network;
    const perImage = channels * imageSize * imageSize;
    if (!(pixels instanceof Float32Array)) throw new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array [${channels}, ${imageSize}, ${imageSize}]`);
    if (pixels.length === 0 || pixels.length % perImage) {
      throw new RangeError(`pixels has ${pixels.length} numbers, expected ${perImage} ([${channels}, ${imageSize}, ${imageSize}]) or a multiple of it`);
    }
    const memory = this.#alive(), batch = pixels.length / perImage;
    const input = new Float32Array(memory.memory.buffer, this.plan.inputTensor!.address, perImage);
    const out = new Float32Array(memory.memory.buffer, this.#logits.address, classes);
    const logits = new Float32Array(batch * classes);
    for (let b = 0; b < batch; b++) {
      input.set(pixels.subarray(b * perImage, (b + 1) * perImage));
      this.#run(memory, this.plan.ops.length);
      logits.set(out, b * classes);
    }
    return logits;
  }

  /**
   * The most likely labels of a picture, best first.
   * @param picture  RGB(A) pixels, or an encoded PNG, JPEG or WebP file; its orientation is respected
   */
  async classify(picture: Picture, { topK = 5 }: { topK?: number } = {}): Promise<Label[]> {
    if (!(Number.isInteger(topK) && topK >= 1)) throw new RangeError(`topK is ${topK}, expected a whole number of at least 1`);
    this.#alive();
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

  /**
   * A tensor at a named place of the pass (`plan.marks`), after running up to it on `pixels`: for tests and for looking inside.
   * @returns f32 [rows, columns]
   */
  async activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    const place = this.plan.marks.get(mark);
    if (!place) throw new RangeError(`the plan has no mark "${mark}": use one of ${[...this.plan.marks.keys()].join(", ")}`);
    const memory = this.#alive(), { tensor } = place;
    new Float32Array(memory.memory.buffer, this.plan.inputTensor!.address, pixels.length).set(pixels);
    this.#run(memory, place.ops);
    const out = new Float32Array(tensor.rows * tensor.columns);
    for (let r = 0; r < tensor.rows; r++) out.set(new Float32Array(memory.memory.buffer, tensor.address + r * tensor.rowBytes, tensor.columns), r * tensor.columns);
    return out;
  }

  /** Gives the memory back and leaves the thread pool. Safe to call twice. */
  dispose(): void {
    if (this.#memory && this.#member !== undefined) pool().leave(this.#member);
    this.#memory = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #run({ kernels, planAddress }: ModelMemory, ops: number): void {
    if (this.#member !== undefined) {
      pool().announce(this.#member);
      kernels.runShared!(planAddress, ops);
    } else {
      kernels.runPlan(planAddress, ops);
    }
  }

  #alive(): ModelMemory {
    if (!this.#memory) throw new Error("the model has been disposed: load it again");
    return this.#memory;
  }
}

const describe = (value: unknown): string => (value === null ? "null" : typeof value === "object" ? (value.constructor?.name ?? "an object") : typeof value);

async function decoded(picture: Picture): Promise<Image> {
  if (picture instanceof Uint8Array) return decodeImage(picture);
  if (picture instanceof ArrayBuffer) return decodeImage(new Uint8Array(picture));
  if (picture instanceof Blob) return decodeImage(new Uint8Array(await picture.arrayBuffer()));
  if (typeof picture !== "object" || picture === null || !("data" in picture)) {
    throw new TypeError(`the picture is ${describe(picture)}, expected { data, width, height } or the bytes of a PNG, JPEG or WebP file`);
  }
  return picture;
}
