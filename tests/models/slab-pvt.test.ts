import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import { parseConfig } from "../../models/all.ts";
import { repBN } from "../../models/parts/prepbn.ts";
import type { SlabPvtConfig } from "../../models/vision/slab-pvt.ts";
import { pvtAttention } from "../../models/vision/slab-pvt.ts";
import { entriesOf, stateDict, syntheticInput, vectors } from "../golden/synthetic.ts";
import type { Entries } from "../golden/synthetic.ts";
import { every, once, runs } from "./builds.ts";
import { close, evaluate } from "./evaluate.ts";
import { checkKeys, testPyramid } from "./parity.ts";
import type { Shapes } from "./state-dicts.ts";
import { pvtShapes } from "./state-dicts.ts";

const networkOf = (name: string): SlabPvtConfig => parseConfig(name).network as SlabPvtConfig;

const shapesOf = ({ dims, depths, heads, mlpRatios: ratios, mixer, overlapping }: SlabPvtConfig): Shapes =>
  pvtShapes({ dims, depths, heads, ratios, kind: overlapping ? "v2" : mixer });

const CASES = { slab_pvt_t: every, pvt_t_prepbn: every, slab_pvt_v2_b0: every, slab_pvt_s: once, pvt_s_prepbn: once, slab_pvt_m: once, pvt_m_prepbn: once };

for (const [name, cases] of Object.entries(CASES)) {
  const network = networkOf(name);
  testPyramid(name, cases, () => entriesOf(shapesOf(network)), {
    count: 4, has: (at) => at.startsWith("stage"), map: async (entries, at) => (network.overlapping ? stageNorm(entries, at, network) : undefined),
  });
}

/** PVTv2's traces are taken after the norm that ends a stage, which the network no longer has. */
async function stageNorm(entries: Entries, at: string, { dims, normEps }: SlabPvtConfig) {
  const stage = Number(at.slice("stage".length));
  const { scale, shift } = await repBN(memoryCheckpoint(entries).scope(`norm${stage}`), dims[stage - 1]!, normEps).read();
  return (value: number, channel: number): number => value * scale[channel]! + shift[channel]!;
}

// keys and values from a map shrunk by two, values stretched along the flattened tokens for the depthwise convolution
const { prefix, dim, heads, side, x_key: key, out } = vectors.unit.sla_sr2!;

for (const run of runs) {
  test(`sla_sr2: ${run.build}, threads=${run.threads}`, async () => {
    const { entries, fill, linear, norm } = stateDict("FULL"), at = (name: string): string => prefix + name;
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

// numbers of PVTv2's trained parameters in the official code
const PARAMETERS = { b1: 12_941_504, b2: 22_564_880, b3: 38_301_992, b4: 51_875_330, b5: 67_111_640 };
const KEYS = { b1: 394, b2: 690, b3: 1134, b4: 1615, b5: 2022 };

for (const size of ["b1", "b2", "b3", "b4", "b5"] as const) {
  test(`slab_pvt_v2_${size}: keys and sizes are the official ones`, () =>
    checkKeys(entriesOf(shapesOf(networkOf(`slab_pvt_v2_${size}`)), (_, shape) => ({ shape, data: new Float32Array(0) })), { state_dict_keys: KEYS[size], params: PARAMETERS[size] }));
}

test("configs that no PVT can have are refused", () => {
  const refused = (fields: object, message: RegExp): void => {
    assert.throws(() => parseConfig({ model_type: "slab_pvt", ...fields }), (error: Error) => message.test(error.message));
  };
  refused({ hidden_sizes: [64, 128] }, /"hidden_sizes" is \[64,128\], expected 4 numbers, one for each stage/);
  refused({ hidden_sizes: "wide" }, /"hidden_sizes" is "wide", expected 4 numbers/);
  refused({ depths: [2, 2, 0, 2] }, /"depths", stage 3 is 0, expected a whole number from 1/);
  refused({ num_attention_heads: [1, 3, 5, 8] }, /"hidden_sizes" 128 of stage 2 is not a multiple of its "num_attention_heads" 3/);
  refused({ image_size: 230 }, /"image_size" is 230, expected a multiple of 32/);
  refused({ sr_ratios: [1, 3, 1, 1] }, /"sr_ratios" 3 of stage 2 does not divide its map of 28×28/);
  refused({ model_type: "slab_pvt_v2", sr_ratios: [2, 1, 1, 1] }, /"sr_ratios" 2 of stage 1, expected 1/);
});

test.run();
