// What the papers' networks share: patch embedding, simplified linear attention, softmax attention, the MLP.
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import { toFloat32, toFloat64 } from "../bindings/checkpoint/floats.ts";
import { notFinite } from "../bindings/plan-record.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import type { Affine, Linear } from "../bindings/weights.ts";
import { foldAfter, foldBefore, linearOf, sliceOutputs } from "../bindings/weights.ts";

/** ε of the linear normaliser, added once to the denominator. */
export const SLA_EPS = 1e-6;

export const float32 = (tensor: TensorRef) => async (): Promise<Float32Array> => toFloat32(await tensor.read(), tensor.dtype);

/** A tensor that folds into a layer: checked here, as an error of the layer's would not name it. */
export async function float64(tensor: TensorRef): Promise<Float64Array> {
  const values = toFloat64(await tensor.read(), tensor.dtype);
  if (!values.every(Number.isFinite)) throw notFinite(tensor.name);
  return values;
}

/** Image f32 [channels, height, side] → tokens [N, dim]: a convolution whose stride is its kernel. `add` is a position table. */
export function patchEmbed(
  plan: Plan, image: Tensor, tensors: Tensors, { channels, size, patch, dim, add, out, rowOffset }:
  { channels: number; size: number; patch: number; dim: number; add?: Tensor; out?: Tensor; rowOffset?: number },
): Tensor {
  const patches = plan.gatherPatches(image, channels, size, size, patch);
  const conv = linearOf(tensors, "proj", channels * patch * patch, dim, { shape: [dim, channels, patch, patch] });
  return plan.linear(patches, conv, { ...(add ? { add } : {}), ...(out ? { out } : {}), ...(rowOffset ? { rowOffset } : {}) });
}

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

/**
 * Simplified linear attention (arXiv:2405.11582, section 3.3) with its projection, added to `residual`:
 *
 *   q, k = relu(q), relu(k + P)      o = q·(kᵀv)/(q·Σk + ε) + depthwise5×5(v)      residual + o·Wᵀ + β
 *
 * @param q, k, v  layers from x [N, dim], their norm already folded in
 * @param tensors  the `attn` scope: positional_encoding [1, N, dim], dwc [headDim, 1, 5, 5], proj
 * @param order    which product first: keys with values for more tokens than channels a head, else queries with keys; same result
 */
export function simplifiedLinearAttention(
  plan: Plan, x: Tensor, [q, k, v]: readonly [Linear, Linear, Linear], tensors: Tensors,
  { heads, side, residual, order }: { heads: number; side: number; residual?: Tensor; order?: "keys-values" | "queries-keys" },
): Tensor {
  const dim = q.outDim, tokens = x.rows, headDim = dim / heads;
  const keysValues = (order ?? (tokens >= headDim ? "keys-values" : "queries-keys")) === "keys-values";
  const position = tensors.tensor("positional_encoding", [1, tokens, dim]);
  const queries = plan.linear(x, q, { act: "relu" });
  const values = plan.linear(x, v, { heads });
  let mixed: Tensor;
  if (keysValues) {
    const keys = plan.linear(x, k, { act: "relu", heads, add: plan.headTable(position.name, tokens, heads, headDim, position) });
    mixed = plan.linearAttention(queries, plan.keyValueState(keys, values, heads, headDim), heads, headDim, SLA_EPS);
  } else {
    const keys = plan.linear(x, k, { act: "relu", add: plan.table(position.name, tokens, dim, position) });
    mixed = plan.scoreAttention(queries, keys, values, heads, headDim, "linear", SLA_EPS);
  }
  const dwc = tensors.scope("dwc");
  const taps = dwc.tensor("weight", [headDim, 1, 5, 5]);
  plan.depthwiseConv(mixed, values, { name: taps.name, read: float32(taps) }, tokens / side, side, heads, headDim);
  // the convolution's bias reaches every token just before the projection, so it folds into the projection's
  const proj = foldBefore(biasOfHeads(dwc.tensor("bias", [headDim]), heads), linearOf(tensors, "proj", dim, dim));
  return plan.linear(mixed, proj, residual ? { add: residual, out: residual } : {});
}

/** Softmax attention with its projection, added to `residual`; the scale headDim^−½ is folded into q. */
export function softmaxAttention(
  plan: Plan, x: Tensor, [q, k, v]: readonly [Linear, Linear, Linear], tensors: Tensors, { heads, residual }: { heads: number; residual: Tensor },
): Tensor {
  const dim = q.outDim, headDim = dim / heads;
  const scale: Affine = { read: async () => ({ scale: new Float64Array(dim).fill(headDim ** -0.5), shift: new Float64Array(dim) }) };
  const queries = plan.linear(x, foldAfter(q, scale)), keys = plan.linear(x, k), values = plan.linear(x, v, { heads });
  const mixed = plan.scoreAttention(queries, keys, values, heads, headDim, "softmax", 0);
  return plan.linear(mixed, linearOf(tensors, "proj", dim, dim), { add: residual, out: residual });
}

/** q, k and v of a packed projection, rows [q | k | v]. */
export function splitQkv(qkv: Linear): [Linear, Linear, Linear] {
  const dim = qkv.outDim / 3;
  return [sliceOutputs(qkv, "q", 0, dim), sliceOutputs(qkv, "k", dim, dim), sliceOutputs(qkv, "v", 2 * dim, dim)];
}
