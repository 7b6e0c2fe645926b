// A checked config.json: which architecture, its sizes, and what its task needs to know. Open: what other sizes a
// network has is known to its architecture alone.
import type { Preprocessing } from "../image/index.ts";

interface Config<Task extends string, Network> {
  /** What its models do. */
  readonly task: Task;
  /** The architecture's own name, a "model_type". */
  readonly architecture: string;
  /** What to call the model: the preset, or the config's own words. */
  readonly name: string;
  readonly network: Network;
}

/** Sizes that networks of pictures have in common: f32 [channels, imageSize, imageSize]. */
export interface PictureSizes {
  /** Of a classifier: its pictures. Of a backbone: what it is laid out for until it meets another size. */
  readonly imageSize: number;
  readonly channels: number;
}

export interface ImageSizes extends PictureSizes {
  readonly classes: number;
}

export interface BackboneSizes extends PictureSizes {
  readonly patchSize: number;
}

export interface LanguageSizes {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  /** Most tokens of a timeline, where its state grows. */
  readonly positions?: number;
}

/** How an image classifier is fed and read. */
export interface ImageTask {
  readonly preprocessing: Preprocessing;
  /** Class names by index; "class 7" where the config has none. */
  readonly labels: readonly string[];
}

export interface ImageModelConfig<Network extends ImageSizes = ImageSizes> extends Config<"images", Network> {
  readonly image: ImageTask;
}

/** Pictures to maps of features, for a detector. */
export interface BackboneConfig<Network extends BackboneSizes = BackboneSizes> extends Config<"backbone", Network> {}

export interface LanguageModelConfig<Network extends LanguageSizes = LanguageSizes>
  extends Config<"language", Network> {
  /** What a text begins with, and what ends it; undefined where the config names none. */
  readonly bos: number | undefined;
  readonly eos: number | undefined;
}

export type ModelConfig = ImageModelConfig | BackboneConfig | LanguageModelConfig;

export const isLanguageModel = (config: ModelConfig): config is LanguageModelConfig => config.task === "language";
export const isBackbone = (config: ModelConfig): config is BackboneConfig => config.task === "backbone";
