// What is wrong with what an image model was given. Loaded when it is refused.
import type { ImageSizes } from "../config/config.ts";
import { describe } from "../describe.ts";

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
