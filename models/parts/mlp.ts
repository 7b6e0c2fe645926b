// Channel mixers.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { foldBefore, linearOf } from "../../bindings/plan/weights.ts";

/** x + fc2(gelu(fc1(norm(x)))), in place; `gelu`, where given, takes the GELU's place, with what comes before it. */
export function mlp(
  plan: Plan, x: Tensor, block: Tensors,
  { norm, hidden, gelu }: { norm: Affine; hidden: number; gelu?: ((wide: Tensor) => Tensor) | undefined },
): void {
  const dim = x.columns, fc1 = foldBefore(norm, linearOf(block, "mlp.fc1", dim, hidden));
  const wide = gelu ? gelu(plan.linear(x, fc1)) : plan.linear(x, fc1, { act: "gelu" });
  plan.linear(wide, linearOf(block, "mlp.fc2", hidden, dim), { add: x, out: x });
}

/**
 * x += down(silu(gate·u) ⊙ up·u), u the norm of x: either folded into the layers by `normed`, or the rows `from`.
 * @param mlp  gate_proj, up_proj [hidden, dim] and down_proj [dim, hidden], without biases
 */
export function swiGlu(
  plan: Plan, x: Tensor, mlp: Tensors,
  { hidden, from = x, normed = (layer) => layer }:
  { hidden: number; from?: Tensor; normed?: (layer: Linear) => Linear },
): void {
  const layer = (name: string): Linear => normed(linearOf(mlp, name, x.columns, hidden, { bias: false }));
  const gate = plan.linear(from, layer("gate_proj"), { act: "silu" });
  const product = plan.linear(from, layer("up_proj"), { act: "gate", add: gate });
  plan.linear(product, linearOf(mlp, "down_proj", hidden, x.columns, { bias: false }), { add: x, out: x });
}
