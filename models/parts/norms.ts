// Norms that are computed from what passes by, with their weights from a checkpoint.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { rmsNorm } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";

/**
 * x/√(mean(x²) + eps) ⊙ `weight`, of every row, or of every head of a row with one weight for all heads.
 * @param norm  `weight` [channels of a row, or of a head]
 */
export function rmsNormOf(plan: Plan, x: Tensor, norm: Tensors, eps: number, heads = 1): Tensor {
  const dim = x.columns / heads, weight = norm.tensor("weight", [dim]);
  return rmsNorm(plan, x, plan.table(weight.name, 1, dim, weight), eps, { heads });
}
