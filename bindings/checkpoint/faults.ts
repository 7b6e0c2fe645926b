// What is wrong with a file, or with its header. Loaded when a file is refused, or looks odd.
import { formatShape, isDType, shapeFault, tensorBytes } from "./dtype.ts";
import { quote } from "./names.ts";
import type { Entry } from "./safetensors.ts";

const damaged = "the file is damaged or was not written by safetensors";

/** The error for a file that is no safetensors file, which says what it is instead, where its first bytes show it. */
export function foreign(name: string, prefix: Uint8Array, isPth: boolean, headerBytes: number): RangeError {
  const text = String.fromCharCode(...prefix);
  const elsewhere = "which is not read here: use the safetensors or PyTorch file of the same model";
  // protocol buffers: a small version, then a producer or a graph; a tensor, then its name
  const isOnnx = prefix[0] === 0x08 && prefix[1]! < 32 && [0x12, 0x3a].includes(prefix[2]!);
  const isMindSpore = prefix[0] === 0x0a && prefix.subarray(2, 6).includes(0x0a);
  const what = isPth ? "a PyTorch file, not a safetensors file: give it by itself"
    : text.startsWith("version ") ? "a Git LFS pointer: run git lfs pull for the weights"
    : /^\s*</.test(text) ? "a web page: check the address that it came from"
    : text.startsWith("GGUF") ? `a GGUF file, ${elsewhere}`
    : text.startsWith("\x89HDF") ? `an HDF5 file, such as Keras writes, ${elsewhere}`
    : isOnnx ? `an ONNX file, ${elsewhere}`
    : isMindSpore ? `a MindSpore checkpoint, ${elsewhere}`
    : `not a safetensors file, its header would have ${headerBytes} bytes: check the path, or download it again`;
  return new RangeError(`${name} is ${what}`);
}

/** The error for a file whose header, up to `begin`, or whose tensors, if that could be read, do not fit its size. */
export function lengthFault(
  name: string, size: number, begin: number, entries: readonly Entry[] | undefined,
): RangeError {
  if (size < 8) return new RangeError(`${name} has ${size} bytes, too few for a safetensors file: download it again`);
  const last = entries?.reduce<Entry | undefined>((a, b) => (a && a.end >= b.end ? a : b), undefined);
  const end = last?.end ?? begin, part = last ? `tensor ${quote(last.name)}` : "its header";
  if (end > size) {
    const missing = `${end - size} missing`;
    return new RangeError(`${name} is cut off: ${part} ends at byte ${end} but the file has ${size} bytes, ${missing}: `
      + "download it again");
  }
  const over = `${size - end} too many`;
  return new RangeError(`${name} has ${size} bytes but its tensors end at byte ${end}, ${over}: ${damaged}`);
}

/**
 * What is wrong with a header that was refused; undefined where it was not, and nothing is.
 * @param many  that it has more parts than these
 */
export function headerFault(
  file: string, json: Uint8Array, many: number | undefined, refused: boolean,
): Error | undefined {
  if (many !== undefined) {
    const parts = `a header of more than ${many} parts, some 100,000 tensors`;
    return new RangeError(`${file} has ${parts}: split it into shards`);
  }
  let text: string, root: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(json);
    root = JSON.parse(text);
  } catch (error) {
    // the parser's message would quote the file, escape sequences and all
    const fault = error instanceof SyntaxError ? "JSON" : "UTF-8 text that fits in memory";
    return new TypeError(`${file} is not a safetensors file, its header is no ${fault}: download it again`, {
      cause: error,
    });
  }
  if (!isObject(root)) {
    const why = `its header is ${kindOf(root)}, expected an object`;
    return new TypeError(`${file} is not a safetensors file, ${why}: download it again`);
  }
  const repeated = repeatedKey(text);
  if (repeated !== undefined) return new RangeError(`${file} has ${quote(repeated)} twice in its header: ${damaged}`);
  const places: Entry[] = [];
  for (const [name, value] of Object.entries(root)) {
    const fault = name === "__metadata__"
      ? metadataFault(file, value)
      : entryFault(file, name, value, 8 + json.length, places);
    if (fault) return fault;
  }
  places.sort((a, b) => a.begin - b.begin || a.end - b.end);
  for (const [i, entry] of places.entries()) {
    const last = places[i - 1];
    if (!last || entry.begin >= last.end) continue;
    const both = `tensors ${quote(last.name)} and ${quote(entry.name)}`;
    return new RangeError(`${file}: ${both} overlap at byte ${entry.begin}: ${damaged}`);
  }
  return refused ? new RangeError(`${file} has a header that cannot be read: ${damaged}`) : undefined;
}

