// PRepBN (arXiv:2405.11582, section 3.2): LayerNorm early in training, RepBN(x) = BN(x) + α·x at its end. At inference
// RepBN is affine per channel, so it folds into the linear layer after it and no norm is left.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { quote } from "../../bindings/checkpoint/names.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { foldBefore } from "../../bindings/plan/weights.ts";
import type { Fields } from "../../bindings/config/fields.ts";
import { only, positive } from "../../bindings/config/fields.ts";
import { float64 } from "./values.ts";

/** ε of a network's norms, which have to be PRepBN's. */
export function epsOf(fields: Fields, key = "norm_eps", usual = 1e-5): number {
  only(fields, "norm", "repbn");
  return positive(fields, key, usual);
}

/**
 * A norm of a checkpoint as an affine map: a = g/√(v + ε) + α, b = s − g·μ/√(v + ε), in float64. Accepts both layouts:
 * FULL, where `norm2` holds RepBN beside a dead LayerNorm, and BARE.
 */
export function repBN(norm: Tensors, dim: number, eps: number): Affine {
  const repbn = norm.has("norm2.alpha") ? norm.scope("norm2") : norm;
  if (!repbn.has("alpha") && repbn.has("weight")) {
    const kind = repbn.has("bias") ? "a layer norm" : "an RMS norm", remedy = "slab list names what runs here";
    throw new RangeError(`${quote(norm.prefix)} is ${kind}, expected PRepBN as the config's network has: ${remedy}`);
  }
  const tensors = [
    repbn.tensor("alpha", [1]), repbn.tensor("bn.weight", [dim]), repbn.tensor("bn.bias", [dim]),
    repbn.tensor("bn.running_mean", [dim]), repbn.tensor("bn.running_var", [dim]),
  ];
  // one norm may go into several layers (q, k, v): it is read once
  let folded: ReturnType<Affine["read"]> | undefined;
  return {
    norm: norm.prefix,
    read: () => (folded ??= fold()),
  };

  async function fold(): ReturnType<Affine["read"]> {
    const values: Float64Array[] = [];
    for (const tensor of tensors) values.push(await float64(tensor));
    const [alpha, gain, bias, mean, variance] = values as Record<0 | 1 | 2 | 3 | 4, Float64Array> & Float64Array[];
    const scale = new Float64Array(dim), shift = new Float64Array(dim);
    for (let c = 0; c < dim; c++) {
      const g = gain[c]! / Math.sqrt(variance[c]! + eps);
      scale[c] = g + alpha[0]!;
      shift[c] = bias[c]! - g * mean[c]!;
    }
    return { scale, shift };
  }
}

/** Folds the norm into the linear layer that reads it. */
export function foldPRepBN(norm: Tensors, eps: number, layer: Linear): Linear {
  return foldBefore(repBN(norm, layer.inDim, eps), layer);
}
