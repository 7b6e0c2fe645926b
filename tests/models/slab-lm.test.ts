// The trained language model against PyTorch's logits and against float64; small random ones of other shapes against
// float64.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bytesSource, Checkpoint } from "../../bindings/checkpoint/index.ts";
import { readExactly, readHeader } from "../../bindings/checkpoint/safetensors.ts";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model, ModelParts } from "../../bindings/index.ts";
import type { SlabLmConfig } from "../../models/language/slab-lm.ts";
import { naiveSlabLm, surprise } from "../golden/naive-lm.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { runs } from "./builds.ts";

const folder = fileURLToPath(new URL("../../models/pretrained/slab-lm-books", import.meta.url));
/** Of max|logit|: what float32 sums in any order stay well within. */
const TOLERANCE = 1e-5;
const VOCAB = 4096;

/** The trained model's probe: 1,024 ids, and PyTorch's logits after every 64th. */
async function readProbe(): Promise<{ ids: Int32Array; logits: Float32Array }> {
  const source = bytesSource("probe.safetensors", readFileSync(`${folder}/probe.safetensors`));
  const { entries } = await readHeader(source);
  const read = async (name: string): Promise<ArrayBuffer> =>
    Uint8Array.from(await readExactly(source, entries.get(name)!.begin, entries.get(name)!.end)).buffer;
  return { ids: new Int32Array(await read("ids")), logits: new Float32Array(await read("logits")) };
}
const probe = await readProbe();
const golden = JSON.parse(readFileSync(new URL("../golden/slab-lm-books.json", import.meta.url), "utf8")) as {
  tokens: number;
  nll: number;
  perplexity: number;
};
/** The probe over and over. */
const text = Int32Array.from({ length: golden.tokens }, (_, t) => probe.ids[t % probe.ids.length]!);

