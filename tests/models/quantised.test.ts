// The trained models with int8 and int4 weights, against the same models with f32 weights.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bytesSource } from "../../bindings/checkpoint/index.ts";
import { readExactly, readHeader } from "../../bindings/checkpoint/safetensors.ts";
import { decodeImage, preprocess } from "../../bindings/image/index.ts";
import { load } from "../../bindings/index.ts";
import type { ImageModelConfig, LoadOptions, Model } from "../../bindings/index.ts";
import { surprise } from "../golden/naive-lm.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { runs } from "./builds.ts";

const folder = (name: string): string => fileURLToPath(new URL(`../../models/pretrained/${name}`, import.meta.url));
const cifar = folder("slab-deit-cifar10"), books = folder("slab-lm-books");
const samples = new URL("../../models/samples/", import.meta.url);
// the images are CIFAR-10's own, so they are not part of the project
const images = new URL("../../../shared/data/cifar10-test-300/", import.meta.url);
const VOCAB = 4096, PIXELS = 32 * 32 * 3;

/** `logits`: of max|logit|, from f32's. `perplexity`: of that of f32. `weights`: of the bytes of f32. */
const LIMITS = {
  int8: { logits: 0.06, perplexity: 0.008, weights: 0.3 },
  int4: { logits: 0.3, perplexity: 0.03, weights: 0.2 },
} as const;
const QUANTISED = ["int8", "int4"] as const;

/**
 * How far prompts and single tokens may be apart, of max|logit|. Their float32 sums differ in the last bit, which now
 * and then rounds an activation to the next step, and the state carries that on. In int8 a step is 1/2047 of the
 * largest activation in plain builds, 1/127 of the range in relaxed ones: there, two ways to round are in the end as
 * far apart as each is from f32. int4 rounds the activations of single tokens only.
 */
const pathLimit = (dtype: "int8" | "int4", build: string): number =>
  dtype === "int4" ? 0.04 : build.startsWith("relaxed") ? 0.08 : 0.01;

const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)));

async function withModel<T>(source: string, options: LoadOptions, use: (model: Model) => Promise<T>): Promise<T> {
  const model = await load(source, options);
  try {
    return await use(model);
  } finally {
    model.dispose();
  }
}

function assertWithin(what: string, got: ArrayLike<number>, expected: ArrayLike<number>, relative: number): void {
  assert.is(got.length, expected.length, what);
  let largest = 0, apart = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]!));
    const difference = Math.abs(got[i]! - expected[i]!);
    // NaN is no difference that Math.max would show
    apart = difference <= apart ? apart : difference;
  }
  assert.ok(apart <= relative * largest, `${what}: ${apart} apart, expected at most ${relative} of ${largest}`);
}

// pictures

const files = ["cat.png", "bird.jpg", "deer.jpg", "horse.webp", "owl.webp"];
const inputs = new Float32Array((files.length + 1) * PIXELS);
const f32 = await withModel(cifar, { deterministic: true, threads: 1 }, async (model) => {
  const { preprocessing } = (model.config as ImageModelConfig).image;
  for (const [i, file] of files.entries())
    inputs.set(preprocess(await decodeImage(readFileSync(new URL(file, samples))), preprocessing), i * PIXELS);
  inputs.set(syntheticInput("quantised", PIXELS), files.length * PIXELS);
  return { logits: await model.forward(inputs), weights: model.memory().weights };
});

/** By arithmetic: the builds with and without threads share it. */
const pictureBits = new Map<string, Float32Array>();

for (const dtype of QUANTISED) for (const { build, threads } of runs) {
  test(`slab-deit-cifar10 in ${dtype} has the labels of f32: ${build}, threads=${threads}`, () =>
    withModel(cifar, { build, threads, dtype }, async (model) => {
      const logits = await model.forward(inputs), limits = LIMITS[dtype];
      for (let i = 0; i <= files.length; i++) {
        const got = logits.subarray(i * 10, (i + 1) * 10);
        const expected = f32.logits.subarray(i * 10, (i + 1) * 10);
        const what = files[i] ?? "synthetic";
        assertWithin(what, got, expected, limits.logits);
        if (files[i]) assert.is(argmax(got), argmax(expected), what);
      }
      const { weights } = model.memory();
      assert.ok(weights < limits.weights * f32.weights, `${weights} bytes of weights, ${f32.weights} in f32`);

      const key = `${dtype} ${build.split("-")[0]}`, before = pictureBits.get(key);
      pictureBits.set(key, before ?? logits);
      if (before) assert.equal(logits, before, "the bits of one thread");
    }));
}

