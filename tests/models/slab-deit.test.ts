import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model } from "../../bindings/index.ts";
import type { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { CONFIGS, forget, syntheticCheckpoint, syntheticInput, vectors } from "../golden/synthetic.ts";
import type { ConfigName, ModelVector, Trace } from "../golden/synthetic.ts";
import { runs } from "./builds.ts";

/** Of max|logit|, or of a tensor's largest value: what float32 sums in any order stay well within. */
const TOLERANCE = 5e-6;
const pixels = syntheticInput("input", 3 * 224 * 224);

function close(what: string, got: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(got - expected) <= tolerance, `${what} is ${got}, expected ${expected} within ${tolerance}`);
}

const l2 = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
const largest = (values: Float32Array): number => values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);

function checkLogits(where: string, logits: Float32Array, expected: ModelVector): void {
  assert.is(logits.length, 1000);
  const tolerance = TOLERANCE * Math.max(Math.abs(expected.max), Math.abs(expected.min));
  expected.logits_first8.forEach((value, i) => close(`${where}: logit ${i}`, logits[i]!, value, tolerance));
  close(`${where}: max`, Math.max(...logits), expected.max, tolerance);
  close(`${where}: min`, Math.min(...logits), expected.min, tolerance);
  assert.is(logits.indexOf(Math.max(...logits)), expected.argmax, `${where}: argmax`);
  close(`${where}: l2`, l2(logits), expected.l2, TOLERANCE * expected.l2);
  // the errors of a thousand logits add up as a random walk does
  close(`${where}: sum`, logits.reduce((a, b) => a + b, 0), expected.sum, tolerance * Math.sqrt(logits.length));
}

async function checkTrace(where: string, model: Model, { at, shape, mean, l2: norm, first, last }: Trace): Promise<void> {
  const values = await model.activation(at, pixels);
  assert.is(values.length, shape.reduce((a, b) => a * b, 1), `${where}: ${at}`);
  const tolerance = TOLERANCE * largest(values);
  close(`${where}: mean of ${at}`, values.reduce((a, b) => a + b, 0) / values.length, mean, tolerance);
  close(`${where}: l2 of ${at}`, l2(values), norm, TOLERANCE * norm);
  first.forEach((value, i) => close(`${where}: ${at}[${i}]`, values[i]!, value, tolerance));
  last.forEach((value, i) => close(`${where}: ${at}[${i - last.length}]`, values.at(i - last.length)!, value, tolerance));
}

/** Loads, uses and disposes of a model. */
async function withModel(config: ConfigName, weights: Checkpoint, options: LoadOptions, use: (model: Model) => unknown): Promise<void> {
  const model = await load({ config, weights }, options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

for (const name of Object.keys(CONFIGS) as ConfigName[]) {
  const expected = vectors.models[name]!;
  const logitsOf = new Map<string, Float32Array>();

  test(`${name}: the checkpoint is the official one in every key and size`, () => {
    const checkpoint = syntheticCheckpoint(name);
    assert.is(checkpoint.names().length, expected.state_dict_keys);
    const trained = checkpoint.names().filter((key) => !/running_|num_batches|\.(warm|iter|total_step)$/.test(key));
    assert.is(trained.reduce((sum, key) => sum + checkpoint.info(key)!.byteLength / 4, 0), expected.params);
  });

  for (const { build, threads } of runs) {
    test(`${name} matches the official network: ${build}, threads=${threads}`, () =>
      withModel(name, syntheticCheckpoint(name), { build, threads }, async (model) => {
        assert.is(model.caps.build, build);
        const logits = await model.forward(pixels);
        checkLogits(build, logits, expected);
        logitsOf.set(`${build} ${threads}`, logits);
        // a thread split may change nothing, so one count a build is enough
        if (threads === 1) for (const trace of expected.trace) if (model.plan.marks.has(trace.at)) await checkTrace(build, model, trace);
      }));
  }

  test(`${name}: the same bits with and without threads, for any number of them`, () => {
    for (const [run, logits] of logitsOf) assert.equal(logits, logitsOf.get(run.startsWith("simd") ? "simd 1" : "relaxed 1"), run);
  });

  test(`${name}: either layout of its norms is accepted`, () => {
    const layout = CONFIGS[name].layout === "FULL" ? "BARE" : "FULL";
    const checkpoint = syntheticCheckpoint(name, layout);
    assert.is(checkpoint.has("norm.norm2.alpha"), layout === "FULL");
    return withModel(name, checkpoint, { build: "simd" }, async (model) => assert.equal(await model.forward(pixels), logitsOf.get("simd 1")));
  });

  test(`${name}: no norm is left, all 25 are folded`, () =>
    withModel(name, syntheticCheckpoint(name), { build: "simd" }, (model) => {
      const norms = ["norm", ...Array.from({ length: 12 }, (_, i) => [`blocks.${i}.norm1`, `blocks.${i}.norm2`]).flat()];
      assert.equal([...new Set(model.plan.folds.map((fold) => fold.norm))].sort(), norms.sort());
      assert.ok(model.plan.folds.every((fold) => fold.into.length > 0 && fold.change > 0));
      assert.equal(model.plan.ops.filter((op) => /layerNorm|affine/.test(op.name)), []);
      forget(name);
    }));
}

test.run();
