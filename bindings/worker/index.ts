// slab-wasm/worker: load() with the model in a worker of its own, so that the caller never computes or waits. What
// takes time there is asynchronous here, also memory(), session(), save(), fork() and reset(); otherwise it is the API
// of slab-wasm.
import { platform } from "#platform";
import { ownModel, spawnModel } from "#spawn";
import { streamSource } from "../checkpoint/source.ts";
import type { ModelConfig } from "../config/config.ts";
import type { ClassifyOptions, Evidence, EvidenceOptions, Label, Picture } from "../tasks/classifier.ts";
import type { FeatureMap, ImageSize } from "../tasks/features.ts";
import type { Generated, GeneratedToken, Generation, GenerationProgress } from "../tasks/generation.ts";
import { generation, newProgress } from "../tasks/generation.ts";
import type { Caps } from "../run/kernels.ts";
import type { LoadOptions } from "../load/load.ts";
import type { MemoryReport } from "../run/memory.ts";
import type { Model } from "../tasks/model.ts";
import type { Interruptible } from "../config/options.ts";
import { checkOptions, GENERATE, LOAD } from "../config/options.ts";
import type { ModelParts } from "../load/parts.ts";
import type { Profile, ProfileOptions } from "../run/profile.ts";
import { describe } from "../describe.ts";
import type { GenerateOptions } from "../tasks/session.ts";
import { DISPOSED, FOREIGN } from "../tasks/session.ts";
import type { StartedWorker, StartModel } from "../platform/platform.ts";
import { Connection } from "./connection.ts";
import type { Loaded, Step } from "./protocol.ts";

export type {
  Download, Evidence, FeatureMap, Image, ImageSize, Label, LoadOptions, ModelConfig, ModelParts, Picture, Progress,
  WasmSource,
} from "../index.ts";
export type { Caps, Generated, GeneratedToken, Generation, GenerateOptions, Interruptible, MemoryReport, Profile };
export type { StartedWorker };

/** load() of a worker. */
export type WorkerLoad = (source: string | URL | ModelParts, options?: LoadOptions) => Promise<WorkerModel>;

/**
 * As load() of slab-wasm, but for the option fetch: a function cannot go to a worker. Bytes among the parts are copied
 * to the worker; a Blob, a stream or an address is not.
 */
export function load(source: string | URL | ModelParts, options?: LoadOptions): Promise<WorkerModel> {
  return open(ownModel, source, options);
}

/**
 * load() of models in workers of the app's own, whose script calls serve() of slab-wasm/core. `start` makes a new
 * Worker, each time that a model is loaded, which ends with the model.
 * @throws TypeError for anything but a function
 */
export function loader(start: () => StartedWorker): WorkerLoad {
  if (typeof start !== "function") {
    throw new TypeError(`loader() was given ${describe(start)}, expected a function that starts a worker: write `
      + 'loader(() => new Worker(new URL("./model-worker.js", import.meta.url), { type: "module" })); loader() of '
      + "architectures is slab-wasm/core's");
  }
  return (source, options) => open(start, source, options);
}

async function open(
  start: StartModel, source: string | URL | ModelParts, options: LoadOptions = {},
): Promise<WorkerModel> {
  await checkOptions("load", options, LOAD);
  const { signal, onProgress, onDownload, wasm, fetch, ...rest } = options;
  signal?.throwIfAborted();
  if (fetch !== undefined) {
    const remedy = "give headers instead, or use load() of slab-wasm";
    throw new TypeError(`the option fetch is a function, which cannot go to a worker: ${remedy}`);
  }
  const where = await portable(source, options), kernels = await wasm;
  const connection = new Connection(spawnModel, start);
  try {
    const wasmHere = kernels instanceof Response ? await kernels.arrayBuffer()
      : kernels instanceof URL ? kernels.href
      : kernels;
    const given = wasmHere === undefined ? {} : { wasm: wasmHere };
    const loaded = await connection.call<Loaded>(0, "load", [where, { ...rest, ...given }], {
      signal, onProgress, onDownload,
    });
    // it may have been done before it heard of an abort
    signal?.throwIfAborted();
    return new WorkerModel(connection, loaded);
  } catch (error) {
    connection.end();
    throw error;
  }
}

