// Softmax attention, each token with all others.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { softmaxAttention as projectedSoftmaxAttention } from "../../bindings/plan/ops/projected-attention.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import { foldAfter, linearOf } from "../../bindings/plan/weights.ts";
import { scaledBy } from "../parts/values.ts";

/** Softmax attention with its projection, added to `residual`; the scale headDim^−½ is folded into q. */
export function softmaxAttention(
  plan: Plan, x: Tensor, [q, k, v]: readonly [Linear, Linear, Linear], tensors: Tensors,
  { heads, source = x, residual }: { heads: number; source?: Tensor; residual?: Tensor },
): Tensor {
  const dim = q.outDim, headDim = dim / heads;
  const mixed = projectedSoftmaxAttention(plan, x, {
    heads, source, q: foldAfter(q, scaledBy(headDim ** -0.5, dim)), k, v,
  });
  return plan.linear(mixed, linearOf(tensors, "proj", dim, dim), residual ? { add: residual, out: residual } : {});
}