async function withModel(
  source: string | ModelParts, options: LoadOptions, use: (model: Model) => Promise<void>,
): Promise<void> {
  const model = await load(source, options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

function assertLogits(what: string, got: ArrayLike<number>, expected: ArrayLike<number>, relative = TOLERANCE): void {
  assert.is(got.length, expected.length, what);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) largest = Math.max(largest, Math.abs(expected[i]!));
  for (let i = 0; i < got.length; i++) {
    if (!(Math.abs(got[i]! - expected[i]!) <= relative * largest))
      assert.unreachable(`${what}: logit ${i} is ${got[i]}, expected ${expected[i]} within ${relative * largest}`);
  }
}

const rowOf = (logits: Float32Array, t: number, vocab = VOCAB): Float32Array =>
  logits.subarray(t * vocab, (t + 1) * vocab);
/** By number of threads, of the build with the same arithmetic. */
const seen = new Map<string, { logits: Float32Array; last: Float32Array; decoded: Float32Array }>();
const SPLITS = [[1, 3, 63, 64, 65, 200, 255, 256], [257, 127, 2, 126]];

for (const { build, threads } of runs) {
  test(`slab-lm-books matches PyTorch, all at once, in chunks and token by token: ${build}, threads=${threads}`, () =>
    withModel(folder, { build, threads, sessions: 2 }, async (model) => {
      assert.is(model.caps.build, build);
      const session = model.session(), logits = await session.logits(probe.ids);
      assert.is(session.position, 1024);
      for (let i = 0; i < 16; i++) assertLogits(`after token ${64 * i}`, rowOf(logits, 64 * i), rowOf(probe.logits, i));
      // the logits of no tokens are those of the last one
      const last = await session.prefill([]);
      assert.equal(last, rowOf(logits, 1023).slice());

      for (const splits of threads === 3 ? SPLITS : SPLITS.slice(1)) {
        const chunked = model.session();
        for (const count of splits) {
          const end = chunked.position + count, got = await chunked.prefill(probe.ids.subarray(chunked.position, end));
          assert.is(chunked.position, end);
          assertLogits(`chunks to ${end}`, got, rowOf(logits, end - 1));
        }
        // the rest, with every position's logits
        if (splits === SPLITS[1]) continue;
        const from = chunked.position, rest = await chunked.logits(probe.ids.subarray(from));
        for (let t = from; t < 1024; t++) assertLogits(`chunks, token ${t}`, rowOf(rest, t - from), rowOf(logits, t));
      }

      const single = model.session();
      let decoded = new Float32Array(0);
      for (let t = 0; t < 130; t++) {
        decoded = (await single.decode(probe.ids[t]!)) as Float32Array<ArrayBuffer>;
        assertLogits(`decode, token ${t}`, decoded, rowOf(logits, t));
        if (t % 64 === 0) assertLogits(`decode, token ${t}`, decoded, rowOf(probe.logits, t / 64));
      }
      // a prompt read at once goes on by single tokens
      const both = model.session();
      await both.prefill(probe.ids.subarray(0, 128));
      await both.decode(probe.ids[128]!);
      assertLogits("prefill then decode", await both.decode(probe.ids[129]!), decoded);

      const arithmetic = build.split("-")[0]!, before = seen.get(arithmetic);
      seen.set(arithmetic, before ?? { logits, last, decoded });
      if (before)
        assert.equal(
          [logits, last, decoded], [before.logits, before.last, before.decoded],
          `${build} with ${threads} threads has the bits of one`,
        );
    }));
}

/** The sum of −ln p over the text's tokens but the first, by the engine. */
async function nllOf(model: Model, ids: Int32Array): Promise<number> {
  const session = model.session();
  let nll = 0;
  for (let from = 0; from < ids.length - 1; from += 1024) {
    const logits = await session.logits(ids.subarray(from, Math.min(from + 1024, ids.length - 1)));
    for (let r = 0; r * VOCAB < logits.length; r++) nll += surprise(rowOf(logits, r), ids[from + r + 1]!);
  }
  return nll;
}

async function naiveNll(model: Model, ids: Int32Array): Promise<number> {
  const checkpoint = await Checkpoint.open(
    bytesSource("model.safetensors", readFileSync(`${folder}/model.safetensors`)),
  );
  let nll = 0;
  await naiveSlabLm(checkpoint, model.config.network as SlabLmConfig, ids.subarray(0, -1), (t, logits) => {
    nll += surprise(logits, ids[t + 1]!);
  });
  return nll;
}

function assertPerplexity(what: string, got: number, expected: number, tolerance: number): void {
  assert.ok(
    Math.abs(got / expected - 1) <= tolerance,
    `${what}: perplexity ${got}, expected ${expected} within ${tolerance} of it`,
  );
}

test(`perplexity over ${golden.tokens} tokens is that of float64, however long the memory`, () =>
  withModel(folder, {}, async (model) => {
    assert.is(golden.tokens, 8192);
    assertPerplexity("golden", Math.exp(golden.nll / (golden.tokens - 1)), golden.perplexity, 1e-12);
    assertPerplexity("all", Math.exp((await nllOf(model, text)) / (text.length - 1)), golden.perplexity, 1e-4);
    const beginning = text.subarray(0, 201), nll = await naiveNll(model, beginning);
    assertPerplexity("the first 201", Math.exp((await nllOf(model, beginning)) / 200), Math.exp(nll / 200), 1e-5);
  }));

// minutes of float64, so only when asked for: how the golden number was made
if (process.env.SLAB_SLOW) test("the golden perplexity is what the paper's formulas give in float64", () =>
  withModel(folder, {}, async (model) => {
    const nll = await naiveNll(model, text);
    console.log(`float64: nll ${nll}, perplexity ${Math.exp(nll / (text.length - 1))}`);
    assertPerplexity("golden", Math.exp(nll / (text.length - 1)), golden.perplexity, 1e-9);
  }));

const shapes = {
  "as trained": {}, "one tap": { conv_kernel: 1 }, "two taps": { conv_kernel: 2 }, "seven taps": { conv_kernel: 7 },
  "no decay": { decay: [1, 1, 1] }, "a head of its own": { tie_word_embeddings: false },
  "one head, one layer": { num_attention_heads: 1, decay: [0.875], num_hidden_layers: 1 },
  "another norm_eps": { norm_eps: 0.1 },
  "an odd number of everything": { vocab_size: 13, intermediate_size: 7, num_hidden_layers: 3 },
  "a vocabulary of one": { vocab_size: 1 },
};

for (const [shape, changes] of Object.entries(shapes)) {
  test(`a tiny network matches float64: ${shape}`, async () => {
    const parts = tinyLm(changes);
    const vocab = parts.config.vocab_size;
    const ids = Int32Array.from({ length: 150 }, (_, t) => (t * t + 7 * t) % vocab);
    const want: Float64Array[] = [];
    for (const { build, threads } of runs.filter((run) => run.threads < 3)) {
      await withModel(parts, { build, threads }, async (model) => {
        if (want.length === 0)
          await naiveSlabLm(parts.weights, model.config.network as SlabLmConfig, ids, (_, logits) =>
            want.push(logits.slice()),
          );
        const logits = await model.session().logits(ids), single = model.session();
        for (const [t, row] of want.entries()) {
          assertLogits(`${build}: token ${t}`, rowOf(logits, t, vocab), row);
          assertLogits(`${build}: decoded token ${t}`, await single.decode(ids[t]!), row);
        }
      });
    }
  });
}

test("a profile counts what a step moves of the states", () =>
  withModel(folder, {}, async (model) => {
    const { ops } = await model.profile({ program: "decode", rounds: 1 });
    const moved = ops
      .filter(({ op }) => op === "recurrentStep")
      .map(({ gigabytesPerSecond, timeMs }) => gigabytesPerSecond * timeMs * 1e6);
    // read and written; what else is in a state are the causal convolution's few tokens
    const states = 2 * model.session().stateBytes, total = moved.reduce((a, b) => a + b, 0);
    assert.ok(
      moved.length > 0 && total > 0.9 * states && total < 1.3 * states, `${total} bytes, expected about ${states}`,
    );
  }));

test.run();
