// The constructors of architectures, by what their models do.
export { languageModel } from "./language-model.ts";
export { imageModel } from "./image-model.ts";
export { backbone } from "./backbone.ts";
