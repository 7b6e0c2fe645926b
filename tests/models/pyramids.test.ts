import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import { load } from "../../bindings/index.ts";
import { entriesOf } from "../golden/synthetic.ts";
import { pixels } from "./parity.ts";
import type { Shapes } from "./state-dicts.ts";
import { cswinShapes, pvtShapes } from "./state-dicts.ts";

// narrow pyramids: channels of a head, and of a stage, that fill no panel of eight evenly where their network allows it
const depths = [1, 1, 2, 1], heads = [1, 1, 2, 2], ratios = [2, 2, 1, 1], sizes = { hidden_sizes: [12, 20, 24, 40], depths, num_attention_heads: heads, mlp_ratios: ratios };
const narrow = (kind: "linear" | "softmax" | "v2"): Shapes => pvtShapes({ dims: sizes.hidden_sizes, depths, kind, heads, ratios });
const networks: readonly [type: string, config: object, shapes: Shapes][] = [
  ["slab_pvt", sizes, narrow("linear")], ["pvt_prepbn", sizes, narrow("softmax")], ["slab_pvt_v2", sizes, narrow("v2")],
  ["slab_cswin", { hidden_size: 32, depths, num_attention_heads: [1, 2, 4, 8] }, cswinShapes({ dim: 32, depths })],
];

const relativeError = (got: Float32Array, want: Float32Array): number => {
  const norm = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
  return norm(got.map((v, i) => v - want[i]!)) / norm(want);
};

for (const [type, sizes, shapes] of networks) {
  test(`a narrow ${type}: packed, the same bits; in int8, close`, async () => {
    const config = { model_type: type, ...sizes }, weights = memoryCheckpoint(entriesOf(shapes));
    using original = await load({ config, weights }, { threads: 1 });
    const logits = await original.forward(pixels);
    assert.is(logits.length, 1000);
    assert.ok(logits.every(Number.isFinite));
    using packed = await load({ config, weights: await original.pack() }, { threads: 2 });
    assert.equal(await packed.forward(pixels), logits);
    assert.equal(packed.plan.folds, original.plan.folds);
    using quantised = await load({ config, weights }, { threads: 1, dtype: "int8" });
    const error = relativeError(await quantised.forward(pixels), logits);
    assert.ok(error < 0.05, `int8 is ${error} from f32`);
  });
}

test.run();
