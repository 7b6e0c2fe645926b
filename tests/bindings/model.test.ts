import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import { preprocess } from "../../bindings/image/index.ts";
import type { ImageModelConfig, LoadOptions, Model, ModelParts, Picture } from "../../bindings/index.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { runs } from "../models/builds.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { runScript, tinyConfig, tinyFile, tinyPixels } from "./tiny.ts";

const perImage = 3 * 32 * 32;
const open = (options: LoadOptions = { threads: 1 }, config: Record<string, unknown> = tinyConfig): Promise<Model> =>
  load({ config, weights: tinyFile } satisfies ModelParts, options);

async function withModel(use: (model: Model) => unknown, options?: LoadOptions): Promise<void> {
  const model = await open(options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

for (const { build, threads } of runs) {
  test(`a batch equals its images one by one, bit for bit: ${build}, threads=${threads}`, () =>
    withModel(async (model) => {
      const batch = syntheticInput("batch", 4 * perImage);
      const together = await model.forward(batch);
      assert.is(together.length, 4 * 5);
      for (let b = 0; b < 4; b++) {
        assert.equal(await model.forward(batch.subarray(b * perImage, (b + 1) * perImage)), together.slice(b * 5, (b + 1) * 5));
      }
    }, { build, threads }));
}

test("forward gives its own copy, leaves the pixels alone and repeats itself", () =>
  withModel(async (model) => {
    const pixels = tinyPixels.slice();
    const first = await model.forward(pixels), kept = first.slice();
    assert.equal(pixels, tinyPixels);
    const other = await model.forward(syntheticInput("other", perImage));
    assert.equal(first, kept);
    assert.not.equal(other, first);
    const [a, b] = await Promise.all([model.forward(pixels), model.forward(syntheticInput("other", perImage))]);
    assert.equal([a, b], [first, other]);
  }));

test("classify several pictures: each as alone; one that is bad is named", () =>
  withModel(async (model) => {
    const pictures = [1, 2, 3].map((key) => ({
      data: new Uint8Array(3 * 40 * 40).map((_, i) => i * key), width: 40, height: 40,
    }));
    const alone = await Promise.all(pictures.map((picture) => model.classify(picture, { topK: 2 })));
    assert.equal(await model.classify(pictures, { topK: 2 }), alone);
    assert.equal(await model.classify([]), []);
    await rejects(
      () => model.classify([pictures[0]!, 5 as never]),
      /^picture 1: the picture is number 5, expected \{ data, width, height \}/, TypeError,
    );
    const reason = new Error("enough");
    await rejects(() => model.classify(pictures, { signal: AbortSignal.abort(reason) }), /^enough$/);
  }));

test("pixels of the wrong type or number are refused, and the next are not", () =>
  withModel(async (model) => {
    const expected = await model.forward(tinyPixels);
    for (const length of [0, 1, perImage - 1, perImage + 1]) {
      await rejects(() => model.forward(new Float32Array(length)), new RegExp(`^pixels has ${length} numbers, expected 3072 \\(\\[3, 32, 32\\]\\) or a multiple of it$`), RangeError);
    }
    for (const pixels of [undefined, null, "pixels", [1, 2], new Float64Array(perImage), new Uint8Array(perImage), new ArrayBuffer(4 * perImage)]) {
      await rejects(() => model.forward(pixels as unknown as Float32Array), /^pixels is .*, expected a Float32Array \[3, 32, 32\]$/, TypeError);
    }
    assert.equal(await model.forward(tinyPixels), expected);
  }));

test("what is not a number in the pixels stays in its own image", () =>
  withModel(async (model) => {
    const expected = await model.forward(tinyPixels);
    const batch = new Float32Array(2 * perImage).fill(NaN);
    batch.set(tinyPixels, perImage);
    assert.equal((await model.forward(batch)).slice(5), expected);
    assert.equal(await model.forward(tinyPixels), expected);
  }));

test("classify: labels, scores and indices; topK", () =>
  withModel(async (model) => {
    const picture = { data: new Uint8Array(40 * 30 * 4).fill(200), width: 40, height: 30 };
    const all = await model.classify(picture);
    assert.is(all.length, 5);
    assert.equal(all.map((l) => l.label).sort(), ["ant", "bee", "cow", "dog", "elk"]);
    for (const { label, index, score } of all) {
      assert.is(label, ["ant", "bee", "cow", "dog", "elk"][index]);
      assert.ok(score > 0 && score < 1);
    }
    assert.equal([...all].sort((a, b) => b.score - a.score), all);
    assert.equal(await model.classify(picture, { topK: 2 }), all.slice(0, 2));
    assert.equal(await model.classify(picture, { topK: 99 }), all);
    for (const topK of [0, -1, 1.5, NaN, "1" as unknown as number]) {
      await rejects(() => model.classify(picture, { topK }), /^topK is .*, expected a whole number of at least 1$/, RangeError);
    }
  }));

test("classify: without id2label the labels are numbers", async () => {
  const { id2label: _, ...config } = tinyConfig;
  const model = await open({ threads: 1 }, config);
  const [best] = await model.classify({ data: new Uint8Array(3), width: 1, height: 1 });
  assert.is(best!.label, `class ${best!.index}`);
  model.dispose();
});

test("classify: a picture of one pixel, and every way to pass a file", () =>
  withModel(async (model) => {
    const dot = await model.classify({ data: new Uint8Array([10, 200, 30]), width: 1, height: 1 });
    assert.ok(Math.abs(dot.reduce((sum, l) => sum + l.score, 0) - 1) < 1e-9);
    const bytes = Uint8Array.from(readFileSync(new URL("../../models/samples/bird.jpg", import.meta.url)));
    const labels = await model.classify(bytes);
    assert.equal(await model.classify(bytes.buffer), labels);
    assert.equal(await model.classify(new Blob([bytes])), labels);
  }));

test("classify: damaged and unknown pictures are refused, and the next is not", () =>
  withModel(async (model) => {
    const jpeg = Uint8Array.from(readFileSync(new URL("../../models/samples/bird.jpg", import.meta.url)));
    const expected = await model.classify(jpeg);
    const refuses = (picture: unknown, message: RegExp, Kind: Function): Promise<void> => rejects(() => model.classify(picture as Picture), message, Kind);
    await refuses(jpeg.subarray(0, 300), /JPEG/, Error);
    await refuses(jpeg.map((byte, i) => (i > 20 ? 0 : byte)), /JPEG/, Error);
    await refuses(new TextEncoder().encode("GIF89a, which no longer counts"), /PNG, JPEG or WebP/, Error);
    await refuses(new Uint8Array(0), /PNG, JPEG or WebP/, Error);
    await refuses({ data: new Uint8Array(3), width: 2, height: 2 }, /width|bytes/, RangeError);
    await refuses({ data: new Uint8Array(0), width: 0, height: 0 }, /width|pixels|size/, RangeError);
    for (const picture of [undefined, null, "bird.jpg", 7, {}]) await refuses(picture, /^the picture is .*, expected \{ data, width, height \} or the bytes/, TypeError);
    assert.equal(await model.classify(jpeg), expected);
  }));

test("evidence: the places' shares of a label's logit", () =>
  withModel(async (model) => {
    const picture = { data: Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => (i * 37) % 251), width: 16, height: 16 };
    const [best] = await model.classify(picture), shares = await model.evidence(picture);
    assert.is(shares.index, best!.index);
    assert.is(shares.label, best!.label);
    assert.equal([shares.height, shares.width, shares.map.length], [4, 4, 16]);
    // the mean of the shares is the logit less the head's bias, which no picture changes
    const { image } = model.config as ImageModelConfig, other = { ...picture, data: picture.data.map((byte) => 255 - byte) };
    for (let index = 0; index < 5; index++) {
      const biases = await Promise.all([picture, other].map(async (p) => {
        const logit = (await model.forward(preprocess(p, image.preprocessing)))[index]!, { map } = await model.evidence(p, { index });
        return logit - map.reduce((sum, share) => sum + share, 0) / map.length;
      }));
      assert.ok(Math.abs(biases[0]! - biases[1]!) < 1e-4 * Math.max(1, Math.abs(biases[0]!)), `class ${index}: ${biases}`);
    }
    for (const index of [-1, 5, 0.5, NaN]) await rejects(() => model.evidence(picture, { index }), /^index is .*, expected a class from 0 to 4$/, RangeError);
  }));

test("activation: a named place of the pass", () =>
  withModel(async (model) => {
    assert.equal([...model.plan.marks.keys()], ["embed", "blocks.0", "blocks.1"]);
    assert.is((await model.activation("embed", tinyPixels)).length, 16 * 24);
    await rejects(() => model.activation("blocks.2", tinyPixels), /no mark "blocks\.2": use one of embed, blocks\.0, blocks\.1/, RangeError);
  }));

test("memory: every region, and their sum", () =>
  withModel(async (model) => {
    const { header, plan, weights, state, scratch, total } = model.memory();
    assert.ok(header > 0 && plan > 0 && weights > 0 && scratch > 0);
    assert.is(state, 0);
    assert.is(header + plan + weights + state + scratch, total);
    assert.is(total % 65536, 0);
    assert.is(model.plan.toString().split("\n").length, model.plan.ops.length);
  }));

test("caps: what was chosen and why", async () => {
  await withModel(({ caps }) => {
    assert.ok(caps.runtime.startsWith("node "));
    assert.is(caps.threads, 1);
    assert.ok(caps.reasons.includes("one thread: as asked"));
  });
  await withModel(({ caps }) => {
    assert.is(caps.build, "simd-threads");
    assert.equal([caps.threads, caps.relaxed, caps.deterministic], [2, false, true]);
    assert.ok(caps.reasons.some((reason) => reason.includes("deterministic was asked for")));
  }, { threads: 2, deterministic: true });
});

test("deterministic: the same bits for any number of threads", async () => {
  const all: Float32Array[] = [];
  for (const threads of [1, 2, 3, 7]) await withModel(async (model) => all.push(await model.forward(tinyPixels)), { threads, deterministic: true });
  for (const logits of all) assert.equal(logits, all[0]);
});

for (const threads of [1, 2]) {
  test(`dispose: ends a model and no other, threads=${threads}`, async () => {
    const [model, other] = [await open({ threads }), await open({ threads })];
    const expected = await model.forward(tinyPixels);
    model.dispose();
    model.dispose();
    assert.throws(() => model.memory(), /^the model has been disposed: load it again$/);
    for (const use of [() => model.forward(tinyPixels), () => model.classify({ data: new Uint8Array(3), width: 1, height: 1 }), () => model.activation("embed", tinyPixels)]) {
      await rejects(use, /^the model has been disposed: load it again$/);
    }
    assert.equal(await other.forward(tinyPixels), expected);
    other[Symbol.dispose]();
    await rejects(() => other.forward(tinyPixels), /disposed/);
    // the pool ended with its last model and begins anew
    await withModel(async (again) => assert.equal(await again.forward(tinyPixels), expected), { threads });
  });
}

test("models share the threads and take turns", async () => {
  const expected: Float32Array[] = [];
  const inputs = Array.from({ length: 3 }, (_, i) => syntheticInput(`image ${i}`, perImage));
  await withModel(async (model) => {
    for (const pixels of inputs) expected.push(await model.forward(pixels));
  }, { build: "simd", threads: 1 });
  const models = [await open({ build: "simd-threads", threads: 2 }), await open({ build: "simd-threads", threads: 3 }), await open({ build: "simd", threads: 1 })];
  for (let turn = 0; turn < 30; turn++) {
    // in turn one after another, then all at once
    for (const model of models) assert.equal(await model.forward(inputs[turn % 3]!), expected[turn % 3]);
    const together = await Promise.all(models.map((model, i) => model.forward(inputs[(turn + i) % 3]!)));
    together.forEach((logits, i) => assert.equal(logits, expected[(turn + i) % 3]));
    if (turn === 20) models.shift()!.dispose();
  }
  for (const model of models) model.dispose();
});

test("models come and go many times", async () => {
  let expected: Float32Array | undefined;
  for (let i = 0; i < 60; i++) {
    await withModel(async (model) => {
      const logits = await model.forward(tinyPixels);
      assert.equal(logits, (expected ??= logits));
    }, { threads: 2, deterministic: true });
  }
});

test("threads end with the last model that uses them", async () => {
  const folder = fileURLToPath(new URL("../../models/pretrained/slab-deit-cifar10", import.meta.url));
  // in a process of its own, whose threads are counted; Linux tells
  const { code, text } = await runScript(`
    import { existsSync, readdirSync } from "node:fs";
    import { setTimeout as sleep } from "node:timers/promises";
    const count = () => (existsSync("/proc/self/task") ? readdirSync("/proc/self/task").length : 0);
    const open = (threads) => load(${JSON.stringify(folder)}, { threads });
    (await open(1)).dispose();
    const before = count();
    const models = [await open(2), await open(4)];
    for (const model of models) await model.forward(new Float32Array(3072));
    // a small model's threads start after its first pass
    await sleep(50);
    const during = count();
    models.pop().dispose();
    await models[0].forward(new Float32Array(3072));
    models.pop().dispose();
    for (let i = 0; i < 200 && count() > before; i++) await sleep(10);
    console.log(during - before === 3 || during === 0, count() <= before);`);
  assert.is(code, 0);
  assert.is(text.replace(/\u001b\[\d+m/g, ""), "true true");
});

test("activation takes exactly one image", async () => {
  const model = await load({ config: tinyConfig, weights: tinyFile }, { threads: 1 });
  for (const length of [0, tinyPixels.length - 1, 2 * tinyPixels.length]) {
    let caught: unknown;
    await model.activation("embed", new Float32Array(length)).catch((error: unknown) => (caught = error));
    assert.instance(caught, RangeError);
    assert.match((caught as Error).message, /expected 3072: one image/);
  }
  model.dispose();
});

test.run();