if (existsSync(images)) {
  test("int8 has the labels of PyTorch's f32 on 300 images of the CIFAR-10 test set", async () => {
    const source = bytesSource("golden.safetensors", readFileSync(new URL("golden.safetensors", images)));
    const { entries } = await readHeader(source);
    const read = async (name: string): Promise<Uint8Array<ArrayBuffer>> =>
      Uint8Array.from(await readExactly(source, entries.get(name)!.begin, entries.get(name)!.end));
    const pixels = await read("pixels");
    const expected = new Float32Array((await read("logits")).buffer);
    const count = pixels.length / PIXELS;
    assert.is(count, 300);
    await withModel(cifar, { dtype: "int8" }, async (model) => {
      const { preprocessing } = (model.config as ImageModelConfig).image;
      const got = new Float32Array(10 * count);
      let same = 0;
      for (let i = 0; i < count; i++) {
        const ours = await model.forward(
          preprocess({ data: pixels.subarray(i * PIXELS, (i + 1) * PIXELS), width: 32, height: 32 }, preprocessing),
        );
        got.set(ours, 10 * i);
        if (argmax(ours) === argmax(expected.subarray(10 * i, 10 * i + 10))) same++;
      }
      assertWithin("logits", got, expected, LIMITS.int8.logits);
      assert.ok(same >= 297, `the label of f32 for ${same} of 300, expected at least 297`);
    });
  });
} else {
  console.log(
    "skipped: the 300 CIFAR-10 images are not part of the project, and ../shared/data/cifar10-test-300 is not there",
  );
}

// text

/** The first 256 ids of the trained model's probe. */
async function readIds(): Promise<Int32Array> {
  const source = bytesSource("probe.safetensors", readFileSync(`${books}/probe.safetensors`));
  const { entries } = await readHeader(source);
  const { begin, end } = entries.get("ids")!;
  return new Int32Array(Uint8Array.from(await readExactly(source, begin, end)).buffer).subarray(0, 256);
}
const ids = await readIds();

const rowOf = (logits: Float32Array, t: number): Float32Array => logits.subarray(t * VOCAB, (t + 1) * VOCAB);

function perplexity(logits: Float32Array): number {
  let nll = 0;
  for (let t = 0; t < ids.length - 1; t++) nll += surprise(rowOf(logits, t), ids[t + 1]!);
  return Math.exp(nll / (ids.length - 1));
}

async function decoded(model: Model, count: number): Promise<Float32Array> {
  const logits = new Float32Array(count * VOCAB), session = model.session();
  for (let t = 0; t < count; t++) logits.set(await session.decode(ids[t]!), t * VOCAB);
  return logits;
}

const words = await withModel(books, { deterministic: true, threads: 1, sessions: 2 }, async (model) => ({
  perplexity: perplexity(await model.session().logits(ids)), weights: model.memory().weights,
}));

const sameBits = (a: Float32Array, b: Float32Array): boolean => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));
const textBits = new Map<string, { read: Float32Array; single: Float32Array }>();
/** Tokens that every run reads and decodes; the first run of a kind does so with them all. */
const SOME = 72;

