// SLAB-LM: a causal language model of simplified linear attention. Each head remembers with a fixed decay; a short
// causal convolution of the values, shared by the heads, is the local branch, as the 5×5 is in SLAB's vision models;
// PRepBN is the norm and folds away. A timeline's state is a few hundred kilobytes and never grows.
import { languageModel } from "#tasks";
import type { About } from "../../bindings/tasks/architecture.ts";
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { toFloat32 } from "../../bindings/checkpoint/floats.ts";
import { causalConv, recurrence } from "../../bindings/plan/ops/language.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import { foldBefore, linearOf } from "../../bindings/plan/weights.ts";
import { biasOfHeads, SLA_EPS } from "../mixers/simplified-linear-attention.ts";
import type { LanguageTensors, Rows } from "../../bindings/tasks/programs.ts";
import { decoder, decoderSizes } from "../parts/decoder.ts";
import { size, unexpected } from "../../bindings/config/fields.ts";
import { swiGlu } from "../parts/mlp.ts";
import { epsOf, foldPRepBN } from "../parts/prepbn.ts";

export interface SlabLmConfig {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly hidden: number;
  /** Factor by which a head's state decays at every token, in (0, 1]; one per head. */
  readonly decay: readonly number[];
  /** Taps of the causal convolution. */
  readonly taps: number;
  readonly tied: boolean;
  readonly normEps: number;
}

export const slabLm = /* @__PURE__ */ languageModel<SlabLmConfig>({
  types: ["slab_lm"],
  presets: {},
  read(fields) {
    const sizes = decoderSizes(fields, { heads: 1, dim: 320, vocab: 4096, depth: 10 }), { heads } = sizes;
    const { json } = fields, decay = json.decay ?? Array<number>(heads).fill(1);
    const good = (d: unknown): boolean => typeof d === "number" && d > 0 && d <= 1;
    if (!Array.isArray(decay) || decay.length !== heads || !decay.every(good)) {
      const expected = `${heads} numbers above 0 and at most 1, one for each head`;
      throw unexpected(fields, '"decay"', decay, expected, RangeError);
    }
    return {
      ...sizes, decay, taps: size(fields, "conv_kernel", 4, 64), tied: json.tie_word_embeddings !== false,
      normEps: epsOf(fields),
    };
  },
  record: lm,
});

export const aboutLm: About<SlabLmConfig> = {
  describe: ({ decay, taps }) => ({
    mixer: "linear",
    memory: `decay ${Math.min(...decay)} to ${Math.max(...decay)} a token, by head; convolution of ${taps} tokens`,
  }),
  recognise(seen) {
    const why = "it is a SLAB-LM, whose decay is in no tensor: give its config.json";
    return seen.without(["layers.0.self_attn.dwc.weight"], why);
  },
};

/** Token ids → logits f32 [vocab]. */
function lm(plan: Plan, tensors: Tensors, config: SlabLmConfig, rows: Rows): LanguageTensors {
  const { vocab, dim, depth, heads, hidden, decay, taps, tied, normEps } = config;
  const headDim = dim / heads;
  const embedding = tensors.tensor("embed_tokens.weight", [vocab, dim]);
  const factors = (): Tensor => plan.table("decay", 1, heads, async () => Float32Array.from(decay));
  const decays = decay.every((d) => d === 1) ? undefined : { per: "head", factors: factors() } as const;
  // the final norm folds into the output projection; tied or not, the embedding table itself stays as it is
  const head = linearOf(tensors, tied ? "embed_tokens" : "lm_head", dim, vocab, { bias: false });
  const output = foldPRepBN(tensors.scope("norm"), normEps, head);

  return decoder(plan, { embedding, output, depth }, rows, (pass, x, i) => {
    const block = tensors.scope(`layers.${i}`), attn = block.scope("self_attn");
    // token mixer
    const norm = block.scope("input_layernorm");
    const project = (name: string) => foldPRepBN(norm, normEps, linearOf(attn, name, dim, dim));
    const q = plan.linear(x, project("q_proj"), { act: "relu" });
    const k = plan.linear(x, project("k_proj"), { act: "relu" });
    const v = plan.linear(x, project("v_proj"));
    const mixed = recurrence(pass, { heads, q, k, v, decay: decays, normalise: SLA_EPS }, `layers.${i}.kv`);
    const kernel = attn.scope("dwc").tensor("weight", [headDim, 1, taps]);
    const shared = plan.table(kernel.name, taps, dim, async () => {
      const values = toFloat32(await kernel.read(), kernel.dtype), out = new Float32Array(taps * dim);
      for (let j = 0; j < taps; j++) for (let c = 0; c < dim; c++) out[j * dim + c] = values[(c % headDim) * taps + j]!;
      return out;
    });
    causalConv(pass, mixed, v, shared, `layers.${i}.conv`);
    const bias = biasOfHeads(attn.scope("dwc").tensor("bias", [headDim]), heads);
    plan.linear(mixed, foldBefore(bias, linearOf(attn, "o_proj", dim, dim)), { add: x, out: x });
    // channel mixer
    const normed = (layer: Linear) => foldPRepBN(block.scope("post_attention_layernorm"), normEps, layer);
    swiGlu(plan, x, block.scope("mlp"), { hidden, normed });
  });
}
