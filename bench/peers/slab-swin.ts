// Swin and SLAB-Swin as ONNX networks, with their norms folded as we fold them. Windows are gathered by index, in one
// operator there and one back; bias and mask are one table; so the peer has less to do than what PyTorch would export.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { foldAfter, linearOf } from "../../bindings/plan/weights.ts";
import { scaleQueries, splitQkv } from "../../models/mixers/qkv.ts";
import { foldPRepBN, repBN } from "../../models/parts/prepbn.ts";
import type { SlabSwinConfig } from "../../models/vision/slab-swin.ts";
import { relativeBias } from "../../models/vision/slab-swin.ts";
import { windowsOf } from "../../models/parts/windows.ts";
import { layersOf, read } from "./layers.ts";
import { Onnx } from "./onnx.ts";

/** Image f32 [1, channels, size, size] → logits f32 [classes], the wires "image" and the only output. */
export async function slabSwinNetwork(tensors: Tensors, config: SlabSwinConfig): Promise<Onnx> {
  const {
    imageSize, patchSize: patch, channels, classes, dims, depths, heads, mixers, windows, mlpRatio, normEps,
  } = config;
  const network = new Onnx();
  const {
    floats, reshape, transpose, add, layer, convolution, softmaxMixing, linearAttention, mlp, mean,
  } = layersOf(network);
  const embed = tensors.scope("patch_embed");
  const stem = linearOf(
    embed, "proj", channels * patch * patch, dims[0]!, { shape: [dims[0]!, channels, patch, patch] },
  );
  let side = imageSize / patch;
  let x = await convolution(
    network.input("image", "float32", [1, channels, imageSize, imageSize]),
    foldAfter(stem, repBN(embed.scope("norm"), dims[0]!, normEps)), side * side,
  );
  for (const [s, dim] of dims.entries()) {
    const stage = tensors.scope(`layers.${s}`);
    const window = Math.min(windows[s]!, side);
    const size = window * window;
    const groups = (side / window) ** 2;
    const h = heads[s]!;
    const headDim = dim / h;
    for (let i = 0; i < depths[s]!; i++) {
      const block = stage.scope(`blocks.${i}`);
      const attn = block.scope("attn");
      const qkv = foldPRepBN(block.scope("norm1"), normEps, linearOf(block, "attn.qkv", dim, 3 * dim));
      if (mixers[s] === "linear") {
        if (groups > 1) {
          throw new RangeError(`stage ${s + 1} has linear attention in windows: written here is that of a whole map`);
        }
        x = await linearAttention(x, splitQkv(qkv), attn, { tokens: size, heads: h, side });
      } else {
        const shift = i % 2 && groups > 1 ? window >> 1 : 0;
        const shape = windowsOf({
          height: side, width: side, windowHeight: window, windowWidth: window, shiftY: shift, shiftX: shift,
        });
        const padded = shape.members.length / groups;
        const own = (table: Int32Array): Int32Array => table.filter((_, at) => at % padded < size);
        const order = own(shape.members);
        const back = new Int32Array(order.length);
        const labels = shape.regions && own(shape.regions);
        order.forEach((token, at) => (back[token] = at));
        const rows = (from: string, index: Int32Array): string => network.op(
          "Gather", [from, network.constant(BigInt64Array.from(index, BigInt), [index.length])], { axis: 0 },
        );
        const bias = relativeBias(
          Float32Array.from(await read(attn.tensor("relative_position_bias_table", [(2 * window - 1) ** 2, h]))),
          window, h,
        );
        const table = labels ? Float32Array.from({ length: groups * h * size * size }, (_, at) => {
          const [n, j, w] = [Math.floor(at / size) % size, at % size, Math.floor(at / (h * size * size))];
          return bias[at % bias.length]! - (labels[w * size + n] === labels[w * size + j] ? 0 : 100);
        }) : bias;
        // [3, windows, heads, tokens, channels]
        const parts = transpose(
          reshape(await layer(rows(x, order), scaleQueries(qkv, h)), [groups, size, 3, h, headDim]), [2, 0, 3, 1, 4],
        );
        const [q, k, v] = network.node("Split", [parts], { axis: 0 }, { outputs: 3 }).map((p) =>
          reshape(p, [groups, h, size, headDim])) as [string, string, string];
        const mixed = softmaxMixing(
          q, transpose(k, [0, 1, 3, 2]), v, floats(table, [labels ? groups : 1, h, size, size]),
        );
        x = add(x, rows(await layer(
          reshape(transpose(mixed, [0, 2, 1, 3]), [groups * size, dim]), linearOf(attn, "proj", dim, dim),
        ), back));
      }
      x = await mlp(
        x, foldPRepBN(block.scope("norm2"), normEps, linearOf(block, "mlp.fc1", dim, dim * mlpRatio)),
        linearOf(block, "mlp.fc2", dim * mlpRatio, dim),
      );
    }
    if (s === dims.length - 1) break;
    const downsample = stage.scope("downsample"), half = side / 2;
    const merged = reshape(transpose(reshape(x, [half, 2, half, 2, dim]), [0, 2, 3, 1, 4]), [half * half, 4 * dim]);
    x = await layer(merged, foldPRepBN(
      downsample.scope("norm"), normEps, linearOf(downsample, "reduction", 4 * dim, 2 * dim, { bias: false }),
    ));
    side = half;
  }
  network.output(
    await layer(mean(x), foldPRepBN(tensors.scope("norm"), normEps, linearOf(tensors, "head", dims.at(-1)!, classes))),
    "float32", [classes],
  );
  return network;
}
