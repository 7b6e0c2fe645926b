// How backbones are loaded: laid out for pictures of one size, and again for every other, with the weights of the first time.
import { platform } from "#platform";
import type { BackboneConfig } from "../models/config.ts";
import type { FeatureMap } from "../models/slab-swin.ts";
import type { Opening } from "./architecture.ts";
import type { Tensors } from "./checkpoint/index.ts";
import type { ImageSize, LayOut } from "./features.ts";
import { Features, wholePatches } from "./features.ts";
import { materialise } from "./memory.ts";
import { namesOnly } from "./packed.ts";
import type { Tensor } from "./plan.ts";
import { Plan } from "./plan.ts";

/** What a backbone is laid out for at first. */
export const usualSize = ({ network: { imageSize, patchSize } }: BackboneConfig): ImageSize => wholePatches({ height: imageSize, width: imageSize }, patchSize);

/** A backbone whose network `record` records for pictures of a size. */
export async function loadBackbone(
  config: BackboneConfig, { plan, tensors, caps, module, runtime }: Opening,
  record: (plan: Plan, tensors: Tensors, network: BackboneConfig["network"], size: ImageSize) => FeatureMap[],
): Promise<Features> {
  const size = usualSize(config), maps = record(plan, tensors, config.network, size);
  const outputs = (all: typeof maps): Tensor[] => all.map(({ tokens }) => tokens);
  // which weights there are does not depend on a picture's size: they are copied as they lie
  const layOut: LayOut = async (size, from) => {
    const next = new Plan({ type: plan.type, relaxed: plan.relaxed }), maps = record(next, namesOnly(() => "F32"), config.network, size);
    const weights = new Uint8Array(from.memory.buffer, from.weightsAddress, from.weightsBytes);
    next.folds.push(...plan.folds);
    const memory = await materialise(next, outputs(maps), caps, platform, {
      ...(module ? { module } : {}), packed: { fingerprint: from.fingerprint, read: async (into) => into.set(weights) },
    });
    return { size, plan: next, maps, memory };
  };
  return new Features(config, await runtime(outputs(maps)), { size, plan, maps }, layOut);
}
