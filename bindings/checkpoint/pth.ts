// PyTorch checkpoints: .pth, .pt, .bin and .ckpt files of torch.save, the zip format and the one before PyTorch 1.6.
// Nothing in them is run. The pickle is read at once; tensors are read by range when asked for, as from safetensors.
import { quote, written } from "./names.ts";
import { Opaque, PickleCutOff, PickleFault, unpickle } from "./pickle.ts";
import type { Value } from "./pickle.ts";
import { readExactly } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import { isContiguous, readStrided } from "./strided.ts";
import type { Stored } from "./tensors.ts";
import type { Storage } from "./torch.ts";
import { callTorch, storageOf, TorchFault, TorchTensor } from "./torch.ts";
import type { ZipEntry } from "./zip.ts";
import { readZipDirectory, zipEntryBegin } from "./zip.ts";

export interface PthOptions {
  /**
   * The dict of tensors to take, of a file that holds several, such as "state_dict_ema"; default: "model", then
   * "state_dict" and others.
   */
  readonly dict?: string;
}

export interface Pth {
  /** In the order of the dict. */
  readonly stored: Map<string, Stored>;
  /** `pth.format`, `pth.dict` (which one was taken) and `pth.dicts` (which there were). */
  readonly metadata: Map<string, string>;
}

// a pickle of 6,000 tensors, as a training checkpoint has with its optimizer, has 1 MB
const maxPickleBytes = 64 << 20, firstPickleBytes = 1 << 18;
const budgetBytes = 32 << 20, slackBytes = 64 << 20;
/** The first of these that a file has is taken: what the official evaluation reads, then what others write. */
const dictNames = [
  "model", "state_dict", "model_state_dict", "model_state", "net", "network", "module", "params", "weights",
  "state_dict_ema", "model_ema", "ema",
];
const magic = 0x1950a86a20f9469cfc6cn, legacyProtocol = 1001;

