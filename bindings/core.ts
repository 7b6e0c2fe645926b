// slab-wasm/core: load() for the architectures that an app names, so that it carries nothing of the others.
import type { Architecture } from "./architecture.ts";
import type { Load } from "./load.ts";
import { loadOf } from "./load.ts";
import { describe } from "./runtime.ts";

export * from "./architectures.ts";
export type { Architecture } from "./architecture.ts";
export type { Load } from "./load.ts";
export type * from "./api.ts";

/**
 * load() of slab-wasm for models of these architectures.
 * @throws TypeError for anything but a list of architectures
 */
export function loader(architectures: readonly Architecture[]): Load {
  if (!Array.isArray(architectures) || architectures.length === 0 || !architectures.every((a) => a?.family)) {
    throw new TypeError(`the architectures are ${describe(architectures)}, expected a list of at least one that slab-wasm/core exports: write loader([slabDeit])`);
  }
  return loadOf(architectures, ": of others, import the architecture from slab-wasm/core and give it to loader() too");
}
