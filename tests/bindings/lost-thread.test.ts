// Threads that end, fail or are killed: no run hangs, and the model works on or says that it cannot.
import { spawnSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { CLAIM, PATIENCE } from "../../assembly/header.ts";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import type { Model } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import { chooseBuild } from "../../bindings/run/kernels.ts";
import { materialise } from "../../bindings/run/memory.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { platform } from "../../bindings/platform/node.ts";
import { Runtime } from "../../bindings/run/runtime.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { builds } from "../models/builds.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { tinyConfig, tinyFile, tinyPixels } from "./tiny.ts";

const nodeThreads = process.getBuiltinModule("node:worker_threads") as { Worker: typeof import("node:worker_threads").Worker };

const BROKEN = /^a thread stopped in the middle of a run, and the model's memory cannot be trusted any more: dispose of the model and load it again/;

/** The threads that the pool starts during `use`. */
async function watching(use: (started: InstanceType<typeof nodeThreads.Worker>[]) => Promise<void>): Promise<void> {
  const { Worker } = nodeThreads, started: InstanceType<typeof Worker>[] = [];
  nodeThreads.Worker = class extends Worker {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      started.push(this);
    }
  };
  try {
    await use(started);
  } finally {
    nodeThreads.Worker = Worker;
  }
}

test("a small model that is asked again at once, and never waits, has its threads from the second pass on", () =>
  watching(async (started) => {
    const model = await load({ config: tinyConfig, weights: tinyFile }, { threads: 2 });
    const want = await model.forward(tinyPixels);
    assert.is(started.length, 0);
    assert.equal(await model.forward(tinyPixels), want);
    assert.is(started.length, 1);
    model.dispose();
  }));

test("a process that may not start threads runs on one, and says why", () => {
  const script = `
    const { load } = await import(${JSON.stringify(new URL("../../dist/js/node/index.js", import.meta.url).href)});
    const model = await load(${JSON.stringify(fileURLToPath(new URL("../../models/pretrained/slab-deit-cifar10", import.meta.url)))});
    for (let i = 0; i < 3; i++) await model.forward(new Float32Array(3 * 32 * 32));
    console.log(JSON.stringify(model.caps));`;
  const flag = Number.parseInt(process.versions.node) < 24 ? "--experimental-permission" : "--permission";
  const { stdout, stderr } = spawnSync(process.execPath, [flag, "--allow-fs-read=*", "--no-warnings", "--input-type=module", "--eval", script], { encoding: "utf8" });
  assert.is(stderr, "");
  const { threads, reasons } = JSON.parse(stdout);
  assert.is(threads, 1);
  assert.ok(reasons.includes("one thread: this process may not start threads, which takes --allow-worker"), reasons.join());
});

test("threads killed between runs: the same bits on those that are left; the next model starts new ones", () =>
  watching(async (started) => {
    const model = await load({ config: tinyConfig, weights: tinyFile }, { threads: 3 });
    const want = await model.forward(tinyPixels);
    await sleep(100);
    assert.is(started.length, 2);
    for (const thread of started) {
      await thread.terminate();
      for (let i = 0; i < 10; i++) assert.equal(await model.forward(tinyPixels), want);
    }
    const other = await load({ config: tinyConfig, weights: tinyFile }, { threads: 3 });
    await sleep(100);
    assert.is(started.length, 4);
    for (const each of [model, other, model]) assert.equal(await each.forward(tinyPixels), want);
    model.dispose();
    other.dispose();
  }));

test("a thread killed at any moment of a run: the right bits, or one clear error", () =>
  watching(async (started) => {
    const model = await load({ config: tinyConfig, weights: tinyFile }, { threads: 2 });
    const want = await model.forward(tinyPixels);
    await sleep(100);
    const ending = started[0]!.terminate();
    try {
      for (let i = 0; i < 100; i++) assert.equal(await model.forward(tinyPixels), want);
    } catch (error) {
      assert.match((error as Error).message, BROKEN);
    }
    await ending;
    model.dispose();
  }));

/** Forwards and waits until every thread that was started has had the time to come. */
async function warm(model: Model): Promise<void> {
  for (let i = 0; i < 2; i++) await model.forward(tinyPixels);
  await sleep(100);
}

