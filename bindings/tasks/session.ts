// One timeline of a language model: read tokens, continue them, save and restore.
import { breathe, overdue } from "../run/breathe.ts";
import type { Generated, GeneratedToken, Generation } from "./generation.ts";
import { generation, newProgress } from "./generation.ts";
import type { Language, Timeline } from "./language.ts";
import type { Interruptible } from "../config/options.ts";
import { checkOptions, GENERATE } from "../config/options.ts";
import type { Sampling } from "./sampler.ts";
import { Sampler, samplingOf } from "./sampler.ts";
import { TextStream } from "./text-stream.ts";

export interface GenerateOptions extends Sampling, Interruptible {
  /** Most tokens to generate; default 256. 0: the prompt is read, no more. Infinity: until the text ends. */
  readonly maxTokens?: number | undefined;
  /** Text that ends the generation; it is not part of the output. */
  readonly stop?: string | readonly string[] | undefined;
  /** Gives every token its log-probability, and those of so many most likely ones. */
  readonly logprobs?: number | undefined;
  /** Sees the logits f32 [vocab] before every token is drawn, and may change them; -Infinity rules a token out. */
  readonly logits?: ((logits: Float32Array, session: Session) => void) | undefined;
}

export const FOREIGN = "the session is of another model: use the model that made it";
export const DISPOSED = "the session has been disposed: make another with model.session()";

/** A session taken for one call. */
export interface Claim {
  readonly timeline: Timeline;
  /** Lets go of it. Safe to call twice. */
  release(): void;
}

export class Session {
  readonly #language: Language;
  readonly #timeline: Timeline;
  /** A generated token that has been given out but not read yet. */
  #pending: number | undefined;
  /** The call under way. */
  #busy: string | undefined;
  /** Whether that is a generation which has read its prompt: there is a token to stand at whenever it is asked. */
  #standing = false;
  #disposed = false;

  /** @internal use model.session() */
  constructor(language: Language, timeline: Timeline, pending?: number) {
    [this.#language, this.#timeline, this.#pending] = [language, timeline, pending];
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
   * @param options  signal: aborted, the session has read whole blocks of the tokens; `position` says how many
   * @returns logits f32 [vocab] after the last token. Of no tokens: after the last one read before
   * @throws RangeError for an unknown id or too many for the context (nothing is read then), or when there is no token
   *         at all yet
   */
  prefill(ids: ArrayLike<number>, options?: Interruptible): Promise<Float32Array> {
    return this.#alone("prefill", options, async (timeline, live) => {
      await this.#language.prefill(timeline, ids, live);
      if (timeline.position > 0) return this.#language.lastLogits(timeline, live);
      throw (await import("../extras.ts")).promptFault("unread");
    });
  }

