// What is wrong with what an image model was given. Loaded when it is refused.
import type { ImageSizes } from "../config/config.ts";
import { describe } from "../describe.ts";
import type { ImageSize } from "./features.ts";

export function pixelsFault(pixels: unknown, { channels, imageSize }: ImageSizes): Error {
  const shape = `[${channels}, ${imageSize}, ${imageSize}]`;
  if (!(pixels instanceof Float32Array)) {
    return new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array ${shape}`);
  }
  const perImage = channels * imageSize * imageSize;
  return new RangeError(`pixels has ${pixels.length} numbers, expected ${perImage} (${shape}) or a multiple of it`);
}

export const topKFault = (topK: unknown): RangeError =>
  new RangeError(`topK is ${String(topK)}, expected a whole number of at least 1`);

export const pictureFault = (picture: unknown): TypeError => new TypeError(`the picture is ${describe(picture)}, `
  + "expected { data, width, height } or the bytes of a PNG, JPEG or WebP file");

/** @param given  whether the size is the caller's */
export function featuresFault(
  pixels: unknown, channels: number, { height, width }: ImageSize, most: number, given: boolean,
): Error {
  if (!(pixels instanceof Float32Array)) {
    return new TypeError(`pixels is ${describe(pixels)}, expected a Float32Array [${channels}, height, width]`);
  }
  for (const [name, side] of [["height", height], ["width", width]] as const) {
    if (Number.isInteger(side) && side >= 1 && side <= most) continue;
    return new RangeError(`${name} is ${describe(side)}, expected a whole number from 1 to ${most}`);
  }
  const shape = `[${channels}, ${height}, ${width}]`, remedy = given ? "" : ": give { height, width } for another size";
  const count = channels * height * width;
  return new RangeError(`pixels has ${pixels.length} numbers, expected ${count} (${shape})${remedy}`);
}

/** A method of image models that a model of another kind was asked for; `kind`: what that is. */
export function kindFault(method: string, kind: string, backbone: boolean): TypeError {
  const remedy = method === "features" ? "give a config whose model_type ends in _backbone"
    : `use ${backbone ? "features" : "session"}()`;
  const models = method === "features" ? "backbones" : "image models";
  return new TypeError(`${method}() is for ${models}, this is ${kind}: ${remedy}`);
}
