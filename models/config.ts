// config.json, or a preset's name, as a checked description of a network: which architecture, its sizes, its pictures, its labels.
import type { Preprocessing } from "../bindings/image/index.ts";
import type { Fields } from "./config-fields.ts";
import { fieldsOf } from "./config-fields.ts";
import type { LanguageModelConfig } from "./config-language.ts";
import { LANGUAGE_PRESETS, LANGUAGE_TYPES, languageConfig } from "./config-language.ts";
import { CSWIN_PRESETS, CSWIN_TYPES, cswinNetwork } from "./config-cswin.ts";
import { PVT_PRESETS, PVT_TYPES, pvtNetwork } from "./config-pvt.ts";
import { SWIN_BACKBONES, SWIN_PRESETS, SWIN_TYPES, swinNetwork } from "./config-swin.ts";
import type { SlabCswinConfig } from "./slab-cswin.ts";
import type { SlabDeitConfig } from "./slab-deit.ts";
import type { SlabPvtConfig } from "./slab-pvt.ts";
import type { SlabSwinConfig } from "./slab-swin.ts";

/** How an image classifier is fed and read. */
export interface ImageTask {
  readonly preprocessing: Preprocessing;
  /** Class names by index; "class 7" where the config has none. */
  readonly labels: readonly string[];
}

/** An architecture of image classifiers, and what decides its sizes. */
type ImageNetwork =
  | { readonly architecture: "slab_deit"; readonly network: SlabDeitConfig }
  | { readonly architecture: "slab_pvt"; readonly network: SlabPvtConfig }
  | { readonly architecture: "slab_swin"; readonly network: SlabSwinConfig }
  | { readonly architecture: "slab_cswin"; readonly network: SlabCswinConfig };

export type ImageModelConfig = ImageNetwork & {
  /** What to call the model: the preset, or the config's own words. */
  readonly name: string;
  readonly image: ImageTask;
};

/** Pictures to maps of features, for a detector. */
export interface BackboneConfig {
  readonly architecture: "slab_swin_backbone";
  readonly name: string;
  readonly network: SlabSwinConfig;
}

export type { LanguageModelConfig } from "./config-language.ts";
export type ModelConfig = ImageModelConfig | BackboneConfig | LanguageModelConfig;

export const isLanguageModel = (config: ModelConfig): config is LanguageModelConfig => config.architecture === "slab_lm" || config.architecture === "slab_llama";
export const isBackbone = (config: ModelConfig): config is BackboneConfig => config.architecture === "slab_swin_backbone";

const IMAGENET_MEAN = [0.485, 0.456, 0.406], IMAGENET_STD = [0.229, 0.224, 0.225];

/** The networks of the paper by the names of their configurations, as config.json would say them. */
export const PRESETS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  slab_deit_t: { model_type: "slab_deit", hidden_size: 192, num_attention_heads: 3 },
  slab_deit_s: { model_type: "slab_deit", hidden_size: 384, num_attention_heads: 6 },
  deit_t_prepbn: { model_type: "deit_prepbn", hidden_size: 192, num_attention_heads: 3 },
  deit_s_prepbn: { model_type: "deit_prepbn", hidden_size: 384, num_attention_heads: 6 },
  ...PVT_PRESETS,
  ...SWIN_PRESETS,
  ...CSWIN_PRESETS,
  ...LANGUAGE_PRESETS,
};

const MODEL_TYPES = ["slab_deit", "deit_prepbn", ...PVT_TYPES, ...SWIN_TYPES, ...SWIN_BACKBONES, ...CSWIN_TYPES, ...LANGUAGE_TYPES];

function labelsOf(from: Readonly<Record<string, unknown>>, classes: number, where: string): string[] {
  const labels = Array.from({ length: classes }, (_, i) => `class ${i}`);
  const given = from.id2label;
  if (given === undefined || given === null) return labels;
  if (typeof given !== "object") throw new TypeError(`${where}: "id2label" is ${JSON.stringify(given)}, expected an object of names by class number`);
  for (const [id, label] of Object.entries(given)) {
    const index = Number(id);
    if (!Number.isInteger(index) || index < 0 || index >= classes || typeof label !== "string") {
      throw new RangeError(`${where}: "id2label" has ${JSON.stringify(id)}: ${JSON.stringify(label)}, expected names for 0 to ${classes - 1}`);
    }
    labels[index] = label;
  }
  return labels;
}

