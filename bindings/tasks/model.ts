// A loaded model: packed weights and a plan in one memory. Immutable; every forward pass is one call into WebAssembly.
import type { ModelConfig } from "../config/config.ts";
import type { Classifier, ClassifyOptions, Evidence, EvidenceOptions, Label, Picture } from "./classifier.ts";
import type { Caps } from "../run/kernels.ts";
import type { FeatureMap, Features, ImageSize } from "./features.ts";
import type { Language } from "./language.ts";
import type { MemoryReport } from "../run/memory.ts";
import type { Interruptible } from "../config/options.ts";
import type { Plan } from "../plan/plan.ts";
import type { Profile, ProfileOptions } from "../run/profile.ts";
import type { Runtime } from "../run/runtime.ts";
import type { Session } from "./session.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

/** What a model does. Known here by its kind alone: its class comes with the architecture. */
export type Task = Classifier | Features | Language;

export class Model {
  readonly config: ModelConfig;
  readonly caps: Caps;
  readonly #runtime: Runtime;
  readonly #task: Task;

  /** @internal use load() */
  constructor(task: Task) {
    const { config, runtime } = task;
    [this.config, this.caps, this.#runtime, this.#task] = [config, runtime.caps, runtime, task];
  }

  /** The recorded passes; of a backbone, for the last picture's size. */
  get plan(): Plan {
    return this.#runtime.plan;
  }

  /** Bytes of every region of the model's memory. */
  memory(): MemoryReport {
    return this.#runtime.report;
  }

  /**
   * Logits of normalised images.
   * @param pixels  f32 [3, H, W] or [B, 3, H, W]: the length says which
   * @returns f32 [classes] or [B, classes]
   * @throws RangeError when the length is not a whole number of images
   */
  async forward(pixels: Float32Array, options?: Interruptible): Promise<Float32Array> {
    return (this.#images ?? (await this.#refuse("forward"))).forward(pixels, options);
  }

  /**
   * The most likely labels of a picture, best first; of a list of pictures, a list of them.
   * @param picture  RGB(A) pixels, or an encoded PNG, JPEG or WebP file; its orientation is respected
   */
  async classify(picture: Picture, options?: ClassifyOptions): Promise<Label[]>;
  async classify(pictures: readonly Picture[], options?: ClassifyOptions): Promise<Label[][]>;
  async classify(given: Picture | readonly Picture[], options?: ClassifyOptions): Promise<Label[] | Label[][]> {
    return (this.#images ?? (await this.#refuse("classify"))).classify(given, options);
  }

  /**
   * A backbone's feature maps of a normalised picture, one a stage, through that stage's output norm.
   * @param pixels  f32 [3, height, width], of any size: the right and the bottom are padded with zeros to whole patches
   * @param size    default: the config's square. Another size than the last call's is laid out anew first, which costs a copy of the weights
   */
  async features(pixels: Float32Array, size?: ImageSize, options?: Interruptible): Promise<FeatureMap[]> {
    if (this.#task.kind === "backbone") return this.#task.features(pixels, size, options);
    return this.#refuse("features");
  }

  /**
   * Where in a picture a label was seen: what each place adds to its logit, exactly.
   * @throws RangeError for a network that reads a class token instead of a mean, or whose last layer is quantised
   */
  async evidence(picture: Picture, options?: EvidenceOptions): Promise<Evidence> {
    return (this.#images ?? (await this.#refuse("evidence"))).evidence(picture, options);
  }

  /**
   * A tensor at a named place of the pass (`plan.marks`), after running up to it on `pixels`: for tests and for looking inside.
   * @returns f32 [rows, columns]
   */
  async activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    return (this.#images ?? (await this.#refuse("activation"))).activation(mark, pixels);
  }

  /**
   * A timeline of a language model, from its beginning or from where session.save() left it.
   * @param snapshot  of a Blob: await blob.arrayBuffer()
   * @throws RangeError for a snapshot that is cut off, damaged, of another model or of a newer version
   */
  session(snapshot?: Uint8Array | ArrayBuffer): Session {
    return this.#language("session").session(snapshot);
  }

  /**
   * One token for each of several sessions, in one step that reads the weights once. Aborted, some sessions may have
   * read theirs: more of them than the option sessions of load() take several steps.
   * @returns logits f32 [sessions, vocab]
   */
  async decodeBatch(
    sessions: readonly Session[], ids: ArrayLike<number>, options?: Interruptible,
  ): Promise<Float32Array> {
    return this.#language("decodeBatch").decodeBatch(sessions, ids, options);
  }

  /** Text to token ids and back; undefined when the model came without tokenizer.json. */
  get tokenizer(): Tokenizer | undefined {
    return this.#language("tokenizer").tokenizer;
  }

  /** Times every op of a pass on this thread, against the limits of the machine measured in the same run. */
  async profile(options?: ProfileOptions): Promise<Profile> {
    const { profile } = await import("../extras.ts");
    return profile(this.#task, options);
  }

  /**
   * The model's weights as they lie in memory, folded, packed and quantised: a model.safetensors that loads without any of this work,
   * beside the same config.json. int8 weights are for builds of the same kind, relaxed or plain; others are for all.
   */
  async pack(): Promise<Uint8Array<ArrayBuffer>> {
    const { packedFile } = await import("../extras.ts");
    return packedFile(this.#runtime);
  }

  /**
   * The whole model, plan and weights, in one file that dist/slab-wasi.wasm runs without JavaScript, in any WASI host; what `slab pack` writes.
   * Its memory has room for as many sessions as the model was loaded with. Quantised weights are for builds of the same kind, relaxed or plain.
   */
  async standalone(): Promise<Uint8Array<ArrayBuffer>> {
    const task = this.#task;
    if (task.kind === "backbone") throw new TypeError("standalone() is for models of labels and of language, this is a backbone");
    const { standaloneFile } = await import("../extras.ts");
    return standaloneFile(task);
  }

  /** Gives the memory back and leaves the thread pool. Safe to call twice. */
  dispose(): void {
    this.#runtime.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get #kind(): string {
    return `${KINDS[this.#task.kind]} (${this.config.architecture})`;
  }

  get #images(): Classifier | undefined {
    return this.#task.kind === "images" ? this.#task : undefined;
  }

  /** The error for a method of another kind of pictures' models. */
  async #refuse(method: string): Promise<never> {
    throw (await import("../extras.ts")).kindFault(method, this.#kind, this.#task.kind === "backbone");
  }

  #language(method: string): Language {
    const task = this.#task;
    if (task.kind === "language") return task;
    throw new TypeError(`${method} is for language models, this is ${this.#kind}: use ${task.kind === "backbone" ? "features()" : "classify() or forward()"}`);
  }
}

const KINDS = { images: "an image model", backbone: "a backbone", language: "a language model" };
