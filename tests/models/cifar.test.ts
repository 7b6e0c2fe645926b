// The trained CIFAR-10 model: against float64, on the sample pictures, and on 300 images of the test set where they are
// at hand.
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bytesSource, Checkpoint } from "../../bindings/checkpoint/index.ts";
import { readHeader } from "../../bindings/checkpoint/safetensors.ts";
import { preprocess } from "../../bindings/image/index.ts";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model } from "../../bindings/index.ts";
import type { ImageModelConfig } from "../../bindings/config/config.ts";
import { naiveSlabDeit } from "../golden/naive-deit.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { runs } from "./builds.ts";

const folder = fileURLToPath(new URL("../../models/pretrained/slab-deit-cifar10", import.meta.url));
const samples = new URL("../../models/samples/", import.meta.url);
// the images are CIFAR-10's own, so they are not part of the project
const images = new URL("../../../shared/data/cifar10-test-300/", import.meta.url);

async function withModel(options: LoadOptions, use: (model: Model) => Promise<void>): Promise<void> {
  const model = await load(folder, options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

const { input_key: key, logits: golden } = JSON.parse(
  readFileSync(new URL("../golden/slab-deit-cifar10.json", import.meta.url), "utf8"),
) as {
  input_key: string;
  logits: number[];
};
const argmax = (values: ArrayLike<number>): number => Array.from(values).indexOf(Math.max(...Array.from(values)));

function assertWithin(what: string, got: ArrayLike<number>, expected: ArrayLike<number>, relative: number): void {
  assert.is(got.length, expected.length, what);
  const tolerance = relative * Math.max(...Array.from(expected, Math.abs));
  for (let i = 0; i < got.length; i++)
    assert.ok(
      Math.abs(got[i]! - expected[i]!) <= tolerance,
      `${what}[${i}] is ${got[i]}, expected ${expected[i]} within ${tolerance}`,
    );
}

test("the golden logits are what the paper's formulas give in float64", async () => {
  const checkpoint = await Checkpoint.open(
    bytesSource("model.safetensors", readFileSync(`${folder}/model.safetensors`)),
  );
  const network = { imageSize: 32, patchSize: 4, dim: 192, depth: 12, heads: 3, classes: 10 };
  assertWithin("logits", await naiveSlabDeit(checkpoint, network, syntheticInput(key, 3 * 32 * 32)), golden, 1e-11);
});

for (const { build, threads } of runs) {
  test(`logits match float64: ${build}, threads=${threads}`, () =>
    withModel({ build, threads }, async (model) =>
      assertWithin("logits", await model.forward(syntheticInput(key, 3 * 32 * 32)), golden, 5e-6),
    ));
}

test("every sample picture is recognised", () =>
  withModel({}, async (model) => {
    for (const [file, label] of [
      ["cat.png", "cat"], ["bird.jpg", "bird"], ["deer.jpg", "deer"], ["horse.webp", "horse"], ["owl.webp", "bird"],
    ] as const) {
      const labels = await model.classify(readFileSync(new URL(file, samples)), { topK: 10 });
      assert.is(labels[0]!.label, label, file);
      assert.ok(labels[0]!.score > 0.5, `${file}: ${labels[0]!.score}`);
      assert.is(labels.length, 10);
      assert.is(new Set(labels.map((l) => l.index)).size, 10);
      assert.ok(labels.every((l, i) => i === 0 || l.score <= labels[i - 1]!.score), `${file}: not sorted`);
      assert.ok(Math.abs(labels.reduce((sum, l) => sum + l.score, 0) - 1) < 1e-9, `${file}: scores do not sum to 1`);
    }
  }));

if (existsSync(images)) {
  test("300 images of CIFAR-10's test set: PyTorch's logits, its accuracy, and the same from JPEG files", async () => {
    const bytes = readFileSync(new URL("golden.safetensors", images));
    const { entries } = await readHeader(bytesSource("golden.safetensors", bytes));
    const tensor = (name: string): Uint8Array<ArrayBuffer> =>
      Uint8Array.from(bytes.subarray(entries.get(name)!.begin, entries.get(name)!.end));
    const pixels = tensor("pixels");
    const labels = new Int32Array(tensor("labels").buffer);
    const logits = new Float32Array(tensor("logits").buffer);
    const perImage = 32 * 32 * 3, count = labels.length;
    assert.is(count, 300);
    await withModel({}, async (model) => {
      const { preprocessing, labels: names } = (model.config as ImageModelConfig).image;
      const batch = new Float32Array(count * perImage);
      for (let i = 0; i < count; i++)
        batch.set(
          preprocess({ data: pixels.subarray(i * perImage, (i + 1) * perImage), width: 32, height: 32 }, preprocessing),
          i * perImage,
        );
      const got = await model.forward(batch);
      let right = 0, sameFromJpeg = 0;
      const within = new Map<number, number>();
      for (let i = 0; i < count; i++) {
        const expected = logits.subarray(i * 10, (i + 1) * 10), ours = got.subarray(i * 10, (i + 1) * 10);
        assertWithin(`image ${i}`, ours, expected, 1e-4);
        if (argmax(ours) === labels[i]) right++;
        // the files lie by class, in the order of the images
        const nth = within.get(labels[i]!) ?? 0;
        within.set(labels[i]!, nth + 1);
        const file = new URL(`${names[labels[i]!]}/${String(nth).padStart(4, "0")}.jpg`, images);
        const [best] = await model.classify(readFileSync(file), { topK: 1 });
        if (best!.index === argmax(expected)) sameFromJpeg++;
      }
      assert.is((100 * right) / count, 94);
      assert.ok(sameFromJpeg >= 298, `${sameFromJpeg} of 300 JPEG files get PyTorch's label`);
    });
  });
} else {
  console.log(
    "skipped: the 300 CIFAR-10 images are not part of the project, and ../shared/data/cifar10-test-300 is not there",
  );
}

test.run();
