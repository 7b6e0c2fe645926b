// Generation: the same tokens however it is called, text in whole characters, and a session that can go on wherever it
// was left.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { GeneratedToken, GenerateOptions, LoadOptions, Model, Session } from "../../bindings/index.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import type { TinyLmConfig } from "../golden/tiny-lm.ts";
import { rejects } from "./checkpoint/fixtures.ts";

/**
 * The trained model's tokenizer: bytes in pairs, so that a tiny network with as many tokens says all kinds of
 * characters.
 */
const tokenizer = readFileSync(
  new URL("../../models/pretrained/slab-lm-books/tokenizer.json", import.meta.url), "utf8",
);
const VOCAB = 4096;
type Changes = Partial<TinyLmConfig> & { tokenizer?: string | undefined };

async function withModel(
  use: (model: Model) => unknown, { tokenizer: json = tokenizer, ...changes }: Changes = {}, options: LoadOptions = {},
): Promise<void> {
  // with a head of its own it does not just repeat its last token
  const model = await load(
    { ...tinyLm({ vocab_size: VOCAB, tie_word_embeddings: false, ...changes }), ...(json ? { tokenizer: json } : {}) },
    { threads: 1, ...options },
  );
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

async function collect(
  from: AsyncIterable<GeneratedToken>,
): Promise<{ ids: number[]; pieces: string[]; text: string }> {
  const ids: number[] = [], pieces: string[] = [];
  for await (const { id, text } of from) {
    ids.push(id);
    pieces.push(text);
  }
  return { ids, pieces, text: pieces.join("") };
}

async function all(from: AsyncIterable<GeneratedToken>): Promise<GeneratedToken[]> {
  const tokens: GeneratedToken[] = [];
  for await (const token of from) tokens.push(token);
  return tokens;
}

/** The error, and the tokens that came before it. */
async function failure(
  from: AsyncIterable<GeneratedToken>, seen: (count: number) => void = () => {},
): Promise<{ error: unknown; ids: number[] }> {
  const ids: number[] = [];
  try {
    for await (const { id } of from) {
      ids.push(id);
      seen(ids.length);
    }
  } catch (error) {
    return { error, ids };
  }
  return assert.unreachable("expected an error") as never;
}

const argmax = (logits: Float32Array): number => logits.indexOf(Math.max(...logits));
const PROMPT = [17, 300, 4001, 256, 17];

/** Both sessions are at the same point, bit for bit, and say the same from here on. */
async function sameFuture(what: string, a: Session, b: Session): Promise<void> {
  assert.is(a.position, b.position, what);
  assert.ok(Buffer.from(a.save()).equals(b.save()), `${what}: the states differ`);
  assert.equal(await a.decode(9), await b.decode(9), what);
}

/** A session that has read a prompt at once, then ids one by one, as generation does. */
async function after(model: Model, prompt: ArrayLike<number>, ids: readonly number[] = []): Promise<Session> {
  const session = model.session();
  await session.prefill(prompt);
  for (const id of ids) await session.decode(id);
  return session;
}

test("greedy generation is prefill and decode by hand", () =>
  withModel(async (model) => {
    const session = model.session();
    const { ids } = await collect(session.generate(PROMPT, { temperature: 0, maxTokens: 30 }));
    const byHand = model.session();
    const want: number[] = [];
    let logits = await byHand.prefill(PROMPT);
    for (let i = 0; i < 30; i++) {
      want.push(argmax(logits));
      logits = await byHand.decode(want.at(-1)!);
    }
    assert.equal(ids, want);
    assert.ok(new Set(ids).size > 5, `too dull a text: ${ids}`);
    await sameFuture("afterwards", session, byHand);
  }));

test("a seed decides every token; without one they differ", () =>
  withModel(async (model) => {
    const run = async (options: GenerateOptions): Promise<string> =>
      (await collect(model.session().generate(PROMPT, { maxTokens: 20, ...options }))).ids.join();
    assert.is(await run({ seed: 5 }), await run({ seed: 5 }));
    assert.is.not(await run({ seed: 5 }), await run({ seed: 6 }));
    assert.is.not(await run({}), await run({}));
    assert.is(await run({ temperature: 3, topK: 1 }), await run({ temperature: 0 }));
  }));

test("a repetition penalty counts the prompt's tokens and those given out", () =>
  withModel(async (model) => {
    const generate = async (prompt: number[], repetitionPenalty: number): Promise<number[]> =>
      (await collect(model.session().generate(prompt, { temperature: 0, maxTokens: 12, repetitionPenalty }))).ids;
    const prompt = Array.from({ length: 15 }, (_, i) => 4 * i);
    const distinct = (ids: number[]): number => new Set([...prompt, ...ids]).size;
    assert.is(distinct(await generate(prompt, 1e9)), 27);
    assert.ok(distinct(await generate(prompt, 1)) < 27, "without it some would be said again");
    // the first token to come is in the prompt
    const [next] = await generate(prompt, 1);
    const [again] = await generate([next!, ...prompt], 1);
    const [other] = await generate([next!, again!, ...prompt], 1e9);
    assert.ok(other !== next && other !== again && !prompt.includes(other!));
  }, { vocab_size: 61, tokenizer: "" }));

test("the pieces together are the text of all ids", () =>
  withModel(async (model) => {
    for (let seed = 0; seed < 40; seed++) {
      const { ids, text } = await collect(model.session().generate([seed], { maxTokens: 40, temperature: 20, seed }));
      assert.is(ids.length, 40);
      assert.is(text, model.tokenizer!.decode(ids), `seed ${seed}`);
    }
  }));

/** A tokenizer of seven tokens: the bytes F0 9F A6 9C, C3 A9 and E9, which make 🦜, 韦 and é, and mostly nothing. */
function bytesTokenizer(): string {
  const json = JSON.parse(tokenizer) as { model: { vocab: object; merges: unknown[] }; added_tokens: unknown[] };
  // as byte-level vocabularies spell bytes: 7F to A0 from U+0121 on, those above as themselves
  const vocab = Object.fromEntries(
    [0xf0, 0x9f, 0xa6, 0x9c, 0xc3, 0xa9, 0xe9].map((byte, id) => [
      String.fromCharCode(byte <= 0xa0 ? 0x121 + byte - 0x7f : byte), id,
    ]),
  );
  return JSON.stringify({
    ...json, added_tokens: [], post_processor: null, model: { ...json.model, vocab, merges: [] },
  });
}

test("characters of two to four bytes come whole, and the pieces are still all there", () =>
  withModel(async (model) => {
    const said = new Map([["é", 0], ["韦", 0], ["🦜", 0]]), whole = /[\ud800-\udbff]$|^[\udc00-\udfff]/;
    for (let seed = 0; seed < 20; seed++) {
      const { ids, pieces, text } = await collect(
        model.session().generate([0], { maxTokens: 500, temperature: 100, seed }),
      );
      assert.is(text, model.tokenizer!.decode(ids), `seed ${seed}`);
      for (const piece of pieces) {
        if (whole.test(piece)) assert.unreachable(`half a character: ${JSON.stringify(piece)}`);
        for (const [character, count] of said) if (piece.includes(character)) said.set(character, count + 1);
      }
    }
    for (const [character, count] of said) assert.ok(count > 0, `${character} was never said`);
  }, { vocab_size: 7, tokenizer: bytesTokenizer() }, { deterministic: true }));

test("an end token ends it, and is not read", () =>
  withModel(async (model) => {
    const { ids } = await collect(model.session().generate(PROMPT, { temperature: 0, maxTokens: 12 }));
    const eos = ids[7]!;
    const first = ids.indexOf(eos);
    await withModel(async (ending) => {
      const session = ending.session();
      const got = await collect(session.generate(PROMPT, { temperature: 0, maxTokens: 12 }));
      // text that was held back comes with the end token itself
      assert.equal(got.ids.filter((id) => id !== eos), ids.slice(0, first));
      assert.is(got.text, ending.tokenizer!.decode(ids.slice(0, first)));
      await sameFuture("after the end", session, await after(ending, PROMPT, ids.slice(0, first)));
    }, { eos_token_id: eos });
  }));

test("stop strings: the text ends before them, the session has read what was given out", () =>
  withModel(async (model) => {
    const whole = await collect(model.session().generate(PROMPT, { maxTokens: 40, temperature: 2, seed: 4 }));
    for (const [from, to] of [
      [0, 1], [3, 6], [10, 14], [20, 21], [whole.text.length - 3, whole.text.length],
    ] as const) {
      const stop = whole.text.slice(from, to), end = whole.text.indexOf(stop);
      for (const stops of [stop, [stop], ["this is not said", stop]]) {
        const session = model.session();
        const got = await collect(session.generate(PROMPT, { maxTokens: 40, temperature: 2, seed: 4, stop: stops }));
        assert.is(got.text, whole.text.slice(0, end));
        assert.equal(got.ids, whole.ids.slice(0, got.ids.length));
        assert.ok(got.ids.length >= 1 && model.tokenizer!.decode(got.ids).includes(stop));
        assert.is(session.position, PROMPT.length + got.ids.length);
      }
    }
    const unmet = await collect(
      model.session().generate(PROMPT, { maxTokens: 40, temperature: 2, seed: 4, stop: "this is not said" }),
    );
    assert.equal([unmet.text, unmet.ids], [whole.text, whole.ids]);
  }));

test("maxTokens 0 reads the prompt and says nothing; 1 says one token", () =>
  withModel(async (model) => {
    const session = model.session();
    assert.equal((await collect(session.generate(PROMPT, { maxTokens: 0 }))).ids, []);
    await sameFuture("maxTokens 0", session, await after(model, PROMPT));
    const { ids } = await collect(session.generate([], { maxTokens: 1 }));
    assert.is(ids.length, 1);
    assert.is(session.position, PROMPT.length + 2);
  }));

test("what ended it is said", () =>
  withModel(async (model) => {
    const finish = async (of: Model, options: GenerateOptions): Promise<unknown> => {
      const running = of.session().generate(PROMPT, { temperature: 0, maxTokens: 12, ...options });
      for (;;) {
        const step = await running.next();
        if (step.done) return step.value;
      }
    };
    const { ids, text } = await collect(model.session().generate(PROMPT, { temperature: 0, maxTokens: 12 }));
    assert.equal(await finish(model, {}), { finish: "length" });
    assert.equal(await finish(model, { maxTokens: 0 }), { finish: "length" });
    assert.equal(await finish(model, { stop: text.slice(2, 6) }), { finish: "stop" });
    await withModel(async (ending) => assert.equal(await finish(ending, {}), { finish: "eos" }), {
      eos_token_id: ids[7]!,
    });
  }));

test("what is known of a generation: seed, counts and how it ended, without driving the iterator by hand", () =>
  withModel(async (model) => {
    const session = model.session(), story = session.generate(PROMPT, { maxTokens: 6, seed: 3 });
    assert.equal([story.seed, story.promptTokens, story.generatedTokens, story.finish], [3, 0, 0, undefined]);
    let count = 0;
    for await (const _ of story) {
      assert.equal([story.promptTokens, story.generatedTokens], [5, ++count]);
      // the last one is known as such when it comes
      assert.is(story.finish, count === 6 ? "length" : undefined);
    }
    assert.equal([story.promptTokens, story.generatedTokens, story.finish], [5, 6, "length"]);
    // a random seed is told, and gives the same again
    const free = model.session().generate(PROMPT, { maxTokens: 8 }), first = await collect(free);
    assert.ok(Number.isSafeInteger(free.seed));
    assert.equal(await collect(model.session().generate(PROMPT, { maxTokens: 8, seed: free.seed })), first);
    const broken = session.generate([], { maxTokens: 6 });
    for await (const _ of broken) break;
    assert.equal([broken.promptTokens, broken.generatedTokens, broken.finish], [0, 1, undefined]);
    const begun = model.session().generate([], { maxTokens: 0 });
    assert.equal(await begun.next(), { done: true, value: { finish: "length" } });
    assert.equal([begun.promptTokens, begun.generatedTokens, begun.finish], [1, 0, "length"]);
    const eos = first.ids[4]!;
    await withModel(async (ending) => {
      const told = ending.session().generate(PROMPT, { maxTokens: 8, seed: free.seed });
      await collect(told);
      assert.equal([told.generatedTokens, told.finish], [first.ids.indexOf(eos), "eos"]);
    }, { eos_token_id: eos });
  }));

test("as a stream of text: the same pieces, on demand; cancelling it leaves the session free", () =>
  withModel(async (model) => {
    const options = { maxTokens: 25, temperature: 2, seed: 4 };
    const { text } = await collect(model.session().generate(PROMPT, options));
    const story = model.session().generate(PROMPT, options);
    assert.is(await new Response(story.stream().pipeThrough(new TextEncoderStream())).text(), text);
    assert.equal([story.finish, story.generatedTokens], ["length", 25]);
    const session = model.session(), pieces: string[] = [];
    for await (const piece of session.generate(PROMPT, options).stream() as unknown as AsyncIterable<string>) {
      assert.ok(piece !== "");
      if (pieces.push(piece) === 3) break;
    }
    assert.ok(text.startsWith(pieces.join("")));
    const { position } = session;
    assert.ok(position < PROMPT.length + 25, "nothing was made ahead");
    await session.decode(1);
    assert.is(session.position, position + 1);
    const wrong = model.session().generate(PROMPT, { maxTokens: -1 }).stream().getReader();
    await rejects(() => wrong.read(), /^maxTokens is -1/, RangeError);
  }));

test("maxTokens: Infinity goes on until something else ends it", () =>
  withModel(async (model) => {
    const session = model.session(), story = session.generate(PROMPT, { maxTokens: Infinity, seed: 1 });
    for await (const _ of story) if (story.generatedTokens === 400) break;
    assert.is(session.position, PROMPT.length + 400);
  }));

test("logprobs: of the token and of the most likely ones, as the model had them", () =>
  withModel(async (model) => {
    const options = { maxTokens: 10, seed: 6, temperature: 3, topK: 50, logitBias: { 17: 5 } };
    const byHand = model.session();
    let logits = await byHand.prefill(PROMPT);
    const seen: number[] = [];
    for await (const { id, logprob, top } of model.session().generate(PROMPT, { ...options, logprobs: 4 })) {
      seen.push(id);
      const max = Math.max(...logits), total = Math.log(logits.reduce((sum, x) => sum + Math.exp(x - max), 0)) + max;
      const want = Array.from(
        logits, (x, i) => ({ id: i, logprob: x - total }),
      ).sort((a, b) => b.logprob - a.logprob || a.id - b.id);
      const close = (got: number, wanted: number): void => {
        assert.ok(Math.abs(got - wanted) < 1e-5, `${got}, expected ${wanted}`);
      };
      close(logprob!, want.find((each) => each.id === id)!.logprob);
      assert.equal(top!.map((each) => each.id), want.slice(0, 4).map((each) => each.id));
      top!.forEach((each, i) => close(each.logprob, want[i]!.logprob));
      logits = await byHand.decode(id);
    }
    // they change no token
    assert.equal(seen, (await collect(model.session().generate(PROMPT, options))).ids);
    const [none] = await all(model.session().generate(PROMPT, { ...options, logprobs: 0 }));
    assert.equal([typeof none!.logprob, none!.top], ["number", []]);
    const [plain] = await all(model.session().generate(PROMPT, options));
    assert.equal(Object.keys(plain!), ["id", "text"]);
  }));

test("logitBias and the logits hook: tokens ruled out, chosen, and looked at", () =>
  withModel(async (model) => {
    const greedy = { maxTokens: 12, temperature: 0 }, { ids } = await collect(model.session().generate(PROMPT, greedy));
    const banned = new Map([...new Set(ids)].map((id) => [id, -Infinity]));
    for (const logitBias of [banned, Object.fromEntries(banned)]) {
      const { ids } = await collect(model.session().generate(PROMPT, { ...greedy, logitBias }));
      assert.ok(ids.every((id) => !banned.has(id)));
    }
    assert.equal(
      (await collect(model.session().generate(PROMPT, { ...greedy, logitBias: { 99: 1e6 } }))).ids, Array(12).fill(99),
    );

    const session = model.session(), positions: number[] = [];
    const { ids: only } = await collect(session.generate(PROMPT, {
      ...greedy,
      logits(logits, of) {
        assert.ok(of === session && logits instanceof Float32Array && logits.length === VOCAB);
        positions.push(of.position);
        for (let id = 0; id < VOCAB; id++) if (id !== 200 + positions.length) logits[id] = -Infinity;
      },
    }));
    assert.equal(only, Array.from({ length: 12 }, (_, i) => 201 + i));
    assert.equal(positions, Array.from({ length: 12 }, (_, i) => PROMPT.length + i));
    // what it throws ends the generation, and the session has read what was given out
    const failing = model.session();
    const options: GenerateOptions = {
      ...greedy,
      logits(_, { position }) {
        if (position === PROMPT.length + 3) throw new Error("no more");
      },
    };
    await rejects(() => collect(failing.generate(PROMPT, options)), /^no more$/);
    await sameFuture("after a hook that threw", failing, await after(model, PROMPT, ids.slice(0, 3)));
  }));

test("a prompt of no tokens: a new session begins with bos, an old one goes on from its last token", () =>
  withModel(async (model) => {
    const how = { maxTokens: 8, seed: 2 }, begun = await collect(model.session().generate([0], how));
    for (const prompt of [undefined, [], new Int32Array(0), ""]) {
      const session = model.session();
      assert.equal(await collect(session.generate(prompt, how)), begun);
      assert.is(session.position, 9);
    }
    const old = await after(model, PROMPT);
    assert.equal(await collect(old.generate([], how)), await collect(model.session().generate(PROMPT, how)));
    assert.is(old.position, PROMPT.length + 8);
    // broken off and gone on: greedy tokens are the same as in one go
    const session = model.session();
    const want = (await collect(model.session().generate(PROMPT, { maxTokens: 12, temperature: 0 }))).ids;
    const got: number[] = [];
    assert.ok(new Set(want).size > 5, `too dull a text: ${want}`);
    for await (const { id } of session.generate(PROMPT, { maxTokens: 12, temperature: 0 }))
      if (got.push(id) === 5) break;
    got.push(...(await collect(session.generate([], { maxTokens: 7, temperature: 0 }))).ids);
    assert.equal(got, want);
    await withModel(
      (without) =>
        rejects(
          () => without.session().generate([]).next(),
          /^the prompt has no tokens and the config no bos_token_id: give a prompt$/, RangeError,
        ),
      { bos_token_id: undefined as never },
    );
  }));

test("text prompts are the tokenizer's ids", () =>
  withModel(async (model) => {
    const how = { maxTokens: 6, seed: 9 }, text = "It was a dark evening — naïve 🦜";
    assert.equal(
      await collect(model.session().generate(text, how)),
      await collect(model.session().generate(model.tokenizer!.encode(text), how)),
    );
  }));

test("without a tokenizer: ids in, ids out, and neither text nor stop strings", () =>
  withModel(async (model) => {
    assert.is(model.tokenizer, undefined);
    const session = model.session(), { ids, text } = await collect(session.generate(PROMPT, { maxTokens: 5, seed: 1 }));
    assert.equal([ids.length, text], [5, ""]);
    await rejects(
      () => session.generate("Once").next(),
      /^the model came without tokenizer\.json: give token ids instead of text, or load it with a tokenizer$/,
      TypeError,
    );
    await rejects(
      () => session.generate([1], { stop: "." }).next(),
      /^the model came without tokenizer\.json: stop strings need one$/, TypeError,
    );
    assert.is(session.position, PROMPT.length + 5);
  }, { tokenizer: "" }));

test("what is wrong is said before anything is read", () =>
  withModel(async (model) => {
    const session = await after(model, PROMPT);
    const before = session.save();
    const aborted = AbortSignal.abort(new Error("not at all"));
    for (const [prompt, options, message, Kind] of [
      [
        [1, 4096], {}, /^token id 4096 at index 1 is not in the vocabulary: expected a whole number from 0 to 4095$/,
        RangeError,
      ],
      [[-1], {}, /^token id -1/, RangeError],
      [7, {}, /^ids is number 7/, TypeError],
      [null, {}, /^ids is null/, TypeError],
      [[1], { temperature: NaN }, /^temperature is NaN, expected a number from 0/, RangeError],
      [[1], { temperature: -1 }, /^temperature is -1/, RangeError],
      [[1], { temperature: "1" }, /^temperature is string/, TypeError],
      [[1], { topK: 1.5 }, /^topK is 1\.5/, RangeError],
      [[1], { topP: 0 }, /^topP is 0/, RangeError],
      [[1], { seed: 0.5 }, /^seed is 0\.5/, RangeError],
      [[1], { repetitionPenalty: 0 }, /^repetitionPenalty is 0/, RangeError],
      [[1], { maxTokens: -1 }, /^maxTokens is -1, expected a whole number from 0$/, RangeError],
      [[1], { maxTokens: NaN }, /^maxTokens is NaN/, RangeError],
      [[1], { maxTokens: 1.5 }, /^maxTokens is 1\.5/, RangeError],
      [[1], { stop: "" }, /^stop\[0\] is empty/, RangeError],
      [[1], { stop: [""] }, /^stop\[0\] is empty/, RangeError],
      [[1], { stop: [7] }, /^stop\[0\] is number/, TypeError],
      [[1], { signal: aborted }, /^not at all$/, Error],
      [[1], { minP: 2 }, /^minP is 2, expected a number from 0 \(all tokens\) to 1$/, RangeError],
      [[1], { logitBias: { 4096: 1 } }, /^token id 4096 of logitBias is not in the vocabulary/, RangeError],
      [[1], { logitBias: 5 }, /^logitBias is 5, expected a Map or an object/, TypeError],
      [[1], { logprobs: -1 }, /^logprobs is -1, expected a whole number from 0/, RangeError],
      [[1], { logprobs: true }, /^logprobs is boolean/, TypeError],
      [[1], { logits: 5 }, /^logits is number 5, expected a function$/, TypeError],
      [[1], { stop: null }, /^stop is object, expected a list/, TypeError],
      [[1], { max_tokens: 5 }, /^generate\(\) has no option "max_tokens": did you mean maxTokens\?$/, TypeError],
      [[1], { signal: 5 }, /^signal is number 5, expected an AbortSignal$/, TypeError],
      [[1], null, /^the options of generate\(\) are null, expected an object$/, TypeError],
      [[1], { maxTokens: "5" }, /^maxTokens is 5, expected/, RangeError],
    ] as const) {
      await rejects(() => session.generate(prompt as never, options as never).next(), message, Kind);
      assert.is(session.position, PROMPT.length);
    }
    assert.equal(session.save(), before);
  }));

test("abort from inside the loop: nothing more comes, and the session has read what did", () =>
  withModel(async (model) => {
    const session = model.session(), controller = new AbortController(), reason = new Error("enough");
    const { error, ids } = await failure(
      session.generate(PROMPT, { maxTokens: 1000, seed: 1, signal: controller.signal }),
      (count) => {
        if (count === 3) controller.abort(reason);
      },
    );
    assert.is(error, reason);
    assert.is(ids.length, 3);
    assert.equal(ids, (await collect(model.session().generate(PROMPT, { maxTokens: 3, seed: 1 }))).ids);
    await sameFuture("after an abort", session, await after(model, PROMPT, ids));
  }));

test("abort from a timer: within one token, the default reason is an AbortError", () =>
  withModel(async (model) => {
    const session = model.session(), controller = new AbortController();
    let count = 0, atAbort = -1;
    setTimeout(() => { atAbort = count; controller.abort(); }, 30);
    const { error, ids } = await failure(
      session.generate(PROMPT, { maxTokens: 1e6, seed: 1, signal: controller.signal }),
      (n) => {
        count = n;
      },
    );
    assert.is((error as Error).name, "AbortError");
    assert.ok(atAbort >= 0 && ids.length <= atAbort + 1, `${ids.length} tokens, aborted after ${atAbort}`);
    assert.is(session.position, PROMPT.length + ids.length);
    assert.is((await collect(session.generate([], { maxTokens: 4 }))).ids.length, 4);
  }));

test("abort while a long prompt is read", () =>
  withModel(async (model) => {
    const session = model.session();
    const controller = new AbortController();
    const long = Int32Array.from({ length: 20_000 }, (_, i) => i % VOCAB);
    setImmediate(() => controller.abort());
    const { ids } = await failure(session.generate(long, { signal: controller.signal }));
    assert.equal(ids, []);
    const { position } = session;
    assert.ok(position < long.length, `${position} tokens were read`);
    await sameFuture(
      "after an abort", session, position > 0 ? await after(model, long.subarray(0, position)) : model.session(),
    );
  }));

test("broken off: the last token given out is part of what is saved", () =>
  withModel(async (model) => {
    for (const count of [1, 2, 7]) {
      const session = model.session(), ids: number[] = [];
      for await (const { id } of session.generate(PROMPT, { seed: 3 })) if (ids.push(id) === count) break;
      assert.is(session.position, PROMPT.length + count);
      const again = model.session(session.save());
      assert.is(again.position, PROMPT.length + count);
      const byHand = await after(model, PROMPT, ids);
      await sameFuture(`after ${count}, restored`, again, byHand.fork());
      await sameFuture(`after ${count}`, session, byHand);
    }
  }));

test("several generations take turns without disturbing each other", () =>
  withModel(async (model) => {
    const options = (seed: number): GenerateOptions => ({ maxTokens: 15, temperature: 1.5, seed });
    const alone = await Promise.all(
      [1, 2, 3, 4].map(async (seed) => collect(model.session().generate([seed], options(seed)))),
    );
    assert.equal(
      await Promise.all([1, 2, 3, 4].map((seed) => collect(model.session().generate([seed], options(seed))))), alone,
    );
    for (const [i, seed] of [1, 2, 3, 4].entries())
      assert.equal(await collect(model.session().generate([seed], options(seed))), alone[i]);
  }, {}, { sessions: 2 }));

test.run();
