// Writes safetensors, byte for byte as the reference writer does.
import { compareDTypes, formatShape, isDType, shapeFault, tensorBytes } from "./dtype.ts";
import type { DType } from "./dtype.ts";
import { quote } from "./names.ts";

export interface WriteEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Raw little-endian bytes. */
  readonly data: Uint8Array;
}

/** A whole file: widest elements first, then by name; the data begins at a multiple of 8 bytes. */
export function safetensorsBytes(entries: readonly WriteEntry[], metadata?: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const names = new Set<string>();
  for (const entry of entries) {
    check(entry);
    if (names.has(entry.name)) throw new RangeError(`two tensors are named ${quote(entry.name)}: rename one`);
    names.add(entry.name);
  }
  const sorted = [...entries].sort((a, b) => compareDTypes(a.dtype, b.dtype) || (a.name < b.name ? -1 : 1));

  // joined as text: in an object, names such as "0" would move and "__proto__" would vanish
  const fields: string[] = [];
  if (metadata) {
    for (const [key, text] of Object.entries(metadata)) {
      if (typeof text !== "string") throw new TypeError(`metadata ${quote(key)} is a ${typeof text}, expected a string`);
    }
    fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  }
  let dataBytes = 0;
  for (const { name, dtype, shape, data } of sorted) {
    const end = dataBytes + data.byteLength;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [dataBytes, end] })}`);
    dataBytes = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerBytes = Math.ceil(json.byteLength / 8) * 8;

  const file = new Uint8Array(8 + headerBytes + dataBytes);
  new DataView(file.buffer).setUint32(0, headerBytes, true);
  file.set(json, 8);
  file.fill(0x20, 8 + json.byteLength, 8 + headerBytes);
  let at = 8 + headerBytes;
  for (const { data } of sorted) {
    file.set(data, at);
    at += data.byteLength;
  }
  return file;
}

function check({ name, dtype, shape, data }: WriteEntry): void {
  if (typeof name !== "string") throw new TypeError(`a tensor's name is a ${typeof name}, expected a string`);
  if (name === "__metadata__") throw new RangeError(`a tensor is named "__metadata__", which the format keeps for itself: rename it`);
  if (!isDType(dtype)) throw new TypeError(`${quote(name)} has dtype ${quote(String(dtype))}, expected one of safetensors' such as "F16"`);
  if (!(data instanceof Uint8Array)) throw new TypeError(`${quote(name)} has no bytes, expected its data as Uint8Array`);
  const fault = shapeFault(shape);
  if (fault) throw new RangeError(`${quote(name)} has ${fault}, expected an array of whole numbers`);
  const expected = tensorBytes(dtype, shape);
  if (data.byteLength !== expected) {
    throw new RangeError(`${quote(name)} has ${data.byteLength} bytes of data, expected ${expected} for ${dtype} ${formatShape(shape)}: check its shape`);
  }
}
