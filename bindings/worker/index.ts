// slab-wasm/worker: load() with the model in a worker of its own, so that the caller never computes or waits. What takes time there is
// asynchronous here, also memory(), session(), save(), fork() and reset(); otherwise it is the API of slab-wasm.
import { platform } from "#platform";
import { spawnModel } from "#spawn";
import type { ModelConfig } from "../config/config.ts";
import { streamSource } from "../checkpoint/source.ts";
import type { Evidence, Label, Picture } from "../tasks/classifier.ts";
import type { FeatureMap, ImageSize } from "../tasks/features.ts";
import type { Caps } from "../run/kernels.ts";
import type { LoadOptions } from "../load/load.ts";
import type { MemoryReport } from "../run/memory.ts";
import type { Model } from "../tasks/model.ts";
import type { ModelParts } from "../load/parts.ts";
import type { Profile } from "../run/profile.ts";
import { describe } from "../describe.ts";
import type { Generated, GeneratedToken, GenerateOptions } from "../tasks/session.ts";
import { Connection } from "./connection.ts";
import type { Loaded } from "./protocol.ts";

export type { Download, Evidence, FeatureMap, Image, ImageSize, Label, LoadOptions, ModelConfig, ModelParts, Picture, Progress, WasmSource } from "../index.ts";
export type { Caps, Generated, GeneratedToken, GenerateOptions, MemoryReport, Profile };

/**
 * As load() of slab-wasm, but for the option fetch: a function cannot go to a worker. Bytes among the parts are copied
 * to the worker; a Blob, a stream or an address is not.
 */
export async function load(source: string | URL | ModelParts, options: LoadOptions = {}): Promise<WorkerModel> {
  const { signal, onProgress, onDownload, wasm, fetch, ...rest } = options;
  signal?.throwIfAborted();
  if (fetch !== undefined) {
    const remedy = "give headers instead, or use load() of slab-wasm";
    throw new TypeError(`the option fetch is a function, which cannot go to a worker: ${remedy}`);
  }
  const where = await portable(source, options), kernels = await wasm;
  const connection = new Connection(spawnModel);
  try {
    const given = kernels === undefined ? {} : { wasm: kernels instanceof Response ? await kernels.arrayBuffer() : kernels instanceof URL ? kernels.href : kernels };
    const loaded = await connection.call<Loaded>(0, "load", [where, { ...rest, ...given }], { signal, onProgress, onDownload });
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
  if (typeof source === "string") return platform.disk || platform.base === undefined ? source : new URL(source, platform.base).href;
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
export class WorkerModel implements Pick<Model, "forward" | "classify" | "features" | "evidence" | "activation" | "profile" | "dispose"> {
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

  forward(pixels: Float32Array): Promise<Float32Array> {
    return this.#connection.call(0, "forward", [pixels]);
  }

  classify(picture: Picture, options: { topK?: number } = {}): Promise<Label[]> {
    return this.#connection.call(0, "classify", [picture, options]);
  }

  features(pixels: Float32Array, size?: ImageSize): Promise<FeatureMap[]> {
    return this.#connection.call(0, "features", [pixels, size]);
  }

  evidence(picture: Picture, options: { index?: number } = {}): Promise<Evidence> {
    return this.#connection.call(0, "evidence", [picture, options]);
  }

  activation(mark: string, pixels: Float32Array): Promise<Float32Array> {
    return this.#connection.call(0, "activation", [mark, pixels]);
  }

  profile(options: { program?: "prefill" | "decode"; rows?: number; rounds?: number } = {}): Promise<Profile> {
    return this.#connection.call(0, "profile", [options]);
  }

  pack(): Promise<Uint8Array<ArrayBuffer>> {
    return this.#connection.call(0, "pack", []);
  }

  async session(snapshot?: Uint8Array): Promise<WorkerSession> {
    const call = this.#connection.start<void>(0, "session", snapshot === undefined ? [] : [snapshot]);
    await call.answer;
    return this.#session(call.id, call.position());
  }

  decodeBatch(sessions: readonly WorkerSession[], ids: ArrayLike<number>): Promise<Float32Array> {
    return this.#connection.call(0, "decodeBatch", [sessions.map((session) => session.number), ids]);
  }

  /** Ends the worker. Safe to call twice. */
  dispose(): void {
    this.#connection.end();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #session(number: number, position: number): WorkerSession {
    const session = new WorkerSession(this.#connection, number, position, this.#loaded, (n, at) => this.#session(n, at));
    // the worker keeps a session for as long as somebody here does
    this.#dropped.register(session, number);
    return session;
  }
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
  /** @internal */
  readonly number: number;
  readonly #connection: Connection;
  readonly #make: (number: number, position: number) => WorkerSession;
  #position: number;

  /** @internal use model.session() */
  constructor(connection: Connection, number: number, position: number, { stateBytes, context }: Pick<Loaded, "stateBytes" | "context">, make: (number: number, position: number) => WorkerSession) {
    [this.#connection, this.number, this.#position, this.stateBytes, this.context, this.#make] = [connection, number, position, stateBytes, context, make];
  }

  /** Tokens of this timeline when its last answer came. */
  get position(): number {
    return this.#position;
  }

  prefill(ids: ArrayLike<number>): Promise<Float32Array> {
    return this.#call(this.number, "prefill", [ids]);
  }

  decode(id: number): Promise<Float32Array> {
    return this.#call(this.number, "decode", [id]);
  }

  logits(ids: ArrayLike<number>): Promise<Float32Array> {
    return this.#call(this.number, "logits", [ids]);
  }

  save(): Promise<Uint8Array> {
    return this.#call(this.number, "save", []);
  }

  reset(): Promise<void> {
    return this.#call(this.number, "reset", []);
  }

  async fork(): Promise<WorkerSession> {
    const call = this.#connection.start<void>(this.number, "fork", []);
    await call.answer;
    return this.#make(call.id, call.position());
  }

  async *generate(prompt: string | ArrayLike<number> = [], options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, Generated, undefined> {
    const { signal, ...rest } = options;
    signal?.throwIfAborted();
    const generator = this.#connection.start<void>(this.number, "generate", [prompt, rest], { signal });
    try {
      await generator.answer;
      for (;;) {
        const step = await this.#call<IteratorResult<GeneratedToken, Generated>>(generator.id, "next", []).catch((error: unknown) => {
          throw signal?.aborted ? signal.reason : error;
        });
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

  async #call<Value>(of: number, method: string, args: readonly unknown[]): Promise<Value> {
    const call = this.#connection.start<Value>(of, method, args);
    try {
      return await call.answer;
    } finally {
      this.#position = call.position(this.#position);
    }
  }
}
