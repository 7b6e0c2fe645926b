// A plan in its memory, ready to run: what image and language models have in common.
import { OP_BYTES } from "../../assembly/opcodes.ts";
import { breathe, overdue } from "./breathe.ts";
import type { Caps } from "./kernels.ts";
import type { MemoryReport, ModelMemory } from "./memory.ts";
import type { Plan, Program, Tensor } from "../plan/plan.ts";

const BROKEN =
  "a thread stopped in the middle of a run, and the model's memory cannot be trusted any more: dispose of the "
  + "model and load it again; sessions saved before are good";

/**
 * Operations of a pass that is over before a thread has started, which takes some 50 ms: the first of them does not
 * wait for it.
 */
const SHORT = 2e9;

/** Floating-point operations of a piece of a pass, on every thread: some 4 ms on a fast core, 20 on a slow one. */
const PIECE = 2e8;

/** One run over ops of a plan, with what goes in before and comes out after it. */
export interface Pass<Result> {
  /** A program, and how many of its rows are live; else `ops`, which are all of the plan's unless said otherwise. */
  readonly program?: Program;
  readonly rows?: number;
  readonly ops?: { readonly first: number; readonly last: number };
  /** Puts in what the run reads. */
  enter(): void;
  /** Takes out what the run has made: a moment later another may write over it. */
  leave(): Result;
}

export class Runtime {
  readonly caps: Caps;
  #plan: Plan;
  #memory: ModelMemory | undefined;
  #member: number | undefined;
  #broken = false;
  #ran = false;
  /** How many rows of each program the plan in memory is written for. */
  readonly #live = new Map<Program, number>();
  /** The pass that has begun: until it is over nothing else may write where it works. */
  #open: { finish(): void; readonly over: Promise<void> } | undefined;

  constructor(plan: Plan, caps: Caps, memory: ModelMemory) {
    [this.#plan, this.caps, this.#memory] = [plan, caps, memory];
    if (plan.flops > SHORT) this.#join();
    // an error is the next run's to tell
    else breathe().then(() => this.#join()).catch(() => {});
  }

  /** Enters the pool, once. */
  #join(): void {
    const { module, memory, pool } = this.#memory ?? {};
    if (pool) this.#member ??= pool.join({ module: module!, memory: memory!, threads: this.caps.threads });
  }

  get plan(): Plan {
    return this.#plan;
  }

  /** Goes on with another plan in a memory of its own. Throws after dispose(). */
  replace(plan: Plan, memory: ModelMemory): void {
    void this.memory;
    this.dispose();
    [this.#plan, this.#memory] = [plan, memory];
    this.#live.clear();
    this.#join();
  }

  /** The memory, or a clear error after dispose() and after a run that did not end. */
  get memory(): ModelMemory {
    if (this.#broken) throw new Error(BROKEN);
    if (!this.#memory) throw new Error("the model has been disposed: load it again");
    return this.#memory;
  }

  get report(): MemoryReport {
    return this.memory.report;
  }

  /** One of the plan's programs. */
  program(name: string): Program {
    return this.plan.programs.find((p) => p.name === name)!;
  }

  /** Makes a program run on its first `rows` rows. */
  setRows(program: Program, rows: number): void {
    if ((this.#live.get(program) ?? program.capacity) === rows) return;
    const { memory, planAddress } = this.memory, view = new DataView(memory.buffer);
    for (const { offset, factor } of this.plan.liveFields(program)) {
      view.setInt32(planAddress + offset, rows * factor, true);
    }
    this.#live.set(program, rows);
  }

  /**
   * Runs a pass when those before it are done, in pieces between which the event loop may turn.
   * @param drop  asked after every turn: what it throws ends the pass where it is
   */
  async pass<Result>(pass: Pass<Result>, drop?: () => void): Promise<Result> {
    await overdue();
    while (this.#open) await this.#open.over;
    const pieces = this.#pieces(pass);
    let step = pieces.next(), close = (): void => {};
    const goOn = (): void => void (step.done || (step = pieces.next()));
    this.#open = {
      finish() {
        while (!step.done) goOn();
      },
      over: new Promise((resolve) => (close = resolve)),
    };
    try {
      while (!step.done) {
        const turn = overdue();
        if (turn) {
          await turn;
          drop?.();
          // it may have been disposed of, or failed, in the meantime; or finished
          void this.memory;
        }
        goOn();
      }
      return step.value;
    } finally {
      this.#open = undefined;
      close();
    }
  }

  /** Runs a pass at once. */
  passNow<Result>(pass: Pass<Result>): Result {
    this.finish();
    const pieces = this.#pieces(pass);
    for (;;) {
      const { done, value } = pieces.next();
      if (done) return value;
    }
  }

  /** Runs what is left of a pass that has begun, so that others may use its memory. */
  finish(): void {
    if (this.#memory && !this.#broken) this.#open?.finish();
  }

  *#pieces<Result>(pass: Pass<Result>): Generator<void, Result> {
    pass.enter();
    const { program, rows } = pass, all = this.plan.ops, ops = program ?? pass.ops ?? { first: 0, last: all.length };
    if (program) this.setRows(program, rows!);
    const share = program ? rows! / program.capacity! : 1;
    for (let from = ops.first, to = from; from < ops.last; from = to) {
      let left = PIECE * (this.#member === undefined ? 1 : this.caps.threads);
      do left -= all[to++]!.flops * share;
      while (to < ops.last && left >= all[to]!.flops * share);
      this.run(from, to);
      if (to < ops.last) yield;
    }
    this.#ran = true;
    return pass.leave();
  }

  /** Runs ops [first, last) of the plan: one call into WebAssembly. */
  run(first: number, last: number): void {
    const { kernels, planAddress, pool } = this.memory;
    const from = planAddress + first * OP_BYTES;
    if (this.#ran) this.#join();
    let ended = false;
    try {
      if (this.#member !== undefined) {
        kernels.openRun!(from, last - first);
        pool!.announce(this.#member);
        ended = kernels.takePart!(0) === 0;
      } else {
        kernels.runPlan(from, last - first);
        ended = true;
      }
    } finally {
      this.#broken = !ended;
    }
    if (this.#broken) throw new Error(BROKEN);
  }

  /** f32 view of memory; take it anew for every use. */
  floats(address: number, count: number): Float32Array {
    return new Float32Array(this.memory.memory.buffer, address, count);
  }

  ints(address: number, count: number): Int32Array {
    return new Int32Array(this.memory.memory.buffer, address, count);
  }

  bytes(address: number, count: number): Uint8Array {
    return new Uint8Array(this.memory.memory.buffer, address, count);
  }

  /** Row `index` of a tensor. */
  row(tensor: Tensor, index: number): Float32Array {
    return this.floats(tensor.address + index * tensor.rowBytes, tensor.columns);
  }

  /** A tensor without its padding, f32 [rows, columns]. */
  dense(tensor: Tensor): Float32Array {
    const out = new Float32Array(tensor.rows * tensor.columns);
    for (let r = 0; r < tensor.rows; r++) out.set(this.row(tensor, r), r * tensor.columns);
    return out;
  }

  /** Gives the memory back and leaves the thread pool. Safe to call twice. */
  dispose(): void {
    if (this.#member !== undefined) this.#memory!.pool!.leave(this.#member);
    this.#memory = this.#member = undefined;
  }
}
