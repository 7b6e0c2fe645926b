// SLAB-PVT (arXiv:2405.11582): PVT, a pyramid of four stages, with simplified linear attention and PRepBN; PVT with
// PRepBN alone, whose softmax attention reads keys and values from a map shrunk by a convolution; and SLAB-PVTv2, whose
// patches overlap and whose MLP mixes neighbouring pixels. No norm is left: those before a padded convolution fold
// exactly too.
import { imageModel } from "#tasks";
import type { About } from "../../bindings/tasks/architecture.ts";
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { depthwiseConvChannels } from "../../bindings/plan/ops/convolution.ts";
import { meanRows } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { foldBefore, linearOf, sliceOutputs } from "../../bindings/plan/weights.ts";
import { simplifiedLinearAttention } from "../mixers/simplified-linear-attention.ts";
import { softmaxAttention } from "../mixers/softmax-attention.ts";
import { convolution } from "../parts/convolution.ts";
import { fault, size, sizes } from "../../bindings/config/fields.ts";
import { mlp } from "../parts/mlp.ts";
import { patchEmbed } from "../parts/patches.ts";
import { epsOf, foldPRepBN, repBN } from "../parts/prepbn.ts";
import { float32 } from "../parts/values.ts";

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
  /**
   * PVTv2: overlapping patches, norms at the end of stages instead of position tables, depthwise convolution in the
   * MLP.
   */
  readonly overlapping: boolean;
}

const TINY = [2, 2, 2, 2], SMALL = [3, 4, 6, 3], MEDIUM = [3, 4, 18, 3];

export const slabPvt = /* @__PURE__ */ imageModel<SlabPvtConfig>({
  types: ["slab_pvt", "pvt_prepbn", "slab_pvt_v2"],
  presets: {
    slab_pvt_t: { model_type: "slab_pvt", depths: TINY },
    slab_pvt_s: { model_type: "slab_pvt", depths: SMALL },
    slab_pvt_m: { model_type: "slab_pvt", depths: MEDIUM },
    pvt_t_prepbn: { model_type: "pvt_prepbn", depths: TINY },
    pvt_s_prepbn: { model_type: "pvt_prepbn", depths: SMALL },
    pvt_m_prepbn: { model_type: "pvt_prepbn", depths: MEDIUM },
    slab_pvt_v2_b0: { model_type: "slab_pvt_v2", depths: TINY, hidden_sizes: [32, 64, 160, 256] },
    slab_pvt_v2_b1: { model_type: "slab_pvt_v2", depths: TINY },
    slab_pvt_v2_b2: { model_type: "slab_pvt_v2", depths: SMALL },
    slab_pvt_v2_b3: { model_type: "slab_pvt_v2", depths: MEDIUM },
    slab_pvt_v2_b4: { model_type: "slab_pvt_v2", depths: [3, 8, 27, 3] },
    slab_pvt_v2_b5: { model_type: "slab_pvt_v2", depths: [3, 6, 40, 3], mlp_ratios: [4, 4, 4, 4] },
  },
  read(fields) {
    const type = fields.json.model_type, linear = type !== "pvt_prepbn", overlapping = type === "slab_pvt_v2";
    const network: SlabPvtConfig = {
      imageSize: size(fields, "image_size", 224, 4096), channels: 3, classes: size(fields, "num_labels", 1000, 1 << 20),
      dims: sizes(fields, "hidden_sizes", [64, 128, 320, 512], 16384), depths: sizes(fields, "depths", TINY, 1024),
      heads: sizes(fields, "num_attention_heads", [1, 2, 5, 8], 1024),
      mlpRatios: sizes(fields, "mlp_ratios", [8, 8, 4, 4], 64),
      srRatios: sizes(fields, "sr_ratios", linear ? [1, 1, 1, 1] : [8, 4, 2, 1], 64), normEps: epsOf(fields),
      mixer: linear ? "linear" : "softmax", overlapping,
    };
    const { imageSize, dims, heads, srRatios } = network;
    if (imageSize % 32) {
      throw fault(fields, `"image_size" is ${imageSize}, expected a multiple of 32: four stages halve it five times`);
    }
    dims.forEach((dim, s) => {
      const stage = ` of stage ${s + 1}`, side = imageSize / 4 / 2 ** s, sr = srRatios[s]!;
      if (dim % heads[s]!) {
        throw fault(fields, `"hidden_sizes" ${dim}${stage} is not a multiple of its "num_attention_heads" ${heads[s]}`);
      }
      if (side % sr) throw fault(fields, `"sr_ratios" ${sr}${stage} does not divide its map of ${side}×${side}`);
      if (overlapping && sr > 1) {
        throw fault(fields, `"sr_ratios" ${sr}${stage}, expected 1: `
          + "PVTv2 would keep a layer norm there, and no released network has it");
      }
    });
    return network;
  },
  record: pvt,
});

