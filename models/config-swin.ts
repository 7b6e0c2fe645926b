// Configs of Swin: the names of the paper's networks, and what a config.json may say of one.
import type { BackboneConfig, ImageModelConfig } from "./config.ts";
import type { Fields } from "./config-fields.ts";
import { fieldsOf } from "./config-fields.ts";
import { checkChannels, imageTask, shapeOf } from "./config-image.ts";
import type { Family } from "./family.ts";
import type { SlabSwinConfig } from "./slab-swin.ts";

export type SwinConfig = Extract<ImageModelConfig, { architecture: "slab_swin" }>;

const WIDTH = 96, HEADS = [3, 6, 12, 24], TINY = [2, 2, 6, 2], SMALL = [2, 2, 18, 2], WIDE = 128, WIDE_HEADS = [4, 8, 16, 32];

export const SWIN: Family<SwinConfig> = {
  types: ["slab_swin", "swin_prepbn"],
  presets: {
    slab_swin_t: { model_type: "slab_swin", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
    slab_swin_s: { model_type: "slab_swin", hidden_size: WIDTH, depths: SMALL, num_attention_heads: HEADS },
    slab_swin_b: { model_type: "slab_swin", hidden_size: WIDE, depths: SMALL, num_attention_heads: WIDE_HEADS },
    swin_t_prepbn: { model_type: "swin_prepbn", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
  },
  read(json, where, name) {
    const network = swinNetwork(String(json.model_type), fieldsOf(json, where), false);
    return { architecture: "slab_swin", network, ...imageTask(network, json, where, name) };
  },
};

/** Without a head: a map of features from every stage, for a detector. */
export const SWIN_BACKBONE: Family<BackboneConfig> = {
  types: ["slab_swin_backbone", "swin_prepbn_backbone"],
  presets: {
    slab_swin_t_backbone: { model_type: "slab_swin_backbone", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
    slab_swin_s_backbone: { model_type: "slab_swin_backbone", hidden_size: WIDTH, depths: SMALL, num_attention_heads: HEADS },
    swin_t_prepbn_backbone: { model_type: "swin_prepbn_backbone", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
    swin_s_prepbn_backbone: { model_type: "swin_prepbn_backbone", hidden_size: WIDTH, depths: SMALL, num_attention_heads: HEADS },
  },
  read(json, where, name) {
    const type = String(json.model_type), network = swinNetwork(type, fieldsOf(json, where), true);
    checkChannels(network.channels, where);
    return { architecture: "slab_swin_backbone", name: name ?? `${type}, ${shapeOf(network)}`, network };
  },
};

/** Stages of SLAB-Swin with linear attention, and the side of the first one's windows. */
const LINEAR_STAGES = 2, LINEAR_WINDOW = 56;

/** What a checked config says of a Swin. */
function swinNetwork(type: string, fields: Fields, backbone: boolean): SlabSwinConfig {
  const { where } = fields, slab = type.startsWith("slab");
  const embedDim = fields.size("hidden_size", WIDTH, 4096), depths = fields.sizes("depths", TINY, 1024), window = fields.size("window_size", 7, 64);
  const mixers = depths.map((_, s) => (slab && s < LINEAR_STAGES ? "linear" as const : "softmax" as const));
  const network: SlabSwinConfig = {
    imageSize: fields.size("image_size", 224, 4096), patchSize: fields.size("patch_size", 4, 64), channels: fields.size("num_channels", 3, 3), classes: fields.size("num_labels", 1000, 1 << 20),
    dims: depths.map((_, s) => embedDim << s), depths, heads: fields.sizes("num_attention_heads", HEADS, 1024), mixers,
    // a detector's linear windows cover the same part of the picture in every stage, a classifier's whole map is one
    windows: mixers.map((mixer, s) => (mixer === "softmax" ? window : backbone ? LINEAR_WINDOW >> s : LINEAR_WINDOW)),
    mlpRatio: fields.size("mlp_ratio", 4, 64), normEps: fields.positive("norm_eps", 1e-5),
  };
  const { imageSize, patchSize, dims, heads, windows } = network;
  dims.forEach((dim, s) => {
    if (dim % heads[s]!) throw new RangeError(`${where}: ${dim} channels of stage ${s + 1} are not a multiple of its "num_attention_heads" ${heads[s]}`);
    if ((dim / heads[s]!) % 8) throw new RangeError(`${where}: heads of ${dim / heads[s]!} channels in stage ${s + 1}, expected a multiple of 8`);
    if (backbone) return;
    const side = imageSize / patchSize / 2 ** s;
    if (!Number.isInteger(side)) throw new RangeError(`${where}: "image_size" ${imageSize} is not a multiple of ${patchSize * 2 ** s}: the map of stage ${s + 1} would not be whole`);
    if (side % Math.min(side, windows[s]!)) throw new RangeError(`${where}: windows of ${windows[s]} do not divide the map of ${side}×${side} of stage ${s + 1}: change "image_size" or "window_size"`);
  });
  return network;
}
