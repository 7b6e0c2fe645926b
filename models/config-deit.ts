// Configs of DeiT: the names of the paper's networks, and what a config.json may say of one.
import type { ImageModelConfig } from "./config.ts";
import { fieldsOf } from "./config-fields.ts";
import { imageTask } from "./config-image.ts";
import type { Family } from "./family.ts";
import type { SlabDeitConfig } from "./slab-deit.ts";

export type DeitConfig = Extract<ImageModelConfig, { architecture: "slab_deit" }>;

export const DEIT: Family<DeitConfig> = {
  types: ["slab_deit", "deit_prepbn"],
  presets: {
    slab_deit_t: { model_type: "slab_deit", hidden_size: 192, num_attention_heads: 3 },
    slab_deit_s: { model_type: "slab_deit", hidden_size: 384, num_attention_heads: 6 },
    deit_t_prepbn: { model_type: "deit_prepbn", hidden_size: 192, num_attention_heads: 3 },
    deit_s_prepbn: { model_type: "deit_prepbn", hidden_size: 384, num_attention_heads: 6 },
  },
  read(json, where, name) {
    const fields = fieldsOf(json, where);
    const network: SlabDeitConfig = {
      imageSize: fields.size("image_size", 224, 4096), patchSize: fields.size("patch_size", 16, 512), channels: fields.size("num_channels", 3, 3),
      dim: fields.size("hidden_size", 192, 16384), depth: fields.size("num_hidden_layers", 12, 1024), heads: fields.size("num_attention_heads", 3, 1024),
      mlpRatio: fields.size("mlp_ratio", 4, 64), classes: fields.size("num_labels", 1000, 1 << 20), normEps: fields.positive("norm_eps", 1e-5),
      mixer: json.model_type === "slab_deit" ? "linear" : "softmax",
    };
    const { imageSize, patchSize, dim, heads } = network;
    if (imageSize % patchSize) throw new RangeError(`${where}: "image_size" ${imageSize} is not a multiple of "patch_size" ${patchSize}`);
    if (dim % heads) throw new RangeError(`${where}: "hidden_size" ${dim} is not a multiple of "num_attention_heads" ${heads}`);
    return { architecture: "slab_deit", network, ...imageTask(network, json, where, name) };
  },
};
