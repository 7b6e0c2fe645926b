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

export async function readHeader(source: ByteSource): Promise<Header> {
  const { name, size } = source;
  if (size < 8) throw new RangeError(`${name} has ${size} bytes, too few for a safetensors file: download it again`);
  const prefix = await readExactly(source, 0, 8);
  const [low, high] = [0, 4].map((at) => new DataView(prefix.buffer, prefix.byteOffset + at, 4).getUint32(0, true));
  const length = high * 2 ** 32 + low;
  if (length > maxHeaderBytes || length < 2) {
    throw new RangeError(`${name} is not a safetensors file, its header would have ${length} bytes: ${whatElse(prefix)}`);
  }
  if (8 + length > size) {
    throw new RangeError(`${name} is cut off: its header ends at byte ${8 + length} but the file has ${size} bytes, ${8 + length - size} missing: download it again`);
  }
  const json = await readExactly(source, 8, 8 + length);
  // a header shorter than the limit cannot have more parts than bytes
  if (json.length > maxJsonParts && countParts(json) > maxJsonParts) throw new RangeError(`${name} has a header of more than ${maxJsonParts} parts, some 100,000 tensors: split it into shards`);
  const root = parseJson(name, json);
  if (!isObject(root)) throw new TypeError(`${name} is not a safetensors file, its header is ${kindOf(root)}, expected an object: ${whatElse(prefix)}`);

  const entries: Entry[] = [];
  let metadata = new Map<string, string>();
  // own keys, read one by one into a Map: "__proto__" and "constructor" are names like any other
  for (const key of Object.keys(root)) {
    if (key === "__metadata__") metadata = readMetadata(name, root[key]);
    else entries.push(readEntry(name, key, root[key], 8 + length));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkPlaces(name, size, entries);
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata };
}

/** Whether a file is one of torch.save, by its first bytes: a zip archive or a pickle, whose length of a header would be gigabytes. */
export async function isPth(source: ByteSource): Promise<boolean> {
  if (source.size < 8) return false;
  const prefix = await readExactly(source, 0, 8), view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  if (view.getUint32(0, true) === 0x04034b50) return true;
  return prefix[0] === 0x80 && prefix[1]! >= 2 && prefix[1]! <= 5 && view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true) > maxHeaderBytes;
}

/** Reads [begin, end), whatever the source was told to promise. */
export async function readExactly(source: ByteSource, begin: number, end: number, into?: Uint8Array): Promise<Uint8Array> {
  const bytes = await source.read(begin, end, into);
  if (bytes.byteLength !== end - begin) {
    throw new RangeError(`${source.name} gave ${bytes.byteLength} bytes from byte ${begin}, expected ${end - begin}: it changed or was cut off; open it again`);
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

function parseJson(file: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    // the parser's message would quote the file, escape sequences and all
    const fault = error instanceof SyntaxError ? "JSON" : "UTF-8 text that fits in memory";
    throw new TypeError(`${file} is not a safetensors file, its header is no ${fault}: download it again`, { cause: error });
  }
}

function readMetadata(file: string, value: unknown): Map<string, string> {
  if (!isObject(value)) throw new TypeError(`${file}: "__metadata__" is ${kindOf(value)}, expected an object of strings: write the file again`);
  const metadata = new Map<string, string>();
  for (const key of Object.keys(value)) {
    const text = value[key];
    if (typeof text !== "string") {
      throw new TypeError(`${file}: "__metadata__" has ${kindOf(text)} for ${quote(key)}, expected a string: write the file again`);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function readEntry(file: string, name: string, value: unknown, dataBegin: number): Entry {
  const bad = (what: string, Kind: ErrorConstructor = RangeError): Error =>
    new Kind(`${file}: tensor ${quote(name)} has ${what}: the file is damaged or was not written by safetensors`);
  if (!isObject(value)) throw bad(`${kindOf(value)} for an entry, expected an object`, TypeError);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw bad(`${kindOf(dtype)} for a dtype, expected a string`, TypeError);
  if (!Array.isArray(shape)) throw bad(`${kindOf(shape)} for a shape, expected an array`, TypeError);
  if (!Array.isArray(offsets) || offsets.length !== 2) throw bad("no data_offsets of two numbers", TypeError);
  const fault = shapeFault(shape);
  if (fault) throw bad(fault);
  const [from, to] = offsets as unknown[];
  if (!isOffset(from) || !isOffset(to) || !Number.isSafeInteger(dataBegin + to)) throw bad("data_offsets that are no whole numbers");
  if (from > to) throw bad(`data_offsets [${from}, ${to}], which end before they begin`);
  if (isDType(dtype)) {
    const bytes = tensorBytes(dtype, shape);
    if (bytes !== to - from) {
      throw bad(`${to - from} bytes, expected ${bytes ?? "a whole number below 2^53"} for ${dtype} ${formatShape(shape)}`);
    }
  }
  return { name, dtype, shape, begin: dataBegin + from, end: dataBegin + to };
}

/** Each tensor lies in the file and no two share bytes. Holes, which the format forbids too, do no harm. */
function checkPlaces(file: string, size: number, sorted: readonly Entry[]): void {
  let last: Entry | undefined;
  let furthest: Entry | undefined;
  for (const entry of sorted) {
    if (!furthest || entry.end > furthest.end) furthest = entry;
    if (entry.begin === entry.end) continue;
    if (last && entry.begin < last.end) {
      throw new RangeError(`${file}: tensors ${quote(last.name)} and ${quote(entry.name)} overlap at byte ${entry.begin}: the file is damaged or was not written by safetensors`);
    }
    last = entry;
  }
  if (furthest && furthest.end > size) {
    throw new RangeError(
      `${file} is cut off: tensor ${quote(furthest.name)} ends at byte ${furthest.end} but the file has ${size} bytes, ${furthest.end - size} missing: download it again`,
    );
  }
}

/** What a file that is none may be instead, from its first bytes. */
function whatElse(prefix: Uint8Array): string {
  const text = String.fromCharCode(...prefix);
  if (text.startsWith("version ")) return "it is a Git LFS pointer, run `git lfs pull` for the weights";
  if (text.startsWith("PK\x03\x04") || text.startsWith("\x80\x02")) return "it looks like a PyTorch .pth file, give it by itself";
  if (prefix[0] === 0x0a || prefix[0] === 0x08) return "it may be a MindSpore or ONNX file, which are not read here; use the safetensors or PyTorch file of the same model";
  if (text.startsWith("GGUF")) return "it is a GGUF file, use the safetensors file of the same model";
  if (/^\s*</.test(text)) return "it looks like a web page, check the address that it came from";
  return "check the path, or download it again";
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
