import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { FeatureMap, Model } from "../../bindings/index.ts";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import { parseConfig } from "../../models/all.ts";
import type { SlabSwinConfig } from "../../models/vision/slab-swin.ts";
import { syntheticInput, vectors } from "../golden/synthetic.ts";
import { swinEntries } from "../golden/synthetic-swin.ts";
import { runs } from "./builds.ts";
import { checkKeys } from "./parity.ts";

const TOLERANCE = 5e-6;
const SIZES = { "230x310": { height: 230, width: 310 }, "224x224": { height: 224, width: 224 } };
const CASES = {
  slab_swin_t_backbone: { vector: "slab_tiny", params: 28_447_412, keys: 417 }, swin_t_prepbn_backbone: { vector: "prepbn_tiny", params: 27_543_958, keys: 413 },
};
const pixelsOf = ({ height, width }: { height: number; width: number }): Float32Array => syntheticInput("input", 3 * height * width);

const entriesOf = (config: unknown) => swinEntries(parseConfig(config).network as SlabSwinConfig, "FULL", true);

function checkMap(where: string, { shape, data }: FeatureMap, expected: (typeof vectors.detection)[string][number]): void {
  assert.equal([1, ...shape], expected.shape, where);
  const largest = data.reduce((max, v) => Math.max(max, Math.abs(v)), 0), norm = Math.sqrt(data.reduce((sum, v) => sum + v * v, 0)), tolerance = TOLERANCE * largest;
  const close = (what: string, got: number, wanted: number, within: number): void => assert.ok(Math.abs(got - wanted) <= within, `${where}: ${what} is ${got}, expected ${wanted} within ${within}`);
  close("mean", data.reduce((a, b) => a + b, 0) / data.length, expected.mean, tolerance);
  close("l2", norm, expected.l2, TOLERANCE * norm);
  expected.first.forEach((value, i) => close(`value ${i}`, data[i]!, value, tolerance));
  expected.last.forEach((value, i) => close(`value ${i - expected.last.length}`, data.at(i - expected.last.length)!, value, tolerance));
}

for (const [name, { vector, params, keys }] of Object.entries(CASES)) {
  const entries = entriesOf(name), mapsOf = new Map<string, FeatureMap[]>();
  const withModel = async (options: object, use: (model: Model) => Promise<void>): Promise<void> => {
    using model = await load({ config: name, weights: memoryCheckpoint(entries, name) }, options);
    await use(model);
  };

  test(`${name}: the checkpoint is the official one in every key and size`, () => checkKeys(entries, { state_dict_keys: keys, params }));

  for (const { build, threads } of runs.filter(({ threads }) => threads < 3)) {
    test(`${name} matches the official backbone at both sizes: ${build}, threads=${threads}`, () => withModel({ build, threads }, async (model) => {
      for (const [text, size] of Object.entries(SIZES)) {
        const maps = await model.features(pixelsOf(size), size);
        assert.equal(maps.map(({ stride }) => stride), [4, 8, 16, 32]);
        maps.forEach((map, s) => checkMap(`${build} ${text} stage ${s + 1}`, map, vectors.detection[`${vector}_${text}`]![s]!));
        mapsOf.set(`${build.replace("-threads", "")} ${text}`, mapsOf.get(`${build.replace("-threads", "")} ${text}`) ?? maps);
        assert.equal(maps, mapsOf.get(`${build.replace("-threads", "")} ${text}`), "the same bits for any number of threads");
      }
    }));
  }

  test(`${name}: every norm is folded but the four on its outputs`, () => withModel({}, async ({ plan }) => {
    const norms = Object.keys(entries).filter((key) => key.endsWith("norm2.bn.running_mean")).map((key) => key.slice(0, -".norm2.bn.running_mean".length));
    assert.equal([...new Set(plan.folds.map(({ norm }) => norm))].sort(), norms.sort());
    assert.equal(plan.ops.filter((op) => /[nN]orm|affine/.test(op.name)).map(({ name, label }) => [name, label]), [0, 1, 2, 3].map((s) => ["layerNorm", `layers.${s}.blocks.${s === 2 ? 5 : 1}`]));
  }));
}

