// What the image networks share as ONNX: layers with their norms folded in as we fold them, and
// simplified linear attention.
import { toFloat64 } from "../../bindings/checkpoint/floats.ts";
import type { TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import { SLA_EPS } from "../../models/mixers/simplified-linear-attention.ts";
import type { Onnx } from "./onnx.ts";

export const read = async (tensor: TensorRef): Promise<Float64Array> => toFloat64(await tensor.read(), tensor.dtype);

/**
 * A layer, or rows of one, with the norms around it folded in: w [inDim, outDim], as MatMul takes it, and bias. A norm
 * of fewer channels than inDim is that before a convolution, whose taps of a channel lie together.
 */
export async function folded(
  { weight, bias, inDim, outDim, firstRow, before, after }: Linear,
): Promise<{ w: Float32Array; bias: Float64Array }> {
  const rowBytes = weight.byteLength / weight.shape[0]!;
  const rows = toFloat64(await weight.read(new Uint8Array(outDim * rowBytes), firstRow * rowBytes), weight.dtype);
  const shifted = bias ? (await read(bias)).slice(firstRow, firstRow + outDim) : new Float64Array(outDim);
  const w = new Float64Array(inDim * outDim);
  const only = async (maps: readonly Affine[]) => {
    if (maps.length > 1) {
      throw new RangeError(`${weight.name} has ${maps.length} maps on one side, expected at most one`);
    }
    return maps[0]?.read();
  };
  const [first, last] = [await only(before), await only(after)], taps = first ? inDim / first.scale.length : 1;
  for (let o = 0; o < outDim; o++) {
    for (let i = 0; i < inDim; i++) {
      const c = Math.floor(i / taps);
      w[i * outDim + o] = rows[o * inDim + i]! * (first?.scale[c] ?? 1) * (last?.scale[o] ?? 1);
      shifted[o]! += rows[o * inDim + i]! * (first?.shift[c] ?? 0);
    }
    shifted[o] = shifted[o]! * (last?.scale[o] ?? 1) + (last?.shift[o] ?? 0);
  }
  return { w: Float32Array.from(w), bias: shifted };
}

interface LinearAttention {
  readonly tokens: number;
  readonly heads: number;
  readonly side: number;
  /** Where it is not the attention's own. */
  readonly proj?: Linear;
  readonly local?: { readonly taps: ArrayLike<number>; readonly bias: ArrayLike<number> };
}

export type Layers = ReturnType<typeof layersOf>;

export function layersOf(network: Onnx) {
  const floats = (values: ArrayLike<number>, shape?: readonly number[]): string =>
    network.constant(Float32Array.from(values), shape);
  const reshape = (x: string, shape: readonly number[]): string => network.op(
    "Reshape", [x, network.constant(BigInt64Array.from(shape, BigInt), [shape.length])],
  );
  const transpose = (x: string, perm: readonly number[]): string => network.op("Transpose", [x], { perm });
  const product = (
    x: string, w: Float32Array, inDim: number, bias: ArrayLike<number>, shape?: readonly number[],
  ): string =>
    network.op("Add", [network.op("MatMul", [x, floats(w, [inDim, w.length / inDim])]), floats(bias, shape)]);
  const add = (a: string, b: string): string => network.op("Add", [a, b]);
  const layer = async (x: string, linear: Linear): Promise<string> => {
    const { w, bias } = await folded(linear);
    return product(x, w, linear.inDim, bias);
  };
  /** Maps [n, channels, height, width], every channel through taps of its own, zeros around. */
  const depthwise = (maps: string, taps: ArrayLike<number>, bias: ArrayLike<number>): string => {
    const channels = bias.length, kernel = Math.sqrt(taps.length / channels), pad = kernel >> 1;
    return network.op(
      "Conv", [maps, floats(taps, [channels, 1, kernel, kernel]), floats(bias)],
      { group: channels, pads: [pad, pad, pad, pad] },
    );
  };

  return {
    floats, reshape, transpose, product, add, layer, depthwise,

    /** Tokens [side², channels] → a map as Conv takes it, [1, channels, side, side]. */
    map: (x: string, side: number, channels: number): string =>
      reshape(transpose(x, [1, 0]), [1, channels, side, side]),

    /** Map [1, channels, …] → tokens [tokens, dim], `linear` stored as [dim, channels, kernel, kernel]. */
    async convolution(
      map: string, linear: Linear, tokens: number, { stride = linear.weight.shape[2]!, pad = 0 } = {},
    ): Promise<string> {
      const { w, bias } = await folded(linear);
      const kernel = Float32Array.from(
        w, (_, i) => w[(i % linear.inDim) * linear.outDim + Math.floor(i / linear.inDim)]!,
      );
      const made = network.op(
        "Conv", [map, floats(kernel, linear.weight.shape), floats(bias)],
        { strides: [stride, stride], pads: [pad, pad, pad, pad] },
      );
      return transpose(reshape(made, [linear.outDim, tokens]), [1, 0]);
    },

    /**
     * What softmax attention gives every query: queries and values [heads, tokens, channels], keys [heads, channels,
     * tokens], scores shifted by `bias`.
     */
    softmaxMixing(queries: string, keys: string, values: string, bias?: string): string {
      const scores = network.op("MatMul", [queries, keys]);
      return network.op("MatMul", [network.op("Softmax", [bias ? add(scores, bias) : scores], { axis: -1 }), values]);
    },

    /**
     * x + simplified linear attention with its projection; q, k and v with their norm. `local` is the depthwise 5×5
     * convolution of the values, its taps those of a head, which all heads share, or of every channel.
     */
    async linearAttention(
      x: string, layers: readonly [Linear, Linear, Linear], attn: Tensors,
      { tokens, heads, side, proj, local }: LinearAttention,
    ): Promise<string> {
      const dim = layers[0].outDim, headDim = dim / heads, key = await folded(layers[1]);
      const position = await read(attn.tensor("positional_encoding", [1, tokens, dim]));
      const q = network.op("Relu", [await layer(x, layers[0])]);
      const k = network.op(
        "Relu", [product(x, key.w, dim, position.map((p, at) => p + key.bias[at % dim]!), [tokens, dim])],
      );
      const v = transpose(reshape(await layer(x, layers[2]), [tokens, heads, headDim]), [1, 2, 0]);
      const queries = transpose(reshape(q, [tokens, heads, headDim]), [1, 0, 2]);
      const keys = reshape(k, [tokens, heads, headDim]);
      const state = network.op("MatMul", [transpose(keys, [1, 2, 0]), transpose(v, [0, 2, 1])]);
      const keySum = reshape(
        network.op("ReduceSum", [keys, network.constant(BigInt64Array.of(0n), [1])], { keepdims: 0 }),
        [heads, headDim, 1],
      );
      const divisor = add(network.op("MatMul", [queries, keySum]), floats([SLA_EPS]));
      const dwc = attn.scope("dwc");
      const { taps, bias } = local ?? {
        taps: await read(dwc.tensor("weight", [headDim, 1, 5, 5])), bias: await read(dwc.tensor("bias", [headDim])),
      };
      const near = depthwise(reshape(v, [dim / bias.length, bias.length, side, side]), taps, bias);
      const mixed = add(
        network.op("Div", [network.op("MatMul", [queries, state]), divisor]),
        transpose(reshape(near, [heads, headDim, tokens]), [0, 2, 1]),
      );
      return add(
        x, await layer(reshape(transpose(mixed, [1, 0, 2]), [tokens, dim]), proj ?? linearOf(attn, "proj", dim, dim)),
      );
    },

    /** x + fc2(gelu(fc1(x))), fc1 with its norm. */
    async mlp(x: string, fc1: Linear, fc2: Linear): Promise<string> {
      return add(x, await layer(network.op("Gelu", [await layer(x, fc1)], {}, "com.microsoft"), fc2));
    },

    mean: (x: string): string => network.op("ReduceMean", [x], { axes: [0], keepdims: 0 }),
  };
}
