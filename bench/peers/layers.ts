// What the image networks share as ONNX: layers with their norms folded in as we fold them, and simplified linear attention.
import { toFloat64 } from "../../bindings/checkpoint/floats.ts";
import type { TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import type { Affine, Linear } from "../../bindings/weights.ts";
import { linearOf } from "../../bindings/weights.ts";
import { SLA_EPS } from "../../models/blocks.ts";
import type { Onnx } from "./onnx.ts";

export const read = async (tensor: TensorRef): Promise<Float64Array> => toFloat64(await tensor.read(), tensor.dtype);

/** A layer with the norms around it folded in: w [inDim, outDim], as MatMul takes it, and bias. */
export async function folded({ weight, bias, inDim, outDim, before, after }: Linear): Promise<{ w: Float32Array; bias: Float64Array }> {
  const rows = await read(weight), shifted = bias ? await read(bias) : new Float64Array(outDim), w = new Float64Array(inDim * outDim);
  const only = async (maps: readonly Affine[]) => {
    if (maps.length > 1) throw new RangeError(`${weight.name} has ${maps.length} maps on one side, expected at most one`);
    return maps[0]?.read();
  };
  const [first, last] = [await only(before), await only(after)];
  for (let o = 0; o < outDim; o++) {
    for (let i = 0; i < inDim; i++) {
      w[i * outDim + o] = rows[o * inDim + i]! * (first?.scale[i] ?? 1) * (last?.scale[o] ?? 1);
      shifted[o]! += rows[o * inDim + i]! * (first?.shift[i] ?? 0);
    }
    shifted[o] = shifted[o]! * (last?.scale[o] ?? 1) + (last?.shift[o] ?? 0);
  }
  return { w: Float32Array.from(w), bias: shifted };
}

/** Columns [first, first + count) of rows. */
const columns = <T extends Float32Array | Float64Array>(rows: T, width: number, first: number, count: number): T => rows.filter((_, i) => i % width >= first && i % width < first + count) as T;

export type Layers = ReturnType<typeof layersOf>;

export function layersOf(network: Onnx) {
  const floats = (values: ArrayLike<number>, shape?: readonly number[]): string => network.constant(Float32Array.from(values), shape);
  const reshape = (x: string, shape: readonly number[]): string => network.op("Reshape", [x, network.constant(BigInt64Array.from(shape, BigInt), [shape.length])]);
  const transpose = (x: string, perm: readonly number[]): string => network.op("Transpose", [x], { perm });
  const product = (x: string, w: Float32Array, inDim: number, bias: ArrayLike<number>, shape?: readonly number[]): string =>
    network.op("Add", [network.op("MatMul", [x, floats(w, [inDim, w.length / inDim])]), floats(bias, shape)]);
  const add = (a: string, b: string): string => network.op("Add", [a, b]);
  const layer = async (x: string, linear: Linear): Promise<string> => {
    const { w, bias } = await folded(linear);
    return product(x, w, linear.inDim, bias);
  };

  return {
    floats, reshape, transpose, product, add, layer,

    /** Image wire → tokens [tokens, dim], a convolution whose stride is its kernel, `linear` stored as [dim, channels, patch, patch]. */
    async patches(image: string, linear: Linear, channels: number, patch: number, tokens: number): Promise<string> {
      const { w, bias } = await folded(linear), kernel = Float32Array.from(w, (_, i) => w[(i % linear.inDim) * linear.outDim + Math.floor(i / linear.inDim)]!);
      const map = network.op("Conv", [image, floats(kernel, [linear.outDim, channels, patch, patch]), floats(bias)], { strides: [patch, patch] });
      return transpose(reshape(map, [linear.outDim, tokens]), [1, 0]);
    },

    /** x + simplified linear attention with its projection; `linear` is the packed qkv with its norm. */
    async linearAttention(x: string, linear: Linear, attn: Tensors, { tokens, heads, side }: { tokens: number; heads: number; side: number }): Promise<string> {
      const dim = linear.inDim, headDim = dim / heads, qkv = await folded(linear);
      const part = (n: number) => [columns(qkv.w, 3 * dim, n * dim, dim), qkv.bias.subarray(n * dim, (n + 1) * dim)] as const;
      const position = await read(attn.tensor("positional_encoding", [1, tokens, dim])), [wk, bk] = part(1);
      const q = network.op("Relu", [product(x, part(0)[0], dim, part(0)[1])]);
      const k = network.op("Relu", [product(x, wk, dim, position.map((p, at) => p + bk[at % dim]!), [tokens, dim])]);
      const v = transpose(reshape(product(x, part(2)[0], dim, part(2)[1]), [tokens, heads, headDim]), [1, 2, 0]);
      const queries = transpose(reshape(q, [tokens, heads, headDim]), [1, 0, 2]), keys = reshape(k, [tokens, heads, headDim]);
      const state = network.op("MatMul", [transpose(keys, [1, 2, 0]), transpose(v, [0, 2, 1])]);
      const keySum = reshape(network.op("ReduceSum", [keys, network.constant(BigInt64Array.of(0n), [1])], { keepdims: 0 }), [heads, headDim, 1]);
      const divisor = add(network.op("MatMul", [queries, keySum]), floats([SLA_EPS]));
      const dwc = attn.scope("dwc"), taps = floats(await read(dwc.tensor("weight", [headDim, 1, 5, 5])), [headDim, 1, 5, 5]);
      const local = network.op("Conv", [reshape(v, [heads, headDim, side, side]), taps, floats(await read(dwc.tensor("bias", [headDim])))], { group: headDim, pads: [2, 2, 2, 2] });
      const mixed = add(network.op("Div", [network.op("MatMul", [queries, state]), divisor]), transpose(reshape(local, [heads, headDim, tokens]), [0, 2, 1]));
      return add(x, await layer(reshape(transpose(mixed, [1, 0, 2]), [tokens, dim]), linearOf(attn, "proj", dim, dim)));
    },

    /** x + fc2(gelu(fc1(x))), fc1 with its norm. */
    async mlp(x: string, fc1: Linear, fc2: Linear): Promise<string> {
      return add(x, await layer(network.op("Gelu", [await layer(x, fc1)], {}, "com.microsoft"), fc2));
    },

    mean: (x: string): string => network.op("ReduceMean", [x], { axes: [0], keepdims: 0 }),
  };
}
