// What the papers' networks share: patch embedding, simplified linear attention, softmax attention, the MLP.
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import { toFloat32, toFloat64 } from "../bindings/checkpoint/floats.ts";
import { keyValueState, linearAttention, scoreAttention } from "../bindings/ops/attention.ts";
import { depthwiseConv, gatherPatches } from "../bindings/ops/convolution.ts";
import { stretchRows } from "../bindings/ops/rows.ts";
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

/**
 * Image f32 [channels, height, size] → tokens [N, dim]: a convolution of patches, which overlap where their stride is less than their side.
 * `norm` is that of the tokens, `add` a position table.
 */
export function patchEmbed(
  plan: Plan, image: Tensor, tensors: Tensors, { channels, size, height = size, patch, dim, name = "proj", stride = patch, pad = 0, norm, add, out, rowOffset }:
  { channels: number; size: number; height?: number; patch: number; dim: number; name?: string; stride?: number; pad?: number; norm?: Affine; add?: Tensor; out?: Tensor; rowOffset?: number },
): Tensor {
  const patches = gatherPatches(plan, image, channels, height, size, patch, { stride, pad });
  const conv = linearOf(tensors, name, channels * patch * patch, dim, { shape: [dim, channels, patch, patch] });
  return plan.linear(patches, norm ? foldAfter(conv, norm) : conv, { ...(add ? { add } : {}), ...(out ? { out } : {}), ...(rowOffset ? { rowOffset } : {}) });
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

interface Mixing {
  readonly heads: number;
  /** Where keys and values come from, if not x: fewer tokens. */
  readonly source?: Tensor;
  /** Which product first: keys with values for more tokens than channels a head, else queries with keys; same result. */
  readonly order?: "keys-values" | "queries-keys";
}

/** What tokens are given of one another, q·(kᵀv)/(q·Σk + ε) with q, k = relu(q), relu(k + P); and the values, head panels. */
export function linearMixing(
  plan: Plan, x: Tensor, [q, k, v]: readonly [Linear, Linear, Linear], tensors: Tensors, { heads, source = x, order }: Mixing,
): { mixed: Tensor; values: Tensor } {
  const dim = q.outDim, tokens = source.rows, headDim = dim / heads;
  const keysValues = (order ?? (2 * x.rows * tokens >= headDim * (x.rows + tokens) ? "keys-values" : "queries-keys")) === "keys-values";
  const position = tensors.tensor("positional_encoding", [1, tokens, dim]);
  const queries = plan.linear(x, q, { act: "relu" });
  const values = plan.linear(source, v, { heads });
  if (keysValues) {
    const keys = plan.linear(source, k, { act: "relu", heads, add: plan.headTable(position.name, tokens, heads, headDim, position) });
    return { mixed: linearAttention(plan, queries, keyValueState(plan, keys, values, heads, headDim), heads, headDim, SLA_EPS), values };
  }
  const keys = plan.linear(source, k, { act: "relu", add: plan.table(position.name, tokens, dim, position) });
  return { mixed: scoreAttention(plan, queries, keys, values, heads, headDim, "linear", SLA_EPS), values };
}

/**
 * Simplified linear attention (arXiv:2405.11582, section 3.3) with its projection, added to `residual`:
 *
 *   o = linearMixing + depthwise5×5(v)      residual + o·Wᵀ + β
 *
 * @param q, k, v  layers from x [N, dim], their norm already folded in; from a smaller source, values are stretched for the convolution
 * @param tensors  the `attn` scope: positional_encoding [1, N, dim], dwc [headDim, 1, 5, 5], proj
 */
export function simplifiedLinearAttention(
  plan: Plan, x: Tensor, layers: readonly [Linear, Linear, Linear], tensors: Tensors, { side, residual, ...mixing }: Mixing & { side: number; residual?: Tensor },
): Tensor {
  const dim = layers[0].outDim, { heads } = mixing, headDim = dim / heads;
  const { mixed, values } = linearMixing(plan, x, layers, tensors, mixing);
  const dwc = tensors.scope("dwc");
  const taps = dwc.tensor("weight", [headDim, 1, 5, 5]);
  const map = values.rows === x.rows ? values : stretchRows(plan, values, x.rows);
  depthwiseConv(plan, mixed, map, { name: taps.name, read: float32(taps) }, x.rows / side, side, heads, headDim);
  // the convolution's bias reaches every token just before the projection, so it folds into the projection's
  const proj = foldBefore(biasOfHeads(dwc.tensor("bias", [headDim]), heads), linearOf(tensors, "proj", dim, dim));
  return plan.linear(mixed, proj, residual ? { add: residual, out: residual } : {});
}

/** Softmax attention with its projection, added to `residual`; the scale headDim^−½ is folded into q. */
export function softmaxAttention(
  plan: Plan, x: Tensor, [q, k, v]: readonly [Linear, Linear, Linear], tensors: Tensors,
  { heads, source = x, residual }: { heads: number; source?: Tensor; residual?: Tensor },
): Tensor {
  const dim = q.outDim, headDim = dim / heads;
  const scale: Affine = { read: async () => ({ scale: new Float64Array(dim).fill(headDim ** -0.5), shift: new Float64Array(dim) }) };
  const queries = plan.linear(x, foldAfter(q, scale)), keys = plan.linear(source, k), values = plan.linear(source, v, { heads });
  const mixed = scoreAttention(plan, queries, keys, values, heads, headDim, "softmax", 0);
  return plan.linear(mixed, linearOf(tensors, "proj", dim, dim), residual ? { add: residual, out: residual } : {});
}

/** A packed projection whose queries, its first third, are scaled by headDim^−½, as softmax attention wants them. */
export function scaleQueries(qkv: Linear, heads: number): Linear {
  const dim = qkv.outDim / 3, scale = Float64Array.from({ length: 3 * dim }, (_, c) => (c < dim ? (dim / heads) ** -0.5 : 1));
  return foldAfter(qkv, { read: async () => ({ scale, shift: new Float64Array(3 * dim) }) });
}

/** q, k and v of a packed projection, rows [q | k | v]. */
export function splitQkv(qkv: Linear): [Linear, Linear, Linear] {
  const dim = qkv.outDim / 3;
  return [sliceOutputs(qkv, "q", 0, dim), sliceOutputs(qkv, "k", dim, dim), sliceOutputs(qkv, "v", 2 * dim, dim)];
}

/** x + fc2(gelu(fc1(norm(x)))), in place; `gelu`, where given, takes the GELU's place, with what comes before it. */
export function mlp(plan: Plan, x: Tensor, block: Tensors, { norm, hidden, gelu }: { norm: Affine; hidden: number; gelu?: ((wide: Tensor) => Tensor) | undefined }): void {
  const dim = x.columns, fc1 = foldBefore(norm, linearOf(block, "mlp.fc1", dim, hidden));
  const wide = gelu ? gelu(plan.linear(x, fc1)) : plan.linear(x, fc1, { act: "gelu" });
  plan.linear(wide, linearOf(block, "mlp.fc2", hidden, dim), { add: x, out: x });
}
