// The safetensors header: a length, then JSON that names each tensor's type, shape and place in the data behind it.
// It comes from strangers, so nothing in it is believed before it has been compared with the file.
// Why something is refused is found by a second look, in faults.ts.
import { isDType, isShape, tensorBytes } from "./dtype.ts";
import { wanted } from "./read-ahead.ts";
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
  let begin = 8, header: Header | undefined;
  if (size >= begin) begin = await dataBegin(name, await readExactly(source, 0, 8));
  if (size >= begin) {
    header = await parseHeader(name, await readExactly(source, 8, begin));
    if (endOf(header, begin) === size) return header;
  }
  throw (await import("./faults.ts")).lengthFault(name, size, begin, header && [...header.entries.values()]);
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
  throw (await import("./faults.ts")).foreign(name, prefix, isPthPrefix(prefix), length);
}

function headerBytes(prefix: Uint8Array): number {
  const view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  return view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
}

async function parseHeader(name: string, json: Uint8Array): Promise<Header> {
  // a header shorter than the limit cannot have more parts than bytes
  const many = json.length > maxJsonParts && countParts(json) > maxJsonParts;
  const header = many ? undefined : headerOf(json);
  if (header && !header.odd) return header;
  const fault = (await import("./faults.ts")).headerFault(name, json, many ? maxJsonParts : undefined, !header);
  if (fault) throw fault;
  return header!;
}

/** What a header says; undefined where something in it is wrong, `odd` where the parser may have dropped something. */
function headerOf(json: Uint8Array): (Header & { readonly odd: boolean }) | undefined {
  let text: string, root: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    root = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(root)) return undefined;
  const entries: Entry[] = [], metadata = new Map<string, string>();
  // of equal keys the parser keeps the last: it has dropped none where there are no more colons than keys
  let keys = 0;
  // own keys, read one by one into a Map: "__proto__" and "constructor" are names like any other
  for (const [name, value] of Object.entries(root)) {
    if (!isObject(value)) return undefined;
    keys += 1 + Object.keys(value).length;
    if (name === "__metadata__") {
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== "string") return undefined;
        metadata.set(key, text);
      }
    } else {
      const entry = entryOf(name, value, 8 + json.length);
      if (!entry) return undefined;
      entries.push(entry);
    }
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  // no two tensors share bytes; holes, which the format forbids too, do no harm
  let end = 0;
  for (const entry of entries) {
    if (entry.begin === entry.end) continue;
    if (entry.begin < end) return undefined;
    end = entry.end;
  }
  const odd = text.split(":").length - 1 !== keys;
  return { entries: new Map(entries.map((entry) => [entry.name, entry])), metadata, odd };
}

function entryOf(name: string, given: Record<string, unknown>, dataBegin: number): Entry | undefined {
  const { dtype, shape, data_offsets: offsets } = given;
  if (typeof dtype !== "string" || !isShape(shape) || !Array.isArray(offsets) || offsets.length !== 2) return undefined;
  const [from, to] = offsets as [number, number];
  // looked at before they are added: of a list that sum would be a text
  if (![from, to].every(Number.isSafeInteger) || from < 0 || from > to) return undefined;
  const begin = dataBegin + from, end = dataBegin + to;
  if (!Number.isSafeInteger(end)) return undefined;
  if (isDType(dtype) && tensorBytes(dtype, shape) !== to - from) return undefined;
  return { name, dtype, shape, begin, end };
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
  const bytes = wanted(source.name, await source.read(begin, end, into), begin, end);
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
