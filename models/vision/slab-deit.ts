// SLAB-DeiT (arXiv:2405.11582): DeiT with simplified linear attention as the token mixer and PRepBN as the norm; and
// DeiT with PRepBN alone, which keeps softmax attention and a class token. Every norm is affine at inference and folds
// into the layer that reads it.
import { imageModel } from "#tasks";
import type { About } from "../../bindings/tasks/architecture.ts";
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { copyRow, meanRows, setRow } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import { splitQkv } from "../mixers/qkv.ts";
import { simplifiedLinearAttention } from "../mixers/simplified-linear-attention.ts";
import { softmaxAttention } from "../mixers/softmax-attention.ts";
import { fault, size } from "../../bindings/config/fields.ts";
import { mlp } from "../parts/mlp.ts";
import { patchEmbed } from "../parts/patches.ts";
import { epsOf, foldPRepBN, repBN } from "../parts/prepbn.ts";
import { float32 } from "../parts/values.ts";

export interface SlabDeitConfig {
  readonly imageSize: number;
  readonly patchSize: number;
  readonly channels: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlpRatio: number;
  readonly classes: number;
  readonly normEps: number;
  /** linear: SLAB-DeiT, mean over tokens. softmax: DeiT with PRepBN, class token. */
  readonly mixer: "linear" | "softmax";
}

export const slabDeit = /* @__PURE__ */ imageModel<SlabDeitConfig>({
  types: ["slab_deit", "deit_prepbn"],
  presets: {
    slab_deit_t: { model_type: "slab_deit", hidden_size: 192, num_attention_heads: 3 },
    slab_deit_s: { model_type: "slab_deit", hidden_size: 384, num_attention_heads: 6 },
    deit_t_prepbn: { model_type: "deit_prepbn", hidden_size: 192, num_attention_heads: 3 },
    deit_s_prepbn: { model_type: "deit_prepbn", hidden_size: 384, num_attention_heads: 6 },
  },
  read(fields) {
    const network: SlabDeitConfig = {
      imageSize: size(fields, "image_size", 224, 4096), patchSize: size(fields, "patch_size", 16, 512), channels: 3,
      dim: size(fields, "hidden_size", 192, 16384), depth: size(fields, "num_hidden_layers", 12, 1024),
      heads: size(fields, "num_attention_heads", 3, 1024), mlpRatio: size(fields, "mlp_ratio", 4, 64),
      classes: size(fields, "num_labels", 1000, 1 << 20), normEps: epsOf(fields),
      mixer: fields.json.model_type === "slab_deit" ? "linear" : "softmax",
    };
    const { imageSize, patchSize, dim, heads } = network;
    if (imageSize % patchSize) {
      throw fault(fields, `"image_size" ${imageSize} is not a multiple of "patch_size" ${patchSize}`);
    }
    if (dim % heads) throw fault(fields, `"hidden_size" ${dim} is not a multiple of "num_attention_heads" ${heads}`);
    return network;
  },
  record: deit,
});

export const aboutDeit: About<SlabDeitConfig> = {
  recognise(seen) {
    if (!seen.shape("blocks.0.attn.qkv.weight")) return undefined;
    const [dim, , patch] = seen.dims("patch_embed.proj.weight", 4), [, positions] = seen.dims("pos_embed", 3);
    const { linear, depth, heads, mlpRatio } = seen.blocks("blocks.", dim, 64);
    const side = seen.side(linear ? positions : positions - 1, "pos_embed");
    seen.without(["dist_token", "head_dist.weight"], "it is a distilled DeiT, which is not supported");
    return {
      model_type: linear ? "slab_deit" : "deit_prepbn", image_size: side * patch, patch_size: patch, hidden_size: dim,
      num_hidden_layers: depth, num_attention_heads: heads, mlp_ratio: mlpRatio, num_labels: seen.classes(dim),
    };
  },
};

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
function deit(plan: Plan, tensors: Tensors, config: SlabDeitConfig): Tensor {
  const { imageSize: size, patchSize: patch, channels, dim, depth, heads, mlpRatio, classes, normEps, mixer } = config;
  const side = size / patch, tokens = side * side, hidden = dim * mlpRatio;
  const image = plan.input([channels, size, size]);
  const embed = { channels, size, patch, dim };
  plan.scope("embed");
  let x: Tensor;
  if (mixer === "linear") {
    const position = plan.table("pos_embed", tokens, dim, tensors.tensor("pos_embed", [1, tokens, dim]));
    x = patchEmbed(plan, image, tensors.scope("patch_embed"), { ...embed, add: position });
  } else {
    const cls = float32(tensors.tensor("cls_token", [1, 1, dim]));
    const pos = float32(tensors.tensor("pos_embed", [1, tokens + 1, dim]));
    const position = plan.table("pos_embed", tokens + 1, dim, pos);
    const first = plan.table("cls_token", 1, dim, async () => {
      const [c, p] = [await cls(), await pos()];
      return c.map((v, i) => v + p[i]!);
    });
    x = plan.rows("tokens", tokens + 1, dim);
    setRow(plan, x, 0, first);
    patchEmbed(plan, image, tensors.scope("patch_embed"), { ...embed, add: position, out: x, rowOffset: 1 });
  }
  plan.mark("embed", x);
  for (let i = 0; i < depth; i++) {
    const block = tensors.scope(`blocks.${i}`);
    plan.scope(`blocks.${i}`);
    // token mixer
    const qkv = splitQkv(foldPRepBN(block.scope("norm1"), normEps, linearOf(block, "attn.qkv", dim, 3 * dim)));
    const attn = block.scope("attn");
    if (mixer === "linear") simplifiedLinearAttention(plan, x, qkv, attn, { heads, side, residual: x });
    else softmaxAttention(plan, x, qkv, attn, { heads, residual: x });
    // channel mixer
    mlp(plan, x, block, { norm: repBN(block.scope("norm2"), dim, normEps), hidden });
    plan.mark(`blocks.${i}`, x);
  }
  plan.scope("head");
  // the last norm is affine too: it commutes with the mean over tokens and folds into the head
  const features = mixer === "linear" ? meanRows(plan, x) : copyRow(plan, x, 0);
  return plan.linear(features, foldPRepBN(tensors.scope("norm"), normEps, linearOf(tensors, "head", dim, classes)));
}
