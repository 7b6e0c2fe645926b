// Pixels to what a vision model was trained on: torchvision's Resize, CenterCrop, ToTensor and Normalize, bit for bit.
import { checkImage, kindOf, type Image } from "./image.ts";
import { resizeCrop } from "./resize.ts";

export interface Preprocessing {
  /** side of the square that the model sees */
  size: number;
  /** the shorter side is resized to this before the centre crop */
  resize: number;
  /** per channel, of values 0 to 1 */
  mean: readonly number[];
  std: readonly number[];
}

/** Beyond this a centre crop shows nothing of the picture. */
const maxAspectRatio = 256;

/** Picture RGB(A) → f32 [3, size, size], red first. Alpha is dropped, as PIL's convert("RGB") does. */
export function preprocess(image: Image, spec: Preprocessing): Float32Array {
  checkImage(image);
  checkPreprocessing(spec);
  const { width: w, height: h } = image;
  const { size, resize, mean, std } = spec;
  const [shorter, longer] = [Math.min(w, h), Math.max(w, h)];
  if (longer > maxAspectRatio * shorter) {
    throw new RangeError(
      `the picture is ${w} x ${h} pixels; expected a longer side of at most ${maxAspectRatio} times the `
        + "shorter: crop it first",
    );
  }
  const resizedLonger = Math.trunc((resize * longer) / shorter);
  const [width, height] = w <= h ? [resize, resizedLonger] : [resizedLonger, resize];
  const crop = {
    left: roundHalfToEven((width - size) / 2), top: roundHalfToEven((height - size) / 2), width: size, height: size,
  };
  const { data } = resizeCrop(image, width, height, crop);

  const pixels = size * size;
  const out = new Float32Array(3 * pixels);
  for (let channel = 0; channel < 3; channel++) {
    const table = normalized(mean[channel], std[channel]);
    for (let i = 0, from = channel, to = channel * pixels; i < pixels; i++, from += 3) out[to++] = table[data[from]];
  }
  return out;
}

/** What each of the 256 byte values becomes; every step is rounded to f32 as in PyTorch. */
function normalized(mean: number, std: number): Float32Array {
  const { fround } = Math;
  return Float32Array.from({ length: 256 }, (_, byte) => fround(fround(byte / 255) - fround(mean)) / fround(std));
}

/** Python's round(). */
function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

function checkPreprocessing(spec: Preprocessing): void {
  const { size, resize, mean, std } = (spec ?? {}) as Preprocessing;
  for (const [name, side] of [["size", size], ["resize", resize]] as const) {
    if (typeof side !== "number")
      throw new TypeError(
        `preprocessing.${name} is ${kindOf(side)}; expected a number of pixels: see the model's config`,
      );
    if (!Number.isSafeInteger(side) || side < 1 || side > 16384) {
      throw new RangeError(
        `preprocessing.${name} is ${side}; expected a whole number of pixels from 1 to 16384: see the model's config`,
      );
    }
  }
  if (resize < size) {
    throw new RangeError(
      `preprocessing.resize is ${resize}, which is less than preprocessing.size, ${size}; expected at least as `
        + "much: the crop must fit",
    );
  }
  for (const [name, values] of [["mean", mean], ["std", std]] as const) {
    if (!Array.isArray(values) || values.length !== 3 || !values.every((value) => Number.isFinite(value))) {
      throw new TypeError(
        `preprocessing.${name} is ${JSON.stringify(values)}; expected three numbers, for red, green and blue: `
          + "see the model's config",
      );
    }
  }
  if (std.some((value) => value <= 0))
    throw new RangeError(`preprocessing.std is [${std.join(", ")}]; expected numbers above 0: see the model's config`);
}
