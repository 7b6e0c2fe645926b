// The types of what load() gives and takes.
export type { Download } from "./load/folder.ts";
export type { LoadOptions, Progress } from "./load/load.ts";
export type { ModelParts } from "./load/parts.ts";
export type { Model } from "./tasks/model.ts";
export type { FeatureMap, ImageSize } from "./tasks/features.ts";
export type { Evidence, Label, Picture } from "./tasks/classifier.ts";
export type { Generated, GeneratedToken, GenerateOptions, Session } from "./tasks/session.ts";
export type { Sampling } from "./tasks/sampler.ts";
export type { Tokenizer } from "./tokenizer/index.ts";
export type { Caps } from "./run/kernels.ts";
export type { OpProfile, Profile } from "./run/profile.ts";
export type { MemoryReport } from "./run/memory.ts";
export type { WeightType } from "./plan/dtype.ts";
export type { WasmSource } from "./load/given-module.ts";
export type { Build } from "./platform/platform.ts";
export type { Image } from "./image/index.ts";
export type { BackboneConfig, ImageModelConfig, LanguageModelConfig, ModelConfig } from "./config/config.ts";