function metadataFault(file: string, value: unknown): TypeError | undefined {
  if (!isObject(value)) {
    return new TypeError(
      `${file}: "__metadata__" is ${kindOf(value)}, expected an object of strings: write the file again`,
    );
  }
  const stray = Object.entries(value).find(([, text]) => typeof text !== "string");
  return stray && new TypeError(
    `${file}: "__metadata__" has ${kindOf(stray[1])} for ${quote(stray[0])}, expected a string: write the file again`,
  );
}

/** `places` gets where it lies, if it takes any bytes. */
function entryFault(file: string, name: string, value: unknown, dataBegin: number, places: Entry[]): Error | undefined {
  const bad = (what: string, Kind: ErrorConstructor = RangeError): Error =>
    new Kind(`${file}: tensor ${quote(name)} has ${what}: ${damaged}`);
  if (!isObject(value)) return bad(`${kindOf(value)} for an entry, expected an object`, TypeError);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") return bad(`${kindOf(dtype)} for a dtype, expected a string`, TypeError);
  if (!Array.isArray(shape)) return bad(`${kindOf(shape)} for a shape, expected an array`, TypeError);
  if (!Array.isArray(offsets) || offsets.length !== 2) return bad("no data_offsets of two numbers", TypeError);
  const fault = shapeFault(shape);
  if (fault) return bad(fault);
  const [from, to] = offsets as unknown[];
  if (!isOffset(from) || !isOffset(to) || !Number.isSafeInteger(dataBegin + to)) {
    return bad("data_offsets that are no whole numbers");
  }
  if (from > to) return bad(`data_offsets [${from}, ${to}], which end before they begin`);
  const bytes = isDType(dtype) ? tensorBytes(dtype, shape) : to - from;
  if (bytes !== to - from) {
    const expected = bytes ?? "a whole number below 2^53";
    return bad(`${to - from} bytes, expected ${expected} for ${dtype} ${formatShape(shape)}`);
  }
  if (from < to) places.push({ name, dtype, shape, begin: dataBegin + from, end: dataBegin + to });
  return undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isOffset = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/** The first key that some object of a valid JSON text has twice. */
function repeatedKey(text: string): string | undefined {
  const open: Set<string>[] = [];
  let from = 0, to = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{" || character === "[") open.push(new Set());
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      from = i;
      while (text[++i] !== '"') if (text[i] === "\\") i++;
      to = i + 1;
    } else if (character === ":") {
      const key = JSON.parse(text.slice(from, to)) as string, keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

/** What is wrong with the address of a checkpoint: `shown`, of this protocol, or no URL at all. */
export function addressFault(shown: string | undefined, protocol = ""): Error {
  if (shown === undefined) {
    return new TypeError("the address of a checkpoint is no URL: expected http://… or https://…");
  }
  if (!/^https?:$/.test(protocol)) {
    return new RangeError(`the address of a checkpoint begins with ${protocol}, expected https: or http:`);
  }
  return new RangeError(`the address of ${shown} holds a password: pass it in headers.authorization`);
}

/** What is wrong with the options of a request: its fetch, or else its headers. */
export function requestFault(fetch: unknown): TypeError {
  if (typeof fetch !== "function") return new TypeError("fetch is no function, expected one like the host's own");
  // the engine's error would show the value
  const expected = 'expected strings such as { authorization: "Bearer …" }';
  return new TypeError(`headers has a name or a value that HTTP does not allow, ${expected}`);
}

export const rangeFault = (name: string, size: number, begin: number, end: number): RangeError =>
  new RangeError(`cannot read bytes ${begin} to ${end} of ${name}, expected a range within its ${size} bytes`);

export const chunkFault = (name: string, chunk: unknown): TypeError =>
  new TypeError(`${name} is a stream of ${typeof chunk}, expected Uint8Array chunks`);
