// load() of slab-wasm: it knows every architecture.
import type { ModelConfig } from "../models/config.ts";
import type { Architecture } from "./architecture.ts";
import { slabCswin, slabDeit, slabLlama, slabLm, slabPvt, slabSwin, slabSwinBackbone } from "./architectures.ts";
import type { Tensors } from "./checkpoint/index.ts";
import type { Load } from "./load.ts";
import { loadOf } from "./load.ts";
import type { Plan, Tensor } from "./plan.ts";

const ARCHITECTURES: readonly Architecture[] = [slabDeit, slabPvt, slabSwin, slabSwinBackbone, slabCswin, slabLm, slabLlama];

/** Loads a model of any architecture. */
export const load: Load = loadOf(ARCHITECTURES);

/** Records the network of a config, a backbone's for pictures of the config's size; returns its last tensor. */
export function build(plan: Plan, tensors: Tensors, config: ModelConfig): Tensor {
  return ARCHITECTURES.find(({ family: { types } }) => types.includes(config.architecture))!.build(plan, tensors, config);
}
