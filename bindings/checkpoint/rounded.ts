// Weights kept as int8 with a scale for each row: `NAME` I8 [rows, …] and `NAME_scale` F32 [rows, 1], as
// compressed-tensors writes channels. Read as F32, q · scale, so that they load in every build and as any dtype.
import { toFloat32 } from "./floats.ts";
import { quote } from "./names.ts";
import { checkedEnd } from "./stored.ts";
import type { Stored } from "./tensors.ts";

export const SCALE = "_scale";
/** Whole numbers to each side of zero: seven bits, of which a tarball's gzip makes six. */
const LEVELS = 63;

/** The tensors with those of int8 as F32, and without their scales. */
export function widened(stored: ReadonlyMap<string, Stored>): Map<string, Stored> {
  const all = new Map<string, Stored>(), scales = new Set<string>();
  for (const [name, one] of stored) {
    const scale = one.dtype === "I8" ? stored.get(name + SCALE) : undefined;
    if (scale) scales.add(scale.name);
    all.set(name, scale ? asFloats(one, scale) : one);
  }
  for (const name of scales) all.delete(name);
  return all;
}

function asFloats(ints: Stored, scale: Stored): Stored {
  const { name, shape, byteLength: count } = ints, rows = shape[0] ?? 0, columns = count / rows;
  if (scale.dtype !== "F32" || scale.byteLength !== 4 * rows) {
    const what = `${scale.dtype} [${scale.shape.join(", ")}]`;
    throw new RangeError(`${quote(scale.name)} is ${what}, expected F32 [${rows}, 1], a scale for each row of `
      + `${quote(name)}: convert the original checkpoint again`);
  }
  let scales: Promise<Float32Array> | undefined;
  return {
    name, dtype: "F32", shape, byteLength: 4 * count, file: ints.file,
    async read(into, from = 0) {
      const end = from + (into?.length ?? 4 * count);
      checkedEnd(name, end, 4 * count);
      const perRow = await (scales ??= scale.read().then((bytes) => toFloat32(bytes, "F32")));
      const first = from >> 2, values = new Float32Array(((end + 3) >> 2) - first);
      const raw = await ints.read(new Uint8Array(values.length), first);
      const q = new Int8Array(raw.buffer, raw.byteOffset, raw.length);
      // row by row, as a division for every number would take most of the time
      for (let i = 0, row = Math.floor(first / columns); i < values.length; row++) {
        const scale = perRow[row]!, last = Math.min((row + 1) * columns - first, values.length);
        for (; i < last; i++) values[i] = q[i]! * scale;
      }
      const bytes = new Uint8Array(values.buffer, from & 3, end - from);
      into?.set(bytes);
      return into ?? bytes;
    },
  };
}

/** Whether a tensor is worth it: a matrix, as what has few columns would lose more than it saves. */
export const isRoundable = ({ dtype, shape }: Pick<Stored, "dtype" | "shape">): boolean =>
  /^(F|BF)\d+$/.test(dtype) && shape.length === 2 && shape[1]! >= 64;

/** Rows rounded to whole multiples of their scales, the largest number of a row to LEVELS of them. */
export function rounded(values: Float32Array, rows: number): { ints: Int8Array; scales: Float32Array } {
  const ints = new Int8Array(values.length), scales = new Float32Array(rows), columns = values.length / rows;
  for (let row = 0; row < rows; row++) {
    const line = values.subarray(row * columns, (row + 1) * columns);
    const scale = (scales[row] = line.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / LEVELS);
    if (scale > 0) for (let c = 0; c < columns; c++) ints[row * columns + c] = Math.round(line[c]! / scales[row]!);
  }
  return { ints, scales };
}