const tiny = { model_type: "slab_swin_backbone", hidden_size: 8, depths: [2, 2, 2, 2], num_attention_heads: [1, 1, 2, 2], mlp_ratio: 1 };
const tinyModel = (): Promise<Model> => load({ config: tiny, weights: memoryCheckpoint(entriesOf(tiny)) }, { threads: 1 });

/** With layers wide enough to be quantised. */
const wide = { ...tiny, hidden_size: 64, num_attention_heads: [2, 2, 2, 2], depths: [2, 1, 1, 1] };
const wideEntries = entriesOf(wide);

test("sizes may alternate, and calls overlap", async () => {
  using model = await tinyModel();
  const sizes = [{ height: 32, width: 48 }, { height: 1, width: 1 }, { height: 9, width: 70 }, { height: 32, width: 48 }];
  const alone = [];
  for (const size of sizes) alone.push(await model.features(pixelsOf(size), size));
  assert.equal(alone[0], alone[3]);
  assert.equal(alone.map((maps) => maps.map(({ shape }) => shape.join("×"))), [
    ["8×8×12", "16×4×6", "32×2×3", "64×1×2"], ["8×1×1", "16×1×1", "32×1×1", "64×1×1"], ["8×3×18", "16×2×9", "32×1×5", "64×1×3"], ["8×8×12", "16×4×6", "32×2×3", "64×1×2"],
  ]);
  assert.equal(await Promise.all(sizes.map((size) => model.features(pixelsOf(size), size))), alone);
});

test("packed and quantised backbones take any size too", async () => {
  using model = await tinyModel();
  const size = { height: 40, width: 24 }, pixels = pixelsOf(size), maps = await model.features(pixels, size);
  // packed after a change of size: what depends on the size is no part of the file
  using packed = await load({ config: tiny, weights: await model.pack() }, { threads: 1 });
  assert.equal(await packed.features(pixels, size), maps);
  assert.equal(packed.plan.folds, model.plan.folds);
  using int8 = await load({ config: wide, weights: memoryCheckpoint(wideEntries) }, { threads: 1, dtype: "int8" });
  using f32 = await load({ config: wide, weights: memoryCheckpoint(wideEntries) }, { threads: 1 });
  const [coarse, fine] = [await int8.features(pixels, size), await f32.features(pixels, size)];
  const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
  fine.forEach(({ data }, s) => {
    const error = norm(data.map((v, i) => v - coarse[s]!.data[i]!)) / norm(data);
    assert.ok(error > 0 && error < 0.1, `stage ${s + 1} of int8 is off by ${error}`);
  });
});

test("bad calls are refused, and the next one works", async () => {
  const model = await tinyModel(), size = { height: 8, width: 8 }, pixels = pixelsOf(size), good = await model.features(pixels, size);
  const refused = async (call: Promise<unknown>, kind: new () => Error, message: RegExp): Promise<void> => {
    const error: unknown = await call.then(() => undefined, (e: unknown) => e);
    assert.instance(error, kind);
    assert.match((error as Error).message, message);
  };
  await refused(model.features([] as unknown as Float32Array, size), TypeError, /pixels is Array, expected a Float32Array \[3, height, width\]/);
  await refused(model.features(pixels), RangeError, /pixels has 192 numbers, expected 150528 \(\[3, 224, 224\]\): give \{ height, width \}/);
  await refused(model.features(pixels, { height: 8, width: 9 }), RangeError, /pixels has 192 numbers, expected 216/);
  await refused(model.features(pixels, { height: 0, width: 8 }), RangeError, /height is number 0, expected a whole number/);
  await refused(model.forward(pixels), TypeError, /forward\(\) is for image models, this is a backbone \(slab_swin_backbone\): use features\(\)/);
  assert.equal(await model.features(pixels, size), good);
  const late = model.features(pixelsOf({ height: 12, width: 8 }), { height: 12, width: 8 });
  model.dispose();
  await refused(late, Error, /disposed/);
});

test.run();
