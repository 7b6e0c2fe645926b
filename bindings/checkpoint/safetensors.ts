// The safetensors header: a length, then JSON that names each tensor's type, shape and place in the data behind it.
// It comes from strangers, so nothing in it is believed before it has been compared with the file.
import { formatShape, isDType, shapeFault, tensorBytes } from "./dtype.ts";
import { quote } from "./names.ts";
import type { ByteSource } from "./source.ts";

/** Where a tensor lies. `dtype` is as the file spells it: an unknown one matters only when that tensor is asked for. */
export interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes [begin, end) of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of the data. */
  readonly entries: Map<string, Entry>;
  readonly metadata: Map<string, string>;
}

// the reference implementation's limit
const maxHeaderBytes = 100_000_000;
// commas and opening brackets, about ten a tensor: beyond 100,000 tensors parsing takes seconds and gigabytes
const maxJsonParts = 1 << 20;
const damaged = "the file is damaged or was not written by safetensors";

export async function readHeader(source: ByteSource): Promise<Header> {
  const { name, size } = source;
  if (size < 8) throw new RangeError(`${name} has ${size} bytes, too few for a safetensors file: download it again`);
  const begin = await dataBegin(name, await readExactly(source, 0, 8));
  if (begin > size) throw cutOff(name, "its header", begin, size);
  const header = await parseHeader(name, await readExactly(source, 8, begin)), end = endOf(header, begin);
  if (end > size) {
    const last = [...header.entries.values()].find((entry) => entry.end === end)!;
    throw cutOff(name, `tensor ${quote(last.name)}`, end, size);
  }
  if (end < size) {
    const over = `${size - end} too many`;
    throw new RangeError(`${name} has ${size} bytes but its tensors end at byte ${end}, ${over}: ${damaged}`);
  }
  return header;
}

function cutOff(file: string, part: string, end: number, size: number): RangeError {
  const missing = `${end - size} missing`;
  return new RangeError(
    `${file} is cut off: ${part} ends at byte ${end} but the file has ${size} bytes, ${missing}: download it again`,
  );
}

/**
 * What the first bytes of a file, eight or more, tell of its length: where it ends, or how many of them tell more.
 * Infinity: PyTorch's files do not say. Throws for what is no checkpoint.
 */
export async function lengthTold(
  name: string, first: Uint8Array,
): Promise<{ readonly end: number } | { readonly need: number }> {
  if (isPthPrefix(first)) return { end: Infinity };
  const begin = await dataBegin(name, first.subarray(0, 8));
  if (first.length < begin) return { need: begin };
  return { end: endOf(await parseHeader(name, first.subarray(8, begin)), begin) };
}

/** Where the data begins, by the first eight bytes. */
async function dataBegin(name: string, prefix: Uint8Array): Promise<number> {
  const length = headerBytes(prefix);
  if (length >= 2 && length <= maxHeaderBytes) return 8 + length;
  const { foreign } = await import("./faults.ts");
  throw foreign(name, prefix, isPthPrefix(prefix), length);
}

function headerBytes(prefix: Uint8Array): number {
  const view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  return view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
}

async function parseHeader(name: string, json: Uint8Array): Promise<Header> {
  // a header shorter than the limit cannot have more parts than bytes
  if (json.length > maxJsonParts && countParts(json) > maxJsonParts) {
    const many = `a header of more than ${maxJsonParts} parts, some 100,000 tensors`;
    throw new RangeError(`${name} has ${many}: split it into shards`);
  }
  const root = await parseJson(name, json);
  const entries: Entry[] = [];
  let metadata = new Map<string, string>();
  // own keys, read one by one into a Map: "__proto__" and "constructor" are names like any other
  for (const key of Object.keys(root)) {
    if (key === "__metadata__") metadata = readMetadata(name, root[key]);
    else entries.push(readEntry(name, key, root[key], 8 + json.length));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkPlaces(name, entries);
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata };
}

function endOf({ entries }: Header, begin: number): number {
  let end = begin;
  for (const entry of entries.values()) end = Math.max(end, entry.end);
  return end;
}

/**
 * Whether a file is one of torch.save, by its first bytes: a zip archive or a pickle, whose length of a header would be
 * gigabytes.
 */
export async function isPth(source: ByteSource): Promise<boolean> {
  return source.size >= 8 && isPthPrefix(await readExactly(source, 0, 8));
}

function isPthPrefix(prefix: Uint8Array): boolean {
  if (new DataView(prefix.buffer, prefix.byteOffset, 8).getUint32(0, true) === 0x04034b50) return true;
  return prefix[0] === 0x80 && prefix[1]! >= 2 && prefix[1]! <= 5 && headerBytes(prefix) > maxHeaderBytes;
}

