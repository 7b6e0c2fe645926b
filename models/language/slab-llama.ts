// LLaMA with PRepBN (arXiv:2405.11582): softmax attention over a cache of keys and values, rotary positions, SwiGLU.
// PRepBN takes the place of every RMSNorm and folds into the projections after it, which gain biases. A timeline's
// state grows by a page of the cache every 32 tokens, up to the room that it was loaded with.
import { languageModel } from "#tasks";
import type { About } from "../../bindings/tasks/architecture.ts";
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Plan } from "../../bindings/plan/plan.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import { cachedSoftmaxAttention } from "../mixers/cached-softmax-attention.ts";
import type { LanguageTensors, Rows } from "../../bindings/tasks/programs.ts";
import { contextOf, decoder, decoderSizes } from "../parts/decoder.ts";
import { only, positive, size } from "../../bindings/config/fields.ts";
import { swiGlu } from "../parts/mlp.ts";
import { epsOf, foldPRepBN } from "../parts/prepbn.ts";

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

export const slabLlama = /* @__PURE__ */ languageModel<SlabLlamaConfig>({
  types: ["slab_llama", "llama"],
  presets: {
    slab_llama_350m: {
      model_type: "slab_llama", vocab_size: 32000, hidden_size: 1024, num_hidden_layers: 18, num_attention_heads: 8,
      intermediate_size: 4096, bos_token_id: 1, eos_token_id: 2,
    },
  },
  read(fields) {
    const sizes = decoderSizes(fields, { heads: 8, dim: 1024, vocab: 32000, depth: 18 });
    const expected = {
      num_key_value_heads: sizes.heads, head_dim: sizes.dim / sizes.heads, rope_scaling: null, attention_bias: false,
      mlp_bias: false,
    };
    for (const [key, value] of Object.entries(expected)) only(fields, key, value, ": other LLaMAs are not supported");
    return {
      ...sizes, positions: size(fields, "max_position_embeddings", 2048, 1 << 20),
      theta: positive(fields, "rope_theta", 10000), tied: fields.json.tie_word_embeddings === true,
      // the norm's ε, under the name that it had as an RMSNorm
      normEps: epsOf(fields, "rms_norm_eps", 1e-6),
    };
  },
  record: llama,
  context: ({ positions }, asked) => contextOf(positions, asked),
});

export const aboutLlama: About<SlabLlamaConfig> = {
  describe: ({ theta }) => ({ mixer: "softmax", memory: `a cache of keys and values, rotary base ${theta}` }),
  recognise(seen) {
    if (!seen.shape("model.layers.0.self_attn.q_proj.weight")) return undefined;
    const [vocab, dim] = seen.dims("model.embed_tokens.weight", 2);
    seen.norm("model.layers.0.input_layernorm");
    const frequencies = seen.shape("model.layers.0.self_attn.rotary_emb.inv_freq")?.[0];
    return {
      model_type: "slab_llama", vocab_size: vocab, hidden_size: dim, num_hidden_layers: seen.count("model.layers."),
      num_attention_heads: seen.heads(dim, frequencies && 2 * frequencies, 128),
      intermediate_size: seen.dims("model.layers.0.mlp.gate_proj.weight", 2)[0],
      tie_word_embeddings: !seen.shape("lm_head.weight"), bos_token_id: 1, eos_token_id: 2,
    };
  },
};

/** Token ids → logits f32 [vocab]. */
function llama(plan: Plan, tensors: Tensors, config: SlabLlamaConfig, rows: Rows): LanguageTensors {
  const { vocab, dim, depth, heads, hidden, theta, tied, normEps } = config;
  const model = tensors.scope("model");
  const embedding = model.tensor("embed_tokens.weight", [vocab, dim]);
  const head = tied
    ? linearOf(model, "embed_tokens", dim, vocab, { bias: false })
    : linearOf(tensors, "lm_head", dim, vocab, { bias: false });
  const output = foldPRepBN(model.scope("norm"), normEps, head);
  const layer = { heads, keyHeads: heads, headDim: dim / heads, theta, window: null, bias: false };

  return decoder(plan, { embedding, output, depth }, rows, (pass, x, i) => {
    const block = model.scope(`layers.${i}`), attn = block.scope("self_attn");
    // token mixer
    const folded = (name: string) => (linear: Linear) => foldPRepBN(block.scope(name), normEps, linear);
    const mixed = cachedSoftmaxAttention(pass, x, attn, layer, `layers.${i}`, folded("input_layernorm"));
    plan.linear(mixed, linearOf(attn, "o_proj", dim, dim, { bias: false }), { add: x, out: x });
    // channel mixer
    swiGlu(plan, x, block.scope("mlp"), { hidden, normed: folded("post_attention_layernorm") });
  });
}
