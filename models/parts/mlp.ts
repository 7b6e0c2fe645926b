// Channel mixers.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Plan, Tensor } from "../../bindings/plan.ts";
import type { Affine, Linear } from "../../bindings/weights.ts";
import { foldBefore, linearOf } from "../../bindings/weights.ts";
import { foldPRepBN } from "./prepbn.ts";

/** x + fc2(gelu(fc1(norm(x)))), in place; `gelu`, where given, takes the GELU's place, with what comes before it. */
export function mlp(
  plan: Plan, x: Tensor, block: Tensors,
  { norm, hidden, gelu }: { norm: Affine; hidden: number; gelu?: ((wide: Tensor) => Tensor) | undefined },
): void {
  const dim = x.columns, fc1 = foldBefore(norm, linearOf(block, "mlp.fc1", dim, hidden));
  const wide = gelu ? gelu(plan.linear(x, fc1)) : plan.linear(x, fc1, { act: "gelu" });
  plan.linear(wide, linearOf(block, "mlp.fc2", hidden, dim), { add: x, out: x });
}

/** x += down(silu(gate·u) ⊙ up·u), u the norm of x. */
export function swiGlu(plan: Plan, x: Tensor, norm: Tensors, mlp: Tensors, hidden: number, normEps: number): void {
  const dim = x.columns;
  const gated = (name: string): Linear => foldPRepBN(norm, normEps, linearOf(mlp, name, dim, hidden, { bias: false }));
  const gate = plan.linear(x, gated("gate_proj"), { act: "silu" });
  const product = plan.linear(x, gated("up_proj"), { act: "gate", add: gate });
  plan.linear(product, linearOf(mlp, "down_proj", hidden, dim, { bias: false }), { add: x, out: x });
}