/** A source as the worker understands it: relative addresses are relative to the caller. */
async function portable(source: string | URL | ModelParts, { signal }: LoadOptions): Promise<unknown> {
  if (source instanceof URL) return source.href;
  if (typeof source === "string")
    return platform.disk || platform.base === undefined ? source : new URL(source, platform.base).href;
  if (typeof source !== "object" || source === null || !("weights" in source)) return source;
  const { weights } = source, located = (part: unknown): unknown => (part instanceof URL ? { href: part.href } : part);
  const parts = Object.fromEntries(Object.entries(source).map(([name, part]) => [name, located(part)]));
  if (weights instanceof ReadableStream) {
    const held = await streamSource("weights", weights, signal ? { signal } : {});
    return { ...parts, weights: await held.read(0, held.size) };
  }
  if ([URL, Uint8Array, ArrayBuffer, Blob].some((kind) => weights instanceof kind)) return parts;
  const remedy = "give the bytes of a safetensors file, a Blob, a stream or an address";
  throw new TypeError(`weights is ${describe(weights)}, which cannot go to a worker: ${remedy}`);
}

/** A Model in a worker. */
export class WorkerModel implements Pick<
  Model,
  "forward" | "classify" | "features" | "evidence" | "activation" | "profile" | "dispose"
> {
  readonly config: ModelConfig;
  readonly caps: Caps;
  /** Text to ids and back; undefined when the model came without tokenizer.json. */
  readonly tokenizer: WorkerTokenizer | undefined;
  readonly #connection: Connection;
  readonly #loaded: Loaded;
  readonly #dropped: FinalizationRegistry<number>;

  /** @internal use load() */
  constructor(connection: Connection, loaded: Loaded) {
    [this.#connection, this.#loaded, this.config, this.caps] = [connection, loaded, loaded.config, loaded.caps];
    const { vocabSize } = loaded;
    this.tokenizer = vocabSize === undefined ? undefined : {
      vocabSize,
      encode: (text, options = {}) => connection.call(0, "encode", [text, options]),
      decode: (ids, options = {}) => connection.call(0, "decode", [ids, options]),
      idOf: (token) => connection.call(0, "idOf", [token]),
    };
    this.#dropped = new FinalizationRegistry((number) => connection.notify(number, "drop"));
  }

  memory(): Promise<MemoryReport> {
    return this.#connection.call(0, "memory", []);
  }

  forward(pixels: Float32Array, options?: Interruptible): Promise<Float32Array> {
    return this.#ask("forward", [pixels], options);
  }

  classify(picture: Picture, options?: ClassifyOptions): Promise<Label[]>;
  classify(pictures: readonly Picture[], options?: ClassifyOptions): Promise<Label[][]>;
  classify(given: Picture | readonly Picture[], options?: ClassifyOptions): Promise<Label[] | Label[][]> {
    return this.#ask("classify", [given], options, "topK signal");
  }

  features(pixels: Float32Array, size?: ImageSize, options?: Interruptible): Promise<FeatureMap[]> {
    return this.#ask("features", [pixels, size], options);
  }

  evidence(picture: Picture, options?: EvidenceOptions): Promise<Evidence> {
    return this.#ask("evidence", [picture], options, "index signal");
  }

  activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    return this.#connection.call(0, "activation", [mark, pixels]);
  }

  profile(options?: ProfileOptions): Promise<Profile> {
    return this.#connection.call(0, "profile", [options]);
  }

  pack(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#connection.call(0, "pack", []);
  }

  async session(snapshot?: Uint8Array | ArrayBuffer | Blob): Promise<WorkerSession> {
    const bytes = snapshot instanceof Blob ? await snapshot.arrayBuffer() : snapshot;
    const call = this.#connection.start<void>(0, "session", bytes === undefined ? [] : [bytes]);
    await call.answer;
    return this.#session(call.id, call.position());
  }

  async decodeBatch(
    sessions: readonly WorkerSession[], ids: ArrayLike<number>, options?: Interruptible,
  ): Promise<Float32Array> {
    return this.#ask("decodeBatch", [sessions.map((session) => session.numberIn(this.#connection)), ids], options);
  }

  /** Ends the worker. Safe to call twice. */
  dispose(): void {
    this.#connection.end();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #ask<Value>(
    method: string, args: readonly unknown[], options: Interruptible | undefined, names?: string,
  ): Promise<Value> {
    return interruptible(options, method, names, (rest, signal) =>
      this.#connection.call(0, method, [...args, rest], { signal }));
  }

  #session(number: number, position: number): WorkerSession {
    const session = new WorkerSession(this.#connection, number, position, this.#loaded, (n, at) =>
      this.#session(n, at),
    );
    // the worker keeps a session for as long as somebody here does
    this.#dropped.register(session, number);
    return session;
  }
}

/** Looks through the options of a call, and makes it with what of them can travel, and the signal. */
async function interruptible<Value>(
  options: Interruptible | undefined, method: string, names: string | undefined,
  call: (rest: object, signal: AbortSignal | undefined) => Promise<Value>,
): Promise<Value> {
  await checkOptions(method, options, names);
  const { signal, ...rest } = options ?? {};
  signal?.throwIfAborted();
  return call(rest, signal);
}

