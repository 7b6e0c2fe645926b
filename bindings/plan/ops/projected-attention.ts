// Attention within a picture from its layers on: in which form keys and values lie between the layers and the sums is
// decided here.
import type { TensorRef } from "../../checkpoint/index.ts";
import type { Plan, Tensor } from "../plan.ts";
import type { Linear } from "../weights.ts";
import type { Windows } from "./attention.ts";
import { keyValueState, linearAttention, scoreAttention } from "./attention.ts";
import type { Taps } from "./convolution.ts";
import { depthwiseConv } from "./convolution.ts";
import { gatherRows, stretchRows } from "./rows.ts";

/** Layers from tokens to queries, keys and values, their norms folded in. */
export interface Projected {
  readonly heads: number;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  /** Where keys and values come from, if not x: fewer tokens. */
  readonly source?: Tensor;
}

/** What tokens were given of one another, and the values that they were given it from, in the order of ops alone. */
export interface Mixed {
  readonly mixed: Tensor;
  readonly values: Tensor;
}

/**
 * q·(kᵀv)/(q·Σk + eps) with q, k = relu(q), relu(k + position).
 * @param position  [1, tokens of the source, dim]
 * @param order     which product first: keys with values where there are more tokens than channels a head, else queries
 *                  with keys
 */
export function reluLinearAttention(
  plan: Plan, x: Tensor, { heads, q, k, v, source = x, position, eps, order }:
  Projected & { position: TensorRef; eps: number; order?: "keys-values" | "queries-keys" | undefined },
): Mixed {
  const dim = q.outDim, tokens = source.rows, headDim = dim / heads;
  const keysValues =
    (order ?? (2 * x.rows * tokens >= headDim * (x.rows + tokens) ? "keys-values" : "queries-keys")) === "keys-values";
  const queries = plan.linear(x, q, { act: "relu" });
  const values = plan.linear(source, v, { heads });
  if (keysValues) {
    const keys = plan.linear(source, k, {
      act: "relu", heads, add: plan.headTable(position.name, tokens, heads, headDim, position),
    });
    return {
      mixed: linearAttention(plan, queries, keyValueState(plan, keys, values, heads, headDim), heads, headDim, eps),
      values,
    };
  }
  const keys = plan.linear(source, k, { act: "relu", add: plan.table(position.name, tokens, dim, position) });
  return { mixed: scoreAttention(plan, queries, keys, values, heads, headDim, "linear", eps), values };
}

/**
 * The same inside windows, from one projection of all three.
 * @param projected  [tokens, 3·dim], columns q | k | v
 * @param padding    [1, 3·dim], the row of members that are not there
 * @param position   [1, tokens of a window, dim]
 */
export function windowedReluLinearAttention(
  plan: Plan, projected: Tensor, { windows, heads, padding, position, eps }:
  { windows: Windows; heads: number; padding: Tensor; position: TensorRef; eps: number },
): Mixed {
  const dim = projected.columns / 3, headDim = dim / heads, { groups, size } = windows;
  const table = plan.table(position.name, size, dim, position);
  const queries = gatherRows(plan, projected, windows, { padding, columns: dim, act: "relu" });
  const keys = gatherRows(plan, projected, windows, {
    padding, first: dim, columns: dim, act: "relu", table, panels: true,
  });
  const values = gatherRows(plan, projected, windows, { padding, first: 2 * dim, columns: dim, panels: true });
  return {
    mixed: linearAttention(
      plan, queries, keyValueState(plan, keys, values, groups * heads, headDim), heads, headDim, eps, groups,
    ),
    values,
  };
}

/** softmax(q kᵀ) v; the scale is folded into q. */
export function softmaxAttention(plan: Plan, x: Tensor, { heads, q, k, v, source = x }: Projected): Tensor {
  const queries = plan.linear(x, q), keys = plan.linear(source, k), values = plan.linear(source, v, { heads });
  return scoreAttention(plan, queries, keys, values, heads, q.outDim / heads, "softmax", 0);
}

/**
 * mixed + depthwise 5×5 of the values over their map, taps [headDim, 1, 5, 5] shared by the heads; values of fewer
 * tokens are stretched.
 */
export function addLocalBranch(
  plan: Plan, { mixed, values }: Mixed, taps: Taps,
  { heads, height, side, windows = 1 }: { heads: number; height: number; side: number; windows?: number },
): Tensor {
  const map = windows === 1 && values.rows !== mixed.rows ? stretchRows(plan, values, mixed.rows) : values;
  depthwiseConv(plan, mixed, map, taps, height, side, heads, mixed.columns / heads, windows);
  return mixed;
}
