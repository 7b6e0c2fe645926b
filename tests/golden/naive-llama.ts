// LLaMA with PRepBN in float64, from the checkpoint's own tensors: no norm is folded, every token looks at all before
// it.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { softmaxAttention } from "../naive-language.ts";
import { linear, reader, repBN } from "./naive-lm.ts";

export interface NaiveLlama {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly hidden: number;
  readonly theta: number;
  readonly tied: boolean;
  readonly normEps: number;
}

/** Logits after every token, [T, vocab]. */
export async function naiveLlama(
  tensors: Tensors,
  { vocab, dim, depth, heads, hidden, theta, tied, normEps }: NaiveLlama,
  ids: ArrayLike<number>,
): Promise<Float64Array> {
  const read = reader(tensors);
  const T = ids.length;
  const table = await read("model.embed_tokens.weight", vocab, dim);
  const x = new Float64Array(T * dim);
  const norm = (name: string): Promise<Float64Array> => repBN(x, read, `${name}.norm2`, dim, normEps);
  const project = async (y: Float64Array, name: string, inDim: number, outDim: number): Promise<Float64Array> =>
    linear(y, await read(`${name}.weight`, outDim, inDim), inDim);
  const add = (y: Float64Array): void => y.forEach((value, i) => { x[i]! += value; });

  for (let t = 0; t < T; t++) x.set(table.subarray(ids[t]! * dim, (ids[t]! + 1) * dim), t * dim);
  for (let layer = 0; layer < depth; layer++) {
    const block = `model.layers.${layer}`;
    let y = await norm(`${block}.input_layernorm`);
    const [q, k, v] = [
      await project(y, `${block}.self_attn.q_proj`, dim, dim), await project(y, `${block}.self_attn.k_proj`, dim, dim),
      await project(y, `${block}.self_attn.v_proj`, dim, dim),
    ];
    const scale = (dim / heads) ** -0.5;
    add(
      await project(
        softmaxAttention(
          q.map((value) => value * scale), k, v, { heads, headDim: dim / heads, theta },
        ),
        `${block}.self_attn.o_proj`,
        dim,
        dim,
      ),
    );
    y = await norm(`${block}.post_attention_layernorm`);
    const gate = await project(y, `${block}.mlp.gate_proj`, dim, hidden);
    const up = await project(y, `${block}.mlp.up_proj`, dim, hidden);
    add(await project(gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!), `${block}.mlp.down_proj`, hidden, dim));
  }
  return linear(await norm("model.norm"), tied ? table : await read("lm_head.weight", vocab, dim), dim);
}
