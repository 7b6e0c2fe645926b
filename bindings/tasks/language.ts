// Language models: timelines in state slots, read and continued by the programs prefill, decode and head.
// There are as many slots as were asked for at load; a session that has none is parked in ordinary memory and comes
// back when used.
import type { LanguageModelConfig } from "../config/config.ts";
import type { LanguageTensors } from "./programs.ts";
import { fnv1a } from "../fingerprint.ts";
import type { StateLayout } from "../plan/state.ts";
import type { Timelines } from "../plan/ops/language.ts";
import { breathe } from "../run/breathe.ts";
import type { Interruptible } from "../config/options.ts";
import { checkOptions } from "../config/options.ts";
import type { Pass, Runtime } from "../run/runtime.ts";
import type { Claim } from "./session.ts";
import { Session } from "./session.ts";
import { HEADER_BYTES, newSnapshot, readSnapshot } from "./snapshot.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

/** Tokens of a prompt after which the event loop turns in any case. */
const TURN_AFTER = 1024;

/** Gets the logits of the timeline at `index`. */
type TakeRow = (index: number, logits: Float32Array) => void;

/** A timeline as the language layer sees it. */
export interface Timeline {
  /** Tokens read so far. */
  position: number;
  /** Where its state is: a slot, or parked bytes; neither: all zeros, nothing read yet. */
  slot: number | undefined;
  parked: Uint8Array | undefined;
}

export class Language {
  readonly config: LanguageModelConfig;
  readonly tokenizer: Tokenizer | undefined;
  readonly kind = "language";
  readonly runtime: Runtime;
  readonly #tensors: LanguageTensors;
  /** Who is in each slot, and when each was last used. */
  readonly #slots: ({ timeline: Timeline; used: number } | undefined)[];
  /** Of the weights, and of what the config alone knows, such as the decay. */
  readonly #fingerprint: number;
  #clock = 0;

  constructor(
    config: LanguageModelConfig, runtime: Runtime, tensors: LanguageTensors, slots: number,
    tokenizer: Tokenizer | undefined,
  ) {
    [this.config, this.runtime, this.#tensors, this.tokenizer] = [config, runtime, tensors, tokenizer];
    this.#slots = Array.from({ length: slots }, () => undefined);
    this.#fingerprint = fnv1a(JSON.stringify(config.network), runtime.memory.fingerprint);
  }

  /** @internal by which the programs are fed and read */
  get tensors(): LanguageTensors {
    return this.#tensors;
  }

  get #state(): StateLayout {
    return this.runtime.plan.state!;
  }

  get stateBytes(): number {
    return this.#state.bytes;
  }

  /** Most tokens of a timeline; Infinity where the state does not grow. */
  get context(): number {
    return this.#state.mostTokens;
  }

