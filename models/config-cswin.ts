// Configs of CSWin: the names of the paper's networks, and what a config.json may say of one.
import type { ImageModelConfig } from "./config.ts";
import type { Fields } from "./config-fields.ts";
import { fieldsOf } from "./config-fields.ts";
import { imageTask } from "./config-image.ts";
import type { Family } from "./family.ts";
import type { SlabCswinConfig } from "./slab-cswin.ts";

export type CswinConfig = Extract<ImageModelConfig, { architecture: "slab_cswin" }>;

const WIDTH = 64, TINY = [2, 4, 18, 1], HEADS = [2, 4, 8, 16];

export const CSWIN: Family<CswinConfig> = {
  types: ["slab_cswin"],
  presets: {
    slab_cswin_t: { model_type: "slab_cswin", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
    slab_cswin_s: { model_type: "slab_cswin", hidden_size: WIDTH, depths: [2, 4, 32, 2], num_attention_heads: HEADS },
  },
  read(json, where, name) {
    const network = cswinNetwork(fieldsOf(json, where));
    return { architecture: "slab_cswin", network, ...imageTask(network, json, where, name) };
  },
};

/** Stages with linear attention over the whole map, and the breadth of stripes in the others. */
const LINEAR_STAGES = 2, STRIPE = 7;

/** What a checked config says of a CSWin. */
function cswinNetwork(fields: Fields): SlabCswinConfig {
  const { where } = fields, dim = fields.size("hidden_size", WIDTH, 4096), depths = fields.sizes("depths", TINY, 1024);
  const network: SlabCswinConfig = {
    imageSize: fields.size("image_size", 224, 4096), channels: fields.size("num_channels", 3, 3), classes: fields.size("num_labels", 1000, 1 << 20),
    dims: depths.map((_, s) => dim << s), depths, heads: fields.sizes("num_attention_heads", HEADS, 1024),
    mixers: depths.map((_, s) => (s < LINEAR_STAGES ? "linear" : "softmax")), stripe: STRIPE, mlpRatio: fields.size("mlp_ratio", 4, 64), normEps: fields.positive("norm_eps", 1e-5),
  };
  const { imageSize, dims, heads, mixers, stripe } = network;
  if (imageSize % 32) throw new RangeError(`${where}: "image_size" is ${imageSize}, expected a multiple of 32: four stages halve it five times`);
  dims.forEach((width, s) => {
    const count = heads[s]!, side = imageSize / 4 / 2 ** s, halves = mixers[s] === "softmax" && side > stripe ? 2 : 1;
    if (width % count) throw new RangeError(`${where}: ${width} channels of stage ${s + 1} are not a multiple of its "num_attention_heads" ${count}`);
    if ((width / count) % 8) throw new RangeError(`${where}: heads of ${width / count} channels in stage ${s + 1}, expected a multiple of 8`);
    if (count % halves) throw new RangeError(`${where}: "num_attention_heads" ${count} of stage ${s + 1}, expected an even number: half of them see vertical stripes`);
    if (halves > 1 && side % stripe) throw new RangeError(`${where}: stripes of ${stripe} do not divide the map of ${side}×${side} of stage ${s + 1}: "image_size" must be a multiple of 224`);
  });
  return network;
}
