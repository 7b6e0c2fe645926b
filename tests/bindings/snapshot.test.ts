// Sessions on paper: saved, restored in another process and build, and refused when they are anything else.
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model, Session } from "../../bindings/index.ts";
import { HEADER_BYTES, VERSION } from "../../bindings/tasks/snapshot.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import type { TinyLmConfig } from "../golden/tiny-lm.ts";
import { builds } from "../models/builds.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { runScript, tinyConfig, tinyFile, withFolder } from "./tiny.ts";

const books = fileURLToPath(new URL("../../models/pretrained/slab-lm-books", import.meta.url));
const PROMPT = "It was a dark evening, and the old house";

const open = (options: LoadOptions = {}, changes: Partial<TinyLmConfig> = {}, seed = ""): Promise<Model> => load(tinyLm(changes, seed), { threads: 1, ...options });

async function withModel(use: (model: Model) => unknown, ...from: Parameters<typeof open>): Promise<void> {
  const model = await open(...from);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

const prompt = Array.from({ length: 70 }, (_, i) => (i * i + 3) % 59);

async function started(model: Model, ids: readonly number[] = prompt): Promise<Session> {
  const session = model.session();
  await session.prefill(ids);
  return session;
}

/** The same header around the same state with some of its fields changed, its own checksum right again. */
function forged(snapshot: Uint8Array, change: (header: DataView) => void): Uint8Array {
  const bytes = snapshot.slice(), view = new DataView(bytes.buffer);
  change(view);
  let hash = 0x811c9dc5;
  for (let i = 0; i < HEADER_BYTES - 4; i++) hash = Math.imul(hash ^ bytes[i]!, 16777619);
  view.setUint32(HEADER_BYTES - 4, hash >>> 0, true);
  return bytes;
}

/** What another process says after restoring: 20 greedy and 20 seeded tokens, and the last logits' sum. */
const continuation = (options: LoadOptions, snapshot: string): string => `
  import { readFileSync } from "node:fs";
  const model = await load(${JSON.stringify(books)}, ${JSON.stringify(options)});
  const session = model.session(readFileSync(${JSON.stringify(snapshot)}));
  const ids = [];
  for (const how of [{ temperature: 0 }, { temperature: 1, topP: 0.9, seed: 7 }]) {
    const fork = session.fork();
    for await (const { id } of fork.generate([], { maxTokens: 20, ...how })) ids.push(id);
  }
  console.log(JSON.stringify({ ids, position: session.position, logits: [...await session.prefill([])].slice(0, 64) }));
  model.dispose();`;

const pairs: [LoadOptions, LoadOptions][] = [
  ...builds.map((build): [LoadOptions, LoadOptions] => [{ build, threads: 2 }, { build, threads: 2 }]),
  [{ build: "simd", threads: 1 }, { build: "simd-threads", threads: 2 }],
  [{ deterministic: true, threads: 2 }, { deterministic: true, threads: 1 }],
];

for (const [here, there] of pairs) {
  test(`a session goes on in another process with the same tokens: ${JSON.stringify(here)} to ${JSON.stringify(there)}`, async () => {
    const model = await load(books, here), session = model.session();
    for await (const _ of session.generate(PROMPT, { maxTokens: 30, seed: 3 }));
    const bytes = session.save();
    assert.ok(bytes.length < 1e6, `the snapshot has ${bytes.length} bytes`);
    assert.is(bytes.length, HEADER_BYTES + session.stateBytes);
    const ids: number[] = [];
    for (const how of [{ temperature: 0 }, { temperature: 1, topP: 0.9, seed: 7 }]) {
      const fork = session.fork();
      for await (const { id } of fork.generate([], { maxTokens: 20, ...how })) ids.push(id);
    }
    const want = { ids, position: session.position, logits: [...(await session.prefill([]))].slice(0, 64) };
    model.dispose();
    await withFolder({ "session.bin": bytes }, async (folder) => {
      const { code, text } = await runScript(continuation(there, join(folder, "session.bin")));
      assert.is(code, 0);
      assert.equal(JSON.parse(text), want);
    });
  });
}

test("restore leaves the bytes alone, and takes them from anywhere", () =>
  withModel(async (model) => {
    const session = await started(model), bytes = session.save(), kept = bytes.slice();
    const next = await session.decode(5);
    const odd = new Uint8Array(bytes.length + 9);
    odd.set(bytes, 3);
    for (const place of [bytes, Buffer.from(bytes), odd.subarray(3, 3 + bytes.length)]) {
      const again = model.session(place);
      assert.is(again.position, 70);
      assert.equal(await again.decode(5), next);
    }
    assert.equal(bytes, kept);
    assert.equal(model.session(bytes).save(), bytes);
    // of nothing read, too
    const empty = model.session().save(), first = model.session(empty);
    assert.is(first.position, 0);
    assert.equal(await first.decode(9), await model.session().decode(9));
  }));

/** Every one of `bad` is refused; the sessions there go on as if nothing had been tried. One slot: each refusal takes it from them. */
async function refusesAll(bad: Iterable<readonly [unknown, RegExp, Function]>, changes: Partial<TinyLmConfig> = {}): Promise<void> {
  await withModel(async (model) => {
    const [one, two] = [await started(model), await started(model, [4, 5, 6])], total = model.memory().total;
    const [bytes, first, second] = [one.save(), await one.fork().decode(1), await two.fork().decode(2)];
    for (const [snapshot, message, Kind] of bad) await rejects(() => model.session(snapshot as Uint8Array), message, Kind);
    assert.equal([one.position, two.position, model.memory().total], [70, 3, total]);
    assert.equal(await model.session(bytes).decode(1), first);
    assert.equal([await one.decode(1), await two.decode(2)], [first, second]);
  }, { sessions: 1 }, changes);
}

const savedBy = async (changes: Partial<TinyLmConfig> = {}, seed = ""): Promise<Uint8Array> => {
  let bytes = new Uint8Array(0);
  await withModel(async (model) => { bytes = (await started(model)).save().slice(); }, {}, changes, seed);
  return bytes;
};

test("a snapshot that is cut off, or longer, is refused", async () => {
  const bytes = await savedBy();
  const lengths = [...Array(130).keys(), ...Array.from({ length: 100 }, (_, i) => 130 + Math.floor(((bytes.length - 131) * i) / 99))];
  const longer = new Uint8Array(bytes.length + 16);
  longer.set(bytes);
  await refusesAll([...lengths.map((length) => [bytes.subarray(0, length), /^the snapshot has \d+ bytes, expected .*: use the bytes that session\.save\(\) returned/, RangeError] as const), [longer, /^the snapshot has \d+ bytes, expected/, RangeError]]);
});

test("every flipped bit of the header is noticed", async () => {
  const bytes = await savedBy();
  await refusesAll(Array.from({ length: 8 * HEADER_BYTES }, (_, bit) => {
    const damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    return [damaged, bit < 64 ? /^these bytes are not a session's snapshot: use/ : /^the snapshot's header is damaged: use/, RangeError] as const;
  }));
});

test("flipped bits of the state are noticed", async () => {
  const bytes = await savedBy(), bits = 8 * (bytes.length - HEADER_BYTES);
  await refusesAll(Array.from({ length: 400 }, (_, i) => {
    const bit = 8 * HEADER_BYTES + (i < 50 ? i : i < 100 ? bits - 1 - (i - 50) : Math.imul(i, 0x9e3779b1) >>> 0) % bits, damaged = bytes.slice();
    damaged[bit >> 3]! ^= 1 << (bit & 7);
    return [damaged, bit < 8 * HEADER_BYTES ? /the snapshot|these bytes/ : /^the snapshot's state is damaged: use the bytes/, RangeError] as const;
  }));
});

test("a state in another order is noticed", async () => {
  const bytes = await savedBy(), state = bytes.subarray(HEADER_BYTES), swapped = bytes.slice();
  const [a, b] = [state.slice(0, 1024), state.slice(1024, 2048)];
  assert.not.equal(a, b);
  swapped.set(b, HEADER_BYTES);
  swapped.set(a, HEADER_BYTES + 1024);
  await refusesAll([[swapped, /^the snapshot's state is damaged/, RangeError]]);
});

test("a snapshot of another model is refused", async () => {
  const foreign: Uint8Array[] = [await savedBy({}, "other weights ")];
  // of another size of state, and of the same
  for (const changes of [
    { num_hidden_layers: 3 }, { num_attention_heads: 1, decay: [1] }, { conv_kernel: 3 }, { vocab_size: 60 }, { vocab_size: 62 }, { intermediate_size: 48 }, { tie_word_embeddings: false },
    { decay: [1, 0.9375, 0.75] }, { decay: [1, 1, 1] }, { norm_eps: 1e-6 },
  ]) foreign.push(await savedBy(changes));
  await refusesAll(foreign.map((bytes) => [bytes, /^the snapshot is of another model: restore it with the model that saved it$/, RangeError] as const));
});

test("another version, and a header of nonsense that adds up, are refused", async () => {
  const bytes = await savedBy();
  await refusesAll([
    [forged(bytes, (h) => h.setUint32(8, VERSION + 1, true)), /^the snapshot has version 2, this release reads 1: update slab-wasm$/, RangeError],
    [forged(bytes, (h) => h.setUint32(8, 0, true)), /^the snapshot has version 0, this release reads 1: save it again$/, RangeError],
    [forged(bytes, (h) => h.setUint32(12, 128, true)), /^the snapshot has version 1/, RangeError],
    [forged(bytes, (h) => h.setUint32(16, 1, true)), /another model/, RangeError],
    [forged(bytes, (h) => h.setUint32(20, 64, true)), /another model/, RangeError],
    [forged(bytes, (h) => h.setUint32(32, 1, true)), /state is damaged/, RangeError],
    ...[NaN, Infinity, -1, 0.5, 2 ** 53].map((position) => [forged(bytes, (h) => h.setFloat64(24, position, true)), /^the snapshot's position is /, RangeError] as const),
  ]);
});

test("what are no bytes are refused", () => {
  const message = /^the snapshot is .*, expected the bytes that session\.save\(\) returned, .*; of a Blob give await/;
  return refusesAll([
    null, "SLABSESS", 7, true, {}, [1, 2, 3], new Uint16Array(2000), new Float32Array(1000),
    new DataView(new ArrayBuffer(4000)), new Blob(["SLABSESS"]),
  ].map((bytes) => [bytes, message, TypeError]));
});

test("an ArrayBuffer of the bytes will do, as a Blob gives it", () =>
  withModel(async (model) => {
    const session = await started(model), bytes = session.save(), next = await session.decode(5);
    const again = model.session(await new Blob([bytes as BlobPart]).arrayBuffer());
    assert.is(again.position, 70);
    assert.equal(await again.decode(5), next);
    await rejects(() => model.session(new ArrayBuffer(4000)), /^these bytes are not a session's snapshot/, RangeError);
  }));

test("image models have no sessions, language models no images", async () => {
  await withModel(async (model) => {
    const pixels = new Float32Array(3 * 32 * 32);
    for (const use of [() => model.forward(pixels), () => model.classify({ data: new Uint8Array(3), width: 1, height: 1 }), () => model.activation("embed", pixels)]) {
      await rejects(use, /^\w+\(\) is for image models, this is a language model \(slab_lm\): use session\(\)$/, TypeError);
    }
    await model.session().decode(1);
  });
  const images = await load({ config: tinyConfig, weights: tinyFile }, { threads: 1 });
  for (const use of [() => images.session(), () => images.decodeBatch([], []), () => images.tokenizer]) {
    await rejects(use, /^\w+ is for language models, this is an image model \(slab_deit\): use classify\(\) or forward\(\)$/, TypeError);
  }
  images.dispose();
});

test.run();
