// The frame of flash-linear-attention's language models: embeddings, blocks of a token mixer and SwiGLU behind RMS
// norms, and what their configs have in common. An architecture adds its mixer.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Pass } from "../../bindings/plan/ops/language.ts";
import { rmsNorm } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import type { LanguageSizes } from "../../bindings/config/config.ts";
import type { LanguageTensors, Rows } from "../../bindings/tasks/programs.ts";
import { decoder } from "./decoder.ts";
import type { SoftmaxLayer } from "../mixers/cached-softmax-attention.ts";
import type { Fields, Json } from "../../bindings/config/fields.ts";
import { fault, only, positive, size, unexpected } from "../../bindings/config/fields.ts";
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

/** Softmax layers that the config's `attn` puts between others, one list or several; nothing of a model without. */
export function hybrid(
  fields: Fields, { dim, depth }: FlaSizes,
): { softmax?: Record<number, SoftmaxLayer>; positions?: number } {
  const { attn } = fields.json;
  if (attn === undefined || attn === null) return {};
  const softmax: Record<number, SoftmaxLayer> = {};
  for (const one of [attn].flat() as unknown[]) {
    if (typeof one !== "object" || one === null)
      throw unexpected(fields, '"attn"', one, "an object, or a list of objects");
    const of: Fields = { json: one as Json, where: `${fields.where}: "attn"` };
    const { layers, window_size: window = null } = of.json;
    if (!Array.isArray(layers)) throw unexpected(of, '"layers"', layers, "a list of layers");
    const heads = size(of, "num_heads", 32, 1024);
    const keyHeads = size(of, "num_kv_heads", heads, heads);
    const headDim = dim / heads;
    if (heads % keyHeads) throw fault(of, `"num_heads" ${heads} is not a multiple of "num_kv_heads" ${keyHeads}`);
    if (headDim % 2) throw fault(of, `heads of ${headDim} channels, expected an even number of them`);
    only(of, "qk_norm", false);
    const layer = {
      heads, keyHeads, headDim, theta: positive(of, "rope_theta", 10000),
      window: window === null ? null : size(of, "window_size", 0, 1 << 20), bias: of.json.qkv_bias === true,
    };
    for (const i of layers as unknown[]) {
      if (typeof i !== "number" || !Number.isInteger(i) || i < 0 || i >= depth)
        throw unexpected(of, '"layers"', i, `layers from 0 to ${depth - 1}`, RangeError);
      softmax[i] = layer;
    }
  }
  return { softmax, positions: size(fields, "max_position_embeddings", 2048, 1 << 20) };
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
 * The norm of a mixer's output, head by head. The library calls its weight by the kernel that computes it, which does
 * not tell models apart.
 */
export function outputNorm(plan: Plan, x: Tensor, attn: Tensors, eps: number, heads: number): Tensor {
  const dim = x.columns / heads, name = attn.has("g_norm_swish_gate.weight") ? "g_norm_swish_gate" : "g_norm";
  const weight = attn.scope(name).tensor("weight", [dim]);
  return rmsNorm(plan, x, plan.table(`${attn.prefix}.output norm`, 1, dim, weight), eps, { heads });
}
