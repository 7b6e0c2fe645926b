// Pictures of at most a megapixel: decoded, turned upright, and made ready for a model.
import { readFileSync } from "node:fs";
import { decodeImage, preprocess } from "../../../bindings/image/index.ts";
import {
  exifBlock, extendedWebp, makeJpeg, makePng, makeWebp, paint, pngChunk, withJpegExif,
} from "../../bindings/image/pictures.ts";
import type { Random } from "../mutate.ts";
import { joined, mutate, pick, utf8 } from "../mutate.ts";
import type { Target } from "../target.ts";

const prepared = { size: 32, resize: 36, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
const sample = (name: string): Uint8Array => readFileSync(new URL(`../../../models/samples/${name}`, import.meta.url));
const picture = paint(24, 16, (x, y) => [x * 10, y * 15, (x * y) & 255]);

const read: Target["read"] = async (bytes) => void preprocess(await decodeImage(bytes, { maxPixels: 1e6 }), prepared);
const codec = { ours: /^(the |this )?(picture|PNG|JPEG|WebP|file)|^these bytes/i, memory: 64 << 20, read };

const CHUNKS = ["IHDR", "PLTE", "tRNS", "IDAT", "IEND", "eXIf", "acTL", "fcTL", "fdAT", "iCCP", "zTXt", "abcd"];

/** A PNG's chunks, one or two of them changed, each with a checksum that is right again. */
function mutateChunks(file: Uint8Array, random: Random): Uint8Array {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const chunks: { type: string; data: Uint8Array }[] = [];
  for (let at = 8; at + 12 <= file.length;) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...file.subarray(at + 4, at + 8));
    chunks.push({ type, data: file.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  const at = random(chunks.length), chunk = chunks[at]!, kind = random(5);
  if (kind === 0) chunks.splice(at, 1);
  else if (kind === 1) chunks.splice(random(chunks.length), 0, chunk);
  else if (kind === 2) chunk.type = pick(CHUNKS, random);
  else chunk.data = mutate(chunk.data, random);
  return joined(file.subarray(0, 8), ...chunks.map(({ type, data }) => pngChunk(type, data)));
}

const png: Target = {
  ...codec,
  name: "png",
  share: 3,
  async seeds() {
    const grey = Uint8Array.from({ length: 64 }, (_, i) => 4 * i);
    const palette = pngChunk("PLTE", Uint8Array.from({ length: 48 }, (_, i) => 5 * i));
    return [
      makePng(4, 4, grey.subarray(0, 48)), makePng(4, 4, grey, { colourType: 6 }),
      makePng(8, 8, grey, { colourType: 0 }),
      makePng(8, 8, grey.subarray(0, 32), {
        colourType: 3, bitDepth: 4, chunks: [palette, pngChunk("tRNS", grey.subarray(0, 16))],
      }),
      makePng(4, 4, grey.subarray(0, 32), { colourType: 0, bitDepth: 16, chunks: [pngChunk("eXIf", exifBlock(6))] }),
    ];
  },
  mutate(seeds, random) {
    const seed = pick(seeds, random);
    return random(3) ? mutateChunks(seed, random) : mutate(seed, random, [], seeds);
  },
};

// markers of segments and scans, lengths that lead on or nowhere
const markers = [[0xff, 0xd8], [0xff, 0xd9], [0xff, 0xc0], [0xff, 0xc2], [0xff, 0xc4, 0, 2], [0xff, 0xda],
  [0xff, 0xdb, 0, 0], [0xff, 0xdd, 0, 4, 0, 1], [0xff, 0xe1, 0xff, 0xff], [0xff, 0xee], [0xff, 0xd0], [0xff, 0xcc],
  [0, 0], [0xff, 0xff]].map((bytes) => Uint8Array.from(bytes));

const jpeg: Target = {
  ...codec,
  name: "jpeg",
  share: 1,
  async seeds() {
    const plain = makeJpeg(picture, { progressive: false, baseline: true });
    return [plain, makeJpeg(picture, { progressive: true }), withJpegExif(plain, exifBlock(5)),
      makeJpeg(picture, { color_space: 1 }), sample("deer.jpg")];
  },
  mutate: (seeds, random) => mutate(random(10) ? seeds[random(4)]! : seeds[4]!, random, markers, seeds),
};

const pieces = ["VP8X", "VP8L", "VP8 ", "ALPH", "ANIM", "ANMF", "EXIF", "ICCP", "RIFF"].map((type) =>
  utf8.encode(type));

const webp: Target = {
  ...codec,
  name: "webp",
  share: 1,
  async seeds() {
    const lossless = makeWebp(picture, { lossless: 1 });
    return [makeWebp(picture), lossless, extendedWebp(makeWebp(picture), 24, 16, 0x08, exifBlock(3)),
      extendedWebp(lossless, 24, 16, 0x18, exifBlock(8)), sample("owl.webp")];
  },
  mutate: (seeds, random) => mutate(random(10) ? seeds[random(4)]! : seeds[4]!, random, pieces, seeds),
};

export const images: readonly Target[] = [png, jpeg, webp];
