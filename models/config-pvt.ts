// Configs of PVT: the names of the paper's networks, and what a config.json may say of one.
import type { Fields } from "./config-fields.ts";
import type { SlabPvtConfig } from "./slab-pvt.ts";

const WIDTHS = [64, 128, 320, 512];

const pyramid = (type: string, depths: readonly number[], more: object = {}) => ({ model_type: type, depths, ...more });
const TINY = [2, 2, 2, 2], SMALL = [3, 4, 6, 3], MEDIUM = [3, 4, 18, 3];

export const PVT_PRESETS = {
  slab_pvt_t: pyramid("slab_pvt", TINY), slab_pvt_s: pyramid("slab_pvt", SMALL), slab_pvt_m: pyramid("slab_pvt", MEDIUM),
  pvt_t_prepbn: pyramid("pvt_prepbn", TINY), pvt_s_prepbn: pyramid("pvt_prepbn", SMALL), pvt_m_prepbn: pyramid("pvt_prepbn", MEDIUM),
  slab_pvt_v2_b0: pyramid("slab_pvt_v2", TINY, { hidden_sizes: [32, 64, 160, 256] }), slab_pvt_v2_b1: pyramid("slab_pvt_v2", TINY),
  slab_pvt_v2_b2: pyramid("slab_pvt_v2", SMALL), slab_pvt_v2_b3: pyramid("slab_pvt_v2", MEDIUM), slab_pvt_v2_b4: pyramid("slab_pvt_v2", [3, 8, 27, 3]),
  slab_pvt_v2_b5: pyramid("slab_pvt_v2", [3, 6, 40, 3], { mlp_ratios: [4, 4, 4, 4] }),
};

export const PVT_TYPES = ["slab_pvt", "pvt_prepbn", "slab_pvt_v2"];

/** What a checked config says of a PVT. */
export function pvtNetwork(type: string, fields: Fields): SlabPvtConfig {
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
