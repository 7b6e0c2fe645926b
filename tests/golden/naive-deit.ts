// SLAB-DeiT as the paper writes it: float64, plain loops, norms where they stand, nothing folded. It shares no code
// with the engine but the reading of the file.
import { toFloat64 } from "../../bindings/checkpoint/index.ts";
import type { Checkpoint, TensorRef } from "../../bindings/checkpoint/index.ts";
import { erf } from "../naive.ts";

export interface NaiveConfig {
  readonly imageSize: number;
  readonly patchSize: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
  readonly classes: number;
}

/** Rows of channels. */
type Tokens = Float64Array<ArrayBuffer>[];

/** y = W x + β for every row. */
function linear(x: Tokens, weight: Float64Array, bias: Float64Array): Tokens {
  return x.map((row) => {
    const out = new Float64Array(bias.length);
    for (let o = 0; o < out.length; o++) {
      let sum = bias[o]!;
      for (let i = 0; i < row.length; i++) sum += weight[o * row.length + i]! * row[i]!;
      out[o] = sum;
    }
    return out;
  });
}

/** Image [3, imageSize, imageSize] → logits [classes]. */
export async function naiveSlabDeit(
  checkpoint: Checkpoint, { imageSize, patchSize, dim, depth, heads, classes }: NaiveConfig, pixels: ArrayLike<number>,
): Promise<Float64Array> {
  const side = imageSize / patchSize, tokens = side * side, headDim = dim / heads;
  const get = async (name: string, ...shape: number[]): Promise<Float64Array<ArrayBuffer>> => {
    const ref: TensorRef = checkpoint.tensor(name, shape);
    return toFloat64(await ref.read(), ref.dtype);
  };
  const layer = async (name: string, x: Tokens, inDim: number, outDim: number): Promise<Tokens> =>
    linear(x, await get(`${name}.weight`, outDim, inDim), await get(`${name}.bias`, outDim));
  const norm = async (name: string, x: Tokens): Promise<Tokens> => {
    const [[alpha], g, s, mean, variance] = [
      await get(`${name}.norm2.alpha`, 1), await get(`${name}.norm2.bn.weight`, dim),
      await get(`${name}.norm2.bn.bias`, dim), await get(`${name}.norm2.bn.running_mean`, dim),
      await get(`${name}.norm2.bn.running_var`, dim),
    ];
    return x.map((row) =>
      row.map((v, c) => (g[c]! * (v - mean[c]!)) / Math.sqrt(variance[c]! + 1e-5) + s[c]! + alpha! * v),
    );
  };
  const added = (x: Tokens, y: Tokens): Tokens => x.map((row, n) => row.map((v, c) => v + y[n]![c]!));

  const attention = async (name: string, x: Tokens): Promise<Tokens> => {
    const position = await get(`${name}.positional_encoding`, 1, tokens, dim);
    const taps = await get(`${name}.dwc.weight`, headDim, 1, 5, 5), tapBias = await get(`${name}.dwc.bias`, headDim);
    const qkv = await layer(`${name}.qkv`, x, dim, 3 * dim);
    const q = qkv.map((row) => row.subarray(0, dim).map((v) => Math.max(v, 0)));
    const k = qkv.map((row, n) => row.subarray(dim, 2 * dim).map((v, c) => Math.max(v + position[n * dim + c]!, 0)));
    const v = qkv.map((row) => row.subarray(2 * dim));
    const mixed = x.map(() => new Float64Array(dim));
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < tokens; i++) {
        // the quadratic order, which the engine does not take here
        const scores = k.map((key) => {
          let dot = 0;
          for (let c = h * headDim; c < (h + 1) * headDim; c++) dot += q[i]![c]! * key[c]!;
          return dot;
        });
        const z = 1 / (scores.reduce((a, b) => a + b, 0) + 1e-6);
        for (let d = 0; d < headDim; d++) {
          const c = h * headDim + d, row = Math.floor(i / side), column = i % side;
          let sum = 0, conv = tapBias[d]!;
          for (let j = 0; j < tokens; j++) sum += scores[j]! * v[j]![c]!;
          for (let y = -2; y <= 2; y++) {
            for (let w = -2; w <= 2; w++) {
              const inside = row + y >= 0 && row + y < side && column + w >= 0 && column + w < side;
              if (inside) conv += taps[d * 25 + (y + 2) * 5 + (w + 2)]! * v[(row + y) * side + column + w]![c]!;
            }
          }
          mixed[i]![c] = z * sum + conv;
        }
      }
    }
    return layer(`${name}.proj`, mixed, dim, dim);
  };

  const patches = Array.from({ length: tokens }, (_, n) =>
    Float64Array.from({ length: 3 * patchSize ** 2 }, (_, i) => {
      const channel = Math.floor(i / patchSize ** 2), y = Math.floor(i / patchSize) % patchSize, w = i % patchSize;
      return pixels[
        (channel * imageSize + Math.floor(n / side) * patchSize + y) * imageSize + (n % side) * patchSize + w
      ]!;
    }));
  const kernel = await get("patch_embed.proj.weight", dim, 3, patchSize, patchSize);
  const places = await get("pos_embed", 1, tokens, dim);
  let x = linear(patches, kernel, await get("patch_embed.proj.bias", dim)).map((row, n) =>
    row.map((v, c) => v + places[n * dim + c]!),
  );
  for (let i = 0; i < depth; i++) {
    const block = `blocks.${i}`;
    x = added(x, await attention(`${block}.attn`, await norm(`${block}.norm1`, x)));
    const hidden = await layer(`${block}.mlp.fc1`, await norm(`${block}.norm2`, x), dim, 4 * dim);
    const activated = hidden.map((row) => row.map((v) => 0.5 * v * (1 + erf(v / Math.SQRT2))));
    x = added(x, await layer(`${block}.mlp.fc2`, activated, 4 * dim, dim));
  }
  const features = new Float64Array(dim);
  for (const row of await norm("norm", x)) row.forEach((v, c) => (features[c]! += v / tokens));
  return (await layer("head", [features], dim, classes))[0]!;
}
