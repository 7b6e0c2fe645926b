// LLaMAs with PRepBN of a few thousand weights, whose values come from their tensors' names: `tinyLlamaConfig` is the
// network of the golden vector llama_tiny.
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import type { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { counter, synthetic } from "./synthetic.ts";
import type { Entries } from "./synthetic.ts";

export const tinyLlamaConfig = {
  model_type: "slab_llama", vocab_size: 97, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
  intermediate_size: 96, rms_norm_eps: 1e-6, max_position_embeddings: 512, bos_token_id: 1,
};
export type TinyLlamaConfig = typeof tinyLlamaConfig & {
  rope_theta?: number;
  tie_word_embeddings?: boolean;
  eos_token_id?: number;
};

/**
 * Every tensor of the official state dict but the rotary frequencies, which older files hold and nothing reads; another
 * `seed` gives other weights.
 */
export function llamaEntries(config: TinyLlamaConfig, seed = ""): Entries {
  const {
    vocab_size: vocab, hidden_size: dim, num_hidden_layers: depth, num_attention_heads: heads,
    intermediate_size: hidden,
  } = config;
  const entries: Entries = {};
  const fill = (key: string, ...shape: number[]): void => void (entries[key] = synthetic(`${seed}${key}`, shape));
  const norm = (key: string): void => {
    for (const name of ["num_step", "warm", "iter", "total_step"]) entries[`${key}.${name}`] = counter;
    fill(`${key}.norm1.weight`, dim);
    fill(`${key}.norm2.alpha`, 1);
    for (const name of ["weight", "bias", "running_mean", "running_var"]) fill(`${key}.norm2.bn.${name}`, dim);
    entries[`${key}.norm2.bn.num_batches_tracked`] = counter;
  };
  fill("model.embed_tokens.weight", vocab, dim);
  for (let i = 0; i < depth; i++) {
    const block = `model.layers.${i}`;
    for (const name of ["q_proj", "k_proj", "v_proj", "o_proj"]) fill(`${block}.self_attn.${name}.weight`, dim, dim);
    entries[`${block}.self_attn.rotary_emb.inv_freq`] = {
      shape: [dim / heads / 2], data: new Float32Array(dim / heads / 2),
    };
    fill(`${block}.mlp.gate_proj.weight`, hidden, dim);
    fill(`${block}.mlp.down_proj.weight`, dim, hidden);
    fill(`${block}.mlp.up_proj.weight`, hidden, dim);
    norm(`${block}.input_layernorm`);
    norm(`${block}.post_attention_layernorm`);
  }
  norm("model.norm");
  if (!config.tie_word_embeddings) fill("lm_head.weight", vocab, dim);
  return entries;
}

/** What load() takes. */
export function tinyLlama(
  changes: Partial<TinyLlamaConfig> = {}, seed = "",
): { config: TinyLlamaConfig; weights: Checkpoint } {
  const config = { ...tinyLlamaConfig, ...changes };
  return { config, weights: memoryCheckpoint(llamaEntries(config, seed), "a tiny LLaMA") };
}