for (const dtype of QUANTISED) for (const { build, threads } of runs) {
  test(
    `slab-lm-books in ${dtype} has the perplexity of f32, from prompts and token by token: ${build}, `
      + `threads=${threads}`,
    () =>
      withModel(books, { build, threads, dtype, sessions: 2 }, async (model) => {
        const limits = LIMITS[dtype], key = `${dtype} ${build.split("-")[0]}`, before = textBits.get(key);
        const near = (what: string, got: number): void =>
          assert.ok(
            Math.abs(got / words.perplexity - 1) <= limits.perplexity,
            `${what}: perplexity ${got}, ${words.perplexity} with f32`,
          );
        const some = { read: await model.session().logits(ids.subarray(0, SOME)), single: await decoded(model, SOME) };
        if (before) {
          assert.ok(sameBits(some.read, before.read), "a prompt's bits are those of one thread");
          assert.ok(sameBits(some.single, before.single), "single tokens' bits are those of one thread");
          return;
        }
        textBits.set(key, some);
        const read = await model.session().logits(ids), single = await decoded(model, ids.length);
        near("prompt", perplexity(read));
        near("token by token", perplexity(single));
        for (let t = 0; t < ids.length; t++)
          assertWithin(`token ${t}`, rowOf(single, t), rowOf(read, t), pathLimit(dtype, build));
        const { weights } = model.memory();
        assert.ok(weights < limits.weights * words.weights, `${weights} bytes of weights, ${words.weights} in f32`);
      }),
  );

  if (threads !== 2 && build !== "simd") continue;
  test(`decodeBatch in ${dtype} gives what single tokens give: ${build}, threads=${threads}`, () =>
    withModel(books, { build, threads, dtype, sessions: 5 }, async (model) => {
      const batched = Array.from({ length: 5 }, () => model.session()), alone = batched.map(() => model.session());
      for (const [i, session] of batched.entries()) {
        await session.prefill(ids.subarray(0, 3 + 7 * i));
        await alone[i]!.prefill(ids.subarray(0, 3 + 7 * i));
      }
      for (let t = 0; t < 3; t++) {
        const next = batched.map((_, i) => ids[100 + 10 * i + t]!), together = await model.decodeBatch(batched, next);
        for (const [i, session] of alone.entries()) {
          const expected = await session.decode(next[i]!), got = rowOf(together, i);
          // several tokens at once are read with f32 activations
          if (dtype === "int4") assertWithin(`session ${i}`, got, expected, pathLimit(dtype, build));
          else assert.equal(got.slice(), expected, `session ${i}`);
        }
      }
    }));
}

for (const dtype of QUANTISED) {
  test(`a session of ${dtype} is saved and goes on in another model of ${dtype}`, async () => {
    const ended = await withModel(books, { deterministic: true, threads: 1, dtype, sessions: 2 }, async (model) => {
      const session = model.session();
      await session.prefill(ids.subarray(0, 70));
      await session.decode(ids[70]!);
      const bytes = session.save();
      const [next, again] = [await session.decode(ids[71]!), await model.session(bytes).decode(ids[71]!)];
      assert.equal(again, next, "in the same model");
      return { bytes, next, prompt: await session.prefill(ids.subarray(72, 140)) };
    });
    await withModel(books, { deterministic: true, threads: 2, dtype, sessions: 1 }, async (model) => {
      const session = model.session(ended.bytes);
      assert.is(session.position, 71);
      assert.equal(await session.decode(ids[71]!), ended.next);
      assert.equal(await session.prefill(ids.subarray(72, 140)), ended.prompt);
    });
    if (!runs.some(({ build }) => build === "relaxed")) return;
    await withModel(books, { build: "relaxed", threads: 1, dtype, sessions: 1 }, async (model) =>
      assertWithin(
        "in another build", await model.session(ended.bytes).decode(ids[71]!), ended.next, pathLimit(dtype, "relaxed"),
      ),
    );
  });
}

test("the plan says how weights are kept, and f32 is the default", async () => {
  for (const dtype of [undefined, "f32", "int8", "int4"] as const) {
    await withModel(cifar, dtype === undefined ? { threads: 1 } : { threads: 1, dtype }, async (model) =>
      assert.is(model.plan.type, dtype ?? "f32"),
    );
  }
});

test("a dtype that is none is refused before anything is read", async () => {
  for (const [dtype, said] of [
    ["fp16", '"fp16"'], ["INT8", '"INT8"'], ["", '""'], [8, "number 8"], [null, "null"],
  ] as const) {
    let error: unknown;
    try {
      await load("no-such-folder", { dtype } as unknown as LoadOptions);
    } catch (thrown) {
      error = thrown;
    }
    assert.instance(error, RangeError);
    assert.is((error as Error).message, `dtype is ${said}, expected one of f32, int8, int4`);
  }
});

test.run();
