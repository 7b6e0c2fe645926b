// What is special to LLaMA with PRepBN beside its folders in tests/golden: other shapes, the cache and its context.
import { load as loadInWorker } from "slab-wasm/worker";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model, Session } from "../../bindings/index.ts";
import { HEADER_BYTES } from "../../bindings/tasks/snapshot.ts";
import { parseConfig } from "../../models/all.ts";
import type { SlabLlamaConfig } from "../../models/language/slab-llama.ts";
import { rejects } from "../bindings/checkpoint/fixtures.ts";
import { writeEntries } from "../bindings/tiny.ts";
import { naiveLlama } from "../golden/naive-llama.ts";
import { llamaEntries, tinyLlama, tinyLlamaConfig } from "../golden/tiny-llama.ts";
import type { TinyLlamaConfig } from "../golden/tiny-llama.ts";
import { runs } from "./builds.ts";

/** Of max|logit|. */
const TOLERANCE = 5e-6;
const VOCAB = tinyLlamaConfig.vocab_size;

async function withModel(
  use: (model: Model) => unknown, options: LoadOptions = {}, changes: Partial<TinyLlamaConfig> = {},
): Promise<void> {
  const model = await load(tinyLlama(changes), { threads: 1, ...options });
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

function assertLogits(what: string, got: ArrayLike<number>, want: ArrayLike<number>, relative = TOLERANCE): void {
  assert.is(got.length, want.length, what);
  let largest = 0;
  for (let i = 0; i < want.length; i++) largest = Math.max(largest, Math.abs(want[i]!));
  for (let i = 0; i < got.length; i++) {
    if (!(Math.abs(got[i]! - want[i]!) <= relative * largest))
      assert.unreachable(`${what}: logit ${i} is ${got[i]}, expected ${want[i]} within ${relative * largest}`);
  }
}

const idsOf = (seed: number, count: number, vocab = VOCAB): number[] =>
  Array.from({ length: count }, (_, i) => (i * i * 7 + seed * 31 + i) % vocab);
const networkOf = (model: Model): SlabLlamaConfig => model.config.network as SlabLlamaConfig;
const rowOf = <A extends Float32Array | Float64Array>(logits: A, t: number, vocab = VOCAB): A =>
  logits.subarray(t * vocab, (t + 1) * vocab) as A;

const shapes: Record<string, Partial<TinyLlamaConfig>> = {
  "as published": {}, "one head": { num_attention_heads: 1 }, "heads of 8": { num_attention_heads: 8 },
  "heads of 24": { hidden_size: 72, num_attention_heads: 3 },
  "heads of 128": { hidden_size: 256, num_hidden_layers: 1 }, "tied": { tie_word_embeddings: true },
  "another base and epsilon": { rope_theta: 500, rms_norm_eps: 0.1 },
  "an odd number of everything": { vocab_size: 13, intermediate_size: 7, num_hidden_layers: 3 },
};
/** Parts of 150 tokens: alone, up to a page and over one, in pages. */
const SPLITS = [[1, 30, 1, 1, 31, 32, 33, 21], [64, 64, 22], [149, 1], [2, 147, 1]];

for (const [shape, changes] of Object.entries(shapes)) {
  test(`a tiny network matches float64, all at once, in parts and token by token: ${shape}`, async () => {
    const parts = tinyLlama(changes), vocab = parts.config.vocab_size, ids = idsOf(1, 150, vocab);
    let want: Float64Array | undefined;
    for (const { build, threads } of runs.filter((run) => run.threads < 3)) {
      await withModel(async (model) => {
        want ??= await naiveLlama(parts.weights, networkOf(model), ids);
        const logits = await model.session().logits(ids), single = model.session();
        assertLogits(build, logits, want);
        for (const [t, id] of ids.entries())
          assertLogits(`${build}: decoded token ${t}`, await single.decode(id), rowOf(want, t, vocab));
        for (const split of SPLITS) {
          const chunked = model.session();
          for (const count of split) {
            const end = chunked.position + count;
            // pages begin at the same tokens however the text comes: the same bits
            assert.equal(
              await chunked.prefill(ids.slice(chunked.position, end)), rowOf(logits, end - 1, vocab).slice(),
              `${build}: parts to ${end}`,
            );
          }
        }
      }, { build, threads, sessions: 2 }, changes);
    }
  });
}

test("more tokens than one prefill run takes, and the whole context", () =>
  withModel(async (model) => {
    const ids = idsOf(2, 512), session = model.session(), logits = await session.logits(ids);
    assertLogits("512 tokens", logits, await naiveLlama(tinyLlama().weights, networkOf(model), ids));
    assert.is(session.position, 512);
  }));

for (const { build, threads } of runs.filter((run) => run.threads < 3)) {
  test(`decodeBatch: timelines of any length, more than there are slots: ${build}, threads=${threads}`, () =>
    withModel(async (model) => {
      const lengths = [1, 31, 32, 33, 5, 100], together: Session[] = [], single: Session[] = [];
      for (const [s, length] of lengths.entries()) {
        for (const list of [together, single]) {
          const session = model.session();
          await session.prefill(idsOf(s, length));
          list.push(session);
        }
      }
      for (let step = 0; step < 40; step++) {
        const ids = lengths.map((_, s) => (13 * step + s) % VOCAB), logits = await model.decodeBatch(together, ids);
        for (const [s, session] of single.entries()) {
          const want = await session.decode(ids[s]!);
          assertLogits(`step ${step}, session ${s}`, rowOf(logits, s), want, 1e-6);
        }
      }
      for (const [s, session] of single.entries()) {
        assert.is(together[s]!.position, lengths[s]! + 40);
        // rows of several are summed like rows of one
        assert.equal(together[s]!.save(), session.save());
      }
    }, { build, threads, sessions: 4 }));
}

test("a snapshot holds what was read, and goes on with the same bits in a model with another context", () =>
  withModel((model) =>
    withModel(async (other) => {
      const { stateBytes } = model.session(), page = 2 * 64 * 32 * 4 * 2;
      assert.is(stateBytes, 256 + 16 * page);
      assert.is(other.session().stateBytes, 256 + 4 * page);
      for (const length of [0, 1, 32, 33, 100]) {
        const session = model.session();
        if (length) await session.prefill(idsOf(4, length));
        const bytes = session.save();
        assert.is(bytes.length, HEADER_BYTES + 256 + Math.ceil(length / 32) * page);
        for (const where of [model, other]) {
          const again = where.session(bytes);
          assert.is(again.position, length);
          assert.equal(again.save(), bytes);
          assert.equal(await again.decode(7), await session.fork().decode(7));
        }
      }
      const long = model.session();
      await long.prefill(idsOf(5, 129));
      await rejects(
        () => other.session(long.save()),
        /^the snapshot has read 129 tokens, the model has room for 128: load it with the option context of at least 129$/,
        RangeError,
      );
    }, { context: 128 })));

test("what others left in a slot does not show", () =>
  withModel(async (model) => {
    const first = model.session();
    await first.prefill(idsOf(6, 50));
    const want = first.save();
    await model.session().prefill(idsOf(7, 300));
    // the same text again, in the slot of the longer one
    const second = model.session();
    await second.prefill(idsOf(6, 20));
    for (const id of idsOf(6, 50).slice(20)) await second.decode(id);
    const third = model.session();
    await third.prefill(idsOf(6, 50));
    assert.equal(third.save(), want);
    assert.is(second.save().length, want.length);
    first.reset();
    await first.prefill(idsOf(6, 50));
    assert.equal(first.save(), want);
  }, { sessions: 1 }));

test("beyond the context is one clear error, before anything is read", () =>
  withModel(async (model) => {
    const session = model.session();
    assert.is(session.context, 40);
    await session.prefill(idsOf(1, 38));
    const beyond =
      /^3 more tokens after 38 are beyond the context of 40: read fewer, reset\(\) the session, or load the model with a larger context$/;
    for (const use of [
      () => session.prefill([1, 2, 3]), () => session.logits([1, 2, 3]), () => session.generate([1, 2]).next(),
    ])
      await rejects(use, beyond, RangeError);
    assert.is(session.position, 38);
    const next = await session.fork().decode(5);
    assert.equal(await session.decode(5), next);
    await session.decode(6);
    await rejects(() => session.decode(7), /^1 more tokens after 40 are beyond the context of 40/, RangeError);
    await rejects(() => model.decodeBatch([model.session(), session], [1, 2]), /^1 more tokens after 40/, RangeError);
    // what it has read is as good as before
    assert.ok((await session.prefill([])).every(Number.isFinite));
    session.reset();
    await session.prefill(idsOf(1, 40));
  }, { context: 40 }));

test("generate ends where the context does", () =>
  withModel(async (model) => {
    const session = model.session();
    const ids: number[] = [];
    const run = session.generate(idsOf(1, 30), { maxTokens: 100, seed: 1 });
    for (;;) {
      const { done, value } = await run.next();
      if (done) {
        assert.equal(value, { finish: "length" });
        break;
      }
      ids.push(value.id);
    }
    assert.is(ids.length, 10);
    assert.is(session.position, 40);
    // the last token that was given out is read, too
    assert.is(model.session(session.save()).position, 40);
    await rejects(() => session.generate([], { maxTokens: 1 }).next(), /^1 more tokens after 40/, RangeError);
  }, { context: 40 }));

test("context is checked, and what memory holds of it is reported", async () => {
  for (const context of [0, -1, 1.5, 513, NaN])
    await rejects(
      () => load(tinyLlama(), { context }),
      /^context is .*, expected a whole number from 1 to 512, the config's max_position_embeddings$/, RangeError,
    );
  await withModel((model) => {
    assert.is(model.session().context, 512);
    assert.is(model.memory().state, 3 * model.session().stateBytes);
  }, { sessions: 3 });
});

test("a packed checkpoint does not depend on the context", () =>
  withModel(async (model) => {
    const ids = idsOf(8, 40), want = await model.session().logits(ids);
    const again = await load({ config: tinyLlamaConfig, weights: await model.pack() }, { threads: 1, context: 64 });
    assert.equal(await again.session().logits(ids), want);
    again.dispose();
  }));

test("a model in a worker knows its context", async () => {
  const model = await loadInWorker(
    { config: tinyLlamaConfig, weights: safetensorsBytes(writeEntries(llamaEntries(tinyLlamaConfig))) },
    { threads: 1, context: 40 },
  );
  const session = await model.session();
  assert.is(session.context, 40);
  await rejects(
    () => session.prefill(idsOf(1, 41)), /^41 more tokens after 0 are beyond the context of 40/, RangeError,
  );
  assert.is((await session.prefill(idsOf(1, 40))).length, VOCAB);
  model.dispose();
});

test("a profile has the cache's ops, at half of the context", () =>
  withModel(async (model) => {
    for (const program of ["decode", "prefill"] as const) {
      const { ops } = await model.profile({ program, rounds: 1 });
      assert.is(ops.filter(({ op }) => op === "cachedAttention").length, 2);
      assert.ok(ops.every(({ timeMs }) => Number.isFinite(timeMs)));
    }
    // and sessions are none the worse
    const session = model.session();
    await session.prefill(idsOf(1, 7));
    assert.ok((await session.decode(3)).every(Number.isFinite));
  }));

test("config: what other LLaMAs have is refused", () => {
  assert.is(
    parseConfig({
      ...tinyLlamaConfig, model_type: "llama", num_key_value_heads: 2, head_dim: 32, rope_scaling: null,
      attention_bias: false,
    }).architecture,
    "slab_llama",
  );
  for (const [changes, message] of [
    [{ num_key_value_heads: 1 }, /"num_key_value_heads" is 1, expected 2: other LLaMAs are not supported$/],
    [{ head_dim: 16 }, /"head_dim" is 16, expected 32/],
    [
      { rope_scaling: { type: "linear", factor: 2 } },
      /"rope_scaling" is \{"type":"linear","factor":2\}, expected null/,
    ],
    [{ attention_bias: true }, /"attention_bias" is true, expected false/],
    [{ hidden_size: 40 }, /heads of 20 channels, expected a multiple of 8/],
    [{ hidden_act: "gelu" }, /"hidden_act" is "gelu", expected "silu"/],
    [{ rope_theta: 0 }, /"rope_theta" is 0/],
    [{ max_position_embeddings: 0 }, /"max_position_embeddings" is 0/],
    [{ rms_norm_eps: -1 }, /"rms_norm_eps" is -1/],
  ] as const)
    assert.throws(() => parseConfig({ ...tinyLlamaConfig, ...changes }), message);
});

test.run();
