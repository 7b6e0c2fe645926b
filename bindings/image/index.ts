// Pictures for vision models: decodeImage (PNG, JPEG, WebP bytes to RGBA) and preprocess (RGB(A) to what the model
// takes).
export { codecBytes, decodeImage, type DecodeOptions } from "./decode.ts";
export type { Image } from "./image.ts";
export { preprocess, type Preprocessing } from "./preprocess.ts";
export { resize, resizeCrop, type Box } from "./resize.ts";
