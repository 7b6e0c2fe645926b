// Backbones: what their configs have in common, and how they are loaded: laid out for pictures of one size, and again
// for every other, with the weights of the first time.
import { platform } from "#platform";
import type { BackboneConfig, BackboneSizes } from "../config/config.ts";
import type { Fields } from "../config/fields.ts";
import { only } from "../config/fields.ts";
import type { Architecture, Named } from "./architecture.ts";
import { inWords } from "./architecture.ts";
import type { Tensors } from "../checkpoint/index.ts";
import type { ImageSize, LayOut, StageMap } from "./features.ts";
import { Features, wholePatches } from "./features.ts";
import { materialise } from "../run/memory.ts";
import { namesOnly } from "../checkpoint/tensors.ts";
import type { Tensor } from "../plan/plan.ts";
import { Plan } from "../plan/plan.ts";

interface BackboneNetworks<Network> extends Named<Network> {
  /** What a config says of the network, checked. Pictures have three channels. */
  read(fields: Fields): Network;
  /**
   * Image f32 [channels, height, width], sides multiples of the patch → a map of every stage, its sides half of the
   * last one's.
   */
  record(plan: Plan, tensors: Tensors, network: Network, size: ImageSize): StageMap[];
}

/** What a backbone is laid out for at first. */
const usualSize = ({ imageSize, patchSize }: BackboneSizes): ImageSize =>
  wholePatches({ height: imageSize, width: imageSize }, patchSize);

/** An architecture of backbones. */
export function backbone<Network extends BackboneSizes>(
  { read, record, ...named }: BackboneNetworks<Network>,
): Architecture<BackboneConfig<Network>> {
  return {
    ...named,
    read(json, where, name) {
      const fields = { json, where }, network = read(fields);
      only(fields, "num_channels", 3, ": pictures are RGB");
      name ??= `${json.model_type}, ${inWords(network)}`;
      return { task: "backbone", architecture: named.types[0]!, name, network };
    },
    build: (plan, tensors, { network }) => record(plan, tensors, network, usualSize(network)).at(-1)!.tokens,
    async load(config, { plan, tensors, caps, module, runtime }) {
      const { network } = config, size = usualSize(network), maps = record(plan, tensors, network, size);
      const outputs = (all: typeof maps): Tensor[] => all.map(({ tokens }) => tokens);
      // which weights there are does not depend on a picture's size: they are copied as they lie
      const layOut: LayOut = async (size, from) => {
        const next = new Plan({ type: plan.type, relaxed: plan.relaxed });
        const maps = record(next, namesOnly(() => "F32"), network, size);
        const weights = new Uint8Array(from.memory.buffer, from.weightsAddress, from.weightsBytes);
        next.folds.push(...plan.folds);
        const memory = await materialise(next, outputs(maps), caps, platform, {
          ...(module ? { module } : {}),
          packed: { fingerprint: from.fingerprint, read: async (into) => into.set(weights) },
        });
        return { size, plan: next, maps, memory };
      };
      return new Features(config, await runtime(outputs(maps)), { size, plan, maps }, layOut);
    },
  };
}
