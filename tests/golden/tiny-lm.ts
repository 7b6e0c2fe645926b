// SLAB-LMs of a few thousand weights, whose values come from their tensors' names.
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import type { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { synthetic } from "./synthetic.ts";
import type { Entries } from "./synthetic.ts";

export const tinyLmConfig = {
  model_type: "slab_lm", vocab_size: 61, hidden_size: 24, num_hidden_layers: 2, num_attention_heads: 3,
  intermediate_size: 40, decay: [1, 0.9375, 0.5], conv_kernel: 4, tie_word_embeddings: true, norm_eps: 1e-5,
  bos_token_id: 0,
};
export type TinyLmConfig = typeof tinyLmConfig & { eos_token_id?: number };

/** The tensors of a network; another `seed` gives other weights. */
export function lmEntries(config: TinyLmConfig, seed = ""): Entries {
  const {
    vocab_size: vocab, hidden_size: dim, num_hidden_layers: depth, num_attention_heads: heads,
    intermediate_size: hidden, conv_kernel: taps,
  } = config;
  const entries: Entries = {};
  const fill = (key: string, ...shape: number[]): void => void (entries[key] = synthetic(`${seed}${key}`, shape));
  const linear = (key: string, inDim: number, outDim: number, bias: boolean): void => {
    fill(`${key}.weight`, outDim, inDim);
    if (bias) fill(`${key}.bias`, outDim);
  };
  const norm = (key: string): void => {
    fill(`${key}.norm1.weight`, dim);
    fill(`${key}.norm2.alpha`, 1);
    for (const name of ["weight", "bias", "running_mean", "running_var"]) fill(`${key}.norm2.bn.${name}`, dim);
  };
  fill("embed_tokens.weight", vocab, dim);
  for (let i = 0; i < depth; i++) {
    const block = `layers.${i}`;
    norm(`${block}.input_layernorm`);
    for (const name of ["q_proj", "k_proj", "v_proj", "o_proj"]) linear(`${block}.self_attn.${name}`, dim, dim, true);
    fill(`${block}.self_attn.dwc.weight`, dim / heads, 1, taps);
    fill(`${block}.self_attn.dwc.bias`, dim / heads);
    norm(`${block}.post_attention_layernorm`);
    linear(`${block}.mlp.gate_proj`, dim, hidden, false);
    linear(`${block}.mlp.up_proj`, dim, hidden, false);
    linear(`${block}.mlp.down_proj`, hidden, dim, false);
  }
  norm("norm");
  if (!config.tie_word_embeddings) linear("lm_head", dim, vocab, false);
  return entries;
}

/** What load() takes. */
export function tinyLm(changes: Partial<TinyLmConfig> = {}, seed = ""): { config: TinyLmConfig; weights: Checkpoint } {
  const config = { ...tinyLmConfig, ...changes };
  return { config, weights: memoryCheckpoint(lmEntries(config, seed), "a tiny SLAB-LM") };
}
