// SLAB-PVT (arXiv:2405.11582): PVT, a pyramid of four stages, with simplified linear attention and PRepBN; PVT with PRepBN alone, whose
// softmax attention reads keys and values from a map shrunk by a convolution; and SLAB-PVTv2, whose patches overlap and whose MLP mixes
// neighbouring pixels. No norm is left: those before a padded convolution fold exactly too.
import type { Tensors } from "../bindings/checkpoint/index.ts";
import { depthwiseConvChannels } from "../bindings/ops/convolution.ts";
import { meanRows } from "../bindings/ops/rows.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import type { Affine, Linear } from "../bindings/weights.ts";
import { foldBefore, linearOf, sliceOutputs } from "../bindings/weights.ts";
import { float32, mlp, patchEmbed, simplifiedLinearAttention, softmaxAttention } from "./blocks.ts";
import { convolution } from "./convolution.ts";
import { foldPRepBN, repBN } from "./prepbn.ts";

export interface SlabPvtConfig {
  readonly imageSize: number;
  readonly channels: number;
  readonly classes: number;
  /** One of each for every stage. */
  readonly dims: readonly number[];
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly mlpRatios: readonly number[];
  /** Keys and values come from a map shrunk by so much in either direction. */
  readonly srRatios: readonly number[];
  readonly normEps: number;
  readonly mixer: "linear" | "softmax";
  /** PVTv2: overlapping patches, norms at the end of stages instead of position tables, depthwise convolution in the MLP. */
  readonly overlapping: boolean;
}

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
export function slabPvt(plan: Plan, tensors: Tensors, config: SlabPvtConfig): Tensor {
  const { imageSize, channels, classes, dims, depths, heads, mlpRatios, srRatios, normEps: eps, mixer, overlapping } = config;
  const image = plan.input([channels, imageSize, imageSize]);
  let x = image, side = imageSize / 4;
  dims.forEach((dim, s) => {
    const stage = s + 1, embed = tensors.scope(`patch_embed${stage}`), norm = repBN(embed.scope("norm"), dim, eps);
    plan.scope(`stage ${stage}`);
    const position = (): { add: Tensor } => ({ add: plan.table(`pos_embed${stage}`, side ** 2, dim, tensors.tensor(`pos_embed${stage}`, [1, side ** 2, dim])) });
    if (s === 0) {
      const windows = overlapping ? { patch: 7, stride: 4, pad: 3 } : { patch: 4, ...position() };
      x = patchEmbed(plan, image, embed, { channels, size: imageSize, dim, norm, ...windows });
    } else {
      const before = side;
      side /= 2;
      const windows = overlapping ? { kernel: 3, stride: 2, pad: 1, before: repBN(tensors.scope(`norm${s}`), dims[s - 1]!, eps) } : { kernel: 2, ...position() };
      x = convolution(plan, x, before, embed, { name: "proj", dim, after: norm, ...windows });
    }
    for (let i = 0; i < depths[s]!; i++) {
      const block = tensors.scope(`block${stage}.${i}`);
      plan.scope(`block${stage}.${i}`);
      const norm = repBN(block.scope("norm1"), dim, eps);
      pvtAttention(plan, x, block.scope("attn"), { side, heads: heads[s]!, sr: srRatios[s]!, eps, mixer, norm, residual: x });
      const gelu = overlapping ? (wide: Tensor) => depthwiseGelu(plan, wide, side, block.scope("mlp.dwconv.dwconv")) : undefined;
      mlp(plan, x, block, { norm: repBN(block.scope("norm2"), dim, eps), hidden: dim * mlpRatios[s]!, gelu });
    }
    plan.mark(`stage${stage}`, x);
  });
  plan.scope("head");
  const head = linearOf(tensors, "head", dims.at(-1)!, classes), features = meanRows(plan, x);
  return plan.linear(features, overlapping ? foldPRepBN(tensors.scope(`norm${dims.length}`), eps, head) : head);
}

/** gelu(bias + depthwise 3×3 convolution of a map of rows). */
function depthwiseGelu(plan: Plan, x: Tensor, side: number, dwconv: Tensors): Tensor {
  const taps = dwconv.tensor("weight", [x.columns, 1, 3, 3]), bias = dwconv.tensor("bias", [x.columns]);
  const options = { bias: plan.table(bias.name, 1, x.columns, bias), act: "gelu" } as const;
  return depthwiseConvChannels(plan, x, { name: taps.name, read: float32(taps) }, 3, x.rows / side, side, options);
}

/**
 * Attention with its projection, added to `residual`; keys and values from x, or from a map shrunk `sr` times.
 *
 * @param norm     of x, folded into all that reads it
 * @param tensors  the `attn` scope: q, kv, proj; with sr > 1 also sr and norm; with linear attention also positional_encoding and dwc
 */
export function pvtAttention(
  plan: Plan, x: Tensor, tensors: Tensors,
  { side, heads, sr, eps, mixer, norm, residual }: { side: number; heads: number; sr: number; eps: number; mixer: "linear" | "softmax"; norm?: Affine; residual?: Tensor },
): Tensor {
  const dim = x.columns, normed = (layer: Linear): Linear => (norm ? foldBefore(norm, layer) : layer);
  const q = normed(linearOf(tensors, "q", dim, dim));
  let source = x, kv = linearOf(tensors, "kv", dim, 2 * dim);
  if (sr > 1) {
    source = convolution(plan, x, side, tensors, { name: "sr", kernel: sr, dim, ...(norm ? { before: norm } : {}) });
    kv = foldPRepBN(tensors.scope("norm"), eps, kv);
  } else {
    kv = normed(kv);
  }
  const layers = [q, sliceOutputs(kv, "k", 0, dim), sliceOutputs(kv, "v", dim, dim)] as const, into = { heads, source, ...(residual ? { residual } : {}) };
  return mixer === "linear" ? simplifiedLinearAttention(plan, x, layers, tensors, { side, ...into }) : softmaxAttention(plan, x, layers, tensors, into);
}
