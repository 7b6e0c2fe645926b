// What every folder is held to: its reference, and that nothing changes a model's numbers that may not.
import * as assert from "uvu/assert";
import type { WeightType } from "../../bindings/plan/dtype.ts";
import { WEIGHT_TYPES } from "../../bindings/plan/dtype.ts";
import type { LoadOptions, Model, ModelParts } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import { shapeOf, sizesOf } from "../../cli/sizes.ts";
import { every, once, runs } from "../models/builds.ts";
import type { Readings } from "./compare.ts";
import { assertSameReadings, distance } from "./compare.ts";
import { backbone, smallBackbone } from "./features.ts";
import type { Golden } from "./folders.ts";
import { classifier, smallClassifier } from "./pictures.ts";
import { languageModel } from "./text.ts";

/** A test, named but not yet run. */
export interface Check {
  readonly name: string;
  run(): Promise<void>;
}

/** A network, and what to ask it for. */
export interface Subject {
  readonly source: () => string | ModelParts;
  /** What is beside its weights once they are packed; undefined: they are not packed here. */
  readonly config?: unknown;
  /** Of a language model: how many timelines have room at once. */
  readonly sessions?: number;
  /** What it gives; `all`: in every way, not only in those that builds, threads and packing could change. */
  observe(model: Model, all: boolean): Promise<Readings>;
  /** All that it gave, of every type of weights in every arithmetic. */
  check(model: Model, readings: Readings): Promise<void> | void;
  /** In a WASI host, which has the plain build. */
  standalone?(model: Model): Promise<void>;
}

/** All that is to be tested of a folder. */
export function checksOf(golden: Golden): Check[] {
  const { task, like, name } = golden, alone = like === undefined, smaller = { ...golden, name: `${name}, smaller` };
  if ("text" in task) {
    const subject = languageModel(golden, task.text);
    return alone ? checks(golden, subject, runs, WEIGHT_TYPES) : checks(golden, subject, once, ["f32"]);
  }
  const [published, small] = "picture" in task
    ? [classifier(golden, task.picture), smallClassifier(golden)]
    : [backbone(golden, task.features), smallBackbone(golden)];
  const reference = checks(golden, published, alone ? every : once, ["f32"]);
  return alone ? [...reference, ...checks(smaller, small, runs, WEIGHT_TYPES)] : reference;
}

/**
 * One check for every type of weights, build and number of threads. Threads change no bit, so that the first run of an
 * arithmetic, plain or relaxed, stands for all.
 */
function checks(golden: Golden, subject: Subject, on: typeof runs, types: readonly WeightType[]): Check[] {
  const first = new Map<string, Readings>(), { config, sessions } = subject;
  return types.flatMap((dtype) => on.map(({ build, threads }) => ({
    name: `${golden.name}: ${dtype}, ${build}, threads=${threads}`,
    async run() {
      const arithmetic = build.split("-")[0]!, room = sessions === undefined ? {} : { sessions };
      const options: LoadOptions = { build, threads, dtype, ...room };
      using model = await load(subject.source(), options);
      assert.is(model.caps.build, build);
      const before = first.get(`${dtype} ${arithmetic}`), readings = await subject.observe(model, !before);
      if (before) return assertSameReadings(`on ${threads} threads, not as before`, readings, before);
      if (dtype === "f32") checkNetwork(golden, model);
      else checkQuantised(golden, model, readings, first.get(`f32 ${arithmetic}`));
      await subject.check(model, readings);
      first.set(`${dtype} ${arithmetic}`, readings);
      if (config !== undefined) {
        using packed = await load({ config, weights: await model.pack() }, options);
        assertSameReadings("packed, not as before", await subject.observe(packed, false), readings);
      }
      if (build === "simd") await subject.standalone?.(model);
    },
  })));
}

/** What `slab info` says of a network: it can say it, and it is true of this one. */
function checkNetwork({ normalisationOps }: Golden, { config, plan }: Model): void {
  const sizes = sizesOf(config), folded = new Set(plan.folds.map(({ norm }) => norm));
  shapeOf(config);
  assert.ok(sizes.parameters > 0 && sizes.flops > 0, "a network has parameters and work");
  assert.equal(sizes.norms.filter((norm) => !folded.has(norm)), [], "PRepBN's norms that are not folded");
  assert.ok(plan.folds.every(({ into, change }) => into.length > 0 && change > 0), "every fold changes something");
  if (normalisationOps === undefined) return;
  const left = plan.ops.filter(({ name }) => /norm|affine/i.test(name)).map(({ name, label }) => `${name} of ${label}`);
  assert.is(left.length, normalisationOps, `normalisation ops: ${left.join(", ")}`);
}

/** Near f32 in all that was asked for. */
function checkQuantised({ quantised, source }: Golden, { plan }: Model, readings: Readings, exact?: Readings): void {
  if (!exact) throw new Error("there is nothing to compare with: f32 has failed");
  if (!plan.weights.some((weight) => "type" in weight && weight.type === plan.type)) {
    assert.is(typeof source(), "string", "no layer is wide enough to be quantised: give the network 64 channels");
    return assertSameReadings("no layer is quantised", readings, exact);
  }
  const bound = quantised[plan.type as keyof typeof quantised];
  let most = 0;
  for (const [how, values] of Object.entries(readings)) {
    const apart = distance(values, exact[how]!);
    assert.ok(apart <= bound, `${how}: ${apart} from f32, expected at most ${bound}`);
    most = Math.max(most, apart);
  }
  assert.ok(most > 0, "quantised layers change something");
}
