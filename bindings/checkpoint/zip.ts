// The directory of a zip archive, as torch.save writes it: entries stored as they are, ZIP64 where sizes or offsets
// need it. Only the end of the file is read here; where an entry's bytes begin is looked up when they are asked for.
import { quote } from "./names.ts";
import { readExactly } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";

export interface ZipEntry {
  readonly name: string;
  readonly byteLength: number;
  /** Where the entry's own header lies, in front of its bytes. */
  readonly header: number;
}

const END = 0x06054b50, END64 = 0x06064b50, LOCATOR64 = 0x07064b50, CENTRAL = 0x02014b50, LOCAL = 0x04034b50;
const endBytes = 22, locatorBytes = 20, end64Bytes = 56, centralBytes = 46, localBytes = 30;
const maxComment = 0xffff;
// some 100,000 tensors, as in safetensors
const maxEntries = 1 << 17, maxDirectoryBytes = 32 << 20;

const unmendable = "the file is damaged or was not written by torch.save";

/** All files of the archive by name. Entries that are compressed or encrypted are an error. */
export async function readZipDirectory(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const { name: file, size } = source;
  const { count, begin, end } = await findDirectory(source);
  if (count > maxEntries)
    throw new RangeError(`${file} has ${count} entries, expected at most ${maxEntries}: split it`);
  if (begin > end || end > size || end - begin > maxDirectoryBytes || count * centralBytes > end - begin) {
    throw new RangeError(
      `${file}: its directory would lie at bytes ${begin} to ${end} of ${size} for ${count} entries: ${unmendable}`,
    );
  }
  const bytes = await readExactly(source, begin, end), view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0, i = 0; i < count; i++) {
    const bad = (what: string): RangeError =>
      new RangeError(`${file}: entry ${i} of its directory ${what}: ${unmendable}`);
    if (at + centralBytes > bytes.length || view.getUint32(at, true) !== CENTRAL) throw bad("is none");
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => view.getUint16(at + field, true)) as [
      number, number, number,
    ];
    const next = at + centralBytes + nameBytes + extraBytes + commentBytes;
    if (next > bytes.length) throw bad("is cut off");
    const name = new TextDecoder().decode(bytes.subarray(at + centralBytes, at + centralBytes + nameBytes));
    const extra = bytes.subarray(at + centralBytes + nameBytes, at + centralBytes + nameBytes + extraBytes);
    const [packed, byteLength, header] = wideFields(view, at, extra) ?? [];
    if (packed === undefined || byteLength === undefined || header === undefined)
      throw bad("has sizes that are no whole numbers below 2^53");
    const flags = view.getUint16(at + 8, true), method = view.getUint16(at + 10, true);
    if (flags & 1)
      throw new RangeError(`${file}: ${quote(name)} is encrypted: save the checkpoint again with torch.save`);
    // a folder's entry holds nothing, however it is stored
    if (method !== 0 && byteLength > 0)
      throw new RangeError(
        `${file}: ${quote(name)} is compressed, which torch.save never does: unpack it and save the checkpoint again`,
      );
    if (packed !== byteLength) throw bad(`has ${packed} bytes for a file of ${byteLength}`);
    if (header + localBytes + byteLength > begin)
      throw bad(`would end at byte ${header + localBytes + byteLength}, beyond the ${begin} bytes of data`);
    entries.set(name, { name, byteLength, header });
    at = next;
  }
  return entries;
}

/** Where an entry's bytes begin. */
export async function zipEntryBegin(source: ByteSource, { name, byteLength, header }: ZipEntry): Promise<number> {
  const view = viewOf(await readExactly(source, header, header + localBytes));
  const begin = header + localBytes + view.getUint16(26, true) + view.getUint16(28, true);
  if (view.getUint32(0, true) !== LOCAL || begin + byteLength > source.size) {
    throw new RangeError(`${source.name}: there is no entry ${quote(name)} at byte ${header}: ${unmendable}`);
  }
  return begin;
}

/** The directory's place by the record at the end of the file. */
async function findDirectory(source: ByteSource): Promise<{ count: number; begin: number; end: number }> {
  const { name: file, size } = source;
  const from = Math.max(0, size - endBytes - maxComment - locatorBytes);
  const tail = await readExactly(source, from, size), view = viewOf(tail);
  let at = tail.length - endBytes;
  // its comment reaches to the end of the file exactly, unless these bytes are part of a comment themselves
  while (
    at >= 0
    && !(view.getUint32(at, true) === END && view.getUint16(at + 20, true) === tail.length - at - endBytes)
  )
    at--;
  if (at < 0)
    throw new RangeError(
      `${file} is cut off: it begins as a zip archive but its directory, at the end, is missing: download it again`,
    );
  if (view.getUint16(at + 4, true) !== 0 || view.getUint16(at + 6, true) !== 0) {
    const wide = view.getUint16(at + 4, true) === 0xffff && view.getUint16(at + 6, true) === 0xffff;
    if (!wide) throw new RangeError(`${file} is one part of a zip archive in several: join them first`);
  }
  const [count, length, begin] = [
    view.getUint16(at + 10, true), view.getUint32(at + 12, true), view.getUint32(at + 16, true),
  ];
  const locator = at - locatorBytes;
  if (locator < 0 || view.getUint32(locator, true) !== LOCATOR64) return { count, begin, end: begin + length };
  const place = wholeNumber(view, locator + 8);
  if (place === undefined || place + end64Bytes > from + locator)
    throw new RangeError(`${file}: its ZIP64 directory would begin at byte ${place ?? "2^53 or later"}: ${unmendable}`);
  const wide = viewOf(await readExactly(source, place, place + end64Bytes));
  const [many, long, first] = [wholeNumber(wide, 32), wholeNumber(wide, 40), wholeNumber(wide, 48)];
  if (wide.getUint32(0, true) !== END64 || many === undefined || long === undefined || first === undefined)
    throw new RangeError(`${file} has no ZIP64 directory where it says: ${unmendable}`);
  return { count: many, begin: first, end: first + long };
}

/**
 * Stored size, size and place of an entry: 64-bit ones are in its ZIP64 field, in this order, those that need it only.
 */
function wideFields(view: DataView, at: number, extra: Uint8Array): (number | undefined)[] | undefined {
  const fields = [20, 24, 42].map((field) => view.getUint32(at + field, true));
  if (!fields.includes(0xffffffff)) return fields;
  const wide = viewOf(extra);
  for (let i = 0; i + 4 <= extra.length; i += 4 + wide.getUint16(i + 2, true)) {
    if (wide.getUint16(i, true) !== 1) continue;
    const end = Math.min(i + 4 + wide.getUint16(i + 2, true), extra.length);
    let from = i + 4;
    // the field lists the size before the stored size
    const [length, packed, place] = [fields[1]!, fields[0]!, fields[2]!].map((value) => {
      if (value !== 0xffffffff) return value;
      from += 8;
      return from <= end ? wholeNumber(wide, from - 8) : undefined;
    });
    return [packed, length, place];
  }
  return undefined;
}

function wholeNumber(view: DataView, at: number): number | undefined {
  const value = view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  return Number.isSafeInteger(value) ? value : undefined;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
