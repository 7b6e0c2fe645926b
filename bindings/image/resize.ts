// PIL's bicubic resize, bit for bit: separable, columns first, a uint8 between the two passes, weights in 22-bit fixed
// point.
import { checkImage, type Image } from "./image.ts";

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** For each output position: the first input position and the weights from there on, `taps` apart. */
interface Weights {
  first: Int32Array;
  count: Int32Array;
  taps: number;
  weight: Int32Array;
}

const fractionBits = 22;
const half = 1 << (fractionBits - 1);

/** Keys' cubic with a = -1/2, in PIL's order of operations. */
function cubic(t: number): number {
  t = Math.abs(t);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return (((t - 5) * t + 8) * t - 4) * -0.5;
  return 0;
}

/** Weights of the output positions [begin, begin + length) of a resize from `from` to `to` positions. */
function bicubicWeights(from: number, to: number, begin: number, length: number): Weights {
  const scale = from / to;
  const filterScale = Math.max(scale, 1);
  const inverse = 1 / filterScale;
  const support = 2 * filterScale;
  const taps = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(length);
  const count = new Int32Array(length);
  const weight = new Int32Array(length * taps);
  const exact = new Float64Array(taps);
  for (let i = 0; i < length; i++) {
    const centre = (begin + i + 0.5) * scale;
    const low = Math.max(Math.trunc(centre - support + 0.5), 0);
    const n = Math.min(Math.trunc(centre + support + 0.5), from) - low;
    let sum = 0;
    for (let k = 0; k < n; k++) sum += exact[k] = cubic((k + low - centre + 0.5) * inverse);
    for (let k = 0; k < n; k++) {
      const fixed = (exact[k] / sum) * (1 << fractionBits);
      weight[i * taps + k] = Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    }
    first[i] = low;
    count[i] = n;
  }
  return { first, count, taps, weight };
}

/** PIL's `image.convert("RGB").resize((width, height), BICUBIC)`: alpha is dropped, not blended. */
export function resize(image: Image, width: number, height: number): Image {
  return resizeCrop(image, width, height, { left: 0, top: 0, width, height });
}

/** `resize` to width x height, then the crop; only what the crop needs is computed. Returns RGB. */
export function resizeCrop(image: Image, width: number, height: number, crop: Box): Image {
  const channels = checkImage(image);
  const sides = [width, height, crop.left + 1, crop.top + 1, crop.width, crop.height];
  if (
    !sides.every((side) => Number.isSafeInteger(side) && side >= 1)
    || crop.left + crop.width > width
    || crop.top + crop.height > height
  ) {
    const [came, of] = [`${crop.width} x ${crop.height} pixels at ${crop.left}, ${crop.top}`, `${width} x ${height}`];
    throw new RangeError(
      `the crop is ${came} of a picture resized to ${of}; expected whole pixels from 1, and the crop inside: `
        + "check the sizes",
    );
  }
  // the input rows that the crop needs
  const rows = image.height === height ? undefined : bicubicWeights(image.height, height, crop.top, crop.height);
  const last = crop.height - 1;
  const begin = rows ? rows.first[0] : crop.top;
  const end = rows ? rows.first[last] + rows.count[last] : crop.top + crop.height;
  const strip = resizeColumns(image, channels, width, crop, begin, end);
  const data = rows ? resizeRows(strip, rows, begin, 3 * crop.width) : strip;
  return { data, width: crop.width, height: crop.height };
}

/** Input rows [begin, end), columns resized and cropped: u8 [end - begin, crop.width, 3]. */
function resizeColumns(
  image: Image, channels: number, width: number, crop: Box, begin: number, end: number,
): Uint8ClampedArray {
  const { data } = image;
  const out = new Uint8ClampedArray((end - begin) * crop.width * 3);
  if (image.width === width) {
    for (let y = begin, to = 0; y < end; y++) {
      for (let x = 0, from = (y * width + crop.left) * channels; x < crop.width; x++, from += channels, to += 3) {
        out[to] = data[from];
        out[to + 1] = data[from + 1];
        out[to + 2] = data[from + 2];
      }
    }
    return out;
  }
  const { first, count, taps, weight } = bicubicWeights(image.width, width, crop.left, crop.width);
  for (let y = begin, to = 0; y < end; y++) {
    const row = y * image.width * channels;
    for (let x = 0; x < crop.width; x++, to += 3) {
      let r = half;
      let g = half;
      let b = half;
      for (let k = x * taps, last = k + count[x], from = row + first[x] * channels; k < last; k++, from += channels) {
        const w = weight[k];
        r = (r + Math.imul(data[from], w)) | 0;
        g = (g + Math.imul(data[from + 1], w)) | 0;
        b = (b + Math.imul(data[from + 2], w)) | 0;
      }
      out[to] = r >> fractionBits;
      out[to + 1] = g >> fractionBits;
      out[to + 2] = b >> fractionBits;
    }
  }
  return out;
}

/**
 * u8 [rows, rowBytes], whose first row is input row `begin`, to u8 [outputs, rowBytes]. The clamped array does the
 * clamp to 0..255.
 */
function resizeRows(
  strip: Uint8ClampedArray, { first, count, taps, weight }: Weights, begin: number, rowBytes: number,
): Uint8ClampedArray {
  const out = new Uint8ClampedArray(first.length * rowBytes);
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < first.length; y++) {
    sums.fill(half);
    for (let k = 0; k < count[y]; k++) {
      const w = weight[y * taps + k];
      for (let i = 0, from = (first[y] - begin + k) * rowBytes; i < rowBytes; i++, from++)
        sums[i] += Math.imul(strip[from], w);
    }
    for (let i = 0, to = y * rowBytes; i < rowBytes; i++, to++) out[to] = sums[i] >> fractionBits;
  }
  return out;
}
