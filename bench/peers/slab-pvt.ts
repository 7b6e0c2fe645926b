// PVT and SLAB-PVT as ONNX networks, with their norms folded as we fold them: the same work, for a peer.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { Affine } from "../../bindings/plan/weights.ts";
import { foldAfter, foldBefore, linearOf, sliceOutputs } from "../../bindings/plan/weights.ts";
import { foldPRepBN, repBN } from "../../models/parts/prepbn.ts";
import type { SlabPvtConfig } from "../../models/vision/slab-pvt.ts";
import { layersOf, read } from "./layers.ts";
import { Onnx } from "./onnx.ts";

/** Image f32 [1, channels, size, size] → logits f32 [classes], the wires "image" and the only output. */
export async function slabPvtNetwork(tensors: Tensors, config: SlabPvtConfig): Promise<Onnx> {
  const {
    imageSize, channels, classes, dims, depths, heads, mlpRatios, srRatios, normEps: eps, mixer, overlapping,
  } = config;
  if (overlapping) throw new RangeError("only PVT and SLAB-PVT are written here, whose patches do not overlap");
  const network = new Onnx();
  const {
    floats, reshape, transpose, add, layer, map, convolution, softmaxMixing, linearAttention, mlp, mean,
  } = layersOf(network);
  let x = network.input("image", "float32", [1, channels, imageSize, imageSize]), side = imageSize;
  for (const [s, dim] of dims.entries()) {
    const before = s ? dims[s - 1]! : channels;
    const patch = s ? 2 : 4;
    const embed = tensors.scope(`patch_embed${s + 1}`);
    const h = heads[s]!;
    const sr = srRatios[s]!;
    if (mixer === "linear" && sr > 1) {
      throw new RangeError(
        `stage ${s + 1} has linear attention over a shrunk map: written here is that of a whole one`,
      );
    }
    const image = s ? map(x, side, before) : x;
    const conv = linearOf(embed, "proj", before * patch ** 2, dim, { shape: [dim, before, patch, patch] });
    side /= patch;
    const tokens = side * side;
    const position = floats(await read(tensors.tensor(`pos_embed${s + 1}`, [1, tokens, dim])), [tokens, dim]);
    x = add(await convolution(image, foldAfter(conv, repBN(embed.scope("norm"), dim, eps)), tokens), position);
    const scale: Affine = {
      read: async () => ({ scale: new Float64Array(dim).fill((dim / h) ** -0.5), shift: new Float64Array(dim) }),
    };
    for (let i = 0; i < depths[s]!; i++) {
      const block = tensors.scope(`block${s + 1}.${i}`);
      const attn = block.scope("attn");
      const norm = repBN(block.scope("norm1"), dim, eps);
      const q = foldBefore(norm, linearOf(attn, "q", dim, dim)), kv = linearOf(attn, "kv", dim, 2 * dim);
      if (mixer === "linear") {
        const normed = foldBefore(norm, kv);
        x = await linearAttention(
          x, [q, sliceOutputs(normed, "k", 0, dim), sliceOutputs(normed, "v", dim, dim)], attn,
          { tokens, heads: h, side },
        );
      } else {
        const fewer = tokens / sr ** 2;
        const shrink = (): Promise<string> => convolution(
          map(x, side, dim), foldBefore(norm, linearOf(attn, "sr", dim * sr ** 2, dim, { shape: [dim, dim, sr, sr] })),
          fewer,
        );
        const both = sr > 1 ? await layer(
          await shrink(), foldPRepBN(attn.scope("norm"), eps, kv),
        ) : await layer(x, foldBefore(norm, kv));
        const [keys, values] = network.node(
          "Split", [reshape(both, [fewer, 2, h, dim / h])], { axis: 1 }, { outputs: 2 },
        ).map((part) => reshape(part, [fewer, h, dim / h])) as [string, string];
        const queries = reshape(await layer(x, foldAfter(q, scale)), [tokens, h, dim / h]);
        const mixed = softmaxMixing(
          transpose(queries, [1, 0, 2]), transpose(keys, [1, 2, 0]), transpose(values, [1, 0, 2]),
        );
        x = add(x, await layer(reshape(transpose(mixed, [1, 0, 2]), [tokens, dim]), linearOf(attn, "proj", dim, dim)));
      }
      const hidden = dim * mlpRatios[s]!;
      x = await mlp(
        x, foldPRepBN(block.scope("norm2"), eps, linearOf(block, "mlp.fc1", dim, hidden)),
        linearOf(block, "mlp.fc2", hidden, dim),
      );
    }
  }
  network.output(await layer(mean(x), linearOf(tensors, "head", dims.at(-1)!, classes)), "float32", [classes]);
  return network;
}
