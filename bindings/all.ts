// load() of slab-wasm: it knows every architecture.
import type { ModelConfig } from "../models/config.ts";
import type { Architecture } from "./architecture.ts";
import { slabCswin, slabDeit, slabLlama, slabLm, slabPvt, slabSwin, slabSwinBackbone } from "./architectures.ts";
import type { Tensors } from "./checkpoint/index.ts";
import { loadOf } from "./load.ts";
import type { Plan, Tensor } from "./plan.ts";

const ARCHITECTURES: readonly Architecture[] = [slabDeit, slabPvt, slabSwin, slabSwinBackbone, slabCswin, slabLm, slabLlama];

/**
 * Loads a model.
 * @param source  a folder's path or URL (config.json, model.safetensors or its index, tokenizer.json), one file of weights, or the parts
 * @throws one Error that names the file or field, what was expected, what came and what to do; everything opened is closed again
 */
export const load = loadOf(ARCHITECTURES);

/** Records the network of a config, a backbone's for pictures of the config's size; returns its last tensor. */
export function build(plan: Plan, tensors: Tensors, config: ModelConfig): Tensor {
  return ARCHITECTURES.find(({ family: { types } }) => types.includes(config.architecture))!.build(plan, tensors, config);
}
