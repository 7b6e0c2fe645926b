// SLAB's own architectures: they come with the first download of slab-wasm. All others are in index.ts.
import type { Architecture } from "../bindings/tasks/architecture.ts";
import { slabLm } from "./language/slab-lm.ts";
import { slabLlama } from "./language/slab-llama.ts";
import { slabDeit } from "./vision/slab-deit.ts";
import { slabPvt } from "./vision/slab-pvt.ts";
import { slabSwin, slabSwinBackbone } from "./vision/slab-swin.ts";
import { slabCswin } from "./vision/slab-cswin.ts";

export { slabCswin, slabDeit, slabLlama, slabLm, slabPvt, slabSwin, slabSwinBackbone };

export const OWN: readonly Architecture[] = [
  slabDeit, slabPvt, slabSwin, slabSwinBackbone, slabCswin, slabLm, slabLlama,
];
