// A softmax layer of a language model: causal attention over a cache, with rotary positions, grouped queries, a window.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Pass } from "../../bindings/plan/ops/language.ts";
import { cachedAttention } from "../../bindings/plan/ops/language.ts";
import type { Tensor } from "../../bindings/plan/plan.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import { foldAfter, linearOf } from "../../bindings/plan/weights.ts";
import { rotaryTable } from "../parts/rotary.ts";
import { scaledBy } from "../parts/values.ts";

export interface SoftmaxLayer {
  readonly heads: number;
  /** Heads of keys and values, which divide `heads`. */
  readonly keyHeads: number;
  readonly headDim: number;
  /** Base of the rotary angles. */
  readonly theta: number;
  /** Tokens that each sees, itself included; null: all. */
  readonly window: number | null;
  /** Whether q, k and v have biases. */
  readonly bias: boolean;
}

/**
 * What tokens are given of one another, [rows, heads·headDim], from rows x through q_proj, k_proj and v_proj of `attn`.
 * @param normed  puts a norm of x into a layer, where it folds
 * @param name    of its cache
 */
export function cachedSoftmaxAttention(
  pass: Pass, x: Tensor, attn: Tensors, { heads, keyHeads, headDim, theta, window, bias }: SoftmaxLayer, name: string,
  normed = (layer: Linear): Linear => layer,
): Tensor {
  const { plan, state: { context } } = pass, dim = x.columns, width = heads * headDim, keyWidth = keyHeads * headDim;
  const project = (part: string, outDim: number): Linear => normed(linearOf(attn, part, dim, outDim, { bias }));
  const q = plan.linear(x, foldAfter(project("q_proj", width), scaledBy(headDim ** -0.5, width)));
  const k = plan.linear(x, project("k_proj", keyWidth)), v = plan.linear(x, project("v_proj", keyWidth));
  const angles = rotaryTable(plan, context, headDim, theta), seen = window === null ? {} : { window };
  return cachedAttention(pass, { heads, keyHeads, q, k, v, angles, ...seen }, name);
}
