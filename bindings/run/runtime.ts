// A plan in its memory, ready to run: what image and language models have in common.
import { OP_BYTES } from "../../assembly/opcodes.ts";
import { breathe } from "./breathe.ts";
import type { Caps } from "./kernels.ts";
import type { MemoryReport, ModelMemory } from "./memory.ts";
import type { Plan, Program, Tensor } from "../plan/plan.ts";
import { pool } from "./pool.ts";

const BROKEN = "a thread stopped in the middle of a run, and the model's memory cannot be trusted any more: dispose of the model and load it again; sessions saved before are good";

/** Operations of a pass that is over before a thread has started, which takes some 50 ms: the first of them does not wait for it. */
const SHORT = 2e9;

export class Runtime {
  readonly caps: Caps;
  #plan: Plan;
  #memory: ModelMemory | undefined;
  #member: number | undefined;
  #broken = false;
  #ran = false;
  /** How many rows of each program the plan in memory is written for. */
  readonly #live = new Map<Program, number>();

  constructor(plan: Plan, caps: Caps, memory: ModelMemory) {
    [this.#plan, this.caps, this.#memory] = [plan, caps, memory];
    if (plan.flops > SHORT) this.#join();
    // an error is the next run's to tell
    else breathe().then(() => this.#join()).catch(() => {});
  }

  /** Enters the pool, once. */
  #join(): void {
    const held = this.#memory, { threads } = this.caps;
    if (threads > 1 && held?.kernels.openRun) this.#member ??= pool().join({ module: held.module, memory: held.memory, threads });
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

  /** Runs a whole program on its first `rows` rows. */
  runProgram(name: string, rows: number): void {
    const program = this.plan.programs.find((p) => p.name === name)!;
    if ((this.#live.get(program) ?? program.capacity) !== rows) {
      const { memory, planAddress } = this.memory;
      const view = new DataView(memory.buffer);
      for (const { offset, factor } of this.plan.liveFields(program)) view.setInt32(planAddress + offset, rows * factor, true);
      this.#live.set(program, rows);
    }
    this.run(program.first, program.last);
  }

  /** Runs ops [first, last) of the plan: one call into WebAssembly. */
  run(first: number, last: number): void {
    const { kernels, planAddress } = this.memory;
    const from = planAddress + first * OP_BYTES;
    if (this.#ran) this.#join();
    this.#ran = true;
    let ended = false;
    try {
      if (this.#member !== undefined) {
        kernels.openRun!(from, last - first);
        pool().announce(this.#member);
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
    if (this.#member !== undefined) pool().leave(this.#member);
    this.#memory = this.#member = undefined;
  }
}
