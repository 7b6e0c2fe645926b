// Language models: timelines in state slots, read and continued by the programs prefill, decode and head.
// There are as many slots as were asked for at load; a session that has none is parked in ordinary memory and comes back when used.
import type { LanguageModelConfig } from "../config/config.ts";
import type { LanguageTensors } from "./programs.ts";
import { describe } from "../describe.ts";
import type { Timelines } from "../plan/ops/language.ts";
import { fnv1a } from "../fingerprint.ts";
import type { StateLayout } from "../plan/state.ts";
import type { Runtime } from "../run/runtime.ts";
import { Session } from "./session.ts";
import { HEADER_BYTES, newSnapshot, readSnapshot } from "./snapshot.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

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

  constructor(config: LanguageModelConfig, runtime: Runtime, tensors: LanguageTensors, slots: number, tokenizer: Tokenizer | undefined) {
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
  checkRoom(timeline: Timeline, count: number): void {
    const { context } = this, { position } = timeline;
    if (position + count <= context) return;
    throw new RangeError(`${count} more tokens after ${position} are beyond the context of ${context}: read fewer, reset() the session, or load the model with a larger context`);
  }

  /** What a program is told of its timelines. */
  enter({ states, positions }: Timelines, timelines: readonly Timeline[]): void {
    const addresses = this.runtime.ints(states.address, timelines.length), tokens = this.runtime.ints(positions.address, timelines.length);
    timelines.forEach((timeline, i) => {
      addresses[i] = this.#addressOf(timeline);
      tokens[i] = timeline.position;
    });
  }

  /** A new session, or one restored from session.save(). */
  session(bytes?: Uint8Array): Session {
    void this.runtime.memory;
    const timeline: Timeline = { position: 0, slot: undefined, parked: undefined };
    if (bytes !== undefined) this.#restore(timeline, bytes);
    return new Session(this, timeline);
  }

  /** Reads tokens into one timeline; `each` gets logits rows of every block when every position is wanted. */
  prefill(timeline: Timeline, ids: ArrayLike<number>, each?: (logits: Float32Array) => void): void {
    this.check(ids);
    this.checkRoom(timeline, ids.length);
    const { prefill, hidden, logits } = this.#tensors, runtime = this.runtime, { dim } = this.config.network;
    this.occupy([timeline]);
    for (let from = 0; from < ids.length;) {
      const count = Math.min(prefill.ids.rows, ids.length - from);
      const input = runtime.ints(prefill.ids.address, count);
      for (let i = 0; i < count; i++) input[i] = ids[from + i]!;
      this.enter(prefill, [timeline]);
      runtime.runProgram("prefill", count);
      runtime.floats(this.#addressOf(timeline) + this.#tensors.lastHidden.offset, dim).set(runtime.row(prefill.hidden, count - 1));
      for (let row = 0; each && row < count; row += hidden.rows) {
        const rows = Math.min(hidden.rows, count - row);
        for (let r = 0; r < rows; r++) runtime.row(hidden, r).set(runtime.row(prefill.hidden, row + r));
        runtime.runProgram("head", rows);
        for (let r = 0; r < rows; r++) each(runtime.row(logits, r));
      }
      from += count;
      timeline.position += count;
    }
  }

  /** One token of each of several timelines, together; returns a view of their logits that the next run overwrites. */
  decode(timelines: readonly Timeline[], ids: ArrayLike<number>, row: (index: number, logits: Float32Array) => void): void {
    this.check(ids);
    for (const timeline of timelines) this.checkRoom(timeline, 1);
    const { decode, hidden, logits } = this.#tensors, runtime = this.runtime, { dim } = this.config.network;
    for (let from = 0; from < timelines.length; from += hidden.rows) {
      const group = timelines.slice(from, from + hidden.rows);
      this.occupy(group);
      const input = runtime.ints(decode.ids.address, group.length);
      for (let i = 0; i < group.length; i++) input[i] = ids[from + i]!;
      this.enter(decode, group);
      runtime.runProgram("decode", group.length);
      group.forEach((timeline, i) => {
        runtime.floats(this.#addressOf(timeline) + this.#tensors.lastHidden.offset, dim).set(runtime.row(hidden, i));
        timeline.position++;
        row(from + i, runtime.row(logits, i));
      });
    }
  }

  /** One token of each of several sessions; logits f32 [sessions, vocab]. */
  decodeBatch(sessions: readonly Session[], ids: ArrayLike<number>): Float32Array {
    this.check(ids);
    if (ids.length !== sessions.length) throw new RangeError(`${ids.length} ids for ${sessions.length} sessions, expected one each`);
    if (new Set(sessions).size !== sessions.length) throw new RangeError("a session is there twice: one step gives each session one token");
    const { vocab } = this.config.network, out = new Float32Array(sessions.length * vocab);
    this.decode(sessions.map((session) => session.settle(this)), ids, (i, logits) => out.set(logits, i * vocab));
    return out;
  }

  /** Logits after the last token read: a view that the next run overwrites. */
  lastLogits(timeline: Timeline): Float32Array {
    const { hidden, logits, lastHidden } = this.#tensors, runtime = this.runtime;
    this.occupy([timeline]);
    runtime.row(hidden, 0).set(runtime.floats(this.#addressOf(timeline) + lastHidden.offset, this.config.network.dim));
    runtime.runProgram("head", 1);
    return runtime.row(logits, 0);
  }

  /** One copy out, behind a header: of the state, what is used. */
  save(timeline: Timeline): Uint8Array {
    const { kernels } = this.runtime.memory, stateBytes = this.#usedBytes(timeline), fingerprint = this.#fingerprint;
    this.occupy([timeline]);
    const address = this.#addressOf(timeline);
    const snapshot = newSnapshot({ fingerprint, stateBytes, position: timeline.position, checksum: kernels.checksum(address, stateBytes) >>> 0 });
    snapshot.set(this.runtime.bytes(address, stateBytes), HEADER_BYTES);
    return snapshot;
  }

  #restore(timeline: Timeline, bytes: Uint8Array): void {
    const { kernels } = this.runtime.memory, state = this.#state;
    const { position, checksum, stateBytes } = readSnapshot(bytes, { fingerprint: this.#fingerprint, context: this.context, usedBytes: (tokens) => state.usedBytes(tokens) });
    this.occupy([timeline]);
    const address = this.#addressOf(timeline);
    this.runtime.bytes(address, stateBytes).set(bytes.subarray(HEADER_BYTES));
    if (kernels.checksum(address, stateBytes) >>> 0 !== checksum) {
      this.forget(timeline);
      throw new RangeError("the snapshot's state is damaged: use the bytes that session.save() returned, whole and unchanged");
    }
    timeline.position = position;
  }

  /** Another timeline at the same point. */
  fork(timeline: Timeline): Timeline {
    const copy: Timeline = { position: timeline.position, slot: undefined, parked: undefined };
    this.occupy([timeline]);
    copy.parked = this.#used(timeline).slice();
    return copy;
  }

  /** Back to nothing read; its slot is free. */
  forget(timeline: Timeline): void {
    if (timeline.slot !== undefined) this.#slots[timeline.slot] = undefined;
    timeline.slot = timeline.parked = undefined;
    timeline.position = 0;
  }

  /** Token ids are whole numbers within the vocabulary. */
  check(ids: ArrayLike<number>): void {
    if (typeof ids !== "object" || ids === null || typeof ids.length !== "number") throw new TypeError(`ids is ${describe(ids)}, expected an Int32Array or an array of token ids`);
    const { vocab } = this.config.network;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (!(Number.isInteger(id) && id >= 0 && id < vocab)) throw new RangeError(`token id ${id} at index ${i} is not in the vocabulary: expected a whole number from 0 to ${vocab - 1}`);
    }
  }

  /** What a timeline in a slot has used of its state. */
  #used(timeline: Timeline): Uint8Array {
    return this.runtime.bytes(this.#addressOf(timeline), this.#usedBytes(timeline));
  }

  #addressOf(timeline: Timeline): number {
    const { stateAddress, slotBytes } = this.runtime.memory;
    return stateAddress + timeline.slot! * slotBytes;
  }

  /** Gives every one of these timelines a slot; the least recently used others are parked. At most as many as there are slots. */
  occupy(timelines: readonly Timeline[]): void {
    const now = ++this.#clock;
    for (const { slot } of timelines) if (slot !== undefined) this.#slots[slot]!.used = now;
    for (const timeline of timelines) {
      if (timeline.slot !== undefined) continue;
      let slot = this.#slots.indexOf(undefined);
      if (slot < 0) {
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
