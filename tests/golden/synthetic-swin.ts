// State dicts of Swin in all its kinds, as the official modules lay them out.
import type { MemoryEntry } from "../../bindings/checkpoint/index.ts";
import type { SlabSwinConfig } from "../../models/vision/slab-swin.ts";
import type { Entries, Layout } from "./synthetic.ts";
import { stateDict, synthetic } from "./synthetic.ts";

/** Buffers that follow from the sizes: nothing reads them. */
const buffer = (...shape: number[]): MemoryEntry => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });

/** Every tensor of a network's state dict. A backbone has output norms in place of the head, stores no masks and no `warm` in its norms. */
export function swinEntries({ imageSize, patchSize, dims, depths, heads, mixers, windows, mlpRatio, classes }: SlabSwinConfig, layout: Layout, backbone: boolean, make = synthetic): Entries {
  const { entries, fill, linear, norm } = stateDict(layout, make);
  linear("patch_embed.proj", 3, dims[0]!, patchSize, patchSize);
  norm("patch_embed.norm", dims[0]!);
  dims.forEach((dim, s) => {
    const side = imageSize / patchSize / 2 ** s, window = backbone ? windows[s]! : Math.min(windows[s]!, side);
    for (let i = 0; i < depths[s]!; i++) {
      const block = `layers.${s}.blocks.${i}`, attn = `${block}.attn`;
      if (!backbone && mixers[s] === "softmax" && i % 2 && side > window) entries[`${block}.attn_mask`] = buffer((side / window) ** 2, window ** 2, window ** 2);
      norm(`${block}.norm1`, dim);
      linear(`${attn}.qkv`, dim, 3 * dim);
      linear(`${attn}.proj`, dim, dim);
      if (mixers[s] === "linear") {
        fill(`${attn}.positional_encoding`, 1, window ** 2, dim);
        linear(`${attn}.dwc`, 1, dim / heads[s]!, 5, 5);
      } else {
        fill(`${attn}.relative_position_bias_table`, (2 * window - 1) ** 2, heads[s]!);
        entries[`${attn}.relative_position_index`] = buffer(window ** 2, window ** 2);
      }
      norm(`${block}.norm2`, dim);
      linear(`${block}.mlp.fc1`, dim, dim * mlpRatio);
      linear(`${block}.mlp.fc2`, dim * mlpRatio, dim);
    }
    if (s < dims.length - 1) {
      norm(`layers.${s}.downsample.norm`, 4 * dim);
      fill(`layers.${s}.downsample.reduction.weight`, 2 * dim, 4 * dim);
    }
    if (backbone) for (const name of ["weight", "bias"]) fill(`norm${s}.${name}`, dim);
  });
  if (!backbone) {
    norm("norm", dims.at(-1)!);
    linear("head", dims.at(-1)!, classes);
  } else {
    for (const key of Object.keys(entries)) if (key.endsWith(".warm")) delete entries[key];
  }
  return entries;
}
