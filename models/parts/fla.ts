// The frame of flash-linear-attention's language models: embeddings, blocks of a token mixer and SwiGLU behind RMS norms, and
// what their configs have in common. An architecture adds its mixer.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Pass } from "../../bindings/ops/language.ts";
import { rmsNorm } from "../../bindings/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan.ts";
import { linearOf } from "../../bindings/weights.ts";
import type { LanguageSizes } from "../config.ts";
import type { LanguageTensors, Rows } from "./decoder.ts";
import { decoder } from "./decoder.ts";
import type { Fields } from "./fields.ts";
import { only, positive, size } from "./fields.ts";
import { swiGlu } from "./mlp.ts";
import { rmsNormOf } from "./norms.ts";

export interface FlaSizes extends LanguageSizes {
  readonly hidden: number;
  readonly tied: boolean;
  readonly normEps: number;
}

/** What every config of the library says; what it may ask for beside that is refused. */
export function flaSizes(fields: Fields): FlaSizes {
  const { json } = fields, dim = size(fields, "hidden_size", 2048, 16384);
  if (json.hidden_act !== "silu") only(fields, "hidden_act", "swish");
  only(fields, "attnres_block_size", null, ": another scheme of residuals is not supported");
  only(fields, "elementwise_affine", true);
  const ratio = positive(fields, "hidden_ratio", 4), usual = 256 * Math.ceil(Math.trunc((dim * ratio * 2) / 3) / 256);
  return {
    vocab: size(fields, "vocab_size", 32000, 1 << 20), dim, depth: size(fields, "num_hidden_layers", 24, 1024),
    hidden: size(fields, "intermediate_size", usual, 1 << 18), tied: json.tie_word_embeddings === true,
    normEps: positive(fields, "norm_eps", 1e-6),
  };
}

/**
 * Token ids → logits f32 [vocab].
 * @param mixer  what layer i gives for normed rows [rows, dim], before its output projection `attn.o_proj`
 */
export function flaDecoder(
  plan: Plan, tensors: Tensors, { vocab, dim, depth, hidden, tied, normEps }: FlaSizes, rows: Rows,
  mixer: (pass: Pass, x: Tensor, attn: Tensors, i: number) => Tensor,
): LanguageTensors {
  const model = tensors.scope("model"), embedding = model.tensor("embeddings.weight", [vocab, dim]);
  const output = tied
    ? linearOf(model, "embeddings", dim, vocab, { bias: false })
    : linearOf(tensors, "lm_head", dim, vocab, { bias: false });
  const norm = (x: Tensor): Tensor => rmsNormOf(plan, x, model.scope("norm"), normEps);

  return decoder(plan, { embedding, output, norm, depth }, rows, (pass, x, i) => {
    const block = model.scope(`layers.${i}`), attn = block.scope("attn");
    const mixed = mixer(pass, rmsNormOf(plan, x, block.scope("attn_norm"), normEps), attn, i);
    plan.linear(mixed, linearOf(attn, "o_proj", mixed.columns, dim, { bias: false }), { add: x, out: x });
    swiGlu(plan, x, block.scope("mlp"), { hidden, from: rmsNormOf(plan, x, block.scope("mlp_norm"), normEps) });
  });
}

/**
 * The norm of a mixer's output, head by head. The library calls its weight by the kernel that computes it, which does not
 * tell models apart.
 */
export function outputNorm(plan: Plan, x: Tensor, attn: Tensors, eps: number, heads: number): Tensor {
  const dim = x.columns / heads, name = attn.has("g_norm_swish_gate.weight") ? "g_norm_swish_gate" : "g_norm";
  const weight = attn.scope(name).tensor("weight", [dim]);
  return rmsNorm(plan, x, plan.table(`${attn.prefix}.output norm`, 1, dim, weight), eps, { heads });
}
