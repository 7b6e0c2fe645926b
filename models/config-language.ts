// Configs of language models: what a config.json may say of SLAB-LM and of LLaMA with PRepBN.
import { fieldsOf } from "./config-fields.ts";
import type { Family, Json } from "./family.ts";
import type { SlabLlamaConfig } from "./slab-llama.ts";
import type { SlabLmConfig } from "./slab-lm.ts";

/** What a language model is called, and how its texts begin and end. */
interface LanguageTask {
  readonly name: string;
  /** What a text begins with, and what ends it; undefined where the config names none. */
  readonly bos: number | undefined;
  readonly eos: number | undefined;
}

export type LanguageModelConfig = LanguageTask &
  ({ readonly architecture: "slab_lm"; readonly network: SlabLmConfig } | { readonly architecture: "slab_llama"; readonly network: SlabLlamaConfig });

export type LmConfig = Extract<LanguageModelConfig, { architecture: "slab_lm" }>;
export type LlamaConfig = Extract<LanguageModelConfig, { architecture: "slab_llama" }>;

export const LM: Family<LmConfig> = {
  types: ["slab_lm"],
  presets: {},
  read(json, where, name) {
    const architecture = "slab_lm", { task, sizes } = languageModel(json, where, architecture, name, { heads: 1, dim: 320, vocab: 4096, depth: 10 });
    const fields = fieldsOf(json, where), { heads } = sizes, decay = json.decay ?? Array.from({ length: heads }, () => 1);
    if (!Array.isArray(decay) || decay.length !== heads || !decay.every((d) => typeof d === "number" && d > 0 && d <= 1)) {
      throw new RangeError(`${where}: "decay" is ${JSON.stringify(json.decay)?.slice(0, 60)}, expected ${heads} numbers above 0 and at most 1, one for each head`);
    }
    const network = { ...sizes, decay, taps: fields.size("conv_kernel", 4, 64), tied: json.tie_word_embeddings !== false, normEps: fields.positive("norm_eps", 1e-5) };
    return { ...task, architecture, network };
  },
};

export const LLAMA: Family<LlamaConfig> = {
  types: ["slab_llama", "llama"],
  presets: {
    slab_llama_350m: {
      model_type: "slab_llama", vocab_size: 32000, hidden_size: 1024, num_hidden_layers: 18, num_attention_heads: 8, intermediate_size: 4096, bos_token_id: 1, eos_token_id: 2,
    },
  },
  read(json, where, name) {
    const architecture = "slab_llama", { task, sizes } = languageModel(json, where, architecture, name, { heads: 8, dim: 1024, vocab: 32000, depth: 18 }), fields = fieldsOf(json, where);
    const expected = { num_key_value_heads: sizes.heads, head_dim: sizes.dim / sizes.heads, rope_scaling: null, attention_bias: false, mlp_bias: false };
    for (const [key, value] of Object.entries(expected)) {
      if ((json[key] ?? value) !== value) throw new RangeError(`${where}: "${key}" is ${JSON.stringify(json[key])?.slice(0, 60)}, expected ${JSON.stringify(value)}: other LLaMAs are not supported`);
    }
    const network = {
      ...sizes, positions: fields.size("max_position_embeddings", 2048, 1 << 20), theta: fields.positive("rope_theta", 10000), tied: json.tie_word_embeddings === true,
      // the norm's ε, under the name that it had as an RMSNorm
      normEps: fields.positive("rms_norm_eps", 1e-6),
    };
    return { ...task, architecture, network };
  },
};

interface Sizes {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly hidden: number;
}

/** What the configs of all language models say. */
function languageModel(json: Json, where: string, architecture: string, name: string | undefined, usual: Omit<Sizes, "hidden">): { task: LanguageTask; sizes: Sizes } {
  const fields = fieldsOf(json, where), { hidden_act: act = "silu" } = json;
  const heads = fields.size("num_attention_heads", usual.heads, 1024), dim = fields.size("hidden_size", usual.dim, 16384);
  const vocab = fields.size("vocab_size", usual.vocab, 1 << 20), depth = fields.size("num_hidden_layers", usual.depth, 1024);
  if (dim % heads) throw new RangeError(`${where}: "hidden_size" ${dim} is not a multiple of "num_attention_heads" ${heads}`);
  if ((dim / heads) % 8) throw new RangeError(`${where}: heads of ${dim / heads} channels, expected a multiple of 8`);
  if (act !== "silu") throw new RangeError(`${where}: "hidden_act" is ${JSON.stringify(act)}, expected "silu"`);
  const token = (key: string): number | undefined => {
    const id = json[key];
    if (id === undefined || id === null) return undefined;
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocab) throw new RangeError(`${where}: "${key}" is ${JSON.stringify(id)}, expected a token id from 0 to ${vocab - 1}`);
    return id;
  };
  const task = { name: name ?? `${architecture}, ${dim} channels, ${depth} layers, ${vocab} tokens`, bos: token("bos_token_id"), eos: token("eos_token_id") };
  return { task, sizes: { vocab, dim, depth, heads, hidden: fields.size("intermediate_size", 4 * dim, 1 << 18) } };
}
