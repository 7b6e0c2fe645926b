import { test } from "uvu";
import * as assert from "uvu/assert";
import { codecBytes, decodeImage, preprocess, type Image } from "../../../bindings/image/index.ts";
import {
  colourTypes, concat, exifBlock, extendedWebp, makeJpeg, makePng, makeWebp, paint, pngChunk, withJpegExif,
} from "./pictures.ts";

const pixel = ({ data, width }: Image, x: number, y: number): number[] => [
  ...data.subarray(4 * (y * width + x), 4 * (y * width + x) + 4),
];
const colours = [[230, 30, 30], [30, 200, 30], [30, 30, 220], [220, 210, 40]];

/** Four quarters of different colours, 32 x 48. */
const quarters = paint(32, 48, (x, y) => colours[(y >= 24 ? 2 : 0) + (x >= 16 ? 1 : 0)]);
const png = makePng(2, 2, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
const jpeg = makeJpeg(quarters);
const webp = makeWebp(quarters);

async function rejects(bytes: unknown, type: Function, message: RegExp, options = {}): Promise<void> {
  let came: unknown;
  try {
    came = await decodeImage(bytes as Uint8Array, options);
  } catch (error) {
    assert.ok(error instanceof type, `${error} is no ${type.name}`);
    assert.match((error as Error).message, message);
    return;
  }
  assert.unreachable(`decoded ${JSON.stringify(came).slice(0, 80)}, expected an error like ${message}`);
}

test("PNG: each colour type becomes RGBA", async () => {
  const decode = async (samples: number[], options: object, width = 2, height = 1): Promise<number[]> =>
    [...(await decodeImage(makePng(width, height, Uint8Array.from(samples), options))).data];
  assert.equal(await decode([1, 2, 3, 4, 5, 6], { colourType: colourTypes.rgb }), [1, 2, 3, 255, 4, 5, 6, 255]);
  assert.equal(await decode([1, 2, 3, 0, 4, 5, 6, 128], { colourType: colourTypes.rgba }), [1, 2, 3, 0, 4, 5, 6, 128]);
  assert.equal(await decode([7, 200], { colourType: colourTypes.grey }), [7, 7, 7, 255, 200, 200, 200, 255]);
  assert.equal(await decode([7, 90, 200, 0], { colourType: colourTypes.greyAlpha }), [7, 7, 7, 90, 200, 200, 200, 0]);
  assert.equal(
    await decode([0b10000000], { colourType: colourTypes.grey, bitDepth: 1 }), [255, 255, 255, 255, 0, 0, 0, 255],
  );
  const chunks = [pngChunk("PLTE", Uint8Array.of(10, 20, 30, 40, 50, 60)), pngChunk("tRNS", Uint8Array.of(9))];
  assert.equal(await decode([1, 0], { colourType: colourTypes.palette, chunks }), [40, 50, 60, 255, 10, 20, 30, 9]);
});

test("PNG: 16-bit samples keep their high byte", async () => {
  const rgb = makePng(1, 1, Uint8Array.of(10, 255, 20, 0, 30, 128), { bitDepth: 16 });
  assert.equal([...(await decodeImage(rgb)).data], [10, 20, 30, 255]);
  const grey = makePng(1, 1, Uint8Array.of(77, 200), { bitDepth: 16, colourType: colourTypes.grey });
  assert.equal([...(await decodeImage(grey)).data], [77, 77, 77, 255]);
});

test("alpha is dropped, not blended", async () => {
  const plain = { size: 1, resize: 1, mean: [0, 0, 0], std: [1, 1, 1] };
  const image = await decodeImage(makePng(1, 1, Uint8Array.of(255, 51, 0, 0), { colourType: colourTypes.rgba }));
  assert.equal([...preprocess(image, plain)], [1, Math.fround(0.2), 0]);
});

test("JPEG and WebP decode to the colours that went in", async () => {
  const grey = paint(20, 12, (x) => [x * 10, x * 10, x * 10]);
  const files = {
    jpeg, webp, progressive: makeJpeg(quarters, { progressive: true }),
    baseline: makeJpeg(quarters, { progressive: false, baseline: true }), lossless: makeWebp(quarters, { lossless: 1 }),
  };
  for (const [name, bytes] of Object.entries(files)) {
    const image = await decodeImage(bytes);
    assert.equal([image.width, image.height, image.data.length], [32, 48, 32 * 48 * 4], name);
    for (const [i, [x, y]] of [[4, 4], [28, 4], [4, 44], [28, 44]].entries()) {
      pixel(image, x, y).forEach((byte, c) =>
        assert.ok(Math.abs(byte - [...colours[i], 255][c]) <= 6, `${name} at ${x}, ${y}`),
      );
    }
  }
  assert.equal((await decodeImage(makeWebp(quarters, { lossless: 1, exact: 1 }))).data, quarters.data);
  const decodedGrey = await decodeImage(makeJpeg(grey, { color_space: 1 }));
  const [r, g, b] = pixel(decodedGrey, 10, 6);
  assert.ok(r === g && g === b && Math.abs(r - 100) <= 6);
});

test("a view into a larger buffer decodes", async () => {
  const padded = concat(new Uint8Array(7), png, new Uint8Array(9));
  assert.equal(pixel(await decodeImage(padded.subarray(7, 7 + png.length)), 1, 1), [10, 11, 12, 255]);
  assert.is((await decodeImage(Buffer.from(jpeg))).width, 32);
});

test("a 1 x 1 picture of each format decodes", async () => {
  const dot = paint(1, 1, () => [200, 100, 50]);
  for (const bytes of [
    makePng(1, 1, Uint8Array.of(200, 100, 50)), makeJpeg(dot), makeWebp(dot), makeWebp(dot, { lossless: 1 }),
  ]) {
    const image = await decodeImage(bytes);
    assert.equal([image.width, image.height, image.data.length], [1, 1, 4]);
  }
});

test("no ImageData is left in the global scope", () => {
  assert.not("ImageData" in globalThis);
});

/**
 * Where a stored pixel belongs in the upright picture, by the words of the EXIF standard: which side is row 0, which is
 * column 0.
 */
const upright: ((x: number, y: number, w: number, h: number) => [number, number])[] = [
  (x, y) => [x, y], // top, left
  (x, y, w) => [w - 1 - x, y], // top, right
  (x, y, w, h) => [w - 1 - x, h - 1 - y], // bottom, right
  (x, y, w, h) => [x, h - 1 - y], // bottom, left
  (x, y) => [y, x], // left, top
  (x, y, w, h) => [h - 1 - y, x], // right, top
  (x, y, w, h) => [h - 1 - y, w - 1 - x], // right, bottom
  (x, y, w) => [y, w - 1 - x], // left, bottom
];

for (let orientation = 1; orientation <= 8; orientation++) {
  const place = upright[orientation - 1];
  const sides = (width: number, height: number): number[] => (orientation >= 5 ? [height, width] : [width, height]);

  test(`orientation ${orientation} in PNG`, async () => {
    const samples = Uint8Array.from({ length: 3 * 5 * 3 }, (_, i) => 5 * i);
    for (const littleEndian of [false, true]) {
      const chunks = [pngChunk("eXIf", exifBlock(orientation, { littleEndian }))];
      const image = await decodeImage(makePng(3, 5, samples, { chunks }));
      assert.equal([image.width, image.height], sides(3, 5));
      for (let y = 0; y < 5; y++) {
        for (let x = 0; x < 3; x++) {
          const at = 3 * (3 * y + x);
          assert.equal(pixel(image, ...place(x, y, 3, 5)), [...samples.subarray(at, at + 3), 255], `${x}, ${y}`);
        }
      }
    }
  });

  test(`orientation ${orientation} in JPEG and WebP`, async () => {
    const exif = exifBlock(orientation);
    const prefixed = concat(Uint8Array.from("Exif\0\0", (char) => char.charCodeAt(0)), exif);
    for (const bytes of [
      withJpegExif(jpeg, exif), extendedWebp(webp, 32, 48, 0x08, exif), extendedWebp(webp, 32, 48, 0x08, prefixed),
    ]) {
      const image = await decodeImage(bytes);
      assert.equal([image.width, image.height], sides(32, 48));
      for (const [i, [x, y]] of [[4, 4], [28, 4], [4, 44], [28, 44]].entries()) {
        pixel(image, ...place(x, y, 32, 48)).forEach((byte, c) =>
          assert.ok(Math.abs(byte - [...colours[i], 255][c]) <= 6),
        );
      }
    }
  });
}

test("malformed EXIF counts as upright", async () => {
  const good = exifBlock(6);
  const changed = (at: number, ...values: number[]): Uint8Array => {
    const copy = good.slice();
    copy.set(values, at);
    return copy;
  };
  const broken = [
    ...Array.from({ length: good.length - 6 }, (_, n) => good.slice(0, n)), exifBlock(0), exifBlock(9),
    exifBlock(65535), changed(4, 0xff, 0xff, 0xff, 0xff), changed(4, 0, 0, 0, 25), changed(12, 0, 7),
    changed(14, 0xff, 0xff, 0xff, 0xff), changed(2, 0, 43), changed(0, 0x4d, 0x49),
  ];
  for (const exif of broken) {
    const chunks = [pngChunk("eXIf", exif)];
    const image = await decodeImage(makePng(1, 2, new Uint8Array(6), { chunks }));
    assert.equal([image.width, image.height], [1, 2], String(exif));
  }
  // more entries promised than there are
  assert.is(
    (await decodeImage(makePng(1, 2, new Uint8Array(6), { chunks: [pngChunk("eXIf", changed(8, 0xff, 0xff))] }))).width,
    2,
  );
});

test("other kinds of input are named", async () => {
  const text = (value: string): Uint8Array => Uint8Array.from(value, (char) => char.charCodeAt(0));
  await rejects("cat.png", TypeError, /the picture is a string; expected a Uint8Array/);
  await rejects(undefined, TypeError, /the picture is undefined/);
  await rejects(new ArrayBuffer(8), TypeError, /a value of type ArrayBuffer/);
  await rejects(new Uint8Array(), RangeError, /no bytes/);
  await rejects(
    text("GIF89a\x01\0\x01\0"), TypeError, /^the picture is a GIF file; expected PNG, JPEG or WebP: convert it first$/,
  );
  await rejects(text("\0\0\0\x1cftypavif"), TypeError, /is an AVIF file/);
  await rejects(text("hello"), TypeError, /68 65 6c 6c/);
  await rejects(text("\xff"), TypeError, /bytes ff,/);
  await rejects(extendedWebp(webp, 32, 48, 0x02, new Uint8Array(2)), TypeError, /animated/);
  await rejects(png, RangeError, /maxPixels is NaN/, { maxPixels: NaN });
});

test("every cut of each format is an error", async () => {
  for (const [name, whole] of Object.entries({ PNG: png, JPEG: jpeg, WebP: webp })) {
    const step = Math.max(1, Math.floor(whole.length / 60));
    for (let length = 16; length < whole.length; length += step) {
      await rejects(
        whole.slice(0, length), Error,
        new RegExp(`^the ${name} data is corrupt or cut off \\(.*\\): save the picture again$`),
      );
    }
    assert.ok((await decodeImage(whole)).width > 0);
  }
});

test("a JPEG whose scan is cut but whose end marker is there is an error", async () => {
  const noisy = makeJpeg(
    paint(64, 64, (x, y) => [(x * 53 + y * 31) & 255, (x * y * 7) & 255, (y * 97) & 255]), { progressive: false },
  );
  await rejects(
    concat(noisy.slice(0, noisy.length >> 1), Uint8Array.of(0xff, 0xd9)), Error,
    /the JPEG data is corrupt or cut off \(premature end/,
  );
});

test("a damaged PNG is an error, by checksum or by the codec", async () => {
  const flipped = png.slice();
  flipped[45] ^= 0x10;
  await rejects(flipped, Error, /wrong checksum of an IDAT chunk/);
  const wrongData = concat(
    png.subarray(0, 33), pngChunk("IDAT", Uint8Array.of(1, 2, 3, 4, 5)), pngChunk("IEND", new Uint8Array()),
  );
  await rejects(wrongData, Error, /its pixels cannot be decoded/);
  await rejects(concat(png.subarray(0, 33), pngChunk("IEND", new Uint8Array())), Error, /its pixels cannot be decoded/);
});

test("codecBytes counts the codecs that are kept", async () => {
  for (const picture of [png, jpeg, webp]) await decodeImage(picture);
  const all = codecBytes();
  assert.ok(all > 0 && all % 65536 === 0, `${all} bytes`);
  await decodeImage(makePng(2, 2, Uint8Array.of(1, 2, 3))).catch(() => {});
  const rest = codecBytes();
  assert.ok(rest < all, "a codec that failed is dropped");
  await decodeImage(png);
  assert.ok(codecBytes() > rest);
});

test("after a picture that breaks its codec the next one decodes, also when both were asked for together", async () => {
  const badPng = concat(
    png.subarray(0, 33), pngChunk("IDAT", Uint8Array.of(1, 2, 3)), pngChunk("IEND", new Uint8Array()),
  );
  const badJpeg = jpeg.slice();
  const table = badJpeg.findIndex((byte, i) => byte === 0xff && badJpeg[i + 1] === 0xc4);
  badJpeg.fill(0xfe, table + 5, table + 21);
  const badWebp = webp.slice();
  badWebp.fill(0xff, 32, 60);
  for (const [bad, good] of [[badPng, png], [badJpeg, jpeg], [badWebp, webp]]) {
    const expected = await decodeImage(good);
    for (let round = 0; round < 3; round++) {
      const [first, second, third] = await Promise.allSettled([decodeImage(bad), decodeImage(good), decodeImage(good)]);
      assert.is(first.status, "rejected");
      assert.ok(second.status === "fulfilled" && third.status === "fulfilled");
      assert.equal(second.value, expected);
    }
  }
});

test("damage anywhere gives a picture or an Error, never anything else", async () => {
  let seed = 1;
  const random = (n: number): number => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
  for (const whole of [
    png, jpeg, webp, withJpegExif(jpeg, exifBlock(6)), extendedWebp(webp, 32, 48, 0x08, exifBlock(6)),
  ]) {
    for (let i = 0; i < 150; i++) {
      const bytes = whole.slice();
      for (let k = random(6); k >= 0; k--) bytes[random(bytes.length)] = random(256);
      try {
        await decodeImage(bytes, { maxPixels: 1e6 });
      } catch (error) {
        assert.ok(error instanceof Error && error.message.length < 200, String(error));
      }
    }
  }
});

test("sizes are refused before anything is decoded", async () => {
  const hugePng = png.slice();
  new DataView(hugePng.buffer).setUint32(16, 100_000);
  new DataView(hugePng.buffer).setUint32(20, 100_000);
  await rejects(hugePng, RangeError, /the PNG picture has 100000 x 100000 pixels; expected at most 64 megapixels/);
  const hugeJpeg = jpeg.slice();
  const frame = hugeJpeg.findIndex(
    (byte, i) => byte === 0xff && (hugeJpeg[i + 1] === 0xc0 || hugeJpeg[i + 1] === 0xc2),
  );
  hugeJpeg.fill(0xff, frame + 5, frame + 9);
  await rejects(hugeJpeg, RangeError, /the JPEG picture has 65535 x 65535 pixels/);
  await rejects(
    extendedWebp(webp, 16_000_000, 200, 0, new Uint8Array(2)), RangeError, /the WebP picture has 16000000 x 200 pixels/,
  );
  await rejects(extendedWebp(webp, 33, 48, 0, new Uint8Array(2)), Error, /the WebP data is corrupt/);
  for (const bytes of [jpeg, webp, makeWebp(quarters, { lossless: 1 })]) {
    await rejects(bytes, RangeError, /has 32 x 48 pixels; expected at most 0.001 megapixels/, { maxPixels: 1000 });
  }
  const empty = png.slice();
  empty.fill(0, 16, 20);
  await rejects(empty, Error, /a size of 0 x 2 pixels/);
});

test("a JPEG of thousands of scans is refused", async () => {
  const progressive = makeJpeg(quarters, { progressive: true });
  const scan = progressive.findIndex((byte, i) => byte === 0xff && progressive[i + 1] === 0xda);
  const end = progressive.subarray(progressive.length - 2);
  const header = progressive.subarray(scan, scan + 2 + progressive[scan + 3]);
  await rejects(
    concat(progressive.subarray(0, scan), ...Array.from({ length: 3000 }, () => header), end), RangeError,
    /more than 100 scans/,
  );
});

test.run();
