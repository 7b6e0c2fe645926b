// Checkpoints whose values come from their tensors' names: the key layout of the official state dict, filled by one
// recipe.
import { readFileSync } from "node:fs";
import type { MemoryEntry } from "../../bindings/checkpoint/index.ts";
import { syntheticValues, uniform01 } from "../../cli/synthetic.ts";

export type Entries = Record<string, MemoryEntry>;

export interface UnitVector {
  readonly prefix: string;
  readonly dim: number;
  readonly heads: number;
  readonly side: number;
  readonly x_key: string;
  readonly x_shape: readonly number[];
  readonly out: readonly number[];
}

/** Vectors of the official PyTorch modules, computed in float64. */
export const vectors = JSON.parse(readFileSync(new URL("slab-vectors.json", import.meta.url), "utf8")) as {
  readonly unit: Readonly<Record<string, UnitVector>>;
};

/** What decides a DeiT's keys and shapes. */
export interface Network {
  readonly dim: number;
  readonly heads: number;
  readonly mixer: "linear" | "softmax";
  readonly depth: number;
  readonly tokens: number;
  readonly patch: number;
  readonly classes: number;
}

/** The tensor of a key. */
export const synthetic = (key: string, shape: readonly number[]): MemoryEntry => ({
  shape, data: syntheticValues(key, shape),
});

/** A network input: values in [-2, 2). */
export function syntheticInput(key: string, count: number): Float32Array {
  return Float32Array.from(uniform01(key, count), (u) => 2 * (2 * u - 1));
}

export const counter: MemoryEntry = { shape: [], data: new Uint8Array(8), dtype: "I64" };

/** A state dict under construction. */
export function stateDict() {
  const entries: Entries = {};
  const fill = (key: string, ...shape: number[]): void => void (entries[key] = synthetic(key, shape));
  return {
    entries, fill,
    /** A layer, or with `window` a convolution: weights [outDim, inDim, …window]. */
    linear(key: string, inDim: number, outDim: number, ...window: number[]): void {
      fill(`${key}.weight`, outDim, inDim, ...window);
      fill(`${key}.bias`, outDim);
    },
    /** PRepBN with its dead LayerNorm and its schedule. */
    norm(prefix: string, dim: number): void {
      for (const name of ["warm", "iter", "total_step"]) entries[`${prefix}.${name}`] = counter;
      for (const name of ["norm1.weight", "norm1.bias"]) fill(`${prefix}.${name}`, dim);
      fill(`${prefix}.norm2.alpha`, 1);
      for (const name of ["weight", "bias", "running_mean", "running_var"]) fill(`${prefix}.norm2.bn.${name}`, dim);
      entries[`${prefix}.norm2.bn.num_batches_tracked`] = counter;
    },
  };
}

/** Every tensor of a network's state dict. */
export function deitEntries({ dim, heads, mixer, depth, tokens, patch, classes }: Network): Entries {
  const { entries, fill, linear, norm } = stateDict();
  // SLAB-DeiT has a class token too, which nothing reads
  fill("cls_token", 1, 1, dim);
  fill("pos_embed", 1, mixer === "linear" ? tokens : tokens + 1, dim);
  linear("patch_embed.proj", 3, dim, patch, patch);
  for (let i = 0; i < depth; i++) {
    const block = `blocks.${i}`;
    norm(`${block}.norm1`, dim);
    linear(`${block}.attn.qkv`, dim, 3 * dim);
    linear(`${block}.attn.proj`, dim, dim);
    if (mixer === "linear") {
      fill(`${block}.attn.positional_encoding`, 1, tokens, dim);
      linear(`${block}.attn.dwc`, 1, dim / heads, 5, 5);
    }
    norm(`${block}.norm2`, dim);
    linear(`${block}.mlp.fc1`, dim, 4 * dim);
    linear(`${block}.mlp.fc2`, 4 * dim, dim);
  }
  norm("norm", dim);
  linear("head", dim, classes);
  return entries;
}
