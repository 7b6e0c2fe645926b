// Checkpoints that are in memory already.
import { Checkpoint } from "./checkpoint.ts";
import { formatShape, isDType, shapeFault, tensorBytes } from "./dtype.ts";
import { quote } from "./names.ts";
import { checkedEnd } from "./stored.ts";
import type { Stored } from "./tensors.ts";

export type MemoryEntry =
  | { readonly shape: readonly number[]; readonly data: Float32Array | Float64Array }
  | { readonly shape: readonly number[]; readonly data: Uint8Array; readonly dtype: string };

/** A checkpoint of tensors in memory: floats, or raw little-endian bytes with their dtype. Nothing is copied. */
export function memoryCheckpoint(entries: Readonly<Record<string, MemoryEntry>>, name = "memory"): Checkpoint {
  const stored = new Map<string, Stored>();
  for (const [tensor, entry] of Object.entries(entries)) stored.set(tensor, storedInMemory(name, tensor, entry));
  return new Checkpoint(name, stored, new Map(), []);
}

function storedInMemory(file: string, name: string, entry: MemoryEntry): Stored {
  const { shape, data } = entry;
  const dtype =
    data instanceof Float32Array
      ? "F32"
      : data instanceof Float64Array
        ? "F64"
        : "dtype" in entry
          ? entry.dtype
          : undefined;
  if (!ArrayBuffer.isView(data))
    throw new TypeError(`${quote(name)} has no data, expected Float32Array, Float64Array, or Uint8Array with a dtype`);
  if (!isDType(dtype))
    throw new TypeError(`${quote(name)} has dtype ${quote(String(dtype))}, expected one of safetensors' such as "F16"`);
  const fault = shapeFault(shape);
  if (fault) throw new RangeError(`${quote(name)} has ${fault}, expected an array of whole numbers`);
  const expected = tensorBytes(dtype, shape);
  if (data.byteLength !== expected) {
    throw new RangeError(
      `${quote(name)} has ${data.byteLength} bytes of data, expected ${expected} for ${dtype} `
        + `${formatShape(shape)}: check its shape`,
    );
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dtype, shape: [...shape], byteLength: data.byteLength, file, read: async (into, from = 0) => {
    if (!into) return bytes;
    into.set(bytes.subarray(from, checkedEnd(name, from + into.length, bytes.length)));
    return into;
  } };
}
