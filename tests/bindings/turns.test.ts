// Long work lets the event loop turn, and calls that come in the middle of it disturb nothing.
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model, Session } from "../../bindings/index.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { every } from "../models/builds.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { tinyConfig, tinyFile, tinyPixels } from "./tiny.ts";

const folder = (name: string): string => fileURLToPath(new URL(`../../models/pretrained/${name}`, import.meta.url));

async function withModel(
  source: Parameters<typeof load>[0], options: LoadOptions, use: (model: Model) => unknown,
): Promise<void> {
  const model = await load(source, options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

/** Turns of the event loop while `work` runs. */
async function turns(work: () => Promise<unknown>): Promise<number> {
  let count = 0, on = true;
  const tick = (): void => void setImmediate(() => {
    count++;
    if (on) tick();
  });
  tick();
  await work();
  on = false;
  return count;
}

/** Calls `step` for so long; it never waits for anything else. */
async function keepCalling(ms: number, step: () => Promise<unknown>): Promise<void> {
  for (const until = Date.now() + ms; Date.now() < until;) await step();
}

/** A clock by which every turn is overdue, so that work is cut wherever it can be. */
async function hurried(use: () => Promise<void>): Promise<void> {
  const { now } = Date;
  let ahead = 0;
  Date.now = () => now() + (ahead += 1000);
  try {
    await use();
  } finally {
    Date.now = now;
  }
}

const idsOf = (key: number, count: number, vocab = 4096): Int32Array => Int32Array.from(
  { length: count }, (_, i) => (i * i * (key + 2) + 7 * i + 11 * key) % vocab,
);

test("calls in a row let the event loop turn: decode, decodeBatch, prefill, logits, forward, classify", async () => {
  await withModel(tinyLm(), { threads: 1 }, async (model) => {
    const [session, ...others] = Array.from({ length: 5 }, () => model.session()), ids = idsOf(1, 50, 61);
    for (const step of [
      () => session!.decode(3), () => model.decodeBatch(others, [1, 2, 3, 4]), () => session!.prefill(ids),
      () => session!.logits(ids),
    ]) {
      const count = await turns(() => keepCalling(200, step));
      assert.ok(count >= 4, `${count} turns in 200 ms of ${step}`);
    }
  });
  await withModel({ config: tinyConfig, weights: tinyFile }, { threads: 1 }, async (model) => {
    const picture = { data: new Uint8Array(3 * 32 * 32), width: 32, height: 32 };
    for (const step of [() => model.forward(tinyPixels), () => model.classify(picture)]) {
      const count = await turns(() => keepCalling(200, step));
      assert.ok(count >= 4, `${count} turns in 200 ms of ${step}`);
    }
  });
});

test("one call of many rows or pictures lets it turn too", async () => {
  await withModel(tinyLm(), { threads: 1 }, async (model) => {
    const ids = idsOf(1, 60_000, 61);
    for (const call of [() => model.session().prefill(ids), () => model.session().logits(ids)]) {
      const begin = performance.now(), count = await turns(call), took = performance.now() - begin;
      assert.ok(count >= took / 100, `${count} turns in ${took.toFixed()} ms`);
    }
  });
  await withModel({ config: tinyConfig, weights: tinyFile }, { threads: 1 }, async (model) => {
    const batch = new Float32Array(2000 * 3 * 32 * 32), begin = performance.now();
    const count = await turns(() => model.forward(batch)), took = performance.now() - begin;
    assert.ok(count >= took / 100, `${count} turns in ${took.toFixed()} ms`);
  });
});

for (const options of every) {
  const where = `${options.build}, threads=${options.threads}`;

  test(`passes cut in the middle, pictures: the bits of one alone, in whatever order: ${where}`, () =>
    withModel(folder("slab-deit-cifar10"), options, async (model) => {
      const [a, b] = ["a", "b"].map((key) => syntheticInput(key, 3 * 32 * 32)) as [Float32Array, Float32Array];
      const want = [await model.forward(a), await model.forward(b)], [mark] = model.plan.marks.keys();
      const place = await model.activation(mark!, a);
      const picture = { data: new Uint8Array(3 * 32 * 32).map((_, i) => i), width: 32, height: 32 };
      const seen = await model.evidence(picture), labels = await model.classify(picture);
      assert.ok(model.plan.flops > 4e8, "several pieces");
      await hurried(async () => {
        const pixels = a.slice(), running = model.forward(pixels);
        // what was given is the caller's again at once
        pixels.fill(NaN);
        const all = await Promise.all([
          running, model.forward(b), model.activation(mark!, a), model.evidence(picture),
          model.classify([picture, picture]), model.forward(a),
        ]);
        assert.equal(all, [want[0], want[1], place, seen, [labels, labels], want[0]]);
      });
    }));

  test(`passes cut in the middle, sessions: the bits of one alone, parked or not: ${where}`, () =>
    withModel(folder("slab-lm-books"), { ...options, sessions: 1 }, async (model) => {
      const ids = [1, 2, 3].map((key) => idsOf(key, 300 + 40 * key)), alone: Float32Array[] = [];
      for (const [i, prompt] of ids.entries()) {
        const session = model.session();
        await session.prefill(prompt);
        alone.push(await session.decode(i));
      }
      const other = model.session();
      // with a token that is given out and not read yet: save() has to read it
      for await (const _ of other.generate(idsOf(9, 20), { maxTokens: 1, seed: 1 }));
      const twin = other.fork(), bytes = twin.save(), next = await twin.decode(5);
      await hurried(async () => {
        const sessions = ids.map(() => model.session()), running = sessions.map(async (session, i) => {
          await session.prefill(ids[i]!);
          return session.decode(i);
        });
        // in the middle of a pass, where the only slot is taken
        for (let i = 0; i < 6; i++) {
          await new Promise((turn) => setImmediate(turn));
          assert.equal(other.fork().save(), bytes);
          assert.equal(model.session(bytes).position, 21);
        }
        assert.equal(other.save(), bytes);
        assert.equal(await Promise.all(running), alone);
        assert.equal(await other.decode(5), next);
      });
    }));
}

for (const threads of [1, 2]) {
  test(`saved and forked at any moment of a generation, which goes on as if alone: threads=${threads}`, () =>
    withModel(folder("slab-lm-books"), { threads, sessions: 2 }, async (model) => {
      const prompt = idsOf(1, 300), options = { maxTokens: 25, seed: 3 }, alone: number[] = [];
      for await (const { id } of model.session().generate(prompt, options)) alone.push(id);
      await hurried(async () => {
        const session = model.session(), other = model.session(), got: number[] = [];
        const story = session.generate(prompt, options);
        // beside it a session that keeps the model busy, so that a token has to wait for its turn too
        const reading = other.prefill(idsOf(2, 2000));
        let copies = 0, on = true;
        const copy = (): void => void setImmediate(() => {
          if (!on) return;
          if (story.generatedTokens > 0 && story.generatedTokens < 25) {
            const { position } = session, [fork, restored] = [session.fork(), model.session(session.save())];
            assert.equal([fork.position, restored.position, session.position], [position, position, position]);
            if (copies++ % 8 === 0) assert.equal(fork.save(), restored.save());
            fork.dispose();
          }
          copy();
        });
        copy();
        for await (const { id } of story) got.push(id);
        on = false;
        assert.equal(got, alone);
        assert.ok(copies > 10, `${copies} copies`);
        await reading;
      });
    }));
}

test("profile() beside a session: neither disturbs the other", () =>
  withModel(folder("slab-lm-books"), { threads: 1, sessions: 1 }, async (model) => {
    const session = model.session(), ids = idsOf(1, 300);
    await session.prefill(ids);
    const want = await session.fork().decode(7), profiling = model.profile({ rounds: 3 });
    await sleep(5);
    const got = await session.decode(7);
    assert.ok((await profiling).totalMs > 0);
    assert.equal(got, want);
  }));

test("abort: a picture's pass ends where it is, and the next has its own bits", () =>
  withModel(folder("slab-deit-cifar10"), { threads: 1 }, async (model) => {
    const pixels = syntheticInput("a", 3 * 32 * 32), want = await model.forward(pixels), reason = new Error("enough");
    await rejects(() => model.forward(pixels, { signal: AbortSignal.abort(reason) }), /^enough$/);
    await rejects(
      () => model.classify({ data: new Uint8Array(3), width: 1, height: 1 }, { signal: AbortSignal.abort(reason) }),
      /^enough$/,
    );
    await hurried(async () => {
      const stop = new AbortController(), running = model.forward(pixels, { signal: stop.signal });
      const other = model.forward(pixels);
      setImmediate(() => stop.abort(reason));
      await rejects(() => running, /^enough$/);
      assert.equal(await other, want);
    });
  }));

/** A session that has read so many of the ids, at once. */
async function after(model: Model, ids: Int32Array): Promise<Session> {
  const session = model.session();
  if (ids.length > 0) await session.prefill(ids);
  return session;
}

test("abort: a prefill ends between two blocks, and the session goes on from there", () =>
  withModel(tinyLm(), { threads: 1 }, async (model) => {
    const ids = idsOf(1, 5000, 61), reason = new Error("enough");
    for (const call of ["prefill", "logits"] as const) {
      await hurried(async () => {
        const session = await after(model, ids.subarray(0, 3)), stop = new AbortController();
        setTimeout(() => stop.abort(reason), 1);
        await rejects(() => session[call](ids, { signal: stop.signal }), /^enough$/);
        const { position } = session, read = position - 3;
        assert.ok(read < ids.length && read % 256 === 0, `${read} tokens were read`);
        const twin = await after(model, ids.subarray(0, 3));
        for (let from = 0; from < read; from += 256) await twin.prefill(ids.subarray(from, from + 256));
        assert.equal(session.save(), twin.save());
        assert.equal(await session.decode(1), await twin.decode(1));
      });
    }
    const session = model.session(), none = AbortSignal.abort(reason);
    for (const call of [
      () => session.prefill([1], { signal: none }), () => session.decode(1, { signal: none }),
      () => model.decodeBatch([session], [1], { signal: none }),
    ]) {
      await rejects(call, /^enough$/);
    }
    assert.is(session.position, 0);
  }));

test("abort: a batch of several steps ends between two of them; every session is at a whole token", () =>
  withModel(tinyLm(), { threads: 1, sessions: 2 }, async (model) => {
    const sessions = await Promise.all(Array.from({ length: 40 }, (_, i) => after(model, Int32Array.of(i))));
    await hurried(async () => {
      const stop = new AbortController(), reason = new Error("enough");
      let turned = 0;
      const tick = (): void => void setImmediate(() => (++turned < 3 ? tick() : stop.abort(reason)));
      tick();
      await rejects(() => model.decodeBatch(sessions, sessions.map(() => 5), { signal: stop.signal }), /^enough$/);
      const read = sessions.filter(({ position }) => position === 2).length;
      assert.ok(read > 0 && read < 40 && read % 2 === 0, `${read} sessions have read their token`);
      const [first, last] = [sessions[0]!, sessions.at(-1)!];
      assert.equal(await first.prefill([]), await (await after(model, Int32Array.of(0))).decode(5));
      assert.equal(await last.decode(5), await (await after(model, Int32Array.of(39))).decode(5));
    });
  }));

test("dispose in the middle of a pass: what is under way, and what waits for it, says so", () =>
  hurried(async () => {
    const images = await load(folder("slab-deit-cifar10"), { threads: 1 });
    const language = await load(folder("slab-lm-books"), { threads: 2 });
    const calls = Promise.allSettled([
      images.forward(tinyPixels), images.forward(tinyPixels), language.session().prefill(idsOf(1, 600)),
      language.session().decode(1),
    ]);
    await new Promise((turn) => setImmediate(turn));
    images.dispose();
    language.dispose();
    assert.equal(
      (await calls).map((call) => (call.status === "rejected" ? call.reason.message : "done")),
      Array(4).fill("the model has been disposed: load it again"),
    );
  }));

test.run();