export interface WorkerTokenizer {
  readonly vocabSize: number;
  encode(text: string, options?: { special?: boolean }): Promise<Int32Array>;
  decode(ids: ArrayLike<number>, options?: { special?: boolean }): Promise<string>;
  idOf(token: string): Promise<number | undefined>;
}

/** A Session in a worker. */
export class WorkerSession {
  /** Bytes of the state in the model's memory, whatever the position. */
  readonly stateBytes: number;
  /** Most tokens of the timeline; Infinity where its state does not grow. */
  readonly context: number;
  readonly #number: number;
  readonly #connection: Connection;
  readonly #make: (number: number, position: number) => WorkerSession;
  #position: number;
  #disposed = false;

  /** @internal use model.session() */
  constructor(
    connection: Connection, number: number, position: number,
    { stateBytes, context }: Pick<Loaded, "stateBytes" | "context">,
    make: (number: number, position: number) => WorkerSession,
  ) {
    [this.#connection, this.#number, this.#position, this.#make] = [connection, number, position, make];
    [this.stateBytes, this.context] = [stateBytes, context];
  }

  /** Tokens of this timeline when its last answer came. */
  get position(): number {
    return this.#position;
  }

  prefill(ids: ArrayLike<number>, options?: Interruptible): Promise<Float32Array> {
    return this.#ask("prefill", [ids], options);
  }

  decode(id: number, options?: Interruptible): Promise<Float32Array> {
    return this.#ask("decode", [id], options);
  }

  logits(ids: ArrayLike<number>, options?: Interruptible): Promise<Float32Array> {
    return this.#ask("logits", [ids], options);
  }

  save(): Promise<Uint8Array> {
    return this.#call(this.#number, "save", []);
  }

  reset(): Promise<void> {
    return this.#call(this.#number, "reset", []);
  }

  async fork(): Promise<WorkerSession> {
    this.#live();
    const call = this.#connection.start<void>(this.#number, "fork", []);
    await call.answer;
    return this.#make(call.id, call.position());
  }

  /** Frees the memory of its state; a call under way ends with an error. Safe to call twice. */
  dispose(): void {
    if (!this.#disposed) this.#connection.notify(this.#number, "drop");
    this.#disposed = true;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** As generate() of a Session, but for the option `logits`: a function cannot go to a worker. */
  generate(prompt: string | ArrayLike<number> = [], options: Omit<GenerateOptions, "logits"> = {}): Generation {
    const progress = newProgress(options);
    return generation(this.#generate(prompt, options, progress), progress);
  }

  async *#generate(
    prompt: string | ArrayLike<number>, options: GenerateOptions, progress: GenerationProgress,
  ): AsyncGenerator<GeneratedToken, Generated, undefined> {
    this.#live();
    await checkOptions("generate", options, GENERATE);
    const { signal, logits, ...rest } = options;
    if (logits !== undefined) {
      throw new TypeError("logits is a function, which cannot go to a worker: use load() of slab-wasm, or logitBias");
    }
    signal?.throwIfAborted();
    const args = [prompt, { ...rest, seed: progress.seed }];
    const generator = this.#connection.start<void>(this.#number, "generate", args, { signal });
    try {
      await generator.answer;
      for (;;) {
        const { step, ...made } = await this.#call<Step>(generator.id, "next", []).catch((error: unknown) => {
          throw signal?.aborted ? signal.reason : error;
        });
        Object.assign(progress, made);
        if (step.done) return step.value;
        yield step.value;
      }
    } finally {
      generator.settle();
      // after a break the generator stands at the token that it gave out last
      await this.#call(generator.id, "return", []).catch(() => {});
      this.#connection.notify(generator.id, "drop");
    }
  }

  /**
   * What the worker of this connection knows it by.
   * @internal
   */
  numberIn(connection: Connection): number {
    if (connection !== this.#connection) throw new RangeError(FOREIGN);
    this.#live();
    return this.#number;
  }

  #live(): void {
    if (this.#disposed) throw new Error(DISPOSED);
  }

  #ask<Value>(method: string, args: readonly unknown[], options: Interruptible | undefined): Promise<Value> {
    return interruptible(options, method, undefined, (rest, signal) =>
      this.#call(this.#number, method, [...args, rest], signal));
  }

  async #call<Value>(of: number, method: string, args: readonly unknown[], signal?: AbortSignal): Promise<Value> {
    this.#live();
    const call = this.#connection.start<Value>(of, method, args, { signal });
    try {
      return await call.answer;
    } finally {
      call.settle();
      this.#position = call.position(this.#position);
    }
  }
}
