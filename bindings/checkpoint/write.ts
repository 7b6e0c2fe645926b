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

/** Where a file's data goes, before there is any. */
export interface Layout<Entry> {
  /** The length and the JSON; the data follows at a multiple of 8 bytes. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** In the order of the data: widest elements first, then by name. */
  readonly sorted: readonly Entry[];
  /** Of the whole file. */
  readonly byteLength: number;
}

/** The beginning of a file, for writers that have one tensor at a time. */
export function safetensorsLayout<Entry extends Omit<WriteEntry, "data">>(
  entries: readonly Entry[], metadata?: Readonly<Record<string, string>>,
): Layout<Entry> {
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
      if (typeof text !== "string")
        throw new TypeError(`metadata ${quote(key)} is a ${typeof text}, expected a string`);
    }
    fields.push(`"__metadata__":${JSON.stringify(metadata)}`);
  }
  let dataBytes = 0;
  for (const { name, dtype, shape } of sorted) {
    const end = dataBytes + tensorBytes(dtype, shape)!;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [dataBytes, end] })}`);
    dataBytes = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const header = new Uint8Array(8 + Math.ceil(json.byteLength / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(json, 8);
  return { header, sorted, byteLength: header.length + dataBytes };
}

/** A whole file: widest elements first, then by name; the data begins at a multiple of 8 bytes. */
export function safetensorsBytes(
  entries: readonly WriteEntry[], metadata?: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  for (const entry of entries) checkData(entry);
  const { header, sorted, byteLength } = safetensorsLayout(entries, metadata);
  const file = new Uint8Array(byteLength);
  file.set(header);
  let at = header.length;
  for (const { data } of sorted) {
    file.set(data, at);
    at += data.byteLength;
  }
  return file;
}

function check({ name, dtype, shape }: Omit<WriteEntry, "data">): void {
  if (typeof name !== "string") throw new TypeError(`a tensor's name is a ${typeof name}, expected a string`);
  if (name === "__metadata__")
    throw new RangeError(`a tensor is named "__metadata__", which the format keeps for itself: rename it`);
  if (!isDType(dtype))
    throw new TypeError(`${quote(name)} has dtype ${quote(String(dtype))}, expected one of safetensors' such as "F16"`);
  const fault =
    shapeFault(shape)
    ?? (tensorBytes(dtype, shape) === undefined ? `shape ${formatShape(shape)}, no whole number of bytes` : undefined);
  if (fault) throw new RangeError(`${quote(name)} has ${fault}, expected an array of whole numbers`);
}

function checkData(entry: WriteEntry): void {
  check(entry);
  const { name, dtype, shape, data } = entry;
  if (!(data instanceof Uint8Array))
    throw new TypeError(`${quote(name)} has no bytes, expected its data as Uint8Array`);
  const expected = tensorBytes(dtype, shape);
  if (data.byteLength !== expected) {
    throw new RangeError(
      `${quote(name)} has ${data.byteLength} bytes of data, expected ${expected} for ${dtype} `
        + `${formatShape(shape)}: check its shape`,
    );
  }
}
