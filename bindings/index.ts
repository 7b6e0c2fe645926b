// slab-wasm: linear-attention models on ordinary CPUs.
import { OWN } from "../models/own.ts";
import type { Json } from "../models/parts/fields.ts";
import type { Architecture } from "./architecture.ts";
import type { Load } from "./load.ts";
import { loadOf } from "./load.ts";

export type * from "./api.ts";
export { Model } from "./model.ts";
export { Session } from "./session.ts";

/** Loads a model of any architecture. */
export const load: Load = loadOf({
  async list(fits) {
    return OWN.some(fits) ? OWN : [...OWN, ...Object.values<Architecture>(await import("../models/index.ts"))];
  },
});

/** The networks of SLAB's paper by the names of their configurations, as config.json would say them. */
export const presets: Readonly<Record<string, Json>> = Object.assign({}, ...OWN.map((one) => one.presets));
