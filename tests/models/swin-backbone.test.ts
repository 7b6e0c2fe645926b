// What is special to backbones beside their folders in tests/golden: sizes that change, and calls that are wrong.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { Model } from "../../bindings/index.ts";
import { namedWeights } from "../golden/named-weights.ts";
import { syntheticInput } from "../golden/synthetic.ts";

const pixelsOf = ({ height, width }: { height: number; width: number }): Float32Array =>
  syntheticInput("input", 3 * height * width);

const tiny = {
  model_type: "slab_swin_backbone", hidden_size: 8, depths: [2, 2, 2, 2], num_attention_heads: [1, 1, 2, 2],
  mlp_ratio: 1,
};
const tinyModel = (): Promise<Model> => load({ config: tiny, weights: namedWeights("tiny") }, { threads: 1 });

test("sizes may alternate, and calls overlap", async () => {
  using model = await tinyModel();
  const sizes = [
    { height: 32, width: 48 }, { height: 1, width: 1 }, { height: 9, width: 70 }, { height: 32, width: 48 },
  ];
  const alone = [];
  for (const size of sizes) alone.push(await model.features(pixelsOf(size), size));
  assert.equal(alone[0], alone[3]);
  assert.equal(
    alone.map((maps) => maps.map(({ shape }) => shape.join("×"))),
    [
      ["8×8×12", "16×4×6", "32×2×3", "64×1×2"], ["8×1×1", "16×1×1", "32×1×1", "64×1×1"],
      ["8×3×18", "16×2×9", "32×1×5", "64×1×3"], ["8×8×12", "16×4×6", "32×2×3", "64×1×2"],
    ],
  );
  assert.equal(await Promise.all(sizes.map((size) => model.features(pixelsOf(size), size))), alone);
});

test("a backbone packed after a change of size takes any size too", async () => {
  using model = await tinyModel();
  const size = { height: 40, width: 24 }, pixels = pixelsOf(size), maps = await model.features(pixels, size);
  // what depends on the size is no part of the file
  using packed = await load({ config: tiny, weights: await model.pack() }, { threads: 1 });
  assert.equal(await packed.features(pixels, size), maps);
  assert.equal(packed.plan.folds, model.plan.folds);
});

test("bad calls are refused, and the next one works", async () => {
  const model = await tinyModel();
  const size = { height: 8, width: 8 };
  const pixels = pixelsOf(size);
  const good = await model.features(pixels, size);
  const refused = async (call: Promise<unknown>, kind: new () => Error, message: RegExp): Promise<void> => {
    const error: unknown = await call.then(() => undefined, (e: unknown) => e);
    assert.instance(error, kind);
    assert.match((error as Error).message, message);
  };
  await refused(
    model.features([] as unknown as Float32Array, size), TypeError,
    /pixels is Array, expected a Float32Array \[3, height, width\]/,
  );
  await refused(
    model.features(pixels), RangeError,
    /pixels has 192 numbers, expected 150528 \(\[3, 224, 224\]\): give \{ height, width \}/,
  );
  await refused(model.features(pixels, { height: 8, width: 9 }), RangeError, /pixels has 192 numbers, expected 216/);
  await refused(
    model.features(pixels, { height: 0, width: 8 }), RangeError, /height is number 0, expected a whole number/,
  );
  await refused(
    model.forward(pixels), TypeError,
    /forward\(\) is for image models, this is a backbone \(slab_swin_backbone\): use features\(\)/,
  );
  assert.equal(await model.features(pixels, size), good);
  const late = model.features(pixelsOf({ height: 12, width: 8 }), { height: 12, width: 8 });
  model.dispose();
  await refused(late, Error, /disposed/);
});

test.run();
