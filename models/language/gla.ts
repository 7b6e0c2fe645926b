// GLA (arXiv:2312.06635): gated linear attention. Every key channel of a head's state fades by a factor of its own,
// which a projection of low rank makes from the token; the output is normed head by head and gated.
import { languageModel } from "#tasks";
import { exp, map, max, mul, neg, silu, softplus } from "../../bindings/plan/ops/map.ts";
import { recurrence } from "../../bindings/plan/ops/language.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import { foldAfter, linearOf } from "../../bindings/plan/weights.ts";
import type { SoftmaxLayer } from "../mixers/cached-softmax-attention.ts";
import { cachedSoftmaxAttention } from "../mixers/cached-softmax-attention.ts";
import { contextOf } from "../parts/decoder.ts";
import type { FlaSizes } from "../parts/fla.ts";
import { flaDecoder, flaSizes, hybrid, outputNorm } from "../parts/fla.ts";
import { fault, only, positive, size, unexpected } from "../../bindings/config/fields.ts";
import { scaledBy } from "../parts/values.ts";

export interface GlaConfig extends FlaSizes {
  readonly heads: number;
  /** Heads of keys, values and decays, which divide `heads`. */
  readonly keyHeads: number;
  /** Of one head. */
  readonly keyDim: number;
  readonly valueDim: number;
  readonly featureMap: "none" | "relu";
  /** Whether the output is gated. */
  readonly gate: boolean;
  /** The logarithm of a decay is at least this; null: whatever it is. */
  readonly clampMin: number | null;
  /** Of a hybrid: softmax layers by their number, in place of gated linear ones; and most tokens of a timeline. */
  readonly softmax?: Readonly<Record<number, SoftmaxLayer>>;
  readonly positions?: number;
}

/** The logarithm of a decay is divided by this, and made through so many channels. */
const NORMALISER = 16, RANK = 16;

export const gla = languageModel<GlaConfig>({
  types: ["gla"],
  presets: {},
  read(fields) {
    const { json } = fields, sizes = flaSizes(fields), heads = size(fields, "num_heads", 4, 1024);
    const keyHeads = size(fields, "num_kv_heads", heads, heads);
    const map = json.feature_map ?? "none", clamp = json.clamp_min ?? null;
    const expected = { use_short_conv: false, use_gk: true, use_gv: false };
    for (const [key, value] of Object.entries(expected)) only(fields, key, value);
    if (heads % keyHeads) throw fault(fields, `"num_heads" ${heads} is not a multiple of "num_kv_heads" ${keyHeads}`);
    if (map !== "none" && map !== "relu") throw unexpected(fields, '"feature_map"', map, 'null or "relu"', RangeError);
    if (clamp !== null && typeof clamp !== "number") throw unexpected(fields, '"clamp_min"', clamp, "null or a number");
    const width = (key: string, usual: number, unit: number): number => {
      const channels = positive(fields, key, usual) * sizes.dim, dim = channels / heads;
      if (dim % unit === 0) return dim;
      throw fault(fields, `"${key}" makes heads of ${dim} channels, expected a multiple of ${unit}`);
    };
    return {
      ...sizes, heads, keyHeads, keyDim: width("expand_k", 0.5, 4), valueDim: width("expand_v", 1, 8),
      featureMap: map, gate: json.use_output_gate !== false, clampMin: clamp, ...hybrid(fields, sizes),
    };
  },
  about: {
    describe: ({ heads, keyDim, valueDim }) => ({
      heads, mixer: "gated linear", memory: `[${keyDim}, ${valueDim}] a head, every key channel fading at its own pace`,
    }),
    recognise(seen) {
      const layer = "model.layers.0", attn = `${layer}.attn`;
      if (!seen.shape(`${attn}.gk_proj.0.weight`)) return undefined;
      const rows = (name: string): number => seen.dims(`${name}.weight`, 2)[0];
      const [vocab, dim] = seen.dims("model.embeddings.weight", 2), values = seen.dims(`${attn}.o_proj.weight`, 2)[1];
      const norm = ["g_norm_swish_gate", "g_norm"]
        .map((name) => seen.shape(`${attn}.${name}.weight`)?.[0])
        .find(Boolean);
      if (!norm) throw seen.fault("has no norm by which to tell the channels of a head");
      seen.assume("norms with an ε of 1e-6");
      return {
        model_type: "gla", vocab_size: vocab, hidden_size: dim, num_hidden_layers: seen.count("model.layers."),
        num_heads: seen.ratio(values, norm, "values"), num_kv_heads: seen.ratio(rows(`${attn}.v_proj`), norm, "values"),
        expand_k: rows(`${attn}.q_proj`) / dim, expand_v: values / dim, intermediate_size: rows(`${layer}.mlp.up_proj`),
        use_output_gate: seen.shape(`${attn}.g_proj.weight`) !== undefined,
        tie_word_embeddings: !seen.shape("lm_head.weight"), bos_token_id: 1, eos_token_id: 2,
      };
    },
  },
  context: ({ positions }, asked) => (positions === undefined ? undefined : contextOf(positions, asked)),
  record: (plan, tensors, config, rows) => flaDecoder(plan, tensors, config, rows, (pass, x, attn, i) => {
    const layer = config.softmax?.[i];
    if (layer) return cachedSoftmaxAttention(pass, x, attn, layer, `layers.${i}`);
    const { dim, heads, keyHeads, keyDim, valueDim, featureMap: act, gate, clampMin, normEps } = config;
    const keys = heads * keyDim, groups = keyHeads * keyDim;
    const project = (name: string, outDim: number) => linearOf(attn, name, dim, outDim, { bias: false });
    const q = plan.linear(x, foldAfter(project("q_proj", keys), scaledBy(keyDim ** -0.5, keys)), { act });
    const k = plan.linear(x, project("k_proj", groups), { act });
    const v = plan.linear(x, project("v_proj", keyHeads * valueDim));
    const low = plan.linear(x, project("gk_proj.0", RANK));
    const factors = decay(plan, plan.linear(low, linearOf(attn, "gk_proj.1", RANK, groups)), clampMin);
    const mixed = recurrence(pass, { heads, keyHeads, q, k, v, decay: { per: "key", factors } }, `layers.${i}.kv`);
    const normed = outputNorm(plan, mixed, attn, normEps, heads);
    return gate ? map(plan, mul(normed, silu(plan.linear(x, project("g_proj", heads * valueDim))))) : normed;
  }),
});

/** e^(logsigmoid(x)/16), the exponent clamped. */
function decay(plan: Plan, logits: Tensor, clampMin: number | null): Tensor {
  const exponent = mul(softplus(neg(logits)), -1 / NORMALISER);
  return map(plan, exp(clampMin === null ? exponent : max(exponent, clampMin)));
}
