// SLAB-CSWin (arXiv:2405.11582): CSWin (arXiv:2107.00652) with simplified linear attention in its large maps and PRepBN as the norm; softmax
// attention inside crossing stripes in the smaller ones. Positions come from depthwise convolutions of the values. No norm is left.
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import { windowAttention } from "../bindings/ops/attention.ts";
import { depthwiseConvChannels } from "../bindings/ops/convolution.ts";
import { meanRows } from "../bindings/ops/rows.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import type { Affine, Linear } from "../bindings/weights.ts";
import { foldBefore, linearOf } from "../bindings/weights.ts";
import { float32, float64, linearMixing, mlp, patchEmbed, scaleQueries, splitQkv } from "./blocks.ts";
import { convolution } from "./convolution.ts";
import { foldPRepBN, repBN } from "./prepbn.ts";
import { windowsOf } from "./windows.ts";

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

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
export function slabCswin(plan: Plan, tensors: Tensors, config: SlabCswinConfig): Tensor {
  const { imageSize, channels, classes, dims, depths, heads, mixers, stripe, mlpRatio, normEps: eps } = config;
  plan.scope("embed");
  const embed = { channels, size: imageSize, patch: 7, stride: 4, pad: 2, dim: dims[0]!, name: "stage1_conv_embed.0", norm: repBN(tensors.scope("stage1_conv_embed.2"), dims[0]!, eps) };
  let x = patchEmbed(plan, plan.input([channels, imageSize, imageSize]), tensors, embed), side = imageSize / 4;
  plan.mark("embed", x);
  dims.forEach((dim, s) => {
    if (s > 0) {
      const merge = tensors.scope(`merge${s}`);
      plan.scope(`merge${s}`);
      x = convolution(plan, x, side, merge, { name: "conv", kernel: 3, stride: 2, pad: 1, dim, after: repBN(merge.scope("norm"), dim, eps) });
      side /= 2;
    }
    for (let i = 0; i < depths[s]!; i++) {
      const block = tensors.scope(`stage${s + 1}.${i}`), qkv = foldPRepBN(block.scope("norm1"), eps, linearOf(block, "qkv", dim, 3 * dim));
      plan.scope(`stage${s + 1}.${i}`);
      if (mixers[s] === "linear") linearAttention(plan, x, qkv, block, { side, heads: heads[s]! });
      else stripeAttention(plan, x, qkv, block, { side, heads: heads[s]!, stripe: Math.min(stripe, side) });
      mlp(plan, x, block, { norm: repBN(block.scope("norm2"), dim, eps), hidden: dim * mlpRatio });
    }
    plan.mark(`stage${s + 1}`, x);
  });
  plan.scope("head");
  // the last norm is affine too: it commutes with the mean over tokens and folds into the head
  return plan.linear(meanRows(plan, x), foldPRepBN(tensors.scope("norm"), eps, linearOf(tensors, "head", dims.at(-1)!, classes)));
}

/**
 * x + proj(linear attention + depthwise5×5(v) + depthwise3×3(v)), in place. Both convolutions, one with taps that heads share and one with
 * every channel's own, see the same values between the same zeros: one 5×5 is their sum.
 */
function linearAttention(plan: Plan, x: Tensor, qkv: Linear, block: Tensors, { side, heads }: { side: number; heads: number }): void {
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
 * x + proj(softmax attention + depthwise3×3(v)), both inside stripes, in place. Half of the heads see vertical stripes, the others horizontal
 * ones; where a stripe is the whole map, all heads see it.
 */
function stripeAttention(plan: Plan, x: Tensor, qkv: Linear, block: Tensors, { side, heads, stripe }: { side: number; heads: number; stripe: number }): void {
  const dim = x.columns, headDim = dim / heads, branches = stripe === side ? 1 : 2, channels = dim / branches;
  const projected = plan.linear(x, scaleQueries(qkv, heads)), mixed = plan.rows("attention", x.rows, dim), biases: TensorRef[] = [];
  for (let branch = 0; branch < branches; branch++) {
    const [height, width] = branch === 0 ? [side, stripe] : [stripe, side], getV = block.scope(`attns.${branch}.get_v`);
    const windows = windowsOf({ height: side, width: side, windowHeight: height, windowWidth: width });
    windowAttention(plan, projected, windows, heads / branches, headDim, { firstHead: (branch * heads) / branches, out: mixed });
    const taps = getV.tensor("weight", [channels, 1, 3, 3]), to = branch * channels;
    depthwiseConvChannels(plan, projected, { name: taps.name, read: float32(taps) }, 3, height, width, { across: side / width, channels, first: 2 * dim + to, to, add: mixed, out: mixed });
    biases.push(getV.tensor("bias", [channels]));
  }
  plan.linear(mixed, foldBefore(biasBefore(biases), linearOf(block, "proj", dim, dim)), { add: x, out: x });
}

/** The affine map whose only effect is to add biases, side by side, to every token; with `repeated`, also one that repeats with every head. */
function biasBefore(biases: readonly TensorRef[], repeated?: TensorRef): Affine {
  return {
    async read() {
      const parts: number[] = [];
      for (const bias of biases) parts.push(...await float64(bias));
      const again = repeated && await float64(repeated), shift = Float64Array.from(parts, (b, c) => b + (again ? again[c % again.length]! : 0));
      return { scale: new Float64Array(shift.length).fill(1), shift };
    },
  };
}
