// Small networks of every architecture that slab-wasi runs, with weights made from their tensors' names.
import type { ModelParts } from "../../bindings/index.ts";
import { randomCheckpoint } from "../../cli/random-checkpoint.ts";
import { tinyConfig } from "../bindings/tiny.ts";
import { tinyLlama } from "../golden/tiny-llama.ts";
import { tinyLm } from "../golden/tiny-lm.ts";

const pvt = { image_size: 64, hidden_sizes: [16, 16, 24, 32], depths: [1, 1, 1, 1], num_attention_heads: [1, 2, 3, 4], mlp_ratios: [2, 2, 2, 2], num_labels: 5 };
const swin = { image_size: 64, patch_size: 2, window_size: 4, hidden_size: 16, depths: [2, 2, 2, 2], num_attention_heads: [2, 2, 4, 4], num_labels: 5 };

const imageConfigs = {
  "SLAB-DeiT": tinyConfig,
  "DeiT with PRepBN": { ...tinyConfig, model_type: "deit_prepbn" },
  "SLAB-PVT": { ...pvt, model_type: "slab_pvt" },
  "PVT with PRepBN": { ...pvt, model_type: "pvt_prepbn" },
  "SLAB-PVTv2": { ...pvt, model_type: "slab_pvt_v2" },
  "SLAB-Swin": { ...swin, model_type: "slab_swin" },
  "Swin with PRepBN": { ...swin, model_type: "swin_prepbn" },
  "SLAB-CSWin": { model_type: "slab_cswin", image_size: 224, hidden_size: 16, depths: [1, 1, 2, 1], num_attention_heads: [1, 2, 4, 8], mlp_ratio: 2, num_labels: 5 },
};

/** By name, with the side of the pictures that they take. */
export const imageNetworks: Readonly<Record<string, { readonly side: number; readonly parts: () => ModelParts }>> = Object.fromEntries(
  Object.entries(imageConfigs).map(([name, config]) => [name, { side: config.image_size, parts: () => ({ config, weights: randomCheckpoint(name) }) }]));

export const languageNetworks: Readonly<Record<string, () => ModelParts>> = { "SLAB-LM": () => tinyLm(), "LLaMA with PRepBN": () => tinyLlama() };
