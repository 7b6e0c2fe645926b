// LLaMA with PRepBN (arXiv:2405.11582): softmax attention over a cache of keys and values, rotary positions, SwiGLU. PRepBN takes the
// place of every RMSNorm and folds into the projections after it, which gain biases. A timeline's state grows by a page of the cache
// every 32 tokens, up to the room that it was loaded with.
import type { Tensors } from "../bindings/checkpoint/index.ts";
import { cachedAttention } from "../bindings/ops/language.ts";
import type { Plan } from "../bindings/plan.ts";
import type { Affine } from "../bindings/weights.ts";
import { foldAfter, linearOf } from "../bindings/weights.ts";
import type { LanguageTensors, Rows } from "./decoder.ts";
import { decoder, swiGlu } from "./decoder.ts";
import { foldPRepBN } from "./prepbn.ts";

export interface SlabLlamaConfig {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly hidden: number;
  /** Positions that the network was trained for. */
  readonly positions: number;
  /** Base of the rotary angles. */
  readonly theta: number;
  readonly tied: boolean;
  readonly normEps: number;
}

/** Cosines, then sines, of position · theta^(−2j/headDim): [positions, headDim], headDim a multiple of 8. */
export function rotaryAngles(positions: number, headDim: number, theta: number): Float32Array {
  const half = headDim / 2, out = new Float32Array(positions * headDim);
  for (let j = 0; j < half; j++) {
    const frequency = theta ** (-j / half);
    for (let p = 0; p < positions; p++) {
      out[p * headDim + j] = Math.cos(p * frequency);
      out[p * headDim + half + j] = Math.sin(p * frequency);
    }
  }
  return out;
}

/** Token ids → logits f32 [vocab]. */
export function slabLlama(plan: Plan, tensors: Tensors, config: SlabLlamaConfig, rows: Rows & { context: number }): LanguageTensors {
  const { vocab, dim, depth, heads, hidden, theta, tied, normEps } = config, headDim = dim / heads, { context } = rows;
  const model = tensors.scope("model");
  const embedding = model.tensor("embed_tokens.weight", [vocab, dim]);
  const output = foldPRepBN(model.scope("norm"), normEps, tied ? linearOf(model, "embed_tokens", dim, vocab, { bias: false }) : linearOf(tensors, "lm_head", dim, vocab, { bias: false }));
  const angles = plan.made("rotary angles", context, headDim, () => rotaryAngles(context, headDim, theta));
  const scale: Affine = { read: async () => ({ scale: new Float64Array(dim).fill(headDim ** -0.5), shift: new Float64Array(dim) }) };

  return decoder(plan, { embedding, output, depth }, rows, (pass, x, i) => {
    const block = model.scope(`layers.${i}`), attn = block.scope("self_attn");
    // token mixer
    const project = (name: string) => foldPRepBN(block.scope("input_layernorm"), normEps, linearOf(attn, name, dim, dim, { bias: false }));
    const q = plan.linear(x, foldAfter(project("q_proj"), scale)), k = plan.linear(x, project("k_proj")), v = plan.linear(x, project("v_proj"));
    const mixed = cachedAttention(pass, { heads, q, k, v, angles }, `layers.${i}`);
    plan.linear(mixed, linearOf(attn, "o_proj", dim, dim, { bias: false }), { add: x, out: x });
    // channel mixer
    swiGlu(plan, x, block.scope("post_attention_layernorm"), block.scope("mlp"), hidden, normEps);
  });
}
