// SLAB-DeiT as an ONNX network, with its norms folded as we fold them: the same work, for a peer.
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import { splitQkv } from "../../models/mixers/qkv.ts";
import { foldPRepBN } from "../../models/parts/prepbn.ts";
import type { SlabDeitConfig } from "../../models/vision/slab-deit.ts";
import { layersOf, read } from "./layers.ts";
import { Onnx } from "./onnx.ts";

/** Image f32 [1, channels, size, size] → logits f32 [classes], the wires "image" and the only output. */
export async function slabDeitNetwork(tensors: Tensors, config: SlabDeitConfig): Promise<Onnx> {
  const { imageSize: size, patchSize: patch, channels, dim, depth, heads, mlpRatio, classes, normEps, mixer } = config;
  if (mixer !== "linear") throw new RangeError("only SLAB-DeiT is written here, whose mixer is linear");
  const side = size / patch;
  const tokens = side * side;
  const hidden = dim * mlpRatio;
  const network = new Onnx();
  const { floats, add, layer, convolution, linearAttention, mlp, mean } = layersOf(network);
  const embed = linearOf(
    tensors.scope("patch_embed"), "proj", channels * patch * patch, dim, { shape: [dim, channels, patch, patch] },
  );
  const image = network.input("image", "float32", [1, channels, size, size]);
  let x = add(
    await convolution(image, embed, tokens),
    floats(await read(tensors.tensor("pos_embed", [1, tokens, dim])), [tokens, dim]),
  );
  for (let i = 0; i < depth; i++) {
    const block = tensors.scope(`blocks.${i}`);
    x = await linearAttention(
      x, splitQkv(foldPRepBN(block.scope("norm1"), normEps, linearOf(block, "attn.qkv", dim, 3 * dim))),
      block.scope("attn"), { tokens, heads, side },
    );
    x = await mlp(
      x, foldPRepBN(block.scope("norm2"), normEps, linearOf(block, "mlp.fc1", dim, hidden)),
      linearOf(block, "mlp.fc2", hidden, dim),
    );
  }
  network.output(
    await layer(mean(x), foldPRepBN(tensors.scope("norm"), normEps, linearOf(tensors, "head", dim, classes))),
    "float32", [classes],
  );
  return network;
}