/** A parsed config.json, or a preset's name. Throws TypeError for the wrong kind of thing, RangeError for a bad value. */
export function parseConfig(given: unknown, where = "config"): ModelConfig {
  const preset = typeof given === "string" ? PRESETS[Object.hasOwn(PRESETS, given) ? given : ""] : undefined;
  if (typeof given === "string" && !preset) {
    throw new RangeError(`no preset is called "${given}": use one of ${Object.keys(PRESETS).join(", ")}, or a config.json`);
  }
  const from = preset ?? given;
  if (typeof from !== "object" || from === null || Array.isArray(from)) {
    throw new TypeError(`${where} is ${Array.isArray(from) ? "an array" : String(from)}, expected the object that config.json holds, or a preset's name`);
  }
  const config = from as Readonly<Record<string, unknown>>;
  const type = config.model_type;
  if (type === undefined) throw new RangeError(`${where} has no "model_type", expected one of ${MODEL_TYPES.join(", ")}`);
  if (typeof type !== "string" || !MODEL_TYPES.includes(type)) {
    throw new RangeError(`${where}: "model_type" is ${JSON.stringify(type)?.slice(0, 60)}, expected one of ${MODEL_TYPES.join(", ")}`);
  }
  if ((config.norm ?? "repbn") !== "repbn") throw new RangeError(`${where}: "norm" is ${JSON.stringify(config.norm)}, expected "repbn"`);
  const name = typeof given === "string" ? given : undefined;
  if (LANGUAGE_TYPES.includes(type)) return languageConfig(config, where, name);
  return SWIN_BACKBONES.includes(type) ? backboneConfig(config, where, name) : imageConfig(config, where, name);
}

function imageConfig(config: Readonly<Record<string, unknown>>, where: string, name: string | undefined): ImageModelConfig {
  const fields = fieldsOf(config, where), type = String(config.model_type);
  const chosen: ImageNetwork = PVT_TYPES.includes(type)
    ? { architecture: "slab_pvt", network: pvtNetwork(type, fields) }
    : CSWIN_TYPES.includes(type) ? { architecture: "slab_cswin", network: cswinNetwork(fields) }
    : SWIN_TYPES.includes(type) ? { architecture: "slab_swin", network: swinNetwork(type, fields) }
    : { architecture: "slab_deit", network: deitNetwork(type, fields) };
  const { imageSize, channels, classes } = chosen.network;
  checkChannels(channels, where);
  // ImageNet evaluation crops the middle 0.875 of a picture; small-picture data sets use all of it
  const cropFraction = fields.positive("crop_pct", imageSize === 224 ? 0.875 : 1);
  if (cropFraction > 1) throw new RangeError(`${where}: "crop_pct" is ${cropFraction}, expected at most 1`);
  const mean = fields.triple("image_mean", IMAGENET_MEAN), std = fields.triple("image_std", IMAGENET_STD);
  if (!std.every((s) => s > 0)) throw new RangeError(`${where}: "image_std" is ${JSON.stringify(std)}, expected positive numbers`);
  return {
    ...chosen,
    name: name ?? `${type}, ${imageSize}×${imageSize}, ${sizesOfNetwork(chosen)}`,
    image: { preprocessing: { size: imageSize, resize: Math.floor(imageSize / cropFraction), mean, std }, labels: labelsOf(config, classes, where) },
  };
}

function checkChannels(channels: number, where: string): void {
  if (channels !== 3) throw new RangeError(`${where}: "num_channels" is ${channels}, expected 3: pictures are RGB`);
}

function backboneConfig(config: Readonly<Record<string, unknown>>, where: string, name: string | undefined): BackboneConfig {
  const type = String(config.model_type), network = swinNetwork(type, fieldsOf(config, where));
  checkChannels(network.channels, where);
  return { architecture: "slab_swin_backbone", name: name ?? `${type}, ${sizesOfNetwork({ network })}`, network };
}

function sizesOfNetwork({ network }: Pick<ImageNetwork, "network">): string {
  if ("dim" in network) return `${network.dim} channels, ${network.depth} blocks`;
  return `${network.dims.join("-")} channels, ${network.depths.join("-")} blocks`;
}

function deitNetwork(type: string, fields: Fields): SlabDeitConfig {
  const network: SlabDeitConfig = {
    imageSize: fields.size("image_size", 224, 4096), patchSize: fields.size("patch_size", 16, 512), channels: fields.size("num_channels", 3, 3),
    dim: fields.size("hidden_size", 192, 16384), depth: fields.size("num_hidden_layers", 12, 1024), heads: fields.size("num_attention_heads", 3, 1024),
    mlpRatio: fields.size("mlp_ratio", 4, 64), classes: fields.size("num_labels", 1000, 1 << 20), normEps: fields.positive("norm_eps", 1e-5),
    mixer: type === "slab_deit" ? "linear" : "softmax",
  };
  if (network.imageSize % network.patchSize) {
    throw new RangeError(`${fields.where}: "image_size" ${network.imageSize} is not a multiple of "patch_size" ${network.patchSize}`);
  }
  if (network.dim % network.heads) {
    throw new RangeError(`${fields.where}: "hidden_size" ${network.dim} is not a multiple of "num_attention_heads" ${network.heads}`);
  }
  return network;
}
