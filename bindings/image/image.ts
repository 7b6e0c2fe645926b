/** A decoded picture: rows from the top, 3 (RGB) or 4 (RGBA) bytes per pixel, judged from `data.length`. */
export interface Image {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
}

/** What an error message calls a value of the wrong kind. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  return value.constructor?.name ? `a value of type ${value.constructor.name}` : "an object";
}

/** Throws unless `image` is what its fields say; returns its bytes per pixel. */
export function checkImage(image: Image): 3 | 4 {
  const { data, width, height } = (image ?? {}) as Image;
  if (!(data instanceof Uint8Array) && !(data instanceof Uint8ClampedArray)) {
    throw new TypeError(
      `the picture's data is ${kindOf(data)}; expected a Uint8Array or Uint8ClampedArray of RGB or RGBA bytes: `
        + "decode the picture with decodeImage",
    );
  }
  for (const [name, side] of [["width", width], ["height", height]] as const) {
    if (typeof side !== "number")
      throw new TypeError(`the picture's ${name} is ${kindOf(side)}; expected a number of pixels: set it`);
    if (!Number.isSafeInteger(side) || side < 1) {
      throw new RangeError(
        `the picture's ${name} is ${side}; expected a whole number of pixels from 1: pass the size of the `
          + "decoded picture",
      );
    }
  }
  const pixels = width * height;
  if (data.length === 3 * pixels) return 3;
  if (data.length === 4 * pixels) return 4;
  const expected = `${3 * pixels} (RGB) or ${4 * pixels} (RGBA) for ${width} x ${height} pixels`;
  throw new RangeError(
    `the picture's data has ${data.length} bytes, expected ${expected}: convert it to 3 or 4 bytes per pixel`,
  );
}
