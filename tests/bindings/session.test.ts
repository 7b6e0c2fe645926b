import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model, Session } from "../../bindings/index.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { runs } from "../models/builds.ts";
import { rejects } from "./checkpoint/fixtures.ts";

const VOCAB = 61;
const open = (options: LoadOptions = {}): Promise<Model> => load(tinyLm({ tie_word_embeddings: false }), { threads: 1, ...options });

async function withModel(use: (model: Model) => unknown, options?: LoadOptions): Promise<void> {
  const model = await open(options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

/** Some ids, others for another key. */
const idsOf = (key: number, count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => (i * i * (key + 2) + 7 * i + 11 * key) % VOCAB);

const sameLogits = (what: string, got: Float32Array, want: Float32Array): void => {
  assert.is(got.length, want.length, what);
  got.forEach((value, i) => { if (!Object.is(value, want[i])) assert.unreachable(`${what}: logit ${i} is ${value}, expected exactly ${want[i]}`); });
};

test("position counts tokens; the state's size never changes", () =>
  withModel(async (model) => {
    const session = model.session(), { stateBytes } = session;
    assert.ok(stateBytes > 0 && stateBytes % 64 === 0);
    assert.is(session.position, 0);
    await session.prefill(idsOf(1, 7));
    assert.is(session.position, 7);
    await session.decode(3);
    assert.is(session.position, 8);
    await session.logits(idsOf(2, 300));
    assert.is(session.position, 308);
    for await (const _ of session.generate([1, 2], { maxTokens: 5, seed: 1 }));
    assert.is(session.position, 315);
    assert.equal([session.stateBytes, session.save().length], [stateBytes, 64 + stateBytes]);
    session.reset();
    assert.equal([session.position, session.stateBytes], [0, stateBytes]);
  }));

test("any ids that look like an array will do; other things are refused before anything is read", () =>
  withModel(async (model) => {
    const session = model.session();
    const want = await model.session().prefill([5, 6, 7]);
    for (const ids of [[5, 6, 7], Int32Array.of(5, 6, 7), Uint16Array.of(5, 6, 7), { length: 3, 0: 5, 1: 6, 2: 7 }]) {
      session.reset();
      sameLogits("ids", await session.prefill(ids), want);
    }
    for (const [ids, message] of [
      [[1, 2, 61], /^token id 61 at index 2 is not in the vocabulary: expected a whole number from 0 to 60$/], [[1, -1], /^token id -1 at index 1/], [[0.5], /^token id 0\.5 at index 0/],
      [[NaN], /^token id NaN/], [["1"], /^token id 1 at index 0/], [Float64Array.of(2 ** 32), /^token id 4294967296/], [[undefined], /^token id undefined/],
    ] as const) {
      await rejects(() => session.prefill(ids as ArrayLike<number>), message, RangeError);
      await rejects(() => session.logits(ids as ArrayLike<number>), message, RangeError);
      await rejects(() => session.decode(ids[ids.length - 1] as number), /^token id .* at index 0 is not in the vocabulary/, RangeError);
    }
    for (const [ids, message] of [[null, /^ids is null, expected an Int32Array or an array of token ids$/], [undefined, /^ids is undefined/], [7, /^ids is number 7/], ["12", /^ids is "12"/], [{}, /^ids is Object/]] as const) {
      await rejects(() => session.prefill(ids as never), message, TypeError);
      await rejects(() => session.logits(ids as never), message, TypeError);
    }
    assert.is(session.position, 3);
    sameLogits("afterwards", await session.prefill([]), want);
    assert.equal(await session.logits([]), new Float32Array(0));
    await rejects(() => model.session().prefill([]), /^the session has read no token yet: prefill at least one/, RangeError);
  }));

test("reading nothing gives the logits after the last token again, wherever the session has been", () =>
  withModel(async (model) => {
    const [session, other] = [model.session(), model.session()];
    const again = async (what: string, last: Float32Array): Promise<void> => {
      sameLogits(what, await session.prefill([]), last);
      sameLogits(`${what}, forked`, await session.fork().prefill([]), last);
      sameLogits(`${what}, restored`, await model.session(session.save()).prefill([]), last);
      await other.decode(1);
      sameLogits(`${what}, parked`, await session.prefill([]), last);
    };
    await again("prefill", await session.prefill(idsOf(1, 300)));
    await again("decode", await session.decode(5));
    await again("logits", (await session.logits(idsOf(2, 20))).slice(19 * VOCAB));
    await again("decodeBatch", (await model.decodeBatch([other, session], [1, 2])).slice(VOCAB));
  }, { sessions: 1 }));

test("logits are a copy of the caller's own", () =>
  withModel(async (model) => {
    const session = model.session(), a = await session.prefill([1, 2]), kept = a.slice();
    const b = await session.decode(3), later = b.slice();
    const all = await session.logits([4, 5]), every = all.slice();
    await session.decode(6);
    assert.equal([a, b, all], [kept, later, every]);
    a.fill(NaN);
    assert.ok((await session.prefill([])).every(Number.isFinite));
  }));

test("a fork and its origin go on independently", () =>
  withModel(async (model) => {
    const session = model.session();
    await session.prefill(idsOf(1, 40));
    const fork = session.fork(), early = model.session().fork();
    assert.equal([fork.position, early.position], [40, 0]);
    const expected = new Map<Session, Float32Array[]>([[session, []], [fork, []]]);
    for (const [key, from] of [[2, session], [3, fork]] as const) {
      const alone = model.session();
      await alone.prefill(idsOf(1, 40));
      for (const id of idsOf(key, 10)) expected.get(from)!.push(await alone.decode(id));
    }
    for (let i = 0; i < 10; i++) {
      for (const [key, from] of [[2, session], [3, fork]] as const) sameLogits(`token ${i}`, await from.decode(idsOf(key, 10)[i]!), expected.get(from)![i]!);
    }
    session.reset();
    assert.equal([session.position, fork.position], [0, 50]);
    sameLogits("fork of nothing", await early.decode(1), await session.decode(1));
    // of a session with a token that was given out and not read yet
    for await (const _ of fork.generate([], { maxTokens: 9, seed: 5 })) if (fork.position === 53) break;
    const late = fork.fork();
    assert.is(late.position, 53);
    sameLogits("fork of a broken-off generation", await late.prefill([]), await fork.prefill([]));
  }, { sessions: 2 }));

test("reset: as new, with nothing left of the past", () =>
  withModel(async (model) => {
    const fresh = model.session(), want = [await fresh.prefill(idsOf(4, 3)), await fresh.decode(1)];
    const session = model.session();
    await session.prefill(idsOf(1, 500));
    session.reset();
    session.reset();
    assert.equal([await session.prefill(idsOf(4, 3)), await session.decode(1)], want);
    for await (const _ of session.generate([], { maxTokens: 3, seed: 1 })) break;
    session.reset();
    assert.is(session.position, 0);
    assert.equal(await session.prefill(idsOf(4, 3)), want[0]);
    assert.equal(session.save().length, fresh.save().length);
  }));

for (const { build, threads } of runs) {
  test(`more sessions than slots: five taking turns equal each alone, bit for bit: ${build}, threads=${threads}`, async () => {
    const alone: Float32Array[][] = [];
    await withModel(async (model) => {
      for (let s = 0; s < 5; s++) {
        const session = model.session();
        alone.push([await session.prefill(idsOf(s, 3 + 60 * s))]);
        for (const id of idsOf(s + 9, 12)) alone[s]!.push(await session.decode(id));
      }
    }, { build, threads });
    await withModel(async (model) => {
      const sessions = Array.from({ length: 5 }, () => model.session());
      await Promise.all(sessions.map(async (session, s) => sameLogits(`session ${s}`, await session.prefill(idsOf(s, 3 + 60 * s)), alone[s]![0]!)));
      for (let i = 0; i < 12; i++) {
        // in every order, so that who is parked changes
        for (let n = 0; n < 5; n++) {
          const s = (n * (1 + (i % 4)) + i) % 5;
          sameLogits(`session ${s}, token ${i}`, await sessions[s]!.decode(idsOf(s + 9, 12)[i]!), alone[s]![i + 1]!);
        }
      }
    }, { build, threads, sessions: 2 });
  });

  test(`decodeBatch equals single decodes, bit for bit: ${build}, threads=${threads}`, async () => {
    for (const [slots, count] of [[16, 1], [16, 5], [16, 16], [4, 7], [1, 3]] as const) {
      await withModel(async (model) => {
        const singles = Array.from({ length: count }, () => model.session()), together: Session[] = [];
        for (const [s, session] of singles.entries()) {
          await session.prefill(idsOf(s, 1 + 5 * s));
          together.push(session.fork());
        }
        for (let step = 0; step < 4; step++) {
          const ids = Int32Array.from({ length: count }, (_, s) => (7 * s + 5 * step) % VOCAB), logits = await model.decodeBatch(together, ids);
          assert.is(logits.length, count * VOCAB);
          for (let s = 0; s < count; s++) sameLogits(`session ${s} of ${count}, ${slots} slots`, logits.subarray(s * VOCAB, (s + 1) * VOCAB), await singles[s]!.decode(ids[s]!));
        }
        // the timelines themselves are the same, too
        for (let s = 0; s < count; s++) {
          assert.is(together[s]!.position, 5 + 5 * s);
          assert.equal(together[s]!.save(), singles[s]!.save());
        }
      }, { build, threads, sessions: slots });
    }
  });
}

test("decodeBatch: what does not fit is refused, and nothing is read", () =>
  withModel(async (model) => {
    const [a, b] = [model.session(), model.session()], other = await open();
    await a.prefill([1]);
    await b.prefill([2]);
    for (const [sessions, ids, message] of [
      [[a, b], [1], /^1 ids for 2 sessions, expected one each$/], [[a], [1, 2], /^2 ids for 1 sessions/], [[], [1], /^1 ids for 0 sessions/], [[a, a], [1, 2], /^a session is there twice: /],
      [[a, b, a], [1, 2, 3], /^a session is there twice: /], [[a, b], [1, 61], /^token id 61 at index 1/], [[a, b], [NaN, 1], /^token id NaN at index 0/],
      [[a, other.session()], [1, 2], /^the session is of another model: use the model that made it$/],
    ] as const) {
      await rejects(() => model.decodeBatch(sessions, ids), message, RangeError);
      assert.equal([a.position, b.position], [1, 1]);
    }
    assert.equal(await model.decodeBatch([], []), new Float32Array(0));
    // a token that was given out is read first
    for await (const _ of a.generate([], { maxTokens: 2, seed: 3 })) break;
    const want = await a.fork().decode(7);
    sameLogits("after a broken-off generation", await model.decodeBatch([a], [7]), want);
    other.dispose();
  }));

test("the memory never grows", async () => {
  const { Memory } = WebAssembly, made: WebAssembly.Memory[] = [];
  WebAssembly.Memory = function (descriptor: WebAssembly.MemoryDescriptor) {
    made.push(new Memory(descriptor));
    return made.at(-1)!;
  } as unknown as typeof Memory;
  const model = await open({ sessions: 2 }).finally(() => { WebAssembly.Memory = Memory; });
  assert.is(made.length, 1);
  const { byteLength } = made[0]!.buffer, { total, state } = model.memory(), session = model.session();
  assert.is(byteLength, total);
  assert.is(state, 2 * session.stateBytes);
  await session.prefill(idsOf(1, 5000));
  for (let i = 0; i < 3000; i++) await session.decode(i % VOCAB);
  for (let i = 0; i < 20; i++) await model.session(session.save()).fork().decode(i);
  assert.is(session.position, 8000);
  assert.is(made[0]!.buffer.byteLength, byteLength);
  assert.throws(() => made[0]!.grow(1), /grow/);
  assert.ok((await session.prefill([])).every(Number.isFinite));
  model.dispose();
});

for (const threads of [1, 2]) {
  test(`dispose: every further use says so, threads=${threads}`, async () => {
    const model = await open({ threads }), session = model.session(), bytes = session.save();
    await session.prefill([1, 2, 3]);
    const running = session.generate([], { maxTokens: 50, seed: 1 });
    await running.next();
    model.dispose();
    const disposed = /^the model has been disposed: load it again$/;
    for (const use of [
      () => running.next(), () => model.session(), () => model.session(bytes), () => session.prefill([1]), () => session.prefill([]), () => session.decode(1), () => session.logits([1]),
      () => session.save(), () => session.fork(), () => session.generate([1]).next(), () => model.decodeBatch([session], [1]), () => model.memory(),
    ]) await rejects(use, disposed);
    session.reset();
    await rejects(() => session.decode(1), disposed);
  });
}

const busy = (call: string, with_: string): RegExp => {
  const remedy = "wait for its end, or use a fork\\(\\) made before it";
  return new RegExp(`^${call}\\(\\) came while ${with_}\\(\\) of the same session is under way: ${remedy}$`);
};

test("one call at a time: a second one on the same session is refused, whichever they are, and disturbs nothing", () =>
  withModel(async (model) => {
    const ids = idsOf(1, 40);
    const calls: Record<string, (session: Session) => unknown> = {
      prefill: (s) => s.prefill(ids), decode: (s) => s.decode(1), logits: (s) => s.logits(ids),
      generate: (s) => s.generate(ids, { maxTokens: 4, seed: 1 }).next(), save: (s) => s.save(), fork: (s) => s.fork(),
      reset: (s) => s.reset(), decodeBatch: (s) => model.decodeBatch([model.session(), s], [1, 2]),
    };
    for (const first of ["prefill", "decode", "logits", "decodeBatch"]) {
      const alone = model.session();
      await alone.prefill([5]);
      const want = alone.fork();
      await calls[first]!(want);
      for (const [second, call] of Object.entries(calls)) {
        const session = alone.fork(), running = calls[first]!(session);
        await rejects(async () => call(session), busy(second, first));
        await running;
        assert.equal(session.save(), want.save());
      }
    }
  }));

test("two generations of one session at once: one goes on as if it were alone, the other is refused", () =>
  withModel(async (model) => {
    const collect = async (from: Session): Promise<number[]> => {
      const ids: number[] = [];
      for await (const { id } of from.generate([1, 2], { maxTokens: 30, seed: 2 })) ids.push(id);
      return ids;
    };
    const want = await collect(model.session()), session = model.session();
    const [one, other] = await Promise.allSettled([collect(session), collect(session)]);
    assert.equal(one, { status: "fulfilled", value: want });
    assert.match((other as PromiseRejectedResult).reason.message, busy("generate", "generate"));
    assert.is(session.position, 32);
    await session.decode(1);
  }));

test("between two tokens of a generation a session can be saved and forked, and nothing else", () =>
  withModel(async (model) => {
    const whole: number[] = [];
    for await (const { id } of model.session().generate([1, 2], { maxTokens: 12, seed: 4 })) whole.push(id);
    const session = model.session(), got: number[] = [];
    for await (const { id } of session.generate([1, 2], { maxTokens: 12, seed: 4 })) {
      got.push(id);
      if (got.length === 12) break;
      const byHand = model.session();
      await byHand.prefill([1, 2]);
      for (const each of got) await byHand.decode(each);
      assert.equal([session.position, session.fork().position], [2 + got.length, 2 + got.length]);
      sameLogits("forked", await session.fork().decode(7), await byHand.fork().decode(7));
      if (got.length % 2) assert.equal(session.save(), byHand.save());
      for (const [name, call] of Object.entries({
        reset: () => session.reset(), decode: () => session.decode(1), prefill: () => session.prefill([]),
        generate: () => session.generate().next(),
      })) {
        await rejects(async () => call(), busy(name, "generate"));
      }
    }
    assert.equal(got, whole);
    // the last token has been given out, so there is nothing to wait for
    const tokens = session.generate([], { maxTokens: 1, seed: 1 });
    await tokens.next();
    await session.decode(1);
    assert.equal(await tokens.next(), { done: true, value: { finish: "length" } });
    await session.decode(2);
  }));

test("dispose of a session: its place is free, every later use says so, and what is under way ends", () =>
  withModel(async (model) => {
    const disposed = /^the session has been disposed: make another with model\.session\(\)$/;
    const total = model.memory().total;
    const session = model.session(), other = model.session();
    await other.prefill([9]);
    await session.prefill([1, 2, 3]);
    const snapshot = session.save(), copy = session.fork();
    session.dispose();
    session.dispose();
    for (const use of [
      () => session.prefill([1]), () => session.decode(1), () => session.logits([1]), () => session.save(),
      () => session.fork(), () => session.reset(), () => session.generate([1]).next(),
      () => model.decodeBatch([other, session], [1, 1]),
    ]) await rejects(async () => use(), disposed);
    assert.equal([other.position, copy.position, model.memory().total], [1, 3, total]);
    assert.equal(await model.session(snapshot).decode(4), await copy.decode(4));

    const reading = model.session(), prefill = reading.prefill(idsOf(1, 5000));
    reading.dispose();
    await rejects(() => prefill, disposed);
    const telling = model.session(), tokens = telling.generate([1], { maxTokens: 50, seed: 1 });
    await tokens.next();
    telling.dispose();
    await rejects(() => tokens.next(), disposed);
    assert.equal(await tokens.next(), { done: true, value: undefined });
    {
      using short = model.session();
      await short.decode(1);
      session.dispose();
    }
    await other.decode(1);
    // as many as one likes: none of them holds a place
    for (let i = 0; i < 100; i++) {
      using each = model.session();
      await each.decode(1);
    }
  }, { sessions: 2 }));

test("sessions: how many is checked", async () => {
  for (const sessions of [0, -1, 1.5, NaN, 1025, "2" as unknown as number]) {
    await rejects(() => open({ sessions }), /^sessions is .*, expected a whole number from 1 to 1024$/, RangeError);
  }
});

test.run();
