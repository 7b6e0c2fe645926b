// Image classifiers: the logits and traces of the reference, and the same numbers whichever way a picture goes in.
import * as assert from "uvu/assert";
import { preprocess } from "../../bindings/image/index.ts";
import type { ImageModelConfig, Model } from "../../bindings/index.ts";
import { runInShim } from "../wasi/hosts.ts";
import type { Subject } from "./checks.ts";
import { assertSummary, assertWithin } from "./compare.ts";
import type { Golden, Picture, Trace } from "./folders.ts";
import { reader, repBN } from "./naive-lm.ts";
import { syntheticInput } from "./synthetic.ts";

const sideOf = (model: Model): number => (model.config as ImageModelConfig).network.imageSize;
const pixelsOf = (model: Model, input: string): Float32Array => syntheticInput(input, 3 * sideOf(model) ** 2);

/**
 * The network of the reference. Its traces cost two passes more: one build shows them, and none of a network that is
 * like a smaller one.
 */
export function classifier({ source, tolerance, like }: Golden, { input, logits, trace = [] }: Picture): Subject {
  let traces = like === undefined || process.env.SLAB_ALL ? trace : [];
  return {
    source,
    observe: async (model) => ({ logits: await model.forward(pixelsOf(model, input)) }),
    async check(model, readings) {
      const pixels = pixelsOf(model, input);
      for (const each of traces) assertSummary(each.at, await traced(model, source, pixels, each), each, tolerance);
      traces = [];
      assertSummary("logits", readings.logits!, logits, tolerance);
    },
  };
}

/** What the reference has at a mark. */
async function traced(
  model: Model, source: Golden["source"], pixels: Float32Array, { at, shape, through }: Trace,
): Promise<Float32Array> {
  const { marks } = model.plan;
  assert.ok(marks.has(at), `the plan has no mark ${at}, it has ${[...marks.keys()].join(", ")}`);
  const values = await model.activation(at, pixels), parts = source();
  if (!through || typeof parts === "string") return values;
  const read = reader(parts.weights as Parameters<typeof reader>[0]);
  return Float32Array.from(await repBN(Float64Array.from(values), read, through.repbn, shape.at(-1)!, through.eps));
}

/** A network of the same kind, small enough for all else that is to be tried. */
export function smallClassifier({ source, config, small, tolerance }: Golden): Subject {
  let plain: Float32Array | undefined;
  return {
    source: () => source(small), config: { ...JSON.parse(config), ...small },
    async observe(model) {
      const pictures = ["input", "another input"].map((name) => pixelsOf(model, name));
      const size = pictures[0]!.length, batch = new Float32Array(2 * size), alone: number[] = [];
      pictures.forEach((pixels, i) => batch.set(pixels, i * size));
      const together = await model.forward(batch);
      for (const pixels of pictures) alone.push(...(await model.forward(pixels)));
      assert.equal(together, Float32Array.from(alone), "a batch has the bits of its pictures");
      return { logits: together };
    },
    check({ plan }, { logits }) {
      if (plan.type === "f32") assertWithin("as in the first build", logits!, (plain ??= logits!), tolerance);
    },
    async standalone(model) {
      const side = sideOf(model), { preprocessing } = (model.config as ImageModelConfig).image;
      const data = Uint8Array.from({ length: 3 * side * side }, (_, i) => (i * 7919 + (i >> 7) * 31) % 256);
      const ran = runInShim(["classify", "m.slab", "--logits"], { "m.slab": await model.standalone() }, data);
      assert.equal([ran.code, ran.stderr], [0, ""]);
      const pixels = preprocess({ data, width: side, height: side }, { ...preprocessing, resize: side });
      const logits = new Float32Array(Uint8Array.from(ran.stdout).buffer);
      assert.equal(logits, await model.forward(pixels), "in a WASI host, not as here");
    },
  };
}