  /** Reads one token; logits f32 [vocab] of the next. */
  decode(id: number, options?: Interruptible): Promise<Float32Array> {
    return this.#alone("decode", options, async (timeline, live) => {
      let out: Float32Array | undefined;
      await this.#language.decode([timeline], [id], live, (_, logits) => (out = logits.slice()));
      return out!;
    });
  }

  /** Reads tokens; logits f32 [T, vocab] after every one of them. Aborted as prefill(). */
  logits(ids: ArrayLike<number>, options?: Interruptible): Promise<Float32Array> {
    return this.#alone("logits", options, async (timeline, live) => {
      const language = this.#language, { vocab } = language.config.network, checked = await language.check(ids);
      await language.checkRoom(timeline, checked.length);
      const out = new Float32Array(checked.length * vocab);
      let row = 0;
      await language.prefill(timeline, checked, live, (logits) => out.set(logits, vocab * row++));
      return out;
    });
  }

  /**
   * Continues the timeline, token by token. Whatever ends it, the session has then read the prompt and every token
   * given out, and can go on. An end token (eos_token_id) is not read; it is given out only if text was held back until
   * then.
   * @param prompt  text or token ids to read first. Of no tokens: goes on from the last one; a new session begins with
   *                bos_token_id
   * @throws TypeError, RangeError before anything is read, at the first step; the signal's reason when aborted
   */
  generate(prompt: string | ArrayLike<number> = [], options: GenerateOptions = {}): Generation {
    const progress = newProgress(options);
    return generation(this.#generate(prompt, options, progress), progress);
  }

  async *#generate(
    prompt: string | ArrayLike<number>, options: GenerateOptions, progress: ReturnType<typeof newProgress>,
  ): AsyncGenerator<GeneratedToken, Generated, undefined> {
    const claim = this.claim("generate"), language = this.#language, { tokenizer, config: { bos, eos } } = language;
    try {
      await checkOptions("generate", options, GENERATE);
      const { maxTokens = 256, stop = [], signal, logits: change, logprobs } = options;
      const live = this.liveUnless(signal);
      const turn = async (): Promise<void> => {
        await overdue();
        live();
      };
      if (!(maxTokens >= 0 && (Number.isInteger(maxTokens) || maxTokens === Infinity))) {
        throw (await import("../extras.ts")).maxTokensFault(maxTokens);
      }
      live();
      const asked = { ...options, seed: progress.seed }, sampling = samplingOf(asked);
      if (!sampling) throw (await import("../extras.ts")).samplingFault(asked);
      const sampler = new Sampler(sampling);
      await language.check([...sampling.logitBias.keys()], "logitBias");
      const chancesOf = logprobs === undefined ? undefined : (await import("../extras.ts")).logProbabilities(logprobs);
      const stops = typeof stop === "string" ? [stop] : stop;
      if (typeof prompt === "string" && !tokenizer) throw (await import("../extras.ts")).promptFault("text");
      if (stops?.length !== 0 && !tokenizer) throw (await import("../extras.ts")).promptFault("stop");
      const finder = stops?.length === 0 ? undefined : new (await import("../extras.ts")).StopFinder(stops);
      // what the tokenizer puts around every text belongs to its beginning
      const special = this.position === 0;
      const tokens = typeof prompt === "string" ? await tokenizer!.encodeInTurns(prompt, { special }, turn) : prompt;
      let ids = await language.check(tokens);
      if (ids.length === 0 && this.position === 0) {
        if (bos === undefined) throw (await import("../extras.ts")).promptFault("empty");
        ids = Int32Array.of(bos);
      }
      const stream = tokenizer && new TextStream(tokenizer, finder);

      progress.promptTokens = ids.length;
      await this.settle(live);
      // a token that is given out needs room too
      await language.checkRoom(claim.timeline, ids.length + Math.min(maxTokens, 1));
      if (ids.length > 0) {
        await language.prefill(claim.timeline, ids, live);
        await breathe();
        live();
      }
      this.#standing = true;
      for (const id of ids) sampler.accept(id);
      for (let count = 1; count <= maxTokens; count++) {
        const logits = await this.#next(live), chances = chancesOf?.(logits);
        live();
        change?.(logits, this);
        const id = sampler.sample(logits), sure = chances && { logprob: chances.all[id]!, top: chances.top };
        sampler.accept(id);
        if (id === eos) {
          progress.finish = "eos";
          const text = stream?.end() ?? "";
          claim.release();
          if (text) yield { id, text, ...sure };
          return { finish: "eos" };
        }
        this.#pending = id;
        progress.generatedTokens = count;
        const piece = stream?.push(id) ?? "";
        if (count === maxTokens || this.position === language.context || stream?.stopped) {
          progress.finish = stream?.stopped ? "stop" : "length";
          // nothing comes after it: whoever asks for no more leaves the session free
          claim.release();
          yield { id, text: piece + (stream?.end() ?? ""), ...sure };
          break;
        }
        yield { id, text: piece, ...sure };
        await breathe();
        live();
      }
      return { finish: progress.finish ??= "length" };
    } finally {
      claim.release();
    }
  }

  /** Logits of the next token, f32 [vocab]; reads the pending one, if any. */
  async #next(live: () => void): Promise<Float32Array> {
    const id = this.#pending;
    if (id === undefined) return this.#language.lastLogits(this.#timeline, live);
    let out: Float32Array | undefined;
    await this.#language.decode([this.#timeline], [id], live, (_, logits) => {
      this.#pending = undefined;
      out = logits.slice();
    });
    return out!;
  }

  /**
   * Takes the session for one call.
   * @internal
   */
  claim(call: string, language = this.#language): Claim {
    if (language !== this.#language) throw new RangeError(FOREIGN);
    void language.runtime.memory;
    this.#refuse(call);
    this.#busy = call;
    let held = true;
    return {
      timeline: this.#timeline,
      release: () => {
        if (!held) return;
        held = this.#standing = false;
        this.#busy = undefined;
        if (this.#disposed) language.forget(this.#timeline);
      },
    };
  }

  /**
   * Reads the token that was given out last, if that is still to be done.
   * @internal
   */
  async settle(live: () => void): Promise<void> {
    if (this.#pending !== undefined) await this.#next(live);
  }

  /**
   * What a call asks before it goes on: whether it shall, and whether the session is still there.
   * @internal
   */
  liveUnless(signal: AbortSignal | undefined): () => void {
    return () => {
      signal?.throwIfAborted();
      if (this.#disposed) throw new Error(DISPOSED);
    };
  }

  async #alone<Result>(
    call: string, options: Interruptible | undefined, run: (timeline: Timeline, live: () => void) => Promise<Result>,
  ): Promise<Result> {
    const { timeline, release } = this.claim(call);
    try {
      if (options !== undefined) await checkOptions(call, options);
      const live = this.liveUnless(options?.signal);
      live();
      await this.settle(live);
      return await run(timeline, live);
    } finally {
      release();
    }
  }

  /** @param copies  whether the call takes the timeline as it stands, and may so come while tokens are generated */
  #refuse(call: string, copies = false): void {
    if (this.#disposed) throw new Error(DISPOSED);
    if (this.#busy === undefined || (copies && this.#standing)) return;
    const other = `${this.#busy}() of the same session is under way`;
    throw new Error(`${call}() came while ${other}: wait for its end, or use a fork() made before it`);
  }

  /**
   * The whole timeline as bytes, for model.session(bytes) of the same model on any machine. While generate() gives out
   * tokens, up to the last one that came.
   */
  save(): Uint8Array {
    this.#stand("save");
    const language = this.#language, id = this.#pending;
    if (id === undefined) return language.save(this.#timeline);
    // of a copy, as a generation under way may be about to read the token itself
    const copy = language.fork(this.#timeline);
    language.decodeNow(copy, id);
    const bytes = language.save(copy);
    language.forget(copy);
    return bytes;
  }

  /** Another session at the same point; both go on independently. Also while generate() gives out tokens. */
  fork(): Session {
    this.#stand("fork");
    return new Session(this.#language, this.#language.fork(this.#timeline), this.#pending);
  }

  /** Brings the timeline to a whole token, for a call that takes it as it stands. */
  #stand(call: string): void {
    const { runtime } = this.#language;
    void runtime.memory;
    this.#refuse(call, true);
    // what others have begun leaves this timeline alone
    if (this.#busy !== undefined) runtime.finish();
  }

  /** Back to the beginning. */
  reset(): void {
    this.#refuse("reset");
    this.#pending = undefined;
    this.#language.forget(this.#timeline);
  }

  /** Frees the memory of its state; a call under way ends with an error. Safe to call twice. */
  dispose(): void {
    this.#disposed = true;
    // another call lets go of the state itself; a generation may never be asked again
    if (this.#busy !== undefined) {
      if (!this.#standing) return;
      this.#language.runtime.finish();
    }
    this.#language.forget(this.#timeline);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
