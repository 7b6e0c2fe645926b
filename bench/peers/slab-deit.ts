// SLAB-DeiT as an ONNX network, with its norms folded as we fold them: the same work, for a peer.
import { toFloat64 } from "../../bindings/checkpoint/floats.ts";
import type { TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import type { Linear } from "../../bindings/weights.ts";
import { linearOf } from "../../bindings/weights.ts";
import { SLA_EPS } from "../../models/blocks.ts";
import { foldPRepBN } from "../../models/prepbn.ts";
import type { SlabDeitConfig } from "../../models/slab-deit.ts";
import { Onnx } from "./onnx.ts";

const read = async (tensor: TensorRef): Promise<Float64Array> => toFloat64(await tensor.read(), tensor.dtype);

/** A layer with the norm before it folded in: w [inDim, outDim], as MatMul takes it, and bias. */
async function folded({ weight, bias, inDim, outDim, before }: Linear): Promise<{ w: Float32Array; bias: Float64Array }> {
  const rows = await read(weight), shifted = bias ? await read(bias) : new Float64Array(outDim), w = new Float32Array(inDim * outDim);
  const maps = await Promise.all(before.map((map) => map.read()));
  if (maps.length > 1) throw new RangeError(`${weight.name} has ${maps.length} maps before it, expected at most one`);
  for (let o = 0; o < outDim; o++) {
    for (let i = 0; i < inDim; i++) {
      w[i * outDim + o] = rows[o * inDim + i]! * (maps[0]?.scale[i] ?? 1);
      shifted[o]! += rows[o * inDim + i]! * (maps[0]?.shift[i] ?? 0);
    }
  }
  return { w, bias: shifted };
}

/** Columns [first, first + count) of rows. */
const columns = <T extends Float32Array | Float64Array>(rows: T, width: number, first: number, count: number): T => rows.filter((_, i) => i % width >= first && i % width < first + count) as T;

/** Image f32 [1, channels, size, size] → logits f32 [classes], the wires "image" and the only output. */
export async function slabDeitNetwork(tensors: Tensors, config: SlabDeitConfig): Promise<Onnx> {
  const { imageSize: size, patchSize: patch, channels, dim, depth, heads, mlpRatio, classes, normEps, mixer } = config;
  if (mixer !== "linear") throw new RangeError("only SLAB-DeiT is written here, whose mixer is linear");
  const side = size / patch, tokens = side * side, hidden = dim * mlpRatio, headDim = dim / heads, network = new Onnx();
  const floats = (values: ArrayLike<number>, shape?: readonly number[]): string => network.constant(Float32Array.from(values), shape);
  const reshape = (x: string, shape: readonly number[]): string => network.op("Reshape", [x, network.constant(BigInt64Array.from(shape, BigInt), [shape.length])]);
  const transpose = (x: string, perm: readonly number[]): string => network.op("Transpose", [x], { perm });
  const product = (x: string, w: Float32Array, inDim: number, bias: ArrayLike<number>, shape?: readonly number[]): string =>
    network.op("Add", [network.op("MatMul", [x, floats(w, [inDim, w.length / inDim])]), floats(bias, shape)]);
  const add = (a: string, b: string): string => network.op("Add", [a, b]);

  const embed = tensors.scope("patch_embed.proj"), kernel = floats(await read(embed.tensor("weight", [dim, channels, patch, patch])), [dim, channels, patch, patch]);
  const patches = network.op("Conv", [network.input("image", "float32", [1, channels, size, size]), kernel, floats(await read(embed.tensor("bias", [dim])))], { strides: [patch, patch] });
  let x = add(transpose(reshape(patches, [dim, tokens]), [1, 0]), floats(await read(tensors.tensor("pos_embed", [1, tokens, dim])), [tokens, dim]));
  for (let i = 0; i < depth; i++) {
    const block = tensors.scope(`blocks.${i}`), attn = block.scope("attn");
    const qkv = await folded(foldPRepBN(block.scope("norm1"), normEps, linearOf(block, "attn.qkv", dim, 3 * dim)));
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
    const proj = await folded(linearOf(attn, "proj", dim, dim));
    x = add(x, product(reshape(transpose(mixed, [1, 0, 2]), [tokens, dim]), proj.w, dim, proj.bias));
    const fc1 = await folded(foldPRepBN(block.scope("norm2"), normEps, linearOf(block, "mlp.fc1", dim, hidden))), fc2 = await folded(linearOf(block, "mlp.fc2", hidden, dim));
    x = add(x, product(network.op("Gelu", [product(x, fc1.w, dim, fc1.bias)], {}, "com.microsoft"), fc2.w, hidden, fc2.bias));
  }
  const head = await folded(foldPRepBN(tensors.scope("norm"), normEps, linearOf(tensors, "head", dim, classes)));
  const features = network.op("ReduceMean", [x], { axes: [0], keepdims: 0 });
  network.output(product(features, head.w, dim, head.bias), "float32", [classes]);
  return network;
}
