// All architectures but SLAB's own, one line each: `export { gla } from "./language/gla.ts";`. slab-wasm loads them, as
// one piece, when a model is none of SLAB's; slab-wasm/core has each by its name. Nothing else is exported here.
export { gla } from "./language/gla.ts";
