import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { preprocess, resize, resizeCrop, type Image, type Preprocessing } from "../../../bindings/image/index.ts";
import { uniform01 } from "../../../cli/synthetic.ts";

const { preprocess: expected } = JSON.parse(
  readFileSync(new URL("../../golden/slab-vectors.json", import.meta.url), "utf8"),
);
const imagenet: Preprocessing = { size: 224, resize: 256, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

const noise = (key: string, width: number, height: number): Image => ({
  data: Uint8Array.from(uniform01(key, width * height * 3), (u) => Math.floor(256 * u)), width, height,
});
const pixel = ({ data, width }: Image, x: number, y: number): number[] => [
  ...data.subarray(3 * (y * width + x), 3 * (y * width + x) + 3),
];

function fnv1a(bytes: ArrayLike<number>): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash >>> 0;
}

function withAlpha({ data, width, height }: Image): Image {
  const rgba = new Uint8Array(width * height * 4);
  for (let i = 0; i < width * height; i++) rgba.set([...data.subarray(3 * i, 3 * i + 3), (i * 37) & 255], 4 * i);
  return { data: rgba, width, height };
}

test("the golden picture, resized and cropped, has the bytes of PIL", () => {
  const [height, width] = expected.resized_hw;
  const [top, left] = expected.crop_top_left;
  const crop = resizeCrop(noise("pil", 421, 300), width, height, { left, top, width: 224, height: 224 });
  assert.equal(pixel(crop, 0, 0), expected.crop_px_0_0);
  assert.equal(pixel(crop, 50, 100), expected.crop_px_row100_col50);
  assert.equal(pixel(crop, 223, 223), expected.crop_px_row223_col223);
  assert.is(crop.data.reduce((sum, byte) => sum + byte, 0), expected.crop_byte_sum);
});

test("the golden picture, preprocessed", () => {
  const out = preprocess(noise("pil", 421, 300), imagenet);
  assert.is(out.length, 3 * 224 * 224);
  for (let c = 0; c < 3; c++) assert.ok(Math.abs(out[c * 224 * 224] - expected.normalized_px_0_0[c]) < 1e-6);
  const byte = expected.crop_px_row100_col50[2];
  const { fround } = Math;
  assert.is(out[2 * 224 * 224 + 100 * 224 + 50], fround(fround(fround(byte / 255) - fround(0.406)) / fround(0.225)));
});

// FNV-1a of what Pillow 9.4.0 makes of the same noise: Image.resize((w, h), BICUBIC)
const pillow = [
  [1, 1, 9, 4, 0xa3726b71],
  [7, 5, 16, 31, 0xdc8b6513],
  [64, 48, 20, 15, 0xe152abe7],
  [50, 50, 50, 17, 0x8c44a647],
  [23, 40, 96, 40, 0x926fbe21],
  [3, 900, 5, 12, 0xb2358173],
  [700, 2, 11, 8, 0x57aef23f],
  [2, 3, 1, 1, 0x94781b9e],
];
for (const [w, h, width, height, hash] of pillow) {
  test(`resize has the bytes of PIL: ${w} x ${h} to ${width} x ${height}`, () => {
    const image = noise(`${w}x${h}`, w, h);
    const whole = resize(image, width, height);
    assert.is(fnv1a(whole.data), hash);
    assert.equal(resize(withAlpha(image), width, height), whole, "alpha is dropped");
    const crop = {
      left: width >> 2, top: height >> 2, width: Math.max(1, width >> 1), height: Math.max(1, height >> 1),
    };
    const part = resizeCrop(image, width, height, crop);
    for (let y = 0; y < crop.height; y++) {
      for (let x = 0; x < crop.width; x++) assert.equal(pixel(part, x, y), pixel(whole, x + crop.left, y + crop.top));
    }
  });
}

test("resize to the same size copies", () => {
  const image = noise("same", 13, 7);
  assert.equal([...resize(image, 13, 7).data], [...image.data]);
});

