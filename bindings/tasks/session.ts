// One timeline of a language model: read tokens, continue them, save and restore.
import { breathe } from "../run/breathe.ts";
import type { Language, Timeline } from "./language.ts";
import type { Sampling } from "./sampler.ts";
import { Sampler } from "./sampler.ts";
import { TextStream } from "./text-stream.ts";

export interface GenerateOptions extends Sampling {
  /** Most tokens to generate; default 256. 0: the prompt is read, nothing is generated. */
  readonly maxTokens?: number;
  /** Text that ends the generation; it is not part of the output. */
  readonly stop?: string | readonly string[];
  /** Stops before the next token, with the signal's reason as the error. */
  readonly signal?: AbortSignal;
}

export interface GeneratedToken {
  readonly id: number;
  /** Text that this token settled: whole characters only, so it may be empty. */
  readonly text: string;
}

/** What generate() returns when it is done. */
export interface Generated {
  /** maxTokens were generated or the context is full, a stop string was met, or the model ended its text. */
  readonly finish: "length" | "stop" | "eos";
}

export class Session {
  readonly #language: Language;
  #timeline: Timeline;
  /** A generated token that has been given out but not read yet. */
  #pending: number | undefined;

  /** @internal use model.session() */
  constructor(language: Language, timeline: Timeline) {
    [this.#language, this.#timeline] = [language, timeline];
  }

  /** Tokens of this timeline, generated ones included. */
  get position(): number {
    return this.#timeline.position + (this.#pending === undefined ? 0 : 1);
  }

  /** Most tokens of the timeline; Infinity where its state does not grow. */
  get context(): number {
    return this.#language.context;
  }

  /** Bytes of the state in the model's memory, whatever the position: of a state that grows, all its room. */
  get stateBytes(): number {
    return this.#language.stateBytes;
  }

  /**
   * Reads tokens.
   * @param ids  Int32Array or array of token ids; any number, in any number of calls
   * @returns logits f32 [vocab] after the last token. Of no tokens: after the last one read before
   * @throws RangeError for an unknown id or too many for the context (nothing is read then), or when there is no token at all yet
   */
  async prefill(ids: ArrayLike<number>): Promise<Float32Array> {
    const timeline = this.settle();
    this.#language.prefill(timeline, ids);
    if (timeline.position === 0) throw new RangeError("the session has read no token yet: prefill at least one, e.g. the config's bos_token_id");
    return this.#language.lastLogits(timeline).slice();
  }

  /** Reads one token; logits f32 [vocab] of the next. */
  async decode(id: number): Promise<Float32Array> {
    const timeline = this.settle();
    let out: Float32Array | undefined;
    this.#language.decode([timeline], [id], (_, logits) => (out = logits.slice()));
    return out!;
  }

  /** Reads tokens; logits f32 [T, vocab] after every one of them. */
  async logits(ids: ArrayLike<number>): Promise<Float32Array> {
    const { vocab } = this.#language.config.network;
    const timeline = this.settle();
    this.#language.check(ids);
    this.#language.checkRoom(timeline, ids.length);
    const out = new Float32Array(ids.length * vocab);
    let row = 0;
    this.#language.prefill(timeline, ids, (logits) => out.set(logits, vocab * row++));
    return out;
  }

  /**
   * Continues the timeline, token by token. Whatever ends it, the session has then read the prompt and every token given out, and can go on.
   * An end token (eos_token_id) is not read; it is given out only if text was held back until then.
   * @param prompt  text or token ids to read first. Of no tokens: goes on from the last one; a new session begins with bos_token_id
   * @throws TypeError, RangeError before anything is read; the signal's reason when aborted
   */
  async *generate(prompt: string | ArrayLike<number> = [], options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, Generated, undefined> {
    const { maxTokens = 256, stop = [], signal } = options, language = this.#language, { tokenizer } = language;
    if (!(Number.isInteger(maxTokens) && maxTokens >= 0)) throw new RangeError(`maxTokens is ${String(maxTokens)}, expected a whole number from 0`);
    signal?.throwIfAborted();
    const sampler = new Sampler(options);
    if (typeof prompt === "string" && !tokenizer) throw new TypeError("the model came without tokenizer.json: give token ids instead of text, or load it with a tokenizer");
    // what the tokenizer puts around every text belongs to its beginning
    let ids = typeof prompt === "string" ? tokenizer!.encode(prompt, { special: this.position === 0 }) : prompt;
    language.check(ids);
    if (ids.length === 0 && this.position === 0) {
      const { bos } = language.config;
      if (bos === undefined) throw new RangeError("the prompt has no tokens and the config no bos_token_id: give a prompt");
      ids = [bos];
    }
    const stops = typeof stop === "string" ? [stop] : stop;
    if (stops.length > 0 && !tokenizer) throw new TypeError("the model came without tokenizer.json: stop strings need one");
    const stream = tokenizer && new TextStream(tokenizer, { stop: stops });

    const timeline = this.settle();
    // a token that is given out needs room too
    language.checkRoom(timeline, ids.length + Math.min(maxTokens, 1));
    // long prompts are read in pieces, so that an abort is seen
    for (let from = 0; from < ids.length; from += 1024) {
      language.prefill(timeline, Array.prototype.slice.call(ids, from, from + 1024) as number[]);
      await breathe();
      signal?.throwIfAborted();
    }
    for (let i = 0; i < ids.length; i++) sampler.accept(ids[i]!);
    for (let count = 1; count <= maxTokens; count++) {
      const logits = this.#nextLogits();
      const id = sampler.sample(logits);
      sampler.accept(id);
      if (id === language.config.eos) {
        const text = stream?.end() ?? "";
        if (text) yield { id, text };
        return { finish: "eos" };
      }
      this.#pending = id;
      const piece = stream?.push(id) ?? "";
      const last = count === maxTokens || this.position === language.context || stream?.stopped === true;
      yield { id, text: last ? piece + (stream?.end() ?? "") : piece };
      if (last) return { finish: stream?.stopped ? "stop" : "length" };
      await breathe();
      signal?.throwIfAborted();
    }
    return { finish: "length" };
  }

  /** Reads the pending token, if any; logits of the next: a view that the next run overwrites. */
  #nextLogits(): Float32Array {
    const id = this.#pending, timeline = this.#timeline;
    if (id === undefined) return this.#language.lastLogits(timeline);
    this.#pending = undefined;
    let out: Float32Array | undefined;
    this.#language.decode([timeline], [id], (_, logits) => (out = logits));
    return out!;
  }

  /** The whole timeline as bytes, for model.session(bytes) of the same model on any machine. */
  save(): Uint8Array {
    return this.#language.save(this.settle());
  }

  /** Another session at the same point; both go on independently. */
  fork(): Session {
    return new Session(this.#language, this.#language.fork(this.settle()));
  }

  /** Back to the beginning. */
  reset(): void {
    this.#pending = undefined;
    this.#language.forget(this.#timeline);
  }

  /**
   * The timeline with every token given out read.
   * @internal
   */
  settle(language = this.#language): Timeline {
    if (language !== this.#language) throw new RangeError("the session is of another model: use the model that made it");
    if (this.#pending !== undefined) this.#nextLogits();
    return this.#timeline;
  }
}
