/** A model as load() of slab-wasm takes it. */
export interface PackagedModel {
  /** What config.json holds. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Where model.safetensors is: a file in Node, Deno and Bun, what a bundler made of it or http(s) in a page. */
  readonly weights: URL;
  /** Where tokenizer.json is; of language models. */
  readonly tokenizer?: URL;
}

declare const models: {
  /** Pictures, to ten labels; 5.5 million weights. */
  readonly "slab-deit-cifar10": PackagedModel;
  /** Short stories in English; 7.4 million weights. */
  readonly "slab-lm-stories": PackagedModel;
};

export default models;
