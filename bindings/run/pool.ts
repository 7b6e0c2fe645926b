// The threads of a process, shared by its models. A thread that is still starting, or busy elsewhere, is simply not waited for:
// a run hands out its work chunk by chunk to whoever asks.
//
// A thread that has joined a model holds its memory, and so does the engine until it collects garbage, which shared
// memory never hurries. So a memory that a model has left is the next one's of its size; once it is collected here, the
// threads that hold it end, and others start when they are needed.
//
// It imports nothing of the platform: browsers fetch it by itself, where there are threads to be had.
import type { Platform, Thread } from "../platform/platform.ts";
import { HELPS, JOB, MAIL, MODEL } from "./thread.js";

type PoolMessage = import("./thread.js").PoolMessage;

interface Member {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly threads: number;
}

export interface Pool {
  /** Enters a model that runs on `threads` threads, the caller's included; starts those that are missing. */
  join(member: Member): number;
  /** Forgets a model; with the last one the threads end. */
  leave(id: number): void;
  /** Tells the threads that model `id` has a run open. */
  announce(id: number): void;
  /** Shared memory of so many pages, all zeros: one that a model has left, or a new one. */
  memory(pages: number): Promise<WebAssembly.Memory>;
}

interface Helper {
  readonly thread: Thread;
  /** Its words: mail, and what it helps with. */
  readonly own: Int32Array;
  /** Models that it has joined, and holds the memory of. */
  readonly joined: Set<number>;
}

/** Bytes that are cleared in some 10 ms. */
const SLICE = 64 << 20;

const twoWords = (): Int32Array => new Int32Array(new SharedArrayBuffer(8));

function makePool({ spawn, breathe }: Platform): Pool {
  const control = twoWords(), members = new Map<number, Member>();
  const helpers = new Map<number, Helper>();
  /** Threads that were ended, and which the next run that they could help with starts again. */
  const due = new Set<number>();
  /** Memories that models have left, by the number under which threads have joined them. */
  const left = new Map<number, WeakRef<WebAssembly.Memory>>();
  const known = new WeakMap<WebAssembly.Memory, readonly [id: number, module: WebAssembly.Module, threads: number]>();
  let lastId = 0;

  // threads that have joined a memory which is gone here end, as only so they let go of it
  const collected = new FinalizationRegistry<number>((id) => {
    left.delete(id);
    for (const [i, helper] of helpers) {
      if (!helper.joined.has(id)) continue;
      end(helper, i);
      due.add(i);
    }
  });

  const wake = (): void => {
    Atomics.add(control, JOB, 1);
    Atomics.notify(control, JOB);
  };

  function send({ own, thread }: Helper, message: PoolMessage): void {
    Atomics.add(own, MAIL, 1);
    thread.post(message);
    wake();
  }

  function introduce(helper: Helper, id: number, { module, memory }: Member): void {
    helper.joined.add(id);
    send(helper, { kind: "join", id, module, memory });
  }

  function start(index: number): void {
    const helper: Helper = {
      // a thread that dies is not asked again, and the others take its chunks; the next model to join starts another
      thread: spawn(() => {
        if (helpers.get(index) === helper) helpers.delete(index);
      }),
      own: twoWords(), joined: new Set(),
    };
    helpers.set(index, helper);
    due.delete(index);
    send(helper, { kind: "start", control, own: helper.own, thread: index + 1 });
    for (const [id, member] of members) if (index < member.threads - 1) introduce(helper, id, member);
  }

  function end({ own, thread }: Helper, index: number): void {
    // it may still be in a run of a memory that was left
    if (left.has(Atomics.load(own, HELPS))) left.clear();
    // mail that never comes: it stays in its event loop, from where every runtime can end it
    Atomics.add(own, MAIL, 1);
    wake();
    thread.end();
    helpers.delete(index);
  }

  /** A memory that a model has left and no thread looks at. */
  function vacantOf(pages: number): WebAssembly.Memory | undefined {
    for (const [id, reference] of left) {
      const memory = reference.deref();
      if (memory?.buffer.byteLength !== pages * 65536) continue;
      if ([...helpers.values()].some(({ own }) => Atomics.load(own, HELPS) === id)) continue;
      left.delete(id);
      return memory;
    }
    return undefined;
  }

  return {
    join(member) {
      const { module, memory, threads } = member;
      let [id, ...as] = known.get(memory) ?? [0];
      if (as[0] !== module || as[1] !== threads) {
        id = ++lastId;
        known.set(memory, [id, module, threads]);
        collected.register(memory, id);
      }
      left.delete(id);
      members.set(id, member);
      for (let i = 0; i < threads - 1; i++) {
        const helper = helpers.get(i);
        if (!helper) start(i);
        else if (!helper.joined.has(id)) introduce(helper, id, member);
      }
      return id;
    },

    leave(id) {
      const member = members.get(id);
      if (!member) return;
      members.delete(id);
      left.set(id, new WeakRef(member.memory));
      // from here on no thread begins to help it
      Atomics.compareExchange(control, MODEL, id, 0);
      if (members.size > 0) return;
      for (const [i, helper] of helpers) end(helper, i);
      due.clear();
    },

    announce(id) {
      for (const i of due) if (i < members.get(id)!.threads - 1) start(i);
      Atomics.store(control, MODEL, id);
      wake();
    },

    async memory(pages) {
      const vacant = vacantOf(pages);
      if (!vacant) return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
      const bytes = new Uint8Array(vacant.buffer);
      for (let at = 0; at < bytes.length; at += SLICE, await breathe()) bytes.fill(0, at, at + SLICE);
      return vacant;
    },
  };
}

let shared: Pool | undefined;

/** The pool of this process, made when it is first asked for. */
export const poolOf = (platform: Platform): Pool => (shared ??= makePool(platform));
