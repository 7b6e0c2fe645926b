// Simplified linear attention (arXiv:2405.11582, section 3.3): ReLU as the feature map, and a depthwise convolution of
// the values.
import type { TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import type { Mixed } from "../../bindings/plan/ops/projected-attention.ts";
import { addLocalBranch, reluLinearAttention } from "../../bindings/plan/ops/projected-attention.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { foldBefore, linearOf } from "../../bindings/plan/weights.ts";
import { float32, float64 } from "../parts/values.ts";

/** ε of the linear normaliser, added once to the denominator. */
export const SLA_EPS = 1e-6;

/** The affine map whose only effect is to add a convolution's bias, one per channel of a head, to every token. */
export function biasOfHeads(bias: TensorRef, heads: number): Affine {
  return {
    async read() {
      const values = await float64(bias);
      const shift = new Float64Array(heads * values.length);
      for (let h = 0; h < heads; h++) shift.set(values, h * values.length);
      return { scale: new Float64Array(shift.length).fill(1), shift };
    },
  };
}

interface Mixing {
  readonly heads: number;
  /** Where keys and values come from, if not x: fewer tokens. */
  readonly source?: Tensor;
  /**
   * Which product first: keys with values for more tokens than channels a head, else queries with keys; same result.
   */
  readonly order?: "keys-values" | "queries-keys";
}

/** What tokens are given of one another, q·(kᵀv)/(q·Σk + ε) with q, k = relu(q), relu(k + P); and the values. */
export function linearMixing(
  plan: Plan, x: Tensor, [q, k, v]: readonly [Linear, Linear, Linear], tensors: Tensors,
  { source = x, ...mixing }: Mixing,
): Mixed {
  const position = tensors.tensor("positional_encoding", [1, source.rows, q.outDim]);
  return reluLinearAttention(plan, x, { q, k, v, source, position, eps: SLA_EPS, ...mixing });
}

/**
 * Simplified linear attention (arXiv:2405.11582, section 3.3) with its projection, added to `residual`:
 *
 *   o = linearMixing + depthwise5×5(v)      residual + o·Wᵀ + β
 *
 * @param q, k, v  layers from x [N, dim], their norm already folded in; values of a smaller source are stretched for
 *                 the convolution
 * @param tensors  the `attn` scope: positional_encoding [1, N, dim], dwc [headDim, 1, 5, 5], proj
 */
export function simplifiedLinearAttention(
  plan: Plan, x: Tensor, layers: readonly [Linear, Linear, Linear], tensors: Tensors,
  { side, residual, ...mixing }: Mixing & { side: number; residual?: Tensor },
): Tensor {
  const dim = layers[0].outDim, { heads } = mixing, headDim = dim / heads;
  const local = linearMixing(plan, x, layers, tensors, mixing);
  const dwc = tensors.scope("dwc");
  const taps = dwc.tensor("weight", [headDim, 1, 5, 5]);
  const mixed = addLocalBranch(
    plan, local, { name: taps.name, read: float32(taps) }, { heads, height: x.rows / side, side },
  );
  // the convolution's bias reaches every token just before the projection, so it folds into the projection's
  const proj = foldBefore(biasOfHeads(dwc.tensor("bias", [headDim]), heads), linearOf(tensors, "proj", dim, dim));
  return plan.linear(mixed, proj, residual ? { add: residual, out: residual } : {});
}
