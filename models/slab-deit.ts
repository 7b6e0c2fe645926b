// SLAB-DeiT (arXiv:2405.11582): DeiT with simplified linear attention as the token mixer and PRepBN as the norm; and DeiT with PRepBN
// alone, which keeps softmax attention and a class token. Every norm is affine at inference and folds into the layer that reads it.
import type { Tensors } from "../bindings/checkpoint/index.ts";
import { copyRow, meanRows, setRow } from "../bindings/ops/rows.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import { linearOf } from "../bindings/weights.ts";
import { float32, mlp, patchEmbed, simplifiedLinearAttention, softmaxAttention, splitQkv } from "./blocks.ts";
import { foldPRepBN, repBN } from "./prepbn.ts";

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

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
export function slabDeit(plan: Plan, tensors: Tensors, config: SlabDeitConfig): Tensor {
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
    const [cls, pos] = [float32(tensors.tensor("cls_token", [1, 1, dim])), float32(tensors.tensor("pos_embed", [1, tokens + 1, dim]))];
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