test("loaded and disposed again and again beside another model: they share a memory, and no thread starts anew", () =>
  watching(async (started) => {
    const { Memory } = WebAssembly;
    let made = 0;
    WebAssembly.Memory = function (descriptor: WebAssembly.MemoryDescriptor) {
      made++;
      return new Memory(descriptor);
    } as unknown as typeof Memory;
    try {
      const options = { threads: 3 }, kept = await load({ config: tinyConfig, weights: tinyFile }, options);
      const want = await kept.forward(tinyPixels);
      const other = { ...tinyLm({ vocab_size: 200 }) };
      let logits: Float32Array | undefined, first = 0;
      for (let i = 0; i < 20; i++) {
        const model = await load(other, options), session = model.session();
        await session.prefill([1, 2, 3]);
        await sleep(5);
        const again = await session.decode(4);
        assert.equal(again, (logits ??= again));
        assert.equal(await kept.forward(tinyPixels), want);
        model.dispose();
        model.dispose();
        first ||= made;
      }
      // the engine may have collected one between two loads
      assert.ok(made - first < 5, `${made} memories, ${first} with the first load`);
      assert.ok(started.length <= 2 * (1 + made - first), `${started.length} threads for ${made} memories`);
      kept.dispose();
    } finally {
      WebAssembly.Memory = Memory;
    }
  }));

test("a disposed model's memory is free once it is collected: threads that hold it end, and others come", () =>
  watching(async (started) => {
    process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
    const collect = process.getBuiltinModule("node:vm").runInNewContext("gc") as () => void;
    const kept = await load({ config: tinyConfig, weights: tinyFile }, { threads: 2 });
    const want = await kept.forward(tinyPixels);
    const folder = fileURLToPath(new URL("../../models/pretrained/slab-lm-books", import.meta.url));
    const rss = async (): Promise<number> => {
      // what was looked at weakly lives until its turn is over; what is collected is told of in another
      await sleep(10);
      collect();
      await sleep(300);
      return process.memoryUsage.rss() / 2 ** 20;
    };
    await warm(kept);
    const before = await rss();
    await (async () => {
      const model = await load(folder, { threads: 2 });
      await model.session().prefill([1, 2, 3]);
      await sleep(100);
      model.dispose();
    })();
    const after = await rss();
    assert.ok(after < before + 40, `${before.toFixed()} MiB before, ${after.toFixed()} after 70 came and went`);
    assert.is(started.length, 1);
    assert.equal(await kept.forward(tinyPixels), want);
    assert.is(started.length, 2);
    await warm(kept);
    assert.equal(await kept.forward(tinyPixels), want);
    kept.dispose();
  }));

/** A product cut into chunks on two threads, with `meddle` between the opening of a run and this thread's part. */
async function product(build: "simd-threads" | "relaxed-threads", meddle: (claims: BigInt64Array, records: Int32Array) => void): Promise<Runtime> {
  const caps = chooseBuild(platform, { build, threads: 2 })!;
  const tensors = memoryCheckpoint({ "w.weight": { shape: [256, 64], data: new Float32Array(256 * 64).fill(0.01) }, "w.bias": { shape: [256], data: new Float32Array(256) } });
  const plan = new Plan(), x = plan.rows("x", 64, 64);
  const y = plan.linear(x, linearOf(tensors, "w", 64, 256));
  const made = await materialise(plan, [x, y], caps, platform), { kernels, memory, planAddress } = made;
  new DataView(memory.buffer).setInt32(PATIENCE, 20, true);
  const openRun = (from: number, length: number): void => {
    kernels.openRun!(from, length);
    meddle(new BigInt64Array(memory.buffer, CLAIM, 1), new Int32Array(memory.buffer, planAddress));
  };
  const runtime = new Runtime(plan, caps, { ...made, kernels: { ...kernels, openRun } });
  // a small model has its threads a moment later
  await platform.breathe();
  return runtime;
}

const throws = (call: () => void): Promise<void> => rejects(async () => call(), BROKEN);

for (const build of ["simd-threads", "relaxed-threads"] as const) {
  if (!builds.includes(build)) continue;

  test(`a thread that is gone with a chunk: the run ends with an error, and the model says so from then on: ${build}`, async () => {
    let gone = true;
    const runtime = await product(build, (claims) => {
      // takes a chunk as a thread would, and never does it
      if (gone) Atomics.sub(claims, 0, 1n);
    });
    await throws(() => runtime.run(0, 1));
    gone = false;
    await throws(() => runtime.run(0, 1));
    await throws(() => void runtime.memory);
    runtime.dispose();
  });

  test(`a thread that fails in a chunk, as this one: ${build}`, async () => {
    const runtime = await product(build, (_, records) => Atomics.store(records, 0, 9999));
    await rejects(async () => runtime.run(0, 1), /unreachable|stopped in the middle of a run/);
    await throws(() => runtime.run(0, 1));
    runtime.dispose();
  });
}

test.run();
