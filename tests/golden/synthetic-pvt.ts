// State dicts of PVT in all its kinds, as the official modules lay them out.
import type { MemoryEntry } from "../../bindings/checkpoint/index.ts";
import type { SlabPvtConfig } from "../../models/slab-pvt.ts";
import { stateDict, synthetic } from "./synthetic.ts";
import type { Entries } from "./synthetic.ts";

/** Every tensor of a network's state dict. */
export function pvtEntries(
  { imageSize, dims, depths, heads, mlpRatios, srRatios, classes, mixer, overlapping }: SlabPvtConfig, make: (key: string, shape: readonly number[]) => MemoryEntry = synthetic,
): Entries {
  const { entries, fill, linear, norm } = stateDict("FULL", make);
  dims.forEach((dim, s) => {
    const stage = s + 1, side = imageSize / 4 / 2 ** s, sr = srRatios[s]!, hidden = dim * mlpRatios[s]!, kernel = overlapping ? (s ? 3 : 7) : s ? 2 : 4;
    if (!overlapping) fill(`pos_embed${stage}`, 1, side ** 2, dim);
    linear(`patch_embed${stage}.proj`, s ? dims[s - 1]! : 3, dim, kernel, kernel);
    norm(`patch_embed${stage}.norm`, dim);
    for (let i = 0; i < depths[s]!; i++) {
      const block = `block${stage}.${i}`, attn = `${block}.attn`;
      norm(`${block}.norm1`, dim);
      linear(`${attn}.q`, dim, dim);
      linear(`${attn}.kv`, dim, 2 * dim);
      linear(`${attn}.proj`, dim, dim);
      if (sr > 1) {
        linear(`${attn}.sr`, dim, dim, sr, sr);
        norm(`${attn}.norm`, dim);
      }
      if (mixer === "linear") {
        fill(`${attn}.positional_encoding`, 1, (side / sr) ** 2, dim);
        linear(`${attn}.dwc`, 1, dim / heads[s]!, 5, 5);
      }
      norm(`${block}.norm2`, dim);
      linear(`${block}.mlp.fc1`, dim, hidden);
      if (overlapping) linear(`${block}.mlp.dwconv.dwconv`, 1, hidden, 3, 3);
      linear(`${block}.mlp.fc2`, hidden, dim);
    }
    if (overlapping) norm(`norm${stage}`, dim);
  });
  linear("head", dims.at(-1)!, classes);
  return entries;
}