/** Reads and checks a file's pickle; its tensors stay where they are. */
export async function openPth(source: ByteSource, { dict }: PthOptions = {}): Promise<Pth> {
  const zip = (await readExactly(source, 0, Math.min(2, source.size)))[0] === 0x50;
  const { root, place } = zip ? await openZip(source) : await openLegacy(source);
  const { tensors, name, names } = findDict(source.name, root, dict);
  const stored = new Map<string, Stored>();
  for (const [key, tensor] of stripped(tensors)) stored.set(key, storedTensor(source, key, tensor, place));
  // tied weights share bytes; a small file whose tensors are all the same bytes would fill the memory
  const total = [...stored.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (total > 2 * source.size + slackBytes)
    throw new RangeError(
      `${source.name} has ${source.size} bytes for tensors of ${total}: its tensors share more than tied `
        + "weights do; save them again after .clone()",
    );
  const metadata = new Map([
    ["pth.format", zip ? "zip" : "legacy"], ["pth.dict", name], ["pth.dicts", names.join(", ")],
  ]);
  return { stored, metadata };
}

/** Where a storage's bytes begin, checked to be there. */
type Place = (storage: Storage) => Promise<number>;
interface Opened {
  readonly root: Value;
  readonly place: Place;
}

const storageBytes = ({ type, length }: Storage): number => length * (type?.size ?? 1);

async function openZip(source: ByteSource): Promise<Opened> {
  const file = source.name, entries = await readZipDirectory(source);
  const found = [...entries.keys()].filter((name) => name === "data.pkl" || /^[^/]+\/data\.pkl$/.test(name));
  if (found.length !== 1) {
    const holds = [...entries.keys()].slice(0, 3).map(quote).join(", ") || "nothing";
    throw new RangeError(
      `${file} is a zip archive without one data.pkl, it holds ${holds}: expected a file of torch.save; unpack `
        + "an archive of other files first",
    );
  }
  const folder = found[0]!.slice(0, -"data.pkl".length), pickled = entries.get(found[0]!)!;
  const order = entries.get(`${folder}byteorder`);
  if (order && (await readEntry(source, order, 16)).trim() !== "little") throw bigEndian(file);
  if (pickled.byteLength > maxPickleBytes) throw tooLarge(file);
  const begin = await zipEntryBegin(source, pickled);
  const bytes = await readExactly(source, begin, begin + pickled.byteLength);
  const { value } = machine(file, source.size)(bytes, 0);
  const begins = new Map<string, number>();
  return {
    root: value,
    async place(storage) {
      const known = begins.get(storage.key);
      if (known !== undefined) return known;
      const entry = entries.get(`${folder}data/${storage.key}`);
      if (!entry)
        throw new RangeError(
          `${file} has no ${quote(`${folder}data/${storage.key}`)}, which a tensor needs: download it again`,
        );
      if (entry.byteLength < storageBytes(storage)) {
        throw new RangeError(
          `${file}: ${quote(entry.name)} has ${entry.byteLength} bytes, expected ${storageBytes(storage)}: `
            + "download it again",
        );
      }
      const at = await zipEntryBegin(source, entry);
      begins.set(storage.key, at);
      return at;
    },
  };
}

async function readEntry(source: ByteSource, entry: ZipEntry, most: number): Promise<string> {
  const begin = await zipEntryBegin(source, entry);
  return new TextDecoder().decode(await readExactly(source, begin, begin + Math.min(entry.byteLength, most)));
}

/**
 * Five pickles in a row: magic, protocol, the machine that wrote it, the object, its storages' keys; then the storages.
 */
async function openLegacy(source: ByteSource): Promise<Opened> {
  const { name: file, size } = source;
  const used = new Map<string, Storage>();
  const read = async (window: number): Promise<{ values: Value[]; end: number }> => {
    const bytes = await readExactly(source, 0, Math.min(window, size)), next = machine(file, size, used);
    const values: Value[] = [];
    let end = 0;
    try {
      for (let i = 0; i < 5; i++) {
        const one = next(bytes, end);
        if (i === 0 && one.value !== magic)
          throw new RangeError(
            `${file} is a pickle but no file of torch.save: load it in Python and write model.state_dict() `
              + "with torch.save",
          );
        values.push(one.value);
        end = one.end;
      }
      return { values, end };
    } catch (error) {
      if (!(error instanceof PickleCutOff)) throw error;
      // where the pickles end is known once they have been read
      if (bytes.length === size)
        throw new RangeError(`${file} is cut off within its first ${size} bytes, its pickles go on: download it again`);
      if (bytes.length >= maxPickleBytes) throw tooLarge(file);
      used.clear();
      return read(bytes.length * 4);
    }
  };
  const { values: [, protocol, system, root, keys], end } = await read(firstPickleBytes);
  if (protocol !== legacyProtocol) {
    const came = `has the format ${written(protocol)} of torch.save, expected ${legacyProtocol}`;
    throw new RangeError(`${file} ${came}: write it again with a newer PyTorch`);
  }
  if (!(system instanceof Map) || system.get("little_endian") !== true) throw bigEndian(file);
  if (!Array.isArray(keys)) throw new RangeError(`${file} has no list of storages: download it again`);
  const begins = new Map<string, number>();
  let at = end;
  for (const key of keys) {
    const storage = used.get(keyOf(key));
    if (!storage) {
      const what = `a storage ${quote(keyOf(key))} that no tensor uses, or one of an unknown kind`;
      throw new RangeError(`${file} lists ${what}: write it again with a newer PyTorch`);
    }
    // a count in front of each
    begins.set(storage.key, at + 8);
    at += 8 + storageBytes(storage);
  }
  if (at > size)
    throw new RangeError(
      `${file} is cut off: its storages end at byte ${at} but the file has ${size} bytes, ${at - size} `
        + "missing: download it again",
    );
  return {
    root,
    async place(storage) {
      const begin = begins.get(storage.key);
      if (begin === undefined)
        throw new RangeError(`${file} has no storage ${quote(storage.key)}, which a tensor needs: download it again`);
      const count = await readExactly(source, begin - 8, begin), view = new DataView(count.buffer, count.byteOffset, 8);
      const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
      if (length !== storage.length)
        throw new RangeError(
          `${file}: storage ${quote(storage.key)} has ${length} elements, expected ${storage.length}: download `
            + "it again",
        );
      return begin;
    },
  };
}

/** The pickle machine with torch's own objects; its faults name the file. */
function machine(
  file: string, size: number, used?: Map<string, Storage>,
): (bytes: Uint8Array, from: number) => { value: Value; end: number } {
  const known = new Map<string, Storage>();
  const persistent = (id: Value): Value => {
    const made = storageOf(id);
    if (made instanceof Opaque) return made;
    const storage = "storage" in made ? made.storage : made;
    const length = storageBytes(storage);
    if (length > size)
      throw new RangeError(
        `${file} is cut off or damaged: a storage of ${length} bytes cannot lie in its ${size} bytes: download `
          + "it again",
      );
    const same = known.get(storage.key);
    if (same && (same.length !== storage.length || same.type !== storage.type))
      throw new TorchFault(`two storages of the key ${quote(storage.key)}`);
    known.set(storage.key, storage);
    used?.set(storage.key, storage);
    return made;
  };
  return (bytes, from) => {
    try {
      return unpickle(bytes, from, { call: callTorch, persistent, budget: budgetBytes + size });
    } catch (error) {
      if (error instanceof PickleCutOff && used) throw error;
      if (error instanceof PickleCutOff) throw new RangeError(`${file}: its pickle is cut off: download it again`);
      if (error instanceof PickleFault || error instanceof TorchFault)
        throw new RangeError(
          `${file}: its pickle has ${error.message}: the file is damaged or was not written by torch.save`,
        );
      throw error;
    }
  };
}

/** The dict of tensors that a file is about. */
function findDict(
  file: string, root: Value, wanted: string | undefined,
): { tensors: Map<string, TorchTensor>; name: string; names: string[] } {
  if (!(root instanceof Map)) {
    const what =
      root instanceof Opaque
        ? `an object of ${quote(root.of)}`
        : root instanceof TorchTensor
          ? "one tensor"
          : Array.isArray(root)
            ? "a list"
            : `a ${typeof root}`;
    throw new TypeError(`${file} holds ${what}, expected a dict of tensors: save model.state_dict() in its place`);
  }
  const dicts = new Map<string, Map<string, TorchTensor>>();
  collect(root, "", 0, dicts, new Set());
  const names = [...dicts.keys()];
  const all = (): string => (names.length === 0 ? "none" : names.slice(0, 8).map(nameOf).join(", "));
  if (wanted !== undefined) {
    const tensors = dicts.get(wanted);
    if (!tensors) throw new RangeError(`${file} has no dict of tensors ${quote(wanted)}: it has ${all()}`);
    return { tensors, name: wanted, names };
  }
  // a bare dict of tensors, one by a usual name at the lowest depth, or the only one
  const depth = (name: string): number => name.split("/").length;
  const usual = names
    .filter((name) => dictNames.includes(name.split("/").at(-1)!))
    .sort(
      (a, b) =>
        depth(a) - depth(b) || dictNames.indexOf(a.split("/").at(-1)!) - dictNames.indexOf(b.split("/").at(-1)!),
    );
  const name = dicts.has("") ? "" : usual[0] ?? (names.length === 1 ? names[0] : undefined);
  if (name === undefined) {
    const keys = [...root.keys()].slice(0, 6).map((key) => quote(keyOf(key))).join(", ") || "nothing";
    throw new RangeError(`${file} has no state dict under a usual name (${dictNames.slice(0, 3).join(", ")}, …): it holds ${keys}; dicts of tensors: ${all()}${names.length > 0 ? "; name the one to take" : ""}`);
  }
  return { tensors: dicts.get(name)!, name, names };
}

const nameOf = (name: string): string => (name === "" ? "the file itself" : quote(name));
const maxDepth = 4, maxDicts = 64;

/**
 * Dicts whose own values are tensors, by the path of keys that leads to them. An optimizer's state, by number, is none.
 */
function collect(
  dict: ReadonlyMap<unknown, unknown>, path: string, depth: number, into: Map<string, Map<string, TorchTensor>>,
  seen: Set<unknown>,
): void {
  // a dict may hold itself
  if (into.size >= maxDicts || seen.has(dict)) return;
  seen.add(dict);
  const tensors = new Map<string, TorchTensor>();
  for (const [key, value] of dict) if (typeof key === "string" && value instanceof TorchTensor) tensors.set(key, value);
  // one that holds dicts as well is no state dict but what lies around one
  const inner = [...dict].filter(([key, value]) => typeof key === "string" && value instanceof Map) as [
    string, Map<unknown, unknown>,
  ][];
  if (tensors.size > 0 && inner.length === 0) into.set(path, tensors);
  if (depth < maxDepth)
    for (const [key, value] of inner) collect(value, path === "" ? key : `${path}/${key}`, depth + 1, into, seen);
  if (tensors.size > 0 && inner.length > 0 && ![...into.keys()].some((name) => name.startsWith(path)))
    into.set(path, tensors);
}

/** What DataParallel and torch.compile put before every name, each perhaps. */
const wrappers = ["module.", "_orig_mod.", "module."];

function stripped(tensors: ReadonlyMap<string, TorchTensor>): ReadonlyMap<string, TorchTensor> {
  let named = [...tensors];
  for (const wrapper of wrappers) {
    if (named.every(([name]) => name.startsWith(wrapper) && name !== wrapper))
      named = named.map(([name, tensor]) => [name.slice(wrapper.length), tensor]);
  }
  return new Map(named);
}

function storedTensor(source: ByteSource, name: string, tensor: TorchTensor, place: Place): Stored {
  const { storage, type: { dtype, size }, shape, offset } = tensor;
  const elements = shape.reduce((a, b) => a * b, 1), byteLength = elements * size;
  const read: Stored["read"] = async (into, from = 0) => {
    const length = into ? into.length : byteLength;
    if (from + length > byteLength)
      throw new RangeError(`cannot read ${from + length - byteLength} bytes past the end of ${quote(name)}`);
    if (length === 0) return into ?? new Uint8Array(0);
    const begin = await place(storage);
    if (isContiguous(tensor))
      return readExactly(source, begin + offset * size + from, begin + offset * size + from + length, into);
    // more elements than the storage has are some of them many times over: a file must not grow as it is read
    if (elements > Math.ceil(storageBytes(storage) / size))
      throw new RangeError(`${quote(name)} in ${source.name} is an expanded tensor: save it again after .contiguous()`);
    return readStrided(source, tensor, begin, into ?? new Uint8Array(length), from);
  };
  return { name, dtype, shape, byteLength, file: source.name, read };
}

/** A key as text; one that is none, such as a list, has no name but its kind. */
const keyOf = (key: unknown): string => (typeof key === "object" ? written(key) : String(key));
const bigEndian = (file: string): RangeError => new RangeError(`${file} was written on a big-endian machine, which is not read here: load it in PyTorch and save it again on another`);
const tooLarge = (file: string): RangeError => new RangeError(`${file} has a pickle of more than ${maxPickleBytes} bytes: save model.state_dict() alone`);
