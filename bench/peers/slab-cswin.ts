// SLAB-CSWin as an ONNX network, with its norms folded and the convolutions of linear blocks merged as we do it.
// Stripes are views of the map, turned by one operator there and one back.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { foldAfter, linearOf } from "../../bindings/plan/weights.ts";
import { scaleQueries, splitQkv } from "../../models/mixers/qkv.ts";
import { foldPRepBN, repBN } from "../../models/parts/prepbn.ts";
import type { SlabCswinConfig } from "../../models/vision/slab-cswin.ts";
import { mergedTaps } from "../../models/vision/slab-cswin.ts";
import { layersOf, read } from "./layers.ts";
import { Onnx } from "./onnx.ts";

/** Image f32 [1, channels, size, size] → logits f32 [classes], the wires "image" and the only output. */
export async function slabCswinNetwork(tensors: Tensors, config: SlabCswinConfig): Promise<Onnx> {
  const { imageSize, channels, classes, dims, depths, heads, mixers, stripe, mlpRatio, normEps: eps } = config;
  const network = new Onnx();
  const {
    reshape, transpose, add, layer, map, convolution, depthwise, softmaxMixing, linearAttention, mlp, mean,
  } = layersOf(network);
  let x = network.input("image", "float32", [1, channels, imageSize, imageSize]), side = imageSize / 4;
  for (const [s, dim] of dims.entries()) {
    const h = heads[s]!, headDim = dim / h, breadth = Math.min(stripe, side);
    if (s === 0) {
      const conv = linearOf(tensors, "stage1_conv_embed.0", channels * 49, dim, { shape: [dim, channels, 7, 7] });
      x = await convolution(
        x, foldAfter(conv, repBN(tensors.scope("stage1_conv_embed.2"), dim, eps)), side * side, { stride: 4, pad: 2 },
      );
    } else {
      const before = dims[s - 1]!;
      const merge = tensors.scope(`merge${s}`);
      const conv = linearOf(merge, "conv", before * 9, dim, { shape: [dim, before, 3, 3] });
      const wide = map(x, side, before);
      side /= 2;
      x = await convolution(
        wide, foldAfter(conv, repBN(merge.scope("norm"), dim, eps)), side * side, { stride: 2, pad: 1 },
      );
    }
    const tokens = side * side;
    for (let i = 0; i < depths[s]!; i++) {
      const block = tensors.scope(`stage${s + 1}.${i}`);
      const qkv = foldPRepBN(block.scope("norm1"), eps, linearOf(block, "qkv", dim, 3 * dim));
      const proj = linearOf(block, "proj", dim, dim);
      if (mixers[s] === "linear") {
        const attn = block.scope("attns.0");
        const shared = await read(attn.tensor("dwc.bias", [headDim]));
        const own = await read(attn.tensor("get_v.bias", [dim]));
        const taps = mergedTaps(
          await read(attn.tensor("get_v.weight", [dim, 1, 3, 3])),
          await read(attn.tensor("dwc.weight", [headDim, 1, 5, 5])),
        );
        x = await linearAttention(
          x, splitQkv(qkv), attn,
          { tokens, heads: h, side, proj, local: { taps, bias: own.map((b, c) => b + shared[c % headDim]!) } },
        );
      } else {
        x = add(
          x,
          await layer(await stripes(await layer(x, scaleQueries(qkv, h)), block, { dim, h, headDim, breadth }), proj),
        );
      }
      x = await mlp(
        x, foldPRepBN(block.scope("norm2"), eps, linearOf(block, "mlp.fc1", dim, dim * mlpRatio)),
        linearOf(block, "mlp.fc2", dim * mlpRatio, dim),
      );
    }
  }
  network.output(
    await layer(mean(x), foldPRepBN(tensors.scope("norm"), eps, linearOf(tensors, "head", dims.at(-1)!, classes))),
    "float32", [classes],
  );
  return network;

  /**
   * What tokens are given inside stripes, [tokens, dim]: the first half of the heads in vertical ones, the
   * others in horizontal ones.
   */
  async function stripes(
    projected: string, block: Tensors,
    { dim, h, headDim, breadth }: { dim: number; h: number; headDim: number; breadth: number },
  ): Promise<string> {
    const branches = breadth === side ? 1 : 2, ours = h / branches, width = ours * headDim, mixed: string[] = [];
    const parts = branches === 1 ? [projected] : network.node(
      "Split", [reshape(projected, [side * side, 3, branches, width])], { axis: 2 }, { outputs: branches },
    );
    for (const [branch, part] of parts.entries()) {
      const [down, across] = branch === 0 ? [side, breadth] : [breadth, side];
      const rows = side / down;
      const columns = side / across;
      const count = rows * columns;
      const size = down * across;
      // [3, stripes, heads, tokens, channels]
      const turned = transpose(reshape(part, [rows, down, columns, across, 3, ours, headDim]), [4, 0, 2, 5, 1, 3, 6]);
      const [q, k, v] = network.node("Split", [turned], { axis: 0 }, { outputs: 3 }).map((wire) =>
        reshape(wire, [count, ours, size, headDim])) as [string, string, string];
      const getV = block.scope(`attns.${branch}.get_v`);
      const taps = await read(getV.tensor("weight", [width, 1, 3, 3]));
      const bias = await read(getV.tensor("bias", [width]));
      const near = reshape(
        depthwise(reshape(transpose(v, [0, 1, 3, 2]), [count, width, down, across]), taps, bias),
        [count, ours, headDim, size],
      );
      const sum = add(softmaxMixing(q, transpose(k, [0, 1, 3, 2]), v), transpose(near, [0, 1, 3, 2]));
      mixed.push(reshape(
        transpose(reshape(sum, [rows, columns, ours, down, across, headDim]), [0, 3, 1, 4, 2, 5]), [side * side, width],
      ));
    }
    return branches === 1 ? mixed[0]! : network.op("Concat", mixed, { axis: 1 });
  }
}