test("the crop offset rounds half to even", () => {
  // 5 - 2 = 3 columns over: 1.5 rounds to 2; 5 - 4 = 1 over: 0.5 rounds to 0
  const columns: Image = {
    data: Uint8Array.from({ length: 5 * 4 * 3 }, (_, i) => Math.floor(i / 3) % 5), width: 5, height: 4,
  };
  const plain = { resize: 4, mean: [0, 0, 0], std: [1, 1, 1] };
  const columnOf = (value: number): number => Math.round(value * 255);
  assert.is(columnOf(preprocess(columns, { ...plain, size: 4 })[0]), 0);
  assert.is(columnOf(preprocess({ ...columns, data: columns.data }, { ...plain, size: 1 })[0]), 2); // (5 - 1) / 2
  const wide: Image = {
    data: Uint8Array.from({ length: 7 * 4 * 3 }, (_, i) => Math.floor(i / 3) % 7), width: 7, height: 4,
  };
  assert.is(columnOf(preprocess(wide, { ...plain, size: 4 })[0]), 2); // 1.5
  assert.is(columnOf(preprocess(wide, { ...plain, size: 2 })[0]), 2); // 2.5
});

test("a 1 x 1 picture fills the square with its colour", () => {
  const out = preprocess(
    { data: Uint8Array.of(255, 0, 51), width: 1, height: 1 }, { size: 32, resize: 32, mean: [0, 0, 0], std: [1, 1, 1] },
  );
  assert.is(out.length, 3 * 32 * 32);
  [1, 0, Math.fround(0.2)].forEach((value, c) =>
    assert.ok(out.subarray(c * 1024, (c + 1) * 1024).every((x) => x === value)),
  );
});

test("long pictures: up to 256 : 1 work, beyond are refused", () => {
  assert.ok(preprocess(noise("long", 2, 512), imagenet).every(Number.isFinite));
  const refused = (error: Error): boolean =>
    error instanceof RangeError && /1 x 20000.*256.*crop it/.test(error.message);
  assert.throws(() => preprocess(noise("long", 1, 20000), imagenet), refused);
});

test("what is no picture is refused by name", () => {
  const throws = (image: unknown, type: Function, message: RegExp): void =>
    assert.throws(
      () => preprocess(image as Image, imagenet),
      (error: Error) => error instanceof type && message.test(error.message),
    );
  throws(undefined, TypeError, /data is undefined/);
  throws({ data: [1, 2, 3], width: 1, height: 1 }, TypeError, /data is a value of type Array/);
  throws({ data: new Uint8Array(3), width: "1", height: 1 }, TypeError, /width is a string/);
  throws({ data: new Uint8Array(0), width: 0, height: 1 }, RangeError, /width is 0/);
  throws({ data: new Uint8Array(3), width: 1, height: 1.5 }, RangeError, /height is 1.5/);
  throws({ data: new Uint8Array(5), width: 1, height: 1 }, RangeError, /5 bytes, expected 3 \(RGB\) or 4 \(RGBA\)/);
});

test("a preprocessing that cannot be meant is refused by name", () => {
  const throws = (change: object, type: Function, message: RegExp): void =>
    assert.throws(
      () => preprocess(noise("a", 4, 4), { ...imagenet, ...change }),
      (error: Error) => error instanceof type && message.test(error.message),
    );
  throws({ size: 0 }, RangeError, /preprocessing.size is 0/);
  throws({ resize: undefined }, TypeError, /preprocessing.resize is undefined/);
  throws({ size: 300 }, RangeError, /resize is 256, which is less than preprocessing.size, 300/);
  throws({ mean: [0, 0] }, TypeError, /preprocessing.mean is \[0,0\]/);
  throws({ std: [1, 0, 1] }, RangeError, /preprocessing.std is \[1, 0, 1\]/);
});

test("a crop outside of the resized picture is refused", () => {
  assert.throws(
    () => resizeCrop(noise("a", 4, 4), 8, 8, { left: 5, top: 0, width: 4, height: 4 }), /expected whole pixels/,
  );
  assert.throws(() => resize(noise("a", 4, 4), 0, 8), /expected whole pixels/);
});

test.run();
