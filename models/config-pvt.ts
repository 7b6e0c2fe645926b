// Configs of PVT: the names of the paper's networks, and what a config.json may say of one.
import type { ImageModelConfig } from "./config.ts";
import type { Fields } from "./config-fields.ts";
import { fieldsOf } from "./config-fields.ts";
import { imageTask } from "./config-image.ts";
import type { Family } from "./family.ts";
import type { SlabPvtConfig } from "./slab-pvt.ts";

export type PvtConfig = Extract<ImageModelConfig, { architecture: "slab_pvt" }>;

const WIDTHS = [64, 128, 320, 512];

const TINY = [2, 2, 2, 2], SMALL = [3, 4, 6, 3], MEDIUM = [3, 4, 18, 3];

export const PVT: Family<PvtConfig> = {
  types: ["slab_pvt", "pvt_prepbn", "slab_pvt_v2"],
  presets: {
    slab_pvt_t: { model_type: "slab_pvt", depths: TINY }, slab_pvt_s: { model_type: "slab_pvt", depths: SMALL }, slab_pvt_m: { model_type: "slab_pvt", depths: MEDIUM },
    pvt_t_prepbn: { model_type: "pvt_prepbn", depths: TINY }, pvt_s_prepbn: { model_type: "pvt_prepbn", depths: SMALL }, pvt_m_prepbn: { model_type: "pvt_prepbn", depths: MEDIUM },
    slab_pvt_v2_b0: { model_type: "slab_pvt_v2", depths: TINY, hidden_sizes: [32, 64, 160, 256] }, slab_pvt_v2_b1: { model_type: "slab_pvt_v2", depths: TINY },
    slab_pvt_v2_b2: { model_type: "slab_pvt_v2", depths: SMALL }, slab_pvt_v2_b3: { model_type: "slab_pvt_v2", depths: MEDIUM }, slab_pvt_v2_b4: { model_type: "slab_pvt_v2", depths: [3, 8, 27, 3] },
    slab_pvt_v2_b5: { model_type: "slab_pvt_v2", depths: [3, 6, 40, 3], mlp_ratios: [4, 4, 4, 4] },
  },
  read(json, where, name) {
    const network = pvtNetwork(String(json.model_type), fieldsOf(json, where));
    return { architecture: "slab_pvt", network, ...imageTask(network, json, where, name) };
  },
};

/** What a checked config says of a PVT. */
function pvtNetwork(type: string, fields: Fields): SlabPvtConfig {
  const { where } = fields, linear = type !== "pvt_prepbn", overlapping = type === "slab_pvt_v2";
  const network: SlabPvtConfig = {
    imageSize: fields.size("image_size", 224, 4096), channels: fields.size("num_channels", 3, 3), classes: fields.size("num_labels", 1000, 1 << 20),
    dims: fields.sizes("hidden_sizes", WIDTHS, 16384), depths: fields.sizes("depths", TINY, 1024), heads: fields.sizes("num_attention_heads", [1, 2, 5, 8], 1024),
    mlpRatios: fields.sizes("mlp_ratios", [8, 8, 4, 4], 64), srRatios: fields.sizes("sr_ratios", linear ? [1, 1, 1, 1] : [8, 4, 2, 1], 64),
    normEps: fields.positive("norm_eps", 1e-5), mixer: linear ? "linear" : "softmax", overlapping,
  };
  const { imageSize, dims, heads, srRatios } = network;
  if (imageSize % 32) throw new RangeError(`${where}: "image_size" is ${imageSize}, expected a multiple of 32: four stages halve it five times`);
  dims.forEach((dim, s) => {
    const side = imageSize / 4 / 2 ** s, sr = srRatios[s]!;
    if (dim % heads[s]!) throw new RangeError(`${where}: "hidden_sizes" ${dim} of stage ${s + 1} is not a multiple of its "num_attention_heads" ${heads[s]}`);
    if (side % sr) throw new RangeError(`${where}: "sr_ratios" ${sr} of stage ${s + 1} does not divide its map of ${side}×${side}`);
    if (overlapping && sr > 1) throw new RangeError(`${where}: "sr_ratios" ${sr} of stage ${s + 1}, expected 1: PVTv2 would keep a layer norm there, and no released network has it`);
  });
  return network;
}
