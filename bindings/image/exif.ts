// EXIF orientation: where the top left corner of the scene lies in the stored pixels (TIFF 6.0, tag 274).
import type { Image } from "./image.ts";

const orientationTag = 0x0112;
const [short, long] = [3, 4];

/**
 * The orientation, 1 to 8, in an EXIF block: a TIFF header and its first directory, with or without the "Exif\0\0" of a
 * JPEG segment. Whatever is malformed counts as 1, upright: a picture with broken metadata is still a picture.
 */
export function exifOrientation(block: Uint8Array): number {
  const prefixed = block.length >= 6 && String.fromCharCode(...block.subarray(0, 6)) === "Exif\0\0";
  const tiff = prefixed ? block.subarray(6) : block;
  if (tiff.length < 8) return 1;
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.length);
  const byteOrder = view.getUint16(0);
  const littleEndian = byteOrder === 0x4949;
  if ((!littleEndian && byteOrder !== 0x4d4d) || view.getUint16(2, littleEndian) !== 42) return 1;
  const directory = view.getUint32(4, littleEndian);
  if (directory + 2 > tiff.length) return 1;
  const entries = view.getUint16(directory, littleEndian);
  for (let i = 0, entry = directory + 2; i < entries && entry + 12 <= tiff.length; i++, entry += 12) {
    if (view.getUint16(entry, littleEndian) !== orientationTag) continue;
    const type = view.getUint16(entry + 2, littleEndian);
    if ((type !== short && type !== long) || view.getUint32(entry + 4, littleEndian) !== 1) return 1;
    const value = type === short ? view.getUint16(entry + 8, littleEndian) : view.getUint32(entry + 8, littleEndian);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

/** The RGBA picture turned upright. Orientation 1 returns it as it is. */
export function orient(image: Image, orientation: number): Image {
  if (orientation === 1) return image;
  const { width: w, height: h } = image;
  const source = new Uint32Array(image.data.buffer, image.data.byteOffset, w * h);
  const turned = new Uint32Array(w * h);
  const swapped = orientation >= 5;
  const [width, height] = swapped ? [h, w] : [w, h];
  // source index of the upright picture's (0, 0), and the steps for one pixel right and one pixel down
  const [start, right, down] = [
    [0, 1, w], // 1 upright
    [w - 1, -1, w], // 2 mirrored left to right
    [w * h - 1, -1, -w], // 3 turned by 180 degrees
    [w * (h - 1), 1, -w], // 4 mirrored top to bottom
    [0, w, 1], // 5 mirrored along the main diagonal
    [w * (h - 1), -w, 1], // 6 to be turned clockwise
    [w * h - 1, -w, -1], // 7 mirrored along the other diagonal
    [w - 1, w, -1], // 8 to be turned anticlockwise
  ][orientation - 1];
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0, from = start + y * down; x < width; x++, from += right) turned[to++] = source[from];
  }
  return { data: new Uint8ClampedArray(turned.buffer), width, height };
}
