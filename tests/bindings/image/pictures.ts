// Makes picture files for the tests: a small PNG writer, the @jsquash encoders, and EXIF blocks put into each
// container.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { deflateSync } from "node:zlib";
import type { Image } from "../../../bindings/image/index.ts";

const require = createRequire(import.meta.url);

function latin1(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** Bit by bit: Node 20 has none of its own, and this must not be the reader's. */
function crc32(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

export function pngChunk(type: string, data: Uint8Array): Uint8Array {
  const body = concat(latin1(type), data);
  return concat(u32(data.length), body, u32(crc32(body)));
}

export const colourTypes = { grey: 0, rgb: 2, palette: 3, greyAlpha: 4, rgba: 6 };

/** `samples`: the rows' bytes as PNG stores them, without the filter byte. */
export function makePng(
  width: number,
  height: number,
  samples: Uint8Array,
  { colourType = colourTypes.rgb, bitDepth = 8, chunks = [] as Uint8Array[] } = {},
): Uint8Array {
  const rowBytes = samples.length / height;
  const filtered = concat(
    ...Array.from({ length: height }, (_, y) =>
      concat(Uint8Array.of(0), samples.subarray(y * rowBytes, (y + 1) * rowBytes)),
    ),
  );
  return concat(
    latin1("\x89PNG\r\n\x1a\n"),
    pngChunk("IHDR", concat(u32(width), u32(height), Uint8Array.of(bitDepth, colourType, 0, 0, 0))),
    ...chunks,
    pngChunk("IDAT", deflateSync(filtered)),
    pngChunk("IEND", new Uint8Array()),
  );
}

/** A TIFF header with one directory, which holds the orientation. */
export function exifBlock(orientation: number, { littleEndian = false } = {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(26));
  view.setUint16(0, littleEndian ? 0x4949 : 0x4d4d);
  view.setUint16(2, 42, littleEndian);
  view.setUint32(4, 8, littleEndian);
  view.setUint16(8, 1, littleEndian);
  view.setUint16(10, 0x0112, littleEndian);
  view.setUint16(12, 3, littleEndian);
  view.setUint32(14, 1, littleEndian);
  view.setUint16(18, orientation, littleEndian);
  return new Uint8Array(view.buffer);
}

export function withJpegExif(jpeg: Uint8Array, exif: Uint8Array): Uint8Array {
  const payload = concat(latin1("Exif\0\0"), exif);
  const length = payload.length + 2;
  return concat(jpeg.subarray(0, 2), Uint8Array.of(0xff, 0xe1, length >> 8, length), payload, jpeg.subarray(2));
}

/** Wraps a plain WebP file into an extended one. Flags: 0x02 animation, 0x08 EXIF, 0x10 alpha. */
export function extendedWebp(
  webp: Uint8Array, width: number, height: number, flags: number, exif: Uint8Array,
): Uint8Array {
  const u24 = (value: number) => Uint8Array.of(value, value >> 8, value >> 16);
  const u32LittleEndian = (value: number) => u32(value).reverse();
  const padding = new Uint8Array(exif.length & 1);
  const body = concat(
    latin1("WEBPVP8X"), u32LittleEndian(10), Uint8Array.of(flags, 0, 0, 0), u24(width - 1), u24(height - 1),
    webp.subarray(12), latin1("EXIF"), u32LittleEndian(exif.length), exif, padding,
  );
  return concat(latin1("RIFF"), u32LittleEndian(body.length), body);
}

/** RGBA from a function of x and y. */
export function paint(width: number, height: number, pixel: (x: number, y: number) => number[]): Image {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) data.set([...pixel(x, y), 255].slice(0, 4), 4 * (y * width + x));
  return { data, width, height };
}

async function encoder(glue: string, wasm: string): Promise<(image: Image, options: object) => Uint8Array> {
  const module = new WebAssembly.Module(readFileSync(require.resolve(wasm)));
  const { default: factory } = await import(glue);
  const instance = await factory({
    noInitialRun: true,
    instantiateWasm(imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void) {
      const instance = new WebAssembly.Instance(module, imports);
      receive(instance);
      return instance.exports;
    },
  });
  // the glue leaves one behind, and the tests look for that
  delete (globalThis as { ImageData?: unknown }).ImageData;
  return ({ data, width, height }, options) => new Uint8Array(instance.encode(data, width, height, options));
}

const encodeJpeg = await encoder("@jsquash/jpeg/codec/enc/mozjpeg_enc.js", "@jsquash/jpeg/codec/enc/mozjpeg_enc.wasm");
const { defaultOptions: jpegDefaults } = await import("@jsquash/jpeg/meta.js");
export const makeJpeg = (image: Image, options: object = {}): Uint8Array =>
  encodeJpeg(image, { ...jpegDefaults, quality: 95, ...options });

const encodeWebp = await encoder("@jsquash/webp/codec/enc/webp_enc.js", "@jsquash/webp/codec/enc/webp_enc.wasm");
const { defaultOptions: webpDefaults } = await import("@jsquash/webp/meta.js");
export const makeWebp = (image: Image, options: object = {}): Uint8Array =>
  encodeWebp(image, { ...webpDefaults, quality: 95, ...options });
