// SLAB-CSWin (arXiv:2405.11582): CSWin (arXiv:2107.00652) with simplified linear attention in its large maps and PRepBN
// as the norm; softmax attention inside crossing stripes in the smaller ones. Positions come from depthwise
// convolutions of the values. No norm is left.
import { imageModel } from "#tasks";
import type { About } from "../../bindings/tasks/architecture.ts";
import type { TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import { windowAttention } from "../../bindings/plan/ops/attention.ts";
import { depthwiseConvChannels } from "../../bindings/plan/ops/convolution.ts";
import { meanRows } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { foldBefore, linearOf } from "../../bindings/plan/weights.ts";
import { scaleQueries, splitQkv } from "../mixers/qkv.ts";
import { linearMixing } from "../mixers/simplified-linear-attention.ts";
import { convolution } from "../parts/convolution.ts";
import { fault, headDim, size, sizes } from "../../bindings/config/fields.ts";
import { mlp } from "../parts/mlp.ts";
import { patchEmbed } from "../parts/patches.ts";
import { epsOf, foldPRepBN, repBN } from "../parts/prepbn.ts";
import { float32, float64 } from "../parts/values.ts";
import { windowsOf } from "../parts/windows.ts";

export interface SlabCswinConfig {
  readonly imageSize: number;
  readonly channels: number;
  readonly classes: number;
  /** One of each for every stage. */
  readonly dims: readonly number[];
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly mixers: readonly ("linear" | "softmax")[];
  /** Breadth of the stripes of softmax stages; a map no broader is one stripe. */
  readonly stripe: number;
  readonly mlpRatio: number;
  readonly normEps: number;
}

const WIDTH = 64, TINY = [2, 4, 18, 1], HEADS = [2, 4, 8, 16];

/** Stages with linear attention over the whole map, and the breadth of stripes in the others. */
const LINEAR_STAGES = 2, STRIPE = 7;

export const slabCswin = /* @__PURE__ */ imageModel<SlabCswinConfig>({
  types: ["slab_cswin"],
  presets: {
    slab_cswin_t: { model_type: "slab_cswin", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
    slab_cswin_s: { model_type: "slab_cswin", hidden_size: WIDTH, depths: [2, 4, 32, 2], num_attention_heads: HEADS },
  },
  read(fields) {
    const dim = size(fields, "hidden_size", WIDTH, 4096), depths = sizes(fields, "depths", TINY, 1024);
    const network: SlabCswinConfig = {
      imageSize: size(fields, "image_size", 224, 4096), channels: 3, classes: size(fields, "num_labels", 1000, 1 << 20),
      dims: depths.map((_, s) => dim << s), depths, heads: sizes(fields, "num_attention_heads", HEADS, 1024),
      mixers: depths.map((_, s) => (s < LINEAR_STAGES ? "linear" : "softmax")), stripe: STRIPE,
      mlpRatio: size(fields, "mlp_ratio", 4, 64), normEps: epsOf(fields),
    };
    const { imageSize, dims, heads, mixers } = network;
    if (imageSize % 32) {
      throw fault(fields, `"image_size" is ${imageSize}, expected a multiple of 32: four stages halve it five times`);
    }
    dims.forEach((width, s) => {
      const stage = ` of stage ${s + 1}`, count = heads[s]!, side = imageSize / 4 / 2 ** s;
      headDim(fields, width, count, stage);
      if (mixers[s] !== "softmax" || side <= STRIPE) return;
      if (count % 2) {
        throw fault(fields, `"num_attention_heads" ${count}${stage}, expected an even number: `
          + "half of them see vertical stripes");
      }
      if (side % STRIPE) {
        throw fault(fields, `stripes of ${STRIPE} do not divide the map of ${side}×${side}${stage}: `
          + '"image_size" must be a multiple of 224');
      }
    });
    return network;
  },
  record: cswin,
});

export const aboutCswin: About<SlabCswinConfig> = {
  describe: () => ({ patchSize: 4 }),
  recognise(seen) {
    if (!seen.shape("stage1_conv_embed.0.weight")) return undefined;
    const [dim] = seen.dims("stage1_conv_embed.0.weight", 4), dims = [1, 2, 4, 8].map((times) => dim * times);
    const { depths, heads, mlpRatios } = seen.pyramid((s) => `stage${s + 1}.`, dims, 32, ["LLSS"], "attns.0");
    const table = "stage1.0.attns.0.positional_encoding", [, tokens] = seen.dims(table, 3);
    return {
      model_type: "slab_cswin", image_size: 4 * seen.side(tokens, table), hidden_size: dim, depths,
      num_attention_heads: heads, mlp_ratio: mlpRatios[0], num_labels: seen.classes(dims[3]!),
    };
  },
};

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
function cswin(plan: Plan, tensors: Tensors, config: SlabCswinConfig): Tensor {
  const { imageSize, channels, classes, dims, depths, heads, mixers, stripe, mlpRatio, normEps: eps } = config;
  plan.scope("embed");
  const norm = repBN(tensors.scope("stage1_conv_embed.2"), dims[0]!, eps);
  const embed = { size: imageSize, patch: 7, stride: 4, pad: 2, dim: dims[0]!, name: "stage1_conv_embed.0", norm };
  const image = plan.input([channels, imageSize, imageSize]);
  let x = patchEmbed(plan, image, tensors, { channels, ...embed }), side = imageSize / 4;
  plan.mark("embed", x);
  dims.forEach((dim, s) => {
    if (s > 0) {
      const merge = tensors.scope(`merge${s}`);
      plan.scope(`merge${s}`);
      const after = repBN(merge.scope("norm"), dim, eps);
      x = convolution(plan, x, side, merge, { name: "conv", kernel: 3, stride: 2, pad: 1, dim, after });
      side /= 2;
    }
    for (let i = 0; i < depths[s]!; i++) {
      const block = tensors.scope(`stage${s + 1}.${i}`);
      const qkv = foldPRepBN(block.scope("norm1"), eps, linearOf(block, "qkv", dim, 3 * dim));
      plan.scope(`stage${s + 1}.${i}`);
      if (mixers[s] === "linear") linearAttention(plan, x, qkv, block, { side, heads: heads[s]! });
      else stripeAttention(plan, x, qkv, block, { side, heads: heads[s]!, stripe: Math.min(stripe, side) });
      mlp(plan, x, block, { norm: repBN(block.scope("norm2"), dim, eps), hidden: dim * mlpRatio });
    }
    plan.mark(`stage${s + 1}`, x);
  });
  plan.scope("head");
  // the last norm is affine too: it commutes with the mean over tokens and folds into the head
  const head = linearOf(tensors, "head", dims.at(-1)!, classes);
  return plan.linear(meanRows(plan, x), foldPRepBN(tensors.scope("norm"), eps, head));
}

/**
 * x + proj(linear attention + depthwise5×5(v) + depthwise3×3(v)), in place. Both convolutions, one with taps that heads
 * share and one with every channel's own, see the same values between the same zeros: one 5×5 is their sum.
 */
function linearAttention(
  plan: Plan, x: Tensor, qkv: Linear, block: Tensors, { side, heads }: { side: number; heads: number },
): void {
  const dim = x.columns, headDim = dim / heads, attn = block.scope("attns.0");
  const shared = attn.tensor("dwc.weight", [headDim, 1, 5, 5]), own = attn.tensor("get_v.weight", [dim, 1, 3, 3]);
  const { mixed, values } = linearMixing(plan, x, splitQkv(qkv), attn, { heads });
  const taps = { name: `${own.name} + dwc`, read: async () => mergedTaps(await float64(own), await float64(shared)) };
  depthwiseConvChannels(plan, values, taps, 5, x.rows / side, side, { add: mixed, out: mixed });
  const bias = biasBefore([attn.tensor("get_v.bias", [dim])], attn.tensor("dwc.bias", [headDim]));
  plan.linear(mixed, foldBefore(bias, linearOf(block, "proj", dim, dim)), { add: x, out: x });
}

/** Taps 3×3 of every channel, in the middle of 5×5, plus taps 5×5 that repeat with every head. */
export function mergedTaps(own: Float64Array, shared: Float64Array): Float32Array {
  const channels = own.length / 9;
  return Float32Array.from({ length: channels * 25 }, (_, i) => {
    const c = Math.floor(i / 25), y = Math.floor((i % 25) / 5) - 1, x = (i % 5) - 1;
    return shared[i % shared.length]! + (y >= 0 && y < 3 && x >= 0 && x < 3 ? own[c * 9 + y * 3 + x]! : 0);
  });
}

/**
 * x + proj(softmax attention + depthwise3×3(v)), both inside stripes, in place. Half of the heads see vertical stripes,
 * the others horizontal ones; where a stripe is the whole map, all heads see it.
 */
function stripeAttention(
  plan: Plan, x: Tensor, qkv: Linear, block: Tensors,
  { side, heads, stripe }: { side: number; heads: number; stripe: number },
): void {
  const dim = x.columns, headDim = dim / heads, branches = stripe === side ? 1 : 2, channels = dim / branches;
  const projected = plan.linear(x, scaleQueries(qkv, heads)), mixed = plan.rows("attention", x.rows, dim);
  const biases: TensorRef[] = [];
  for (let branch = 0; branch < branches; branch++) {
    const [height, width] = branch === 0 ? [side, stripe] : [stripe, side], getV = block.scope(`attns.${branch}.get_v`);
    const windows = windowsOf({ height: side, width: side, windowHeight: height, windowWidth: width });
    const firstHead = (branch * heads) / branches, to = branch * channels;
    windowAttention(plan, projected, windows, heads / branches, headDim, { firstHead, out: mixed });
    const taps = getV.tensor("weight", [channels, 1, 3, 3]), read = float32(taps);
    const options = { across: side / width, channels, first: 2 * dim + to, to, add: mixed, out: mixed };
    depthwiseConvChannels(plan, projected, { name: taps.name, read }, 3, height, width, options);
    biases.push(getV.tensor("bias", [channels]));
  }
  plan.linear(mixed, foldBefore(biasBefore(biases), linearOf(block, "proj", dim, dim)), { add: x, out: x });
}

/**
 * The affine map whose only effect is to add biases, side by side, to every token; with `repeated`, also one that
 * repeats with every head.
 */
function biasBefore(biases: readonly TensorRef[], repeated?: TensorRef): Affine {
  return {
    async read() {
      const parts: number[] = [];
      for (const bias of biases) parts.push(...await float64(bias));
      const again = repeated && await float64(repeated);
      const shift = Float64Array.from(parts, (b, c) => b + (again ? again[c % again.length]! : 0));
      return { scale: new Float64Array(shift.length).fill(1), shift };
    },
  };
}
