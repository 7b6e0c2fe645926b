// config.json, or a preset's name, as a checked description of a network: which architecture, its sizes, its pictures, its labels.
import { CSWIN } from "./config-cswin.ts";
import { DEIT } from "./config-deit.ts";
import type { ImageTask } from "./config-image.ts";
import type { LanguageModelConfig } from "./config-language.ts";
import { LLAMA, LM } from "./config-language.ts";
import { PVT } from "./config-pvt.ts";
import { SWIN, SWIN_BACKBONE } from "./config-swin.ts";
import type { Json, Known } from "./family.ts";
import { configOf } from "./family.ts";
import type { SlabCswinConfig } from "./slab-cswin.ts";
import type { SlabDeitConfig } from "./slab-deit.ts";
import type { SlabPvtConfig } from "./slab-pvt.ts";
import type { SlabSwinConfig } from "./slab-swin.ts";

export type { ImageTask } from "./config-image.ts";

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

/** All families: what load() of slab-wasm knows. */
export const KNOWN: Known = { families: [DEIT, PVT, SWIN, SWIN_BACKBONE, CSWIN, LM, LLAMA] };

/** The networks of the paper by the names of their configurations, as config.json would say them. */
export const PRESETS: Readonly<Record<string, Json>> = Object.assign({}, ...KNOWN.families.map(({ presets }) => presets));

/** A parsed config.json, or a preset's name. Throws TypeError for the wrong kind of thing, RangeError for a bad value. */
export const parseConfig = (given: unknown, where = "config"): ModelConfig => configOf(KNOWN, given, where).config;
