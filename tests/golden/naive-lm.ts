// SLAB-LM in float64, from the checkpoint's own tensors: no norm is folded, every token goes through the recurrence one
// by one.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { toFloat64 } from "../../bindings/checkpoint/floats.ts";

export interface NaiveLm {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly hidden: number;
  readonly decay: readonly number[];
  readonly taps: number;
  readonly tied: boolean;
  readonly normEps: number;
}

/** x · Wᵀ + bias, x [m, k], w [n, k]. Four rows share the pass over a weight row; each sum is in the order of k. */
export function linear(x: Float64Array, w: Float64Array, k: number, bias?: Float64Array): Float64Array {
  const m = x.length / k, n = w.length / k, out = new Float64Array(m * n);
  for (let r = 0; r < m; r += 4) {
    const [r0, r1, r2, r3] = [r, Math.min(r + 1, m - 1), Math.min(r + 2, m - 1), Math.min(r + 3, m - 1)] as const;
    for (let o = 0; o < n; o++) {
      let s0 = bias ? bias[o]! : 0, s1 = s0, s2 = s0, s3 = s0;
      for (let i = 0, at = o * k, a = r0 * k, b = r1 * k, c = r2 * k, d = r3 * k; i < k; i++) {
        const weight = w[at + i]!;
        s0 += weight * x[a + i]!;
        s1 += weight * x[b + i]!;
        s2 += weight * x[c + i]!;
        s3 += weight * x[d + i]!;
      }
      out[r0 * n + o] = s0;
      out[r1 * n + o] = s1;
      out[r2 * n + o] = s2;
      out[r3 * n + o] = s3;
    }
  }
  return out;
}

/** Reads a tensor in float64. */
export type Read = (name: string, ...shape: number[]) => Promise<Float64Array>;

export const reader = (tensors: Tensors): Read => async (name, ...shape) => {
  const ref = tensors.tensor(name, shape);
  return toFloat64(await ref.read(), ref.dtype);
};

/** RepBN(x) = BN(x) + α·x with BN's running statistics, of rows of `dim`. */
export async function repBN(
  x: Float64Array, read: Read, repbn: string, dim: number, eps: number,
): Promise<Float64Array> {
  const [alpha] = await read(`${repbn}.alpha`, 1);
  const [gain, shift, mean, variance] = [
    await read(`${repbn}.bn.weight`, dim), await read(`${repbn}.bn.bias`, dim),
    await read(`${repbn}.bn.running_mean`, dim), await read(`${repbn}.bn.running_var`, dim),
  ];
  return x.map((value, i) => {
    const c = i % dim;
    return ((value - mean[c]!) / Math.sqrt(variance[c]! + eps)) * gain[c]! + shift[c]! + alpha! * value;
  });
}

/**
 * Logits after every token; `each` gets one row [vocab] at a time, overwritten by the next block's.
 *
 *   S_t = d S_{t−1} + relu(k_t) v_tᵀ      z_t = d z_{t−1} + relu(k_t)
 *   o_t = relu(q_t)ᵀ S_t / (relu(q_t)·z_t + 1e-6) + Σ_j w_j ⊙ v_{t − taps + 1 + j} + bias
 */
export async function naiveSlabLm(
  tensors: Tensors, network: NaiveLm, ids: ArrayLike<number>, each: (position: number, logits: Float64Array) => void,
): Promise<void> {
  const { vocab, dim, depth, heads, hidden, decay, taps, tied, normEps } = network;
  const T = ids.length, headDim = dim / heads;
  const read = reader(tensors);
  const norm = (x: Float64Array, name: string): Promise<Float64Array> =>
    repBN(x, read, tensors.has(`${name}.norm2.alpha`) ? `${name}.norm2` : name, dim, normEps);

  async function project(
    x: Float64Array, name: string, inDim: number, outDim: number, bias = true,
  ): Promise<Float64Array> {
    return linear(
      x, await read(`${name}.weight`, outDim, inDim), inDim, bias ? await read(`${name}.bias`, outDim) : undefined,
    );
  }

  const table = await read("embed_tokens.weight", vocab, dim);
  const x = new Float64Array(T * dim);
  for (let t = 0; t < T; t++) x.set(table.subarray(ids[t]! * dim, (ids[t]! + 1) * dim), t * dim);
  const add = (y: Float64Array): void => y.forEach((value, i) => { x[i]! += value; });

  for (let layer = 0; layer < depth; layer++) {
    const block = `layers.${layer}`, attn = `${block}.self_attn`, mlp = `${block}.mlp`;
    // token mixer
    let y = await norm(x, `${block}.input_layernorm`);
    const [q, k, v] = [
      await project(y, `${attn}.q_proj`, dim, dim), await project(y, `${attn}.k_proj`, dim, dim),
      await project(y, `${attn}.v_proj`, dim, dim),
    ];
    for (const map of [q, k]) map.forEach((value, i) => { map[i] = Math.max(value, 0); });
    const kernel = await read(`${attn}.dwc.weight`, headDim, 1, taps), bias = await read(`${attn}.dwc.bias`, headDim);
    const mixed = new Float64Array(T * dim);
    for (let h = 0; h < heads; h++) {
      const state = new Float64Array(headDim * headDim);
      const z = new Float64Array(headDim);
      const d = decay[h]!;
      const numerator = new Float64Array(headDim);
      for (let t = 0; t < T; t++) {
        const at = t * dim + h * headDim;
        let denominator = 1e-6;
        numerator.fill(0);
        for (let i = 0; i < headDim; i++) {
          const [key, query] = [k[at + i]!, q[at + i]!];
          z[i] = d * z[i]! + key;
          denominator += query * z[i]!;
          for (let j = 0; j < headDim; j++) {
            const s = d * state[i * headDim + j]! + key * v[at + j]!;
            state[i * headDim + j] = s;
            numerator[j]! += query * s;
          }
        }
        for (let c = 0; c < headDim; c++) {
          let local = bias[c]!;
          for (let j = Math.max(0, taps - 1 - t); j < taps; j++)
            local += kernel[c * taps + j]! * v[at + c + (j - taps + 1) * dim]!;
          mixed[at + c] = numerator[c]! / denominator + local;
        }
      }
    }
    add(await project(mixed, `${attn}.o_proj`, dim, dim));
    // channel mixer
    y = await norm(x, `${block}.post_attention_layernorm`);
    const gate = await project(y, `${mlp}.gate_proj`, dim, hidden, false);
    const up = await project(y, `${mlp}.up_proj`, dim, hidden, false);
    add(await project(gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!), `${mlp}.down_proj`, hidden, dim, false));
  }

  const y = await norm(x, "norm"), head = tied ? table : await read("lm_head.weight", vocab, dim);
  for (let t = 0; t < T; t += 64) {
    const logits = linear(y.subarray(t * dim, (t + 64) * dim), head, dim);
    for (let r = 0; r * vocab < logits.length; r++) each(t + r, logits.subarray(r * vocab, (r + 1) * vocab));
  }
}

/** −ln softmax(logits)[id]. */
export function surprise(logits: ArrayLike<number>, id: number): number {
  let top = -Infinity, total = 0;
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i]!);
  for (let i = 0; i < logits.length; i++) total += Math.exp(logits[i]! - top);
  return Math.log(total) + top - logits[id]!;
}