export const aboutPvt: About<SlabPvtConfig> = {
  describe: () => ({ patchSize: 4 }),
  recognise(seen) {
    if (!seen.shape("patch_embed1.proj.weight")) return undefined;
    const stages = [1, 2, 3, 4], dims = stages.map((n) => seen.dims(`patch_embed${n}.proj.weight`, 4)[0]);
    const overlapping = seen.shape("block1.0.mlp.dwconv.dwconv.weight") !== undefined;
    const kinds = overlapping ? ["LLLL"] : ["LLLL", "SSSS"];
    const { linear, depths, heads, mlpRatios } = seen.pyramid((s) => `block${s + 1}.`, dims, 64, kinds);
    const srRatios = stages.map((n) => seen.shape(`block${n}.0.attn.sr.weight`)?.[2] ?? 1);
    const table = overlapping ? "block1.0.attn.positional_encoding" : "pos_embed1", [, tokens] = seen.dims(table, 3);
    return {
      model_type: overlapping ? "slab_pvt_v2" : linear ? "slab_pvt" : "pvt_prepbn",
      image_size: 4 * seen.side(overlapping ? tokens * srRatios[0]! ** 2 : tokens, table), hidden_sizes: dims, depths,
      num_attention_heads: heads, mlp_ratios: mlpRatios, sr_ratios: srRatios, num_labels: seen.classes(dims[3]!),
    };
  },
};

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
function pvt(plan: Plan, tensors: Tensors, config: SlabPvtConfig): Tensor {
  const { imageSize, channels, classes, dims, depths, heads, mlpRatios, srRatios, normEps: eps } = config;
  const { mixer, overlapping } = config;
  const image = plan.input([channels, imageSize, imageSize]);
  let x = image, side = imageSize / 4;
  dims.forEach((dim, s) => {
    const stage = s + 1, embed = tensors.scope(`patch_embed${stage}`), norm = repBN(embed.scope("norm"), dim, eps);
    plan.scope(`stage${stage}`);
    const position = (): { add: Tensor } => {
      const name = `pos_embed${stage}`, tokens = side ** 2;
      return { add: plan.table(name, tokens, dim, tensors.tensor(name, [1, tokens, dim])) };
    };
    if (s === 0) {
      const windows = overlapping ? { patch: 7, stride: 4, pad: 3 } : { patch: 4, ...position() };
      x = patchEmbed(plan, image, embed, { channels, size: imageSize, dim, norm, ...windows });
    } else {
      const before = side;
      side /= 2;
      const windows = overlapping
        ? { kernel: 3, stride: 2, pad: 1, before: repBN(tensors.scope(`norm${s}`), dims[s - 1]!, eps) }
        : { kernel: 2, ...position() };
      x = convolution(plan, x, before, embed, { name: "proj", dim, after: norm, ...windows });
    }
    for (let i = 0; i < depths[s]!; i++) {
      const block = tensors.scope(`block${stage}.${i}`);
      plan.scope(`block${stage}.${i}`);
      const norm = repBN(block.scope("norm1"), dim, eps);
      const attn = { side, heads: heads[s]!, sr: srRatios[s]!, eps, mixer, norm, residual: x };
      pvtAttention(plan, x, block.scope("attn"), attn);
      const dwconv = block.scope("mlp.dwconv.dwconv");
      const gelu = overlapping ? (wide: Tensor) => depthwiseGelu(plan, wide, side, dwconv) : undefined;
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

interface PvtAttention {
  readonly side: number;
  readonly heads: number;
  /** Keys and values come from a map shrunk so many times. */
  readonly sr: number;
  readonly eps: number;
  readonly mixer: "linear" | "softmax";
  readonly norm?: Affine;
  readonly residual?: Tensor;
}

/**
 * Attention with its projection, added to `residual`; keys and values from x, or from a map shrunk `sr` times.
 *
 * @param norm     of x, folded into all that reads it
 * @param tensors  the `attn` scope: q, kv, proj; with sr > 1 also sr and norm; with linear attention also
 *                 positional_encoding and dwc
 */
export function pvtAttention(
  plan: Plan, x: Tensor, tensors: Tensors, { side, heads, sr, eps, mixer, norm, residual }: PvtAttention,
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
  const layers = [q, sliceOutputs(kv, "k", 0, dim), sliceOutputs(kv, "v", dim, dim)] as const;
  const into = { heads, source, ...(residual ? { residual } : {}) };
  return mixer === "linear"
    ? simplifiedLinearAttention(plan, x, layers, tensors, { side, ...into })
    : softmaxAttention(plan, x, layers, tensors, into);
}
