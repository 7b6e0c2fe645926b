// Runs shared by several threads of the pool, as Model starts them: the same bits as one thread, however they happen to be scheduled.
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CLAIM, RUN_EPOCH, THREAD_SCRATCH, THREAD_SCRATCH_BYTES } from "../../assembly/header.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import type { Build } from "../../bindings/platform/platform.ts";
import { platform } from "../../bindings/platform/node.ts";
import { poolOf } from "../../bindings/run/pool.ts";
import { assertSameBits, builds } from "../harness.ts";
import { everyOp, install } from "./graphs.ts";

const pool = poolOf(platform);

const threaded = builds.filter((build) => build.endsWith("threads"));
/** Ops of microseconds, two blocks of them: some 60 ops. */
const tiny = { height: 3, side: 5, heads: 2, headDim: 6, blocks: 2 };
/** Ops large enough that the builder cuts them into several chunks. */
const wide = { height: 8, side: 8, heads: 4, headDim: 16, blocks: 1 };

/** A network in memory with its one-thread result, and threads that may help. */
async function start(build: Build, threads: number, { shape = tiny, finest = true } = {}) {
  const plan = new Plan(), installed = await install(plan, everyOp(plan, shape), build, { threads, tileRows: 5 });
  const { kernels, module, memory, records, scratch, get, poison, untouched } = installed, view = new DataView(memory.buffer);
  if (finest) installed.finestGrain();
  kernels.runPlan(records, plan.ops.length);
  const want = get(scratch);
  const [ownScratch, ownWords] = [view.getUint32(THREAD_SCRATCH, true), view.getUint32(THREAD_SCRATCH_BYTES, true) / 4];
  poison(ownScratch);
  const id = pool.join({ module, memory, threads });
  /** One shared run, with everything it should write unwritten before it. */
  function run(length = plan.ops.length): void {
    poison(scratch);
    kernels.openRun!(records, length);
    pool.announce(id);
    kernels.takePart!(0);
  }
  return {
    ...installed, plan, want, view, run,
    /** Shared runs, each with the bits of one thread. */
    repeat(times: number): void {
      for (let i = 0; i < times; i++) {
        run();
        assertSameBits(`run ${i} on ${threads} threads`, get(scratch), want);
      }
    },
    /** Runs until every thread has done work that needs its scratch: threads take a while to start. */
    async everyoneHelped(): Promise<void> {
      const helped = (t: number): boolean => Array.from({ length: ownWords }, (_, i) => untouched(ownScratch, t * ownWords + i)).includes(false);
      for (let tries = 0; ![...Array(threads).keys()].every(helped); tries++) {
        assert.ok(tries < 4000, `thread ${[...Array(threads).keys()].find((t) => !helped(t))} of ${threads} never took part`);
        run();
        await sleep(2);
      }
    },
    async stop(): Promise<void> {
      pool.leave(id);
      installed.checkGuards();
      // threads end in the background: the memory is the next test's
      await sleep(20);
    },
  };
}

/** Keeps `count` cores busy until the returned function is called. */
async function burn(count: number): Promise<() => Promise<void>> {
  const flags = new Int32Array(new SharedArrayBuffer(8));
  const code = `const f = require("node:worker_threads").workerData; Atomics.add(f, 0, 1); while (!Atomics.load(f, 1));`;
  const workers = Array.from({ length: count }, () => new Worker(code, { eval: true, execArgv: [], workerData: flags }));
  while (Atomics.load(flags, 0) < count) await sleep(2);
  return async () => {
    Atomics.store(flags, 1, 1);
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
}

for (const build of threaded) {
  for (const threads of [1, 2, 3]) {
    test(`300 shared runs in the smallest chunks give the bits of one thread: ${build}, threads=${threads}`, async () => {
      const { plan, repeat, everyoneHelped, stop } = await start(build, threads);
      assert.ok(plan.ops.length >= 40);
      await everyoneHelped();
      repeat(300);
      await stop();
    });

    test(`shared runs in the builder's chunks give the bits of one thread: ${build}, threads=${threads}`, async () => {
      const { plan, repeat, everyoneHelped, stop } = await start(build, threads, { shape: wide, finest: false });
      assert.ok(plan.ops.some((op) => op.grain < (op.units as number)));
      await everyoneHelped();
      repeat(30);
      await stop();
    });
  }

  test(`shared runs on a busy machine: ${build}`, async () => {
    const { repeat, everyoneHelped, stop } = await start(build, 3);
    await everyoneHelped();
    const rest = await burn(2);
    try {
      repeat(40);
    } finally {
      await rest();
    }
    await stop();
  });

  test(`shared runs with pauses, in which the threads fall asleep: ${build}`, async () => {
    const { repeat, everyoneHelped, stop } = await start(build, 3);
    await everyoneHelped();
    for (let i = 0; i < 25; i++) {
      repeat(1 + (i % 3));
      await sleep(i % 4);
    }
    await stop();
  });

  test(`a shared run of the plan's first ops, and one op alone: ${build}`, async () => {
    const { kernels, plan, records, scratch, get, poison, run, stop } = await start(build, 2);
    for (let length = 1; length <= plan.ops.length; length++) {
      poison(scratch);
      kernels.runPlan(records, length);
      const want = get(scratch);
      run(length);
      assertSameBits(`${length} ops`, get(scratch), want);
    }
    await stop();
  });

  test(`the epoch may wrap: ${build}`, async () => {
    const { view, plan, repeat, everyoneHelped, stop } = await start(build, 2);
    await everyoneHelped();
    // nobody is in a run now, and a sleeping thread compares epochs for equality only
    const nearEnd = 0x7fffffff - Math.floor(plan.ops.length * 2.5);
    view.setInt32(RUN_EPOCH, nearEnd - plan.ops.length, true);
    view.setBigInt64(CLAIM, BigInt(nearEnd) << 32n, true);
    repeat(5);
    assert.ok(view.getInt32(CLAIM + 4, true) < 0);
    await stop();
  });

  test(`takePart returns at once when no run is open: ${build}`, async () => {
    const { kernels, scratch, get, run, want, stop } = await start(build, 1);
    kernels.takePart!(0);
    run();
    kernels.takePart!(0);
    assertSameBits("scratch", get(scratch), want);
    await stop();
  });
}

test("the single-thread builds export no shared runs", async () => {
  for (const build of builds.filter((build) => !threaded.includes(build))) {
    const plan = new Plan(), { kernels } = await install(plan, everyOp(plan), build);
    assert.is(kernels.openRun, undefined);
    assert.is(kernels.takePart, undefined);
  }
});

test.run();
