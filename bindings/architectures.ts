// Every architecture, each with its configs, its network and what its models do. A bundler keeps those that an app names.
import type { BackboneConfig } from "../models/config.ts";
import type { CswinConfig } from "../models/config-cswin.ts";
import { CSWIN } from "../models/config-cswin.ts";
import type { DeitConfig } from "../models/config-deit.ts";
import { DEIT } from "../models/config-deit.ts";
import type { LlamaConfig, LmConfig } from "../models/config-language.ts";
import { LLAMA, LM } from "../models/config-language.ts";
import type { PvtConfig } from "../models/config-pvt.ts";
import { PVT } from "../models/config-pvt.ts";
import type { SwinConfig } from "../models/config-swin.ts";
import { SWIN, SWIN_BACKBONE } from "../models/config-swin.ts";
import { slabCswin as cswin } from "../models/slab-cswin.ts";
import { slabDeit as deit } from "../models/slab-deit.ts";
import { slabLlama as llama } from "../models/slab-llama.ts";
import { slabLm as lm } from "../models/slab-lm.ts";
import { slabPvt as pvt } from "../models/slab-pvt.ts";
import { slabSwin as swin, swinFeatures } from "../models/slab-swin.ts";
import type { Architecture } from "./architecture.ts";
import { loadBackbone, usualSize } from "./backbones.ts";
import { loadImageModel } from "./image-models.ts";
import { contextOf, loadLanguageModel, PREFILL_ROWS } from "./language-models.ts";

/** Rows of a language model that nobody will run. */
const FEWEST = { prefillRows: PREFILL_ROWS, batch: 1 };

/** SLAB-DeiT, and DeiT with PRepBN. */
export const slabDeit: Architecture<DeitConfig> = {
  family: DEIT,
  build: (plan, tensors, { network }) => deit(plan, tensors, network),
  load: (config, opening) => loadImageModel(config, opening, deit),
};

/** SLAB-PVT, SLAB-PVTv2, and PVT with PRepBN. */
export const slabPvt: Architecture<PvtConfig> = {
  family: PVT,
  build: (plan, tensors, { network }) => pvt(plan, tensors, network),
  load: (config, opening) => loadImageModel(config, opening, pvt),
};

/** SLAB-Swin, and Swin with PRepBN, as classifiers. */
export const slabSwin: Architecture<SwinConfig> = {
  family: SWIN,
  build: (plan, tensors, { network }) => swin(plan, tensors, network),
  load: (config, opening) => loadImageModel(config, opening, swin),
};

/** The same without a head: feature maps for detectors. */
export const slabSwinBackbone: Architecture<BackboneConfig> = {
  family: SWIN_BACKBONE,
  build: (plan, tensors, config) => swinFeatures(plan, tensors, config.network, usualSize(config)).at(-1)!.tokens,
  load: (config, opening) => loadBackbone(config, opening, swinFeatures),
};

/** SLAB-CSWin. */
export const slabCswin: Architecture<CswinConfig> = {
  family: CSWIN,
  build: (plan, tensors, { network }) => cswin(plan, tensors, network),
  load: (config, opening) => loadImageModel(config, opening, cswin),
};

/** SLAB-LM. */
export const slabLm: Architecture<LmConfig> = {
  family: LM,
  build: (plan, tensors, { network }) => lm(plan, tensors, network, FEWEST).logits,
  load: (config, opening) => loadLanguageModel(config, opening, (rows, plan, tensors) => lm(plan, tensors, config.network, rows)),
};

/** LLaMA with PRepBN. */
export const slabLlama: Architecture<LlamaConfig> = {
  family: LLAMA,
  build: (plan, tensors, { network }) => llama(plan, tensors, network, { ...FEWEST, context: contextOf(network.positions) }).logits,
  load(config, opening) {
    const { network } = config, context = contextOf(network.positions, opening.options.context);
    return loadLanguageModel(config, opening, (rows, plan, tensors) => llama(plan, tensors, network, { ...rows, context }), true);
  },
};
