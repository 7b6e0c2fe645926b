// What the bytes of a picture file say before anything is decoded: its format, size and orientation, and whether its
// end is there. Every offset and length is checked: the bytes may come from anyone.
import { exifOrientation } from "./exif.ts";

export type Format = "PNG" | "JPEG" | "WebP";

export interface Header {
  format: Format;
  width: number;
  height: number;
  /** EXIF orientation, 1 to 8 */
  orientation: number;
}

/**
 * A real progressive JPEG has about ten scans. Each one costs a walk over the whole picture, so thousands of empty ones
 * would take hours.
 */
const maxScans = 100;

/** Formats that people try, with what their files start with at an offset. */
const otherFormats: [name: string, offset: number, magic: string][] = [
  ["a GIF file", 0, "GIF8"], ["a BMP file", 0, "BM"], ["a TIFF file", 0, "II*\0"], ["a TIFF file", 0, "MM\0*"],
  ["an AVIF file", 4, "ftypavi"], ["a HEIC file", 4, "ftyphei"], ["a HEIC file", 4, "ftypmif1"],
  ["an ICO file", 0, "\0\0\x01\0"], ["a JPEG XL file", 0, "\xff\x0a"], ["a JPEG XL file", 4, "JXL "],
  ["a JPEG 2000 file", 4, "jP  "], ["a PDF file", 0, "%PDF"], ["an SVG file", 0, "<svg"],
  ["an XML or SVG file", 0, "<?xml"], ["an HTML page", 0, "<!"], ["an HTML page", 0, "<html"],
  ["a ZIP file", 0, "PK\x03\x04"],
];

export const corrupt = (format: Format, detail: string, cause?: unknown): Error =>
  new Error(`the ${format} data is corrupt or cut off (${detail}): save the picture again`, { cause });

/**
 * Reads the header and refuses, before any memory is spent on pixels, what is not a whole picture of at most
 * `maxPixels`.
 */
export function readHeader(bytes: Uint8Array, maxPixels: number): Header {
  if (bytes.length === 0)
    throw new RangeError("the picture has no bytes; expected a PNG, JPEG or WebP file: check that the file was read");
  if (hasText(bytes, 0, "\x89PNG\r\n\x1a\n")) return readPng(bytes, maxPixels);
  if (hasText(bytes, 0, "\xff\xd8\xff")) return readJpeg(bytes, maxPixels);
  if (hasText(bytes, 0, "RIFF") && hasText(bytes, 8, "WEBP")) return readWebp(bytes, maxPixels);
  const name = otherFormats.find(([, offset, magic]) => hasText(bytes, offset, magic))?.[0];
  const came = name
    ? `the picture is ${name}`
    : `the picture starts with bytes ${hex(bytes.subarray(0, 4))}, which is no known picture format`;
  throw new TypeError(`${came}; expected PNG, JPEG or WebP: convert it first`);
}

// PNG: a signature, then chunks of [length, type, data, CRC]; IHDR first, IEND last.
function readPng(bytes: Uint8Array, maxPixels: number): Header {
  const view = viewOf(bytes);
  if (bytes.length < 33 || !hasText(bytes, 12, "IHDR")) throw corrupt("PNG", "no IHDR chunk at the start");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  checkSize("PNG", width, height, maxPixels);
  let orientation = 1;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const end = at + 8 + length;
    if (end + 4 > bytes.length) break;
    if (hasText(bytes, at + 4, "IEND")) return { format: "PNG", width, height, orientation };
    if (hasText(bytes, at + 4, "eXIf")) orientation = exifOrientation(bytes.subarray(at + 8, end));
    // the decoder ignores checksums; damage in a header chunk shows later, damaged pixels would not
    if (hasText(bytes, at + 4, "IDAT") && crc32(bytes, at + 4, end) !== view.getUint32(end))
      throw corrupt("PNG", "wrong checksum of an IDAT chunk");
    at = end + 4;
  }
  throw corrupt("PNG", `no IEND chunk within its ${bytes.length} bytes`);
}

