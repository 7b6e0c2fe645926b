// Checkpoints whose values come from their tensors' names: the key layout of the official state dict, filled by one recipe.
import { readFileSync } from "node:fs";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import type { Checkpoint, MemoryEntry } from "../../bindings/checkpoint/index.ts";
import { syntheticValues, uniform01 } from "../../cli/synthetic.ts";

/** FULL: PRepBN with its dead LayerNorm and its schedule. BARE: RepBN alone. */
export type Layout = "FULL" | "BARE";
export type Entries = Record<string, MemoryEntry>;

export interface Trace {
  readonly at: string;
  readonly shape: readonly number[];
  readonly mean: number;
  readonly l2: number;
  readonly first: readonly number[];
  readonly last: readonly number[];
}

export interface ModelVector {
  readonly state_dict_keys: number;
  readonly params: number;
  readonly logits_first8: readonly number[];
  readonly argmax: number;
  readonly max: number;
  readonly min: number;
  readonly sum: number;
  readonly l2: number;
  readonly trace: readonly Trace[];
}

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
  readonly models: Readonly<Record<string, ModelVector>>;
  readonly unit: Readonly<Record<string, UnitVector>>;
  /** Feature maps of backbones, by network and size of the picture; of a stage each, channels first. */
  readonly detection: Readonly<Record<string, readonly Omit<Trace, "at">[]>>;
  readonly llama_tiny: { readonly input_ids: readonly number[]; readonly last_logits: readonly number[]; readonly all_logits: { readonly l2: number; readonly first: readonly number[] } };
};

/** What decides a DeiT's key layout and shapes. */
export interface Network {
  readonly dim: number;
  readonly heads: number;
  readonly mixer: "linear" | "softmax";
  readonly layout: Layout;
  readonly depth: number;
  readonly tokens: number;
  readonly patch: number;
  readonly classes: number;
}

const imagenet = { depth: 12, tokens: 196, patch: 16, classes: 1000 };

/** The configurations that are built, each in the layout in which it was published. */
export const CONFIGS = {
  slab_deit_t: { ...imagenet, dim: 192, heads: 3, mixer: "linear", layout: "FULL" },
  slab_deit_s: { ...imagenet, dim: 384, heads: 6, mixer: "linear", layout: "FULL" },
  deit_t_prepbn: { ...imagenet, dim: 192, heads: 3, mixer: "softmax", layout: "BARE" },
  deit_s_prepbn: { ...imagenet, dim: 384, heads: 6, mixer: "softmax", layout: "FULL" },
} as const satisfies Record<string, Network>;
export type ConfigName = keyof typeof CONFIGS;

/** The tensor of a key. */
export const synthetic = (key: string, shape: readonly number[]): MemoryEntry => ({ shape, data: syntheticValues(key, shape) });

/** A network input: values in [-2, 2). */
export function syntheticInput(key: string, count: number): Float32Array {
  return Float32Array.from(uniform01(key, count), (u) => 2 * (2 * u - 1));
}

export const counter: MemoryEntry = { shape: [], data: new Uint8Array(8), dtype: "I64" };

/** A state dict of these names and shapes; `make` gives a key its tensor. Scalars are counters. */
export function entriesOf(shapes: ReadonlyMap<string, readonly number[]>, make: (key: string, shape: readonly number[]) => MemoryEntry = synthetic): Entries {
  return Object.fromEntries([...shapes].map(([key, shape]) => [key, shape.length ? make(key, shape) : counter]));
}

/** A state dict under construction, its norms in one layout. `make` gives a key its tensor. */
export function stateDict(layout: Layout, make: (key: string, shape: readonly number[]) => MemoryEntry = synthetic) {
  const entries: Entries = {};
  const fill = (key: string, ...shape: number[]): void => void (entries[key] = make(key, shape));
  return {
    entries, fill,
    /** A layer, or with `window` a convolution: weights [outDim, inDim, …window]. */
    linear(key: string, inDim: number, outDim: number, ...window: number[]): void {
      fill(`${key}.weight`, outDim, inDim, ...window);
      fill(`${key}.bias`, outDim);
    },
    norm(prefix: string, dim: number): void {
      if (layout === "FULL") {
        for (const name of ["warm", "iter", "total_step"]) entries[`${prefix}.${name}`] = counter;
        for (const name of ["norm1.weight", "norm1.bias"]) fill(`${prefix}.${name}`, dim);
      }
      const repbn = layout === "FULL" ? `${prefix}.norm2` : prefix;
      fill(`${repbn}.alpha`, 1);
      for (const name of ["weight", "bias", "running_mean", "running_var"]) fill(`${repbn}.bn.${name}`, dim);
      entries[`${repbn}.bn.num_batches_tracked`] = counter;
    },
  };
}

/** Every tensor of a network's state dict. */
export function deitEntries({ dim, heads, mixer, layout, depth, tokens, patch, classes }: Network): Entries {
  const { entries, fill, linear, norm } = stateDict(layout);
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

const cache = new Map<ConfigName, Entries>();

/** The tensors of a configuration, in the layout in which it was published; made once. */
export function syntheticEntries(name: ConfigName): Entries {
  const entries = cache.get(name) ?? deitEntries(CONFIGS[name]);
  cache.set(name, entries);
  return entries;
}

/** The same values under the keys of the other layout, so the same network. */
function relaid(entries: Entries, layout: Layout): Entries {
  const out: Entries = {};
  for (const [key, entry] of Object.entries(entries)) {
    const [, norm, rest] = /^((?:blocks\.\d+\.)?norm[12]?)\.(?:norm2\.)?(alpha|bn\..*)$/.exec(key) ?? [];
    if (norm && layout === "FULL") {
      if (rest === "alpha") for (const name of ["warm", "iter", "total_step"]) out[`${norm}.${name}`] = counter;
      out[`${norm}.norm2.${rest}`] = entry;
    } else if (norm) {
      out[`${norm}.${rest}`] = entry;
    } else if (!/norm[12]?\.(warm|iter|total_step|norm1\.(weight|bias))$/.test(key)) {
      out[key] = entry;
    }
  }
  return out;
}

/** A configuration's checkpoint; in another layout than the published one, the same values under other names. */
export function syntheticCheckpoint(name: ConfigName, layout: Layout = CONFIGS[name].layout): Checkpoint {
  const entries = syntheticEntries(name);
  return memoryCheckpoint(layout === CONFIGS[name].layout ? entries : relaid(entries, layout), `${name} (${layout})`);
}

/** Forgets a configuration's tensors. */
export function forget(name: ConfigName): void {
  cache.delete(name);
}
