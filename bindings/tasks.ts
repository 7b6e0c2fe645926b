// The constructors of architectures, by what their models do.
export { languageModel } from "./language-models.ts";
export { imageModel } from "./image-models.ts";
export { backbone } from "./backbones.ts";
