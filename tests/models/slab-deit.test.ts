import { test } from "uvu";
import * as assert from "uvu/assert";
import { CONFIGS, forget, syntheticCheckpoint, syntheticEntries, vectors } from "../golden/synthetic.ts";
import type { ConfigName } from "../golden/synthetic.ts";
import { runs } from "./builds.ts";
import { checkFolds, checkKeys, checkLogits, checkTrace, pixels, withModel } from "./parity.ts";

for (const name of Object.keys(CONFIGS) as ConfigName[]) {
  const expected = vectors.models[name]!;
  const logitsOf = new Map<string, Float32Array>();

  test(`${name}: the checkpoint is the official one in every key and size`, () => checkKeys(syntheticEntries(name), expected));

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
      checkFolds(model, syntheticEntries(name));
      assert.is(new Set(model.plan.folds.map((fold) => fold.norm)).size, 25);
      forget(name);
    }));
}

test.run();