  /** Bytes of the state that a timeline has used. */
  #usedBytes(timeline: Timeline): number {
    return this.#state.usedBytes(timeline.position);
  }

  /** Refuses tokens that there is no room for. */
  async checkRoom({ position }: Timeline, count: number): Promise<void> {
    const { context } = this;
    if (position + count > context) throw (await import("../extras.ts")).roomFault(count, position, context);
  }

  /** What a program is told of its timelines. */
  enter({ states, positions }: Timelines, timelines: readonly Timeline[]): void {
    const addresses = this.runtime.ints(states.address, timelines.length);
    const tokens = this.runtime.ints(positions.address, timelines.length);
    timelines.forEach((timeline, i) => {
      addresses[i] = this.#addressOf(timeline);
      tokens[i] = timeline.position;
    });
  }

  /** A new session, or one restored from session.save(). */
  session(bytes?: Uint8Array | ArrayBuffer): Session {
    void this.runtime.memory;
    const timeline: Timeline = { position: 0, slot: undefined, parked: undefined };
    if (bytes !== undefined) this.#restore(timeline, bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes);
    return new Session(this, timeline);
  }

  /**
   * Reads tokens into one timeline, in blocks of rows between which others have their turn.
   * @param live  asked before every block: what it throws leaves the timeline after the blocks that were read
   * @param each  gets the logits of every position, a view that the next run overwrites
   */
  async prefill(
    timeline: Timeline, given: ArrayLike<number>, live: () => void, each?: (logits: Float32Array) => void,
  ): Promise<void> {
    const ids = await this.check(given);
    await this.checkRoom(timeline, ids.length);
    const { prefill, hidden, logits } = this.#tensors, runtime = this.runtime, { dim } = this.config.network;
    for (let from = 0; from < ids.length;) {
      const block = ids.subarray(from, from + prefill.ids.rows), count = block.length;
      const rows = await runtime.pass({
        program: runtime.program("prefill"), rows: count,
        enter: () => {
          live();
          this.occupy([timeline]);
          runtime.ints(prefill.ids.address, count).set(block);
          this.enter(prefill, [timeline]);
        },
        leave: () => {
          const last = runtime.row(prefill.hidden, count - 1);
          runtime.floats(this.#addressOf(timeline) + this.#tensors.lastHidden.offset, dim).set(last);
          timeline.position += count;
          return each ? Array.from(block, (_, row) => runtime.row(prefill.hidden, row).slice()) : [];
        },
      });
      while (rows.length > 0) {
        const some = rows.splice(0, hidden.rows);
        await runtime.pass({
          program: runtime.program("head"), rows: some.length,
          enter: () => some.forEach((row, r) => runtime.row(hidden, r).set(row)),
          leave: () => some.forEach((_, r) => each!(runtime.row(logits, r))),
        });
      }
      from += count;
      // where the clock stands still while it computes, as at the edge, no turn would ever be due
      if (from % TURN_AFTER === 0) await breathe();
    }
  }

  /**
   * One token of each of several timelines, together.
   * @param live  asked before every step: what it throws leaves timelines that come later as they were
   * @param row   gets their logits, a view that the next run overwrites
   */
  async decode(
    timelines: readonly Timeline[], given: ArrayLike<number>, live: () => void, row: TakeRow,
  ): Promise<void> {
    const ids = await this.check(given), { rows } = this.#tensors.hidden;
    for (const timeline of timelines) await this.checkRoom(timeline, 1);
    for (let from = 0; from < timelines.length; from += rows) {
      const to = from + rows, takeRow: TakeRow = (i, logits) => row(from + i, logits);
      const step = this.#step(timelines.slice(from, to), ids.subarray(from, to), takeRow);
      await this.runtime.pass({
        ...step,
        enter: () => {
          live();
          step.enter();
        },
      });
    }
  }

  /** Reads a token that there is room for at once, for calls that do not wait. */
  decodeNow(timeline: Timeline, id: number): void {
    this.runtime.passNow(this.#step([timeline], Int32Array.of(id), () => {}));
  }

  #step(timelines: readonly Timeline[], ids: Int32Array, row: TakeRow): Pass<void> {
    const { decode, hidden, logits } = this.#tensors, runtime = this.runtime, { dim } = this.config.network;
    return {
      program: runtime.program("decode"), rows: ids.length,
      enter: () => {
        this.occupy(timelines);
        runtime.ints(decode.ids.address, ids.length).set(ids);
        this.enter(decode, timelines);
      },
      leave: () => timelines.forEach((timeline, i) => {
        runtime.floats(this.#addressOf(timeline) + this.#tensors.lastHidden.offset, dim).set(runtime.row(hidden, i));
        timeline.position++;
        row(i, runtime.row(logits, i));
      }),
    };
  }

  /** One token of each of several sessions; logits f32 [sessions, vocab]. */
  async decodeBatch(
    sessions: readonly Session[], given: ArrayLike<number>, options?: Interruptible,
  ): Promise<Float32Array> {
    const twice = new Set(sessions).size !== sessions.length;
    if (twice) throw (await import("../extras.ts")).batchFault(sessions, undefined);
    const { vocab } = this.config.network, out = new Float32Array(sessions.length * vocab), claims: Claim[] = [];
    try {
      for (const session of sessions) claims.push(session.claim("decodeBatch", this));
      const ids = await this.check(given);
      if (ids.length !== sessions.length) throw (await import("../extras.ts")).batchFault(sessions, ids.length);
      if (options !== undefined) await checkOptions("decodeBatch", options);
      const asked = sessions.map((session) => session.liveUnless(options?.signal));
      const live = (): void => asked.forEach((ask) => ask());
      options?.signal?.throwIfAborted();
      for (const session of sessions) await session.settle(live);
      await this.decode(claims.map(({ timeline }) => timeline), ids, live, (i, logits) => out.set(logits, i * vocab));
    } finally {
      for (const { release } of claims) release();
    }
    return out;
  }

  /** Logits after the last token read, f32 [vocab]. */
  lastLogits(timeline: Timeline, live: () => void): Promise<Float32Array> {
    const { hidden, logits, lastHidden } = this.#tensors, runtime = this.runtime;
    return runtime.pass({
      program: runtime.program("head"), rows: 1,
      enter: () => {
        live();
        this.occupy([timeline]);
        runtime
          .row(hidden, 0)
          .set(runtime.floats(this.#addressOf(timeline) + lastHidden.offset, this.config.network.dim));
      },
      leave: () => runtime.row(logits, 0).slice(),
    });
  }

  /** One copy out, behind a header: of the state, what is used. */
  save(timeline: Timeline): Uint8Array {
    const { kernels } = this.runtime.memory, stateBytes = this.#usedBytes(timeline), fingerprint = this.#fingerprint;
    this.occupy([timeline]);
    const address = this.#addressOf(timeline);
    const snapshot = newSnapshot({
      fingerprint, stateBytes, position: timeline.position, checksum: kernels.checksum(address, stateBytes) >>> 0,
    });
    snapshot.set(this.runtime.bytes(address, stateBytes), HEADER_BYTES);
    return snapshot;
  }

  #restore(timeline: Timeline, bytes: Uint8Array): void {
    const { kernels } = this.runtime.memory, state = this.#state;
    const { position, checksum, stateBytes } = readSnapshot(bytes, {
      fingerprint: this.#fingerprint, context: this.context, usedBytes: (tokens) => state.usedBytes(tokens),
    });
    this.occupy([timeline]);
    const address = this.#addressOf(timeline);
    this.runtime.bytes(address, stateBytes).set(bytes.subarray(HEADER_BYTES, HEADER_BYTES + stateBytes));
    if (kernels.checksum(address, stateBytes) >>> 0 !== checksum) {
      this.forget(timeline);
      throw new RangeError(
        "the snapshot's state is damaged: use the bytes that session.save() returned, whole and unchanged",
      );
    }
    timeline.position = position;
  }

  /** Another timeline at the same point. */
  fork(timeline: Timeline): Timeline {
    const state = timeline.slot === undefined ? timeline.parked : this.#used(timeline);
    return { position: timeline.position, slot: undefined, parked: state?.slice() };
  }

  /** Back to nothing read; its slot is free. */
  forget(timeline: Timeline): void {
    if (timeline.slot !== undefined) this.#slots[timeline.slot] = undefined;
    timeline.slot = timeline.parked = undefined;
    timeline.position = 0;
  }

  /**
   * Token ids are whole numbers within the vocabulary. A copy of them: the caller's may change while they are read.
   * @param option  that they are of, if of any
   */
  async check(ids: ArrayLike<number>, option?: string): Promise<Int32Array> {
    const { vocab } = this.config.network;
    let good = typeof ids === "object" && typeof ids?.length === "number";
    for (let i = 0; good && i < ids.length; i++) good = Number.isInteger(ids[i]) && ids[i]! >= 0 && ids[i]! < vocab;
    if (good) return Int32Array.from(ids);
    throw (await import("../extras.ts")).idsFault(ids, vocab, option);
  }

  /** What a timeline in a slot has used of its state. */
  #used(timeline: Timeline): Uint8Array {
    return this.runtime.bytes(this.#addressOf(timeline), this.#usedBytes(timeline));
  }

  #addressOf(timeline: Timeline): number {
    const { stateAddress, slotBytes } = this.runtime.memory;
    return stateAddress + timeline.slot! * slotBytes;
  }

  /**
   * Gives every one of these timelines a slot; the least recently used others are parked. At most as many as there are
   * slots.
   */
  occupy(timelines: readonly Timeline[]): void {
    const now = ++this.#clock;
    for (const { slot } of timelines) if (slot !== undefined) this.#slots[slot]!.used = now;
    for (const timeline of timelines) {
      if (timeline.slot !== undefined) continue;
      let slot = this.#slots.indexOf(undefined);
      if (slot < 0) {
        // which may be working in a slot
        this.runtime.finish();
        const oldest = this.#slots.reduce((a, b, i) => (b!.used < this.#slots[a]!.used ? i : a), 0);
        const { timeline: leaving } = this.#slots[oldest]!;
        leaving.parked = this.#used(leaving).slice();
        leaving.slot = undefined;
        slot = oldest;
      }
      this.#slots[slot] = { timeline, used: now };
      timeline.slot = slot;
      const state = this.#used(timeline);
      if (timeline.parked) state.set(timeline.parked);
      else state.fill(0);
      timeline.parked = undefined;
    }
  }
}