/** Reads [begin, end), whatever the source was told to promise. */
export async function readExactly(
  source: ByteSource, begin: number, end: number, into?: Uint8Array,
): Promise<Uint8Array> {
  const bytes = await source.read(begin, end, into);
  if (bytes.byteLength !== end - begin) {
    throw new RangeError(
      `${source.name} gave ${bytes.byteLength} bytes from byte ${begin}, expected ${end - begin}: it changed `
        + "or was cut off; open it again",
    );
  }
  if (!into || bytes === into) return bytes;
  into.set(bytes);
  return into;
}

function countParts(json: Uint8Array): number {
  let parts = 0;
  // "," "[" "{"
  for (let i = 0; i < json.length; i++) if (json[i] === 0x2c || json[i] === 0x5b || json[i] === 0x7b) parts++;
  return parts;
}

async function parseJson(file: string, bytes: Uint8Array): Promise<Record<string, unknown>> {
  let text: string, root: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    root = JSON.parse(text);
  } catch (error) {
    // the parser's message would quote the file, escape sequences and all
    const fault = error instanceof SyntaxError ? "JSON" : "UTF-8 text that fits in memory";
    throw new TypeError(`${file} is not a safetensors file, its header is no ${fault}: download it again`, {
      cause: error,
    });
  }
  if (!isObject(root)) {
    const why = `its header is ${kindOf(root)}, expected an object`;
    throw new TypeError(`${file} is not a safetensors file, ${why}: download it again`);
  }
  // of equal keys the parser keeps the last: it has dropped none where there are no more colons than keys
  let keys = 0;
  for (const at of [root, ...Object.values(root)]) if (isObject(at)) keys += Object.keys(at).length;
  if (text.split(":").length - 1 === keys) return root;
  const repeated = (await import("./faults.ts")).repeatedKey(text);
  if (repeated !== undefined) throw new RangeError(`${file} has ${quote(repeated)} twice in its header: ${damaged}`);
  return root;
}

function readMetadata(file: string, value: unknown): Map<string, string> {
  if (!isObject(value))
    throw new TypeError(
      `${file}: "__metadata__" is ${kindOf(value)}, expected an object of strings: write the file again`,
    );
  const metadata = new Map<string, string>();
  for (const key of Object.keys(value)) {
    const text = value[key];
    if (typeof text !== "string") {
      throw new TypeError(
        `${file}: "__metadata__" has ${kindOf(text)} for ${quote(key)}, expected a string: write the file again`,
      );
    }
    metadata.set(key, text);
  }
  return metadata;
}

function readEntry(file: string, name: string, value: unknown, dataBegin: number): Entry {
  const bad = (what: string, Kind: ErrorConstructor = RangeError): Error =>
    new Kind(`${file}: tensor ${quote(name)} has ${what}: ${damaged}`);
  if (!isObject(value)) throw bad(`${kindOf(value)} for an entry, expected an object`, TypeError);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw bad(`${kindOf(dtype)} for a dtype, expected a string`, TypeError);
  if (!Array.isArray(shape)) throw bad(`${kindOf(shape)} for a shape, expected an array`, TypeError);
  if (!Array.isArray(offsets) || offsets.length !== 2) throw bad("no data_offsets of two numbers", TypeError);
  const fault = shapeFault(shape);
  if (fault) throw bad(fault);
  const [from, to] = offsets as unknown[];
  if (!isOffset(from) || !isOffset(to) || !Number.isSafeInteger(dataBegin + to))
    throw bad("data_offsets that are no whole numbers");
  if (from > to) throw bad(`data_offsets [${from}, ${to}], which end before they begin`);
  if (isDType(dtype)) {
    const bytes = tensorBytes(dtype, shape);
    if (bytes !== to - from) {
      throw bad(
        `${to - from} bytes, expected ${bytes ?? "a whole number below 2^53"} for ${dtype} ${formatShape(shape)}`,
      );
    }
  }
  return { name, dtype, shape, begin: dataBegin + from, end: dataBegin + to };
}

/** No two tensors share bytes. Holes, which the format forbids too, do no harm. */
function checkPlaces(file: string, sorted: readonly Entry[]): void {
  let last: Entry | undefined;
  for (const entry of sorted) {
    if (entry.begin === entry.end) continue;
    if (last && entry.begin < last.end) {
      const both = `tensors ${quote(last.name)} and ${quote(entry.name)}`;
      throw new RangeError(`${file}: ${both} overlap at byte ${entry.begin}: ${damaged}`);
    }
    last = entry;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isOffset(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}
