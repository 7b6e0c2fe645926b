// slab-wasm/core: load() for the architectures that an app names, so that it carries nothing of the others.
import type { Architecture } from "./tasks/architecture.ts";
import { describe } from "./describe.ts";
import type { Load } from "./load/load.ts";
import { loadOf } from "./load/load.ts";
import { toOwner } from "#owner";
import { serve as serveModel } from "./worker/serve.ts";

export { slabCswin, slabDeit, slabLlama, slabLm, slabPvt, slabSwin, slabSwinBackbone } from "../models/own.ts";
export * from "../models/index.ts";
export type { Architecture } from "./tasks/architecture.ts";
export type { Load } from "./load/load.ts";
export type * from "./api.ts";

/**
 * load() of slab-wasm for models of these architectures.
 * @throws TypeError for anything but a list of architectures
 */
export function loader(architectures: readonly Architecture[]): Load {
  const list = Array.isArray(architectures), bad = list ? architectures.findIndex((a) => !a?.types) : -1;
  if (!list || !architectures.length || bad >= 0) {
    const one = (): string => (bad < 0 ? "an empty list" : `a list with ${describe(architectures[bad])} at ${bad}`);
    throw new TypeError(`loader() was given ${list ? one() : describe(architectures)}, `
      + "expected a list of architectures from slab-wasm/core: write loader([slabDeit])");
  }
  const remedy = ": for others, give loader() their architecture from slab-wasm/core";
  return loadOf({ list: () => architectures, remedy });
}

/**
 * In the script of a worker: has loader() of slab-wasm/worker, where the worker was started, load models of these
 * architectures in it.
 * @throws TypeError as loader(), for anything but a list of architectures
 */
export function serve(architectures: readonly Architecture[]): void {
  serveModel(loader(architectures), toOwner());
}