// JPEG: segments of [0xff, marker, length, data]; after a start of scan comes entropy-coded data, where 0xff is
// followed by 0 or a restart marker.
function readJpeg(bytes: Uint8Array, maxPixels: number): Header {
  const view = viewOf(bytes);
  let [width, height, orientation, scans] = [0, 0, 1, 0];
  for (let at = bytes.indexOf(0xff, 2); at >= 0 && at + 2 <= bytes.length; at = bytes.indexOf(0xff, at)) {
    const marker = bytes[at + 1];
    if (marker === 0xff) { at += 1; continue; }
    at += 2;
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    if (marker === 0xd9) {
      if (width === 0 || scans === 0) throw corrupt("JPEG", "it ends before any pixels");
      return { format: "JPEG", width, height, orientation };
    }
    if (at + 2 > bytes.length) break;
    const end = at + view.getUint16(at);
    if (end < at + 2) throw corrupt("JPEG", `a segment of length ${end - at}`);
    if (end > bytes.length) break;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame && width === 0) {
      if (end < at + 8) throw corrupt("JPEG", "a frame header that is too short");
      [height, width] = [view.getUint16(at + 3), view.getUint16(at + 5)];
      checkSize("JPEG", width, height, maxPixels);
      if (bytes[at + 7] === 4)
        throw new TypeError("the JPEG picture has CMYK colours; expected grey or RGB: convert it to RGB first");
    } else if (marker === 0xe1 && hasText(bytes.subarray(0, end), at + 2, "Exif\0\0")) {
      orientation = exifOrientation(bytes.subarray(at + 2, end));
    } else if (marker === 0xda && ++scans > maxScans) {
      throw new RangeError(
        `the JPEG picture has more than ${maxScans} scans; expected about ten: save the picture again`,
      );
    }
    at = end;
  }
  throw corrupt("JPEG", `no end-of-image marker within its ${bytes.length} bytes`);
}

// WebP: a RIFF container of [type, length, data] chunks, padded to even lengths; VP8 (lossy), VP8L (lossless) or VP8X
// (extended) first.
function readWebp(bytes: Uint8Array, maxPixels: number): Header {
  const view = viewOf(bytes);
  const end = view.getUint32(4, true) + 8;
  if (end > bytes.length) throw corrupt("WebP", `${bytes.length} bytes of ${end}`);
  if (end < 30) throw corrupt("WebP", `a container of ${end} bytes`);
  let [width, height, orientation] = [0, 0, 1];
  const extended = hasText(bytes, 12, "VP8X");
  if (extended) {
    [width, height] = [1 + (view.getUint32(24, true) & 0xffffff), 1 + (view.getUint32(26, true) >>> 8)];
    if (bytes[20] & 0x02)
      throw new TypeError("the WebP picture is animated; expected a still picture: save one frame of it");
  } else if (hasText(bytes, 12, "VP8L") && bytes[20] === 0x2f) {
    const sizes = view.getUint32(21, true);
    [width, height] = [1 + (sizes & 0x3fff), 1 + ((sizes >>> 14) & 0x3fff)];
  } else if (hasText(bytes, 12, "VP8 ") && hasText(bytes, 23, "\x9d\x01\x2a")) {
    [width, height] = [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
  } else {
    throw corrupt("WebP", "no VP8, VP8L or VP8X chunk at the start");
  }
  checkSize("WebP", width, height, maxPixels);
  for (let at = 12; extended && at + 8 <= end; ) {
    const [start, length] = [at + 8, view.getUint32(at + 4, true)];
    if (start + length > end) throw corrupt("WebP", "a chunk that ends after the container");
    if (hasText(bytes, at, "EXIF")) orientation = exifOrientation(bytes.subarray(start, start + length));
    at = start + length + (length & 1);
  }
  return { format: "WebP", width, height, orientation };
}

function checkSize(format: Format, width: number, height: number, maxPixels: number): void {
  if (width === 0 || height === 0) throw corrupt(format, `a size of ${width} x ${height} pixels`);
  if (width * height > maxPixels) {
    throw new RangeError(
      `the ${format} picture has ${width} x ${height} pixels; expected at most ${maxPixels / 1e6} megapixels: `
        + "make it smaller, or raise maxPixels",
    );
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

function hasText(bytes: Uint8Array, offset: number, latin1: string): boolean {
  for (let i = 0; i < latin1.length; i++) if (bytes[offset + i] !== latin1.charCodeAt(i)) return false;
  return true;
}

let crcTable: Int32Array | undefined;

function crc32(bytes: Uint8Array, begin: number, end: number): number {
  crcTable ??= Int32Array.from({ length: 256 }, (_, crc) => {
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
    return crc;
  });
  let crc = -1;
  for (let i = begin; i < end; i++) crc = crcTable[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}
