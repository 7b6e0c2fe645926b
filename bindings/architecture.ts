// An architecture: a family of networks, and how load() makes models of it. Each brings all that only it needs, and nothing else does.
import type { ModelConfig } from "../models/config.ts";
import type { Family } from "../models/family.ts";
import type { Tensors } from "./checkpoint/index.ts";
import type { Caps } from "./kernels.ts";
import type { LoadOptions } from "./load.ts";
import type { Task } from "./model.ts";
import type { Plan, Tensor } from "./plan.ts";
import type { Runtime } from "./runtime.ts";

export interface Architecture<Config extends ModelConfig = ModelConfig> {
  readonly family: Family<Config>;
  /** Records the network, a backbone's for pictures of the config's size; returns its last tensor. */
  build(plan: Plan, tensors: Tensors, config: Config): Tensor;
  /** Records the network in the plan of `opening` and makes it ready to run. */
  load(config: Config, opening: Opening): Promise<Task>;
}

/** What load() has found and decided before the architecture has its turn. */
export interface Opening {
  readonly options: LoadOptions;
  readonly caps: Caps;
  readonly plan: Plan;
  readonly tensors: Tensors;
  /** The compiled build, where it is not the platform's own. */
  readonly module: WebAssembly.Module | undefined;
  /** What is beside the weights: tokenizer.json as text or parsed, or tokenizer.model's bytes. */
  tokenizer(): Promise<unknown>;
  /** Lays the recorded plan out, with room for `slots` timelines, and fills its weights. */
  runtime(outputs: readonly Tensor[], slots?: number): Promise<Runtime>;
}
