// slab-wasm: linear-attention models on ordinary CPUs.
import { OWN } from "../models/own.ts";
import type { Json } from "./config/fields.ts";
import type { Architecture } from "./tasks/architecture.ts";
import type { Load } from "./load/load.ts";
import { loadOf } from "./load/load.ts";
import { backbone, imageModel, languageModel } from "./tasks/index.ts";

export type * from "./api.ts";
export { Model } from "./tasks/model.ts";
export { Session } from "./tasks/session.ts";

/** What tasks/later.ts leaves open is done here. */
const TASKS: Readonly<Record<string, (networks: never) => Architecture>> = { backbone, imageModel, languageModel };
type Later = { readonly task: string; readonly networks: never };
const made = (one: Architecture | Later): Architecture => ("task" in one ? TASKS[one.task]!(one.networks) : one);

/** Loads a model of any architecture. */
export const load: Load = loadOf({
  async list(fits) {
    if (OWN.some(fits)) return OWN;
    return [...OWN, ...Object.values<Architecture | Later>(await import("../models/index.ts")).map(made)];
  },
});

/** The networks of SLAB's paper by the names of their configurations, as config.json would say them. */
export const presets: Readonly<Record<string, Json>> = Object.assign({}, ...OWN.map((one) => one.presets));
