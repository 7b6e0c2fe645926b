// What is special to PVT beside its folders in tests/golden.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import { parseConfig } from "../../models/all.ts";
import { pvtAttention } from "../../models/vision/slab-pvt.ts";
import { stateDict, syntheticInput, vectors } from "../golden/synthetic.ts";
import { runs } from "./builds.ts";
import { close, evaluate } from "./evaluate.ts";

// keys and values from a map shrunk by two, values stretched along the flattened tokens for the depthwise convolution
const { prefix, dim, heads, side, x_key: key, out } = vectors.unit.sla_sr2!;

for (const run of runs) {
  test(`sla_sr2: ${run.build}, threads=${run.threads}`, async () => {
    const { entries, fill, linear, norm } = stateDict(), at = (name: string): string => prefix + name;
    linear(at("q"), dim, dim);
    linear(at("kv"), dim, 2 * dim);
    linear(at("proj"), dim, dim);
    linear(at("sr"), dim, dim, 2, 2);
    norm(at("norm"), dim);
    fill(at("positional_encoding"), 1, side ** 2 / 4, dim);
    linear(at("dwc"), 1, dim / heads, 5, 5);
    const tensors = memoryCheckpoint(entries).scope(prefix.slice(0, -1)), tokens = side * side;
    close("out", await evaluate(run, [tokens, dim], syntheticInput(key, tokens * dim), (plan, x) =>
      pvtAttention(plan, x, tensors, { side, heads, sr: 2, eps: 1e-5, mixer: "linear" })), out);
  });
}

test("configs that no PVT can have are refused", () => {
  const refused = (fields: object, message: RegExp): void => {
    assert.throws(
      () => parseConfig({ model_type: "slab_pvt", ...fields }), (error: Error) => message.test(error.message),
    );
  };
  refused({ hidden_sizes: [64, 128] }, /"hidden_sizes" is \[64,128\], expected 4 numbers, one for each stage/);
  refused({ hidden_sizes: "wide" }, /"hidden_sizes" is "wide", expected 4 numbers/);
  refused({ depths: [2, 2, 0, 2] }, /"depths", stage 3 is 0, expected a whole number from 1/);
  refused(
    { num_attention_heads: [1, 3, 5, 8] },
    /"hidden_sizes" 128 of stage 2 is not a multiple of its "num_attention_heads" 3/,
  );
  refused({ image_size: 230 }, /"image_size" is 230, expected a multiple of 32/);
  refused({ sr_ratios: [1, 3, 1, 1] }, /"sr_ratios" 3 of stage 2 does not divide its map of 28×28/);
  refused({ model_type: "slab_pvt_v2", sr_ratios: [2, 1, 1, 1] }, /"sr_ratios" 2 of stage 1, expected 1/);
});

test.run();
