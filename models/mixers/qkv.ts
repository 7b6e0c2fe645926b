// Packed projections: queries, keys and values of one layer.
import type { Linear } from "../../bindings/plan/weights.ts";
import { foldAfter, sliceOutputs } from "../../bindings/plan/weights.ts";

/** A packed projection whose queries, its first third, are scaled by headDim^−½, as softmax attention wants them. */
export function scaleQueries(qkv: Linear, heads: number): Linear {
  const dim = qkv.outDim / 3;
  const scale = Float64Array.from({ length: 3 * dim }, (_, c) => (c < dim ? (dim / heads) ** -0.5 : 1));
  return foldAfter(qkv, { read: async () => ({ scale, shift: new Float64Array(3 * dim) }) });
}

/** q, k and v of a packed projection, rows [q | k | v]. */
export function splitQkv(qkv: Linear): [Linear, Linear, Linear] {
  const dim = qkv.outDim / 3;
  return [sliceOutputs(qkv, "q", 0, dim), sliceOutputs(qkv, "k", dim, dim), sliceOutputs(qkv, "v", 2 * dim, dim)];
}
