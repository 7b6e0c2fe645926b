// The types of what load() gives and takes.
export type { Download } from "./folder.ts";
export type { LoadOptions, Progress } from "./load.ts";
export type { ModelParts } from "./parts.ts";
export type { Model } from "./model.ts";
export type { FeatureMap, ImageSize } from "./features.ts";
export type { Evidence, Label, Picture } from "./classifier.ts";
export type { Generated, GeneratedToken, GenerateOptions, Session } from "./session.ts";
export type { Sampling } from "./sampler.ts";
export type { Tokenizer } from "./tokenizer/index.ts";
export type { Caps } from "./kernels.ts";
export type { OpProfile, Profile } from "./profile.ts";
export type { MemoryReport } from "./memory.ts";
export type { WeightType } from "./dtype.ts";
export type { WasmSource } from "./given-module.ts";
export type { Build } from "./platform/platform.ts";
export type { Image } from "./image/index.ts";
export type { BackboneConfig, ImageModelConfig, LanguageModelConfig, ModelConfig } from "../models/config.ts";
