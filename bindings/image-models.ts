// How image classifiers are loaded: one plan, one picture in, logits out.
import type { ImageModelConfig } from "../models/config.ts";
import type { Opening } from "./architecture.ts";
import type { Tensors } from "./checkpoint/index.ts";
import { Classifier } from "./classifier.ts";
import type { Plan, Tensor } from "./plan.ts";

/** A classifier whose network `record` records. */
export async function loadImageModel<Config extends ImageModelConfig>(
  config: Config, { plan, tensors, runtime }: Opening, record: (plan: Plan, tensors: Tensors, network: Config["network"]) => Tensor,
): Promise<Classifier> {
  const logits = record(plan, tensors, config.network);
  return new Classifier(config, await runtime([logits]), logits);
}
