// A loaded model: packed weights and a plan in one memory. Immutable; every forward pass is one call into WebAssembly.
import type { ImageModelConfig, ModelConfig } from "../models/config.ts";
import { isBackbone, isLanguageModel } from "../models/config.ts";
import { Classifier } from "./classifier.ts";
import type { Evidence, Label, Picture } from "./classifier.ts";
import type { Caps } from "./kernels.ts";
import type { FeatureMap, ImageSize } from "./features.ts";
import { Features } from "./features.ts";
import { Language } from "./language.ts";
import type { MemoryReport } from "./memory.ts";
import { packedFile } from "./packed.ts";
import type { Plan } from "./plan.ts";
import type { Profile } from "./profile.ts";
import { profileOps } from "./profile.ts";
import type { Runtime } from "./runtime.ts";
import type { Session } from "./session.ts";
import { standaloneFile } from "./standalone.ts";
import type { Tokenizer } from "./tokenizer/index.ts";

export class Model {
  readonly config: ModelConfig;
  readonly caps: Caps;
  readonly #runtime: Runtime;
  readonly #task: Classifier | Features | Language;

  /** @internal use load() */
  constructor(config: ModelConfig, runtime: Runtime, task: Classifier | Features | Language) {
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
  async forward(pixels: Float32Array): Promise<Float32Array> {
    return this.#images("forward").forward(pixels);
  }

  /**
   * The most likely labels of a picture, best first.
   * @param picture  RGB(A) pixels, or an encoded PNG, JPEG or WebP file; its orientation is respected
   */
  async classify(picture: Picture, options: { topK?: number } = {}): Promise<Label[]> {
    return this.#images("classify").classify(picture, options);
  }

  /**
   * A backbone's feature maps of a normalised picture, one a stage, through that stage's output norm.
   * @param pixels  f32 [3, height, width], of any size: the right and the bottom are padded with zeros to whole patches
   * @param size    default: the config's square. Another size than the last call's is laid out anew first, which costs a copy of the weights
   */
  async features(pixels: Float32Array, size?: ImageSize): Promise<FeatureMap[]> {
    if (this.#task instanceof Features) return this.#task.features(pixels, size);
    throw new TypeError(`features() is for backbones, this is ${this.#kind}: give a config whose model_type ends in _backbone`);
  }

  /**
   * Where in a picture a label was seen: what each place adds to its logit, exactly.
   * @param options  index: the class; default: the most likely one
   * @throws RangeError for a network that reads a class token instead of a mean, or whose last layer is quantised
   */
  async evidence(picture: Picture, options: { index?: number } = {}): Promise<Evidence> {
    return this.#images("evidence").evidence(picture, options);
  }

  /**
   * A tensor at a named place of the pass (`plan.marks`), after running up to it on `pixels`: for tests and for looking inside.
   * @returns f32 [rows, columns]
   */
  async activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    return this.#images("activation").activation(mark, pixels);
  }

  /**
   * A timeline of a language model, from its beginning or from where session.save() left it.
   * @throws RangeError for a snapshot that is cut off, damaged, of another model or of a newer version
   */
  session(snapshot?: Uint8Array): Session {
    return this.#language("session").session(snapshot);
  }

  /**
   * One token for each of several sessions, in one step that reads the weights once.
   * @returns logits f32 [sessions, vocab]
   */
  async decodeBatch(sessions: readonly Session[], ids: ArrayLike<number>): Promise<Float32Array> {
    const language = this.#language("decodeBatch");
    language.check(ids);
    if (ids.length !== sessions.length) throw new RangeError(`${ids.length} ids for ${sessions.length} sessions, expected one each`);
    if (new Set(sessions).size !== sessions.length) throw new RangeError("a session is there twice: one step gives each session one token");
    const { vocab } = language.config.network;
    const out = new Float32Array(sessions.length * vocab);
    language.decode(sessions.map((s) => s.settle(language)), ids, (i, logits) => out.set(logits, i * vocab));
    return out;
  }

  /** Text to token ids and back; undefined when the model came without tokenizer.json. */
  get tokenizer(): Tokenizer | undefined {
    return this.#language("tokenizer").tokenizer;
  }

  /**
   * Times every op of a pass on this thread, against the limits of the machine measured in the same run.
   * @param program  of a language model, "decode" (default, `rows` timelines, default 1) or "prefill" (`rows` tokens, default all it takes)
   */
  async profile({ program = "decode", rows, rounds = 30 }: { program?: "prefill" | "decode"; rows?: number; rounds?: number } = {}): Promise<Profile> {
    if (!(Number.isInteger(rounds) && rounds >= 1)) throw new RangeError(`rounds is ${rounds}, expected a whole number of at least 1`);
    if (!(this.#task instanceof Language)) return profileOps(this.#runtime, 0, this.plan.ops.length, 1, rounds);
    const capacity = this.plan.programs.find((p) => p.name === program)?.capacity ?? 1;
    const { first, last, share } = this.#task.rehearse(program, rows ?? (program === "decode" ? 1 : capacity));
    return profileOps(this.#runtime, first, last, share, rounds);
  }

  /**
   * The model's weights as they lie in memory, folded, packed and quantised: a model.safetensors that loads without any of this work,
   * beside the same config.json. int8 weights are for builds of the same kind, relaxed or plain; others are for all.
   */
  pack(): Uint8Array<ArrayBuffer> {
    const { weightsAddress, weightsBytes, fingerprint } = this.#runtime.memory;
    return packedFile(this.plan, this.caps.relaxed, fingerprint, this.#runtime.bytes(weightsAddress, weightsBytes));
  }

  /**
   * The whole model, plan and weights, in one file that dist/slab-wasi.wasm runs without JavaScript, in any WASI host; what `slab pack` writes.
   * Its memory has room for as many sessions as the model was loaded with. Quantised weights are for builds of the same kind, relaxed or plain.
   */
  standalone(): Uint8Array<ArrayBuffer> {
    const { config } = this, task = this.#task;
    if (task instanceof Classifier) return standaloneFile(this.#runtime, { config: config as ImageModelConfig, logits: task.logits });
    if (task instanceof Language) return standaloneFile(this.#runtime, { config: task.config, tensors: task.tensors });
    throw new TypeError("standalone() is for models of labels and of language, this is a backbone");
  }

  /** Gives the memory back and leaves the thread pool. Safe to call twice. */
  dispose(): void {
    this.#runtime.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  get #kind(): string {
    const kind = isLanguageModel(this.config) ? "a language model" : isBackbone(this.config) ? "a backbone" : "an image model";
    return `${kind} (${this.config.architecture})`;
  }

  #images(method: string): Classifier {
    if (this.#task instanceof Classifier) return this.#task;
    throw new TypeError(`${method}() is for image models, this is ${this.#kind}: use ${this.#task instanceof Features ? "features" : "session"}()`);
  }

  #language(method: string): Language {
    if (this.#task instanceof Language) return this.#task;
    throw new TypeError(`${method} is for language models, this is ${this.#kind}: use ${this.#task instanceof Features ? "features()" : "classify() or forward()"}`);
  }
}
