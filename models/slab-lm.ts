// SLAB-LM: a causal language model of simplified linear attention. Each head remembers with a fixed decay; a short causal convolution
// of the values, shared by the heads, is the local branch, as the 5×5 is in SLAB's vision models; PRepBN is the norm and folds away.
// A timeline's state is a few hundred kilobytes and never grows.
import type { Tensors } from "../bindings/checkpoint/index.ts";
import { toFloat32 } from "../bindings/checkpoint/floats.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import { foldBefore, linearOf } from "../bindings/weights.ts";
import { biasOfHeads, SLA_EPS } from "./blocks.ts";
import { foldPRepBN } from "./prepbn.ts";

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

/** What the session layer fills and reads. */
export interface LanguageTensors {
  /** i32 [rows]: token ids; i32 [rows]: state addresses. */
  readonly prefill: { readonly ids: Tensor; readonly states: Tensor; readonly hidden: Tensor };
  readonly decode: { readonly ids: Tensor; readonly states: Tensor };
  /** Last hidden rows [batch, dim], in; logits [batch, vocab], out: of the programs `decode` and `head`. */
  readonly hidden: Tensor;
  readonly logits: Tensor;
  /** Byte offset of the last token's hidden row in a timeline's state. */
  readonly lastHidden: number;
}

/**
 * Records three programs: `prefill` (tokens of one timeline, by chunks), `decode` (one token of each of several timelines, with logits)
 * and `head` (hidden rows to logits).
 *
 * @param prefillRows  most tokens of one prefill run
 * @param batch        most timelines of one decode run, and rows of one head run
 */
export function slabLm(plan: Plan, tensors: Tensors, config: SlabLmConfig, { prefillRows, batch }: { prefillRows: number; batch: number }): LanguageTensors {
  const { vocab, dim, depth, heads, hidden: mlpDim, decay, taps, normEps } = config;
  const headDim = dim / heads;
  const embedding = tensors.tensor("embed_tokens.weight", [vocab, dim]);
  const decays = decay.every((d) => d === 1) ? undefined : plan.table("decay", 1, heads, async () => Float32Array.from(decay));

  function layer(i: number, x: Tensor, states: Tensor, sequence: boolean): void {
    const block = tensors.scope(`layers.${i}`), attn = block.scope("self_attn"), mlp = block.scope("mlp");
    plan.scope(`layers.${i}`);
    // token mixer
    const project = (name: string) => foldPRepBN(block.scope("input_layernorm"), normEps, linearOf(attn, name, dim, dim));
    const q = plan.linear(x, project("q_proj"), { act: "relu" });
    const k = plan.linear(x, project("k_proj"), { act: "relu" });
    const v = plan.linear(x, project("v_proj"), sequence ? { heads } : {});
    const memory = plan.state(`layers.${i}.kv`, heads * headDim * (headDim + 1) * 4);
    const mixed = sequence
      ? plan.recurrentChunks(q, k, v, states, memory, heads, decays, SLA_EPS)
      : plan.recurrentStep(q, k, v, states, memory, heads, decays, SLA_EPS);
    const kernel = attn.scope("dwc").tensor("weight", [headDim, 1, taps]);
    const shared = plan.table(kernel.name, taps, dim, async () => {
      const values = toFloat32(await kernel.read(), kernel.dtype), out = new Float32Array(taps * dim);
      for (let j = 0; j < taps; j++) for (let c = 0; c < dim; c++) out[j * dim + c] = values[(c % headDim) * taps + j]!;
      return out;
    });
    plan.causalConv(mixed, v, shared, states, plan.state(`layers.${i}.conv`, (taps - 1) * dim * 4), sequence);
    const bias = biasOfHeads(attn.scope("dwc").tensor("bias", [headDim]), heads);
    plan.linear(mixed, foldBefore(bias, linearOf(attn, "o_proj", dim, dim)), { add: x, out: x });
    // channel mixer
    const gated = (name: string) => foldPRepBN(block.scope("post_attention_layernorm"), normEps, linearOf(mlp, name, dim, mlpDim, { bias: false }));
    const gate = plan.linear(x, gated("gate_proj"), { act: "silu" });
    const product = plan.linear(x, gated("up_proj"), { act: "gate", add: gate });
    plan.linear(product, linearOf(mlp, "down_proj", mlpDim, dim, { bias: false }), { add: x, out: x });
  }

  // the final norm folds into the output projection; tied or not, the embedding table itself stays as it is
  const head = config.tied ? linearOf(tensors, "embed_tokens", dim, vocab, { bias: false }) : linearOf(tensors, "lm_head", dim, vocab, { bias: false });
  const output = foldPRepBN(tensors.scope("norm"), normEps, head);

  const prefill = { ids: plan.inputRows("prefill ids", prefillRows, 1), states: plan.inputRows("prefill state", 1, 1) };
  const decode = { ids: plan.inputRows("ids", batch, 1), states: plan.inputRows("states", batch, 1) };
  const hidden = plan.rows("hidden", batch, dim), logits = plan.rows("logits", batch, vocab);

  plan.program("prefill", prefillRows);
  plan.scope("embed");
  const x = plan.embed(prefill.ids, embedding, dim);
  for (let i = 0; i < depth; i++) layer(i, x, prefill.states, true);

  plan.program("decode", batch);
  plan.scope("embed");
  plan.embed(decode.ids, embedding, dim, hidden);
  for (let i = 0; i < depth; i++) layer(i, hidden, decode.states, false);
  plan.scope("head");
  plan.linear(hidden, output, { out: logits });

  plan.program("head", batch);
  plan.linear(hidden, output, { out: logits });
  return { prefill: { ...prefill, hidden: x }, decode, hidden, logits, lastHidden: plan.state("last hidden", dim * 4) };
}
