// What a network is held to: the logits and traces of the official one, and a state dict like its own.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, Model } from "../../bindings/index.ts";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import type { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { vectors } from "../golden/synthetic.ts";
import type { Entries, ModelVector, Trace } from "../golden/synthetic.ts";
import type { every } from "./builds.ts";

/** Of max|logit|, or of a tensor's largest value: what float32 sums in any order stay well within. */
const TOLERANCE = 5e-6;
export const pixels = syntheticInput("input", 3 * 224 * 224);

function close(what: string, got: number, expected: number, tolerance: number): void {
  assert.ok(Math.abs(got - expected) <= tolerance, `${what} is ${got}, expected ${expected} within ${tolerance}`);
}

const l2 = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
const largest = (values: Float32Array): number => values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);

export function checkLogits(where: string, logits: Float32Array, expected: ModelVector): void {
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

/** `map` gives what the trace holds of a value and its channel, where that is more than the mark does. */
export async function checkTrace(
  where: string, model: Model, { at, shape, mean, l2: norm, first, last }: Trace, map: (value: number, channel: number) => number = (value) => value,
): Promise<void> {
  const values = (await model.activation(at, pixels)).map((value, i) => map(value, i % shape.at(-1)!));
  assert.is(values.length, shape.reduce((a, b) => a * b, 1), `${where}: ${at}`);
  const tolerance = TOLERANCE * largest(values);
  close(`${where}: mean of ${at}`, values.reduce((a, b) => a + b, 0) / values.length, mean, tolerance);
  close(`${where}: l2 of ${at}`, l2(values), norm, TOLERANCE * norm);
  first.forEach((value, i) => close(`${where}: ${at}[${i}]`, values[i]!, value, tolerance));
  last.forEach((value, i) => close(`${where}: ${at}[${i - last.length}]`, values.at(i - last.length)!, value, tolerance));
}

/** Loads, uses and disposes of a model. */
export async function withModel(config: string, weights: Checkpoint, options: LoadOptions, use: (model: Model) => unknown): Promise<void> {
  const model = await load({ config, weights }, options);
  try {
    await use(model);
  } finally {
    model.dispose();
  }
}

/** The state dict has the official one's number of keys and of trained numbers. */
export function checkKeys(entries: Entries, expected: Pick<ModelVector, "state_dict_keys" | "params">): void {
  const names = Object.keys(entries);
  assert.is(names.length, expected.state_dict_keys);
  const trained = names.filter((key) => !/running_|num_batches|attn_mask|relative_position_index|\.(warm|iter|total_step)$/.test(key));
  assert.is(trained.reduce((sum, key) => sum + entries[key]!.shape.reduce((a, b) => a * b, 1), 0), expected.params);
}

/** Every norm of the state dict is folded into something, and the plan has no op left that normalises. */
export function checkFolds(model: Model, entries: Entries): void {
  const norms = Object.keys(entries).filter((key) => key.endsWith(".bn.running_mean")).map((key) => {
    const repbn = key.slice(0, -".bn.running_mean".length), norm = repbn.replace(/\.norm2$/, "");
    // beside a dead LayerNorm, RepBN is the second half of its norm
    return `${norm}.norm1.weight` in entries ? norm : repbn;
  });
  assert.ok(norms.length > 0);
  assert.equal([...new Set(model.plan.folds.map((fold) => fold.norm))].sort(), norms.sort());
  assert.ok(model.plan.folds.every((fold) => fold.into.length > 0 && fold.change > 0));
  assert.equal(model.plan.ops.filter((op) => /[nN]orm|affine/.test(op.name)), []);
}

/** The official network's traces that ours is compared with: how many, and what one holds of a value, where that is more than the mark does. */
interface Traces {
  readonly count: number;
  has(at: string): boolean;
  map?(entries: Entries, at: string): Promise<((value: number, channel: number) => number) | undefined>;
}

/** The features are those after the last norm, which is folded into the head. */
export const allButFeatures: Traces = { count: 5, has: (at) => at !== "features" };

/** Tests of a pyramid: its state dict, its logits, folds and traces in every case, and the same bits for any number of threads. */
export function testPyramid(name: string, cases: typeof every, make: () => Entries, traces: Traces): void {
  const expected = vectors.models[name]!, logitsOf = new Map<string, Float32Array>();
  let entries: Entries = {};

  test(`${name}: the checkpoint is the official one in every key and size`, () => checkKeys(entries = make(), expected));

  for (const { build, threads } of cases) {
    test(`${name} matches the official network: ${build}, threads=${threads}`, () =>
      withModel(name, memoryCheckpoint(entries, name), { build, threads }, async (model) => {
        assert.is(model.caps.build, build);
        const logits = await model.forward(pixels);
        checkLogits(build, logits, expected);
        logitsOf.set(`${build} ${threads}`, logits);
        checkFolds(model, entries);
        if (threads === 1 && !build.endsWith("threads")) {
          const compared = expected.trace.filter(({ at }) => traces.has(at));
          assert.is(compared.length, traces.count);
          for (const trace of compared) await checkTrace(build, model, trace, await traces.map?.(entries, trace.at));
        }
      }));
  }

  test(`${name}: the same bits with and without threads`, () => {
    for (const [run, logits] of logitsOf) assert.equal(logits, logitsOf.get(run.startsWith("simd") ? "simd 1" : "relaxed 1"), run);
    entries = {};
  });
}
