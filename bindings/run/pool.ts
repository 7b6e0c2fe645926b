// The threads of a process, shared by its models. A thread that is still starting, or busy elsewhere, is simply not waited for:
// a run hands out its work chunk by chunk to whoever asks.
import { platform } from "#platform";
import type { Thread } from "../platform/platform.ts";
import { JOB, MAIL, MODEL, MOST_THREADS } from "./thread.js";

type PoolMessage = import("./thread.js").PoolMessage;

interface Member {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly threads: number;
}

/** The pool while any model needs it: made by the first, ended with the last. */
class Pool {
  private readonly control = new Int32Array(new SharedArrayBuffer((MAIL + MOST_THREADS) * 4));
  private readonly threads: (Thread | undefined)[] = [];
  private readonly members = new Map<number, Member>();
  private nextId = 1;

  /** Enters a model that runs on `threads` threads, the caller's included; starts those that are missing. */
  join(member: Member): number {
    const id = this.nextId++, helpers = Math.min(member.threads, MOST_THREADS) - 1;
    for (let i = 0; i < helpers; i++) if (!this.threads[i]) this.start(i);
    this.members.set(id, member);
    for (let i = 0; i < helpers; i++) this.send(i, joinMessage(id, member));
    return id;
  }

  /** Forgets a model; with the last one the threads end. */
  leave(id: number): void {
    if (!this.members.delete(id)) return;
    this.threads.forEach((_, i) => this.send(i, { kind: "leave", id }));
    if (this.members.size > 0) return;
    for (const thread of this.threads) thread?.end();
    this.threads.length = 0;
  }

  /** Tells the threads that model `id` has a run open. */
  announce(id: number): void {
    Atomics.store(this.control, MODEL, id);
    this.wake();
  }

  private start(index: number): void {
    Atomics.store(this.control, MAIL + index + 1, 0);
    // a thread that dies is simply not asked again, and the others take its chunks; the next model to join starts another
    const thread = platform.spawn(() => {
      if (this.threads[index] === thread) this.threads[index] = undefined;
    });
    this.threads[index] = thread;
    this.send(index, { kind: "start", control: this.control, thread: index + 1 });
    for (const [id, member] of this.members) if (index < member.threads - 1) this.send(index, joinMessage(id, member));
  }

  private send(index: number, message: PoolMessage): void {
    Atomics.add(this.control, MAIL + index + 1, 1);
    this.threads[index]?.post(message);
    this.wake();
  }

  private wake(): void {
    Atomics.add(this.control, JOB, 1);
    Atomics.notify(this.control, JOB);
  }
}

const joinMessage = (id: number, { module, memory }: Member): PoolMessage => ({ kind: "join", id, module, memory });

let shared: Pool | undefined;

/** The process's pool. */
export const pool = (): Pool => (shared ??= new Pool());
