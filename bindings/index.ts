// slab-wasm: linear-attention models on ordinary CPUs.
export type * from "./api.ts";
export { load } from "./all.ts";
export { Model } from "./model.ts";
export { Session } from "./session.ts";
export { PRESETS as presets } from "../models/config.ts";
