// Language models: one text has the reference's logits in whichever way it is read.
import * as assert from "uvu/assert";
import type { Model, Session } from "../../bindings/index.ts";
import { sizesOf } from "../../cli/sizes.ts";
import { runInShim } from "../wasi/hosts.ts";
import type { Subject } from "./checks.ts";
import { assertSummary, assertWithin, distance } from "./compare.ts";
import type { Golden, Text } from "./folders.ts";

const CHUNKS = [1, 3, 16, 64], SOME_CHUNKS = [16];
/** Fewer timelines have room than are read side by side: one is always parked. */
const SESSIONS = 4, TIMELINES = 5;

export function languageModel({ source, config, tolerance, quantised, stateBytes }: Golden, text: Text): Subject {
  const { ids, rows, logits, last, greedy } = text, T = ids.length, half = T >> 1;
  /** By type of weights: the first half of the text, as the first model that read it has saved it. */
  const saved = new Map<string, Uint8Array>();

  /** Every way of reading gives [T, vocab]. */
  async function observe(model: Model, all: boolean): Promise<Record<string, Float32Array>> {
    const whole = await model.session().logits(ids), vocab = whole.length / T;
    const readings: Record<string, Float32Array> = { "at once": whole };
    /** A way of reading, with what it begins with, and where its rows from `t` on go. */
    const way = (how: string, begin: ArrayLike<number> = []): ((t: number, given: Float32Array) => void) => {
      const into = (readings[how] = new Float32Array(T * vocab));
      into.set(begin);
      return (t, given) => into.set(given, t * vocab);
    };
    const decode = async (session: Session, put: ReturnType<typeof way>): Promise<void> => {
      for (let t = session.position; t < T; t++) put(t, await session.decode(ids[t]!));
      assert.is(session.position, T);
    };

    await decode(model.session(), way("token by token"));
    for (const size of all ? CHUNKS : SOME_CHUNKS) {
      const session = model.session(), put = way(`in chunks of ${size}`);
      for (let t = 0; t < T; t += size) put(t, await session.logits(ids.subarray(t, t + size)));
    }

    const session = model.session(), begin = await session.logits(ids.subarray(0, half)), bytes = session.save();
    const { type } = model.plan;
    if (!saved.has(type)) saved.set(type, bytes);
    await decode(model.session(saved.get(type)), way("saved by the first model, then token by token", begin));
    if (all) {
      const forked = session.fork();
      // neither a fork nor what is saved sees what its origin reads on
      await session.prefill(ids.subarray(0, half));
      await decode(forked, way("forked, then token by token", begin));
      way("saved, then at once", begin)(half, await model.session(bytes).logits(ids.subarray(half)));
    }
    await readSideBySide(model, way("side by side"));
    return readings;
  }

  /** Each of several timelines has read the text up to its own place, and goes on to that of the next. */
  async function readSideBySide(model: Model, put: (t: number, given: Float32Array) => void): Promise<void> {
    const starts = Array.from({ length: TIMELINES }, (_, i) => Math.floor((i * T) / TIMELINES));
    const timelines: Session[] = [];
    for (const start of starts) {
      const timeline = model.session();
      if (start > 0) await timeline.prefill(ids.subarray(0, start));
      timelines.push(timeline);
    }
    for (;;) {
      const reading = timelines.filter(({ position }, i) => position < (starts[i + 1] ?? T));
      if (reading.length === 0) return;
      const places = reading.map(({ position }) => position);
      const given = await model.decodeBatch(reading, places.map((t) => ids[t]!)), vocab = given.length / reading.length;
      places.forEach((t, i) => put(t, given.subarray(i * vocab, (i + 1) * vocab)));
    }
  }

  function checkRows(how: string, given: Float32Array): void {
    if (rows) assertWithin(how, given, rows, tolerance);
    if (logits) assertSummary(how, given, logits, tolerance);
    if (last) assertSummary(`${how}, the last row`, given.subarray(-given.length / T), last, tolerance);
  }

  return {
    source, config, sessions: SESSIONS, observe,
    async check(model, readings) {
      const { type } = model.plan, ways = Object.entries(readings);
      if (type !== "f32") {
        for (const [how, given] of ways) {
          const apart = distance(given, readings["at once"]!), bound = quantised[type];
          assert.ok(apart <= bound, `${how}: ${apart} from what is read at once, expected at most ${bound}`);
        }
        return;
      }
      for (const [how, given] of ways) checkRows(how, given);
      const session = model.session(), again = await session.logits(ids), told = sizesOf(model.config).stateBytes;
      assert.equal(await session.prefill([]), again.slice(-again.length / T), "of no tokens: the last one's logits");
      assert.is(session.stateBytes, told, `stateBytes is ${session.stateBytes}, from the config ${told}`);
      if (stateBytes !== undefined) {
        assert.is(session.stateBytes, stateBytes, `stateBytes is ${session.stateBytes}, not ${stateBytes}`);
      }
      if (greedy) await checkGreedy(model.session(), ids, greedy);
    },
    standalone: (model) => checkStandalone(model, ids),
  };
}

/** The beginning of the text goes on as the reference does. */
async function checkGreedy(session: Session, ids: Int32Array, greedy: Int32Array): Promise<void> {
  const given = greedy.findIndex((id, t) => id !== ids[t]);
  assert.ok(given > 0, "greedy begins as ids does, and goes on otherwise");
  let logits = await session.prefill(greedy.subarray(0, given));
  for (const [i, id] of greedy.subarray(given).entries()) {
    assert.is(logits.indexOf(Math.max(...logits)), id, `greedy, token ${given + i}`);
    logits = await session.decode(id);
  }
}

/** slab-wasi continues texts as the model does: ids drawn by chance tell bits apart that the likeliest ones do not. */
async function checkStandalone(model: Model, ids: Int32Array): Promise<void> {
  const files = { "m.slab": await model.standalone() }, { context } = model.session();
  // one token, the text, and more than one run reads
  for (const length of [1, ids.length, 300].filter((count) => count + 20 <= context)) {
    const prompt = Array.from({ length }, (_, t) => ids[t % ids.length]!), expected: number[] = [];
    const drawn = model.session().generate(prompt, { maxTokens: 20, temperature: 0.9, topK: 7, seed: length });
    for await (const { id } of drawn) expected.push(id);
    const sampling = ["--max", "20", "--temperature", "0.9", "--top-k", "7", "--seed", String(length)];
    const { code, stdout, stderr } = runInShim(["generate", "m.slab", ...prompt.map(String), ...sampling], files);
    assert.equal([code, stderr], [0, ""]);
    const given = stdout.toString().split("\n").slice(0, -1).map(Number);
    assert.equal(given, expected, `after ${length} tokens in a WASI host, not as here`);
  }
}
