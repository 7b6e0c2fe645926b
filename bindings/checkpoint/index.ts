// Checkpoints: named tensors in safetensors or PyTorch files, read when asked for. Imports nothing of the runtime above.
import { formatShape, isDType, shapeFault, tensorBytes } from "./dtype.ts";
import { checkShardName, quote } from "./names.ts";
import type { PthOptions } from "./pth.ts";
import { isPth, readExactly, readHeader } from "./safetensors.ts";
import type { Entry } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import { findTensor, scopeOf } from "./tensors.ts";
import type { Stored, TensorInfo, TensorRef, Tensors } from "./tensors.ts";

export type { DType, FloatDType } from "./dtype.ts";
export { toFloat32, toFloat64 } from "./floats.ts";
export type { PthOptions } from "./pth.ts";
export { blobSource, bytesSource, streamSource } from "./source.ts";
export type { ByteSource, SourceOptions } from "./source.ts";
export type { Scope, TensorInfo, TensorRef, Tensors } from "./tensors.ts";
export { urlSource } from "./url.ts";
export type { UrlOptions } from "./url.ts";
export { safetensorsBytes } from "./write.ts";
export type { WriteEntry } from "./write.ts";

export class Checkpoint implements Tensors {
  readonly name: string;
  readonly prefix = "";
  /** The files' own notes, such as format: "pt"; of a PyTorch file "pth.format", "pth.dict" (the one taken) and "pth.dicts". */
  readonly metadata: ReadonlyMap<string, string>;
  readonly #stored: ReadonlyMap<string, Stored>;
  readonly #sources: readonly ByteSource[];
  readonly #asked = new Set<string>();

  private constructor(name: string, stored: ReadonlyMap<string, Stored>, metadata: ReadonlyMap<string, string>, sources: readonly ByteSource[]) {
    this.name = name;
    this.metadata = metadata;
    this.#stored = stored;
    this.#sources = sources;
  }

  /**
   * One file, safetensors or of torch.save, told apart by its first bytes. Reads and checks its header, or its pickle, of which nothing is run;
   * the source belongs to the checkpoint now, also on an error.
   */
  static async open(source: ByteSource, options: PthOptions = {}): Promise<Checkpoint> {
    try {
      if (await isPth(source)) {
        // most checkpoints are none
        const { openPth } = await import("./pth.ts");
        const { stored, metadata } = await openPth(source, options);
        return new Checkpoint(source.name, stored, metadata, [source]);
      }
      const { entries, metadata } = await readHeader(source);
      const stored = new Map<string, Stored>();
      for (const entry of entries.values()) stored.set(entry.name, storedIn(source, entry));
      return new Checkpoint(source.name, stored, metadata, [source]);
    } catch (error) {
      await closeAll([source]).catch(() => {});
      throw error;
    }
  }

  /**
   * Many files under one index, a parsed model.safetensors.index.json. Opens each file once and checks every header.
   * @param open  gets a plain file name, without any folder
   */
  static async openSharded(indexJson: unknown, open: (file: string) => Promise<ByteSource>, name: string): Promise<Checkpoint> {
    const files = readWeightMap(indexJson, name);
    const stored = new Map<string, Stored>();
    const metadata = new Map<string, string>();
    const sources: ByteSource[] = [];
    try {
      for (const [file, tensors] of files) {
        const source = await open(file);
        sources.push(source);
        const header = await readHeader(source);
        for (const [key, text] of header.metadata) metadata.set(key, text);
        for (const tensor of tensors) {
          const entry = header.entries.get(tensor);
          if (!entry) throw new RangeError(`${name} says that ${quote(tensor)} is in ${file}, which has no such tensor: download both again`);
          stored.set(tensor, storedIn(source, entry));
        }
      }
      return new Checkpoint(name, stored, metadata, sources);
    } catch (error) {
      await closeAll(sources).catch(() => {});
      throw error;
    }
  }

  /** Tensors in memory; see `memoryCheckpoint`. */
  static fromMemory(entries: Readonly<Record<string, MemoryEntry>>, name: string): Checkpoint {
    const stored = new Map<string, Stored>();
    for (const [tensor, entry] of Object.entries(entries)) stored.set(tensor, storedInMemory(name, tensor, entry));
    return new Checkpoint(name, stored, new Map(), []);
  }

  names(): string[] {
    return [...this.#stored.keys()];
  }

  has(name: string): boolean {
    return this.#stored.has(name);
  }

  info(name: string): TensorInfo | undefined {
    const found = this.#stored.get(name);
    return found && { name, dtype: found.dtype, shape: found.shape, byteLength: found.byteLength };
  }

  tensor(name: string, shape: readonly number[]): TensorRef {
    const found = findTensor(this.name, this.#stored, name, shape);
    this.#asked.add(name);
    return found;
  }

  /** The tensors that nobody has asked for by tensor(). */
  unasked(): string[] {
    return this.names().filter((name) => !this.#asked.has(name));
  }

  scope(prefix: string): Tensors {
    return scopeOf(this, prefix);
  }

  /** The bytes of a tensor of any kind. */
  raw(name: string): Pick<TensorRef, "byteLength" | "read"> {
    const found = this.#stored.get(name);
    if (!found) throw new RangeError(`${this.name} has no tensor ${quote(name)}: download it again`);
    return { byteLength: found.byteLength, read: found.read };
  }

  close(): Promise<void> {
    return closeAll(this.#sources);
  }
}

export type MemoryEntry =
  | { readonly shape: readonly number[]; readonly data: Float32Array | Float64Array }
  | { readonly shape: readonly number[]; readonly data: Uint8Array; readonly dtype: string };

/** A checkpoint of tensors in memory: floats, or raw little-endian bytes with their dtype. Nothing is copied. */
export function memoryCheckpoint(entries: Readonly<Record<string, MemoryEntry>>, name = "memory"): Checkpoint {
  return Checkpoint.fromMemory(entries, name);
}

function storedIn(source: ByteSource, { name, dtype, shape, begin, end }: Entry): Stored {
  return { name, dtype, shape, byteLength: end - begin, file: source.name, read: (into, from = 0) => (into ? readExactly(source, begin + from, checkedEnd(name, begin + from + into.length, end), into) : readExactly(source, begin, end)) };
}

function storedInMemory(file: string, name: string, entry: MemoryEntry): Stored {
  const { shape, data } = entry;
  const dtype = data instanceof Float32Array ? "F32" : data instanceof Float64Array ? "F64" : "dtype" in entry ? entry.dtype : undefined;
  if (!ArrayBuffer.isView(data)) throw new TypeError(`${quote(name)} has no data, expected Float32Array, Float64Array, or Uint8Array with a dtype`);
  if (!isDType(dtype)) throw new TypeError(`${quote(name)} has dtype ${quote(String(dtype))}, expected one of safetensors' such as "F16"`);
  const fault = shapeFault(shape);
  if (fault) throw new RangeError(`${quote(name)} has ${fault}, expected an array of whole numbers`);
  const expected = tensorBytes(dtype, shape);
  if (data.byteLength !== expected) {
    throw new RangeError(`${quote(name)} has ${data.byteLength} bytes of data, expected ${expected} for ${dtype} ${formatShape(shape)}: check its shape`);
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return { name, dtype, shape: [...shape], byteLength: data.byteLength, file, read: async (into, from = 0) => {
    if (!into) return bytes;
    into.set(bytes.subarray(from, checkedEnd(name, from + into.length, bytes.length)));
    return into;
  } };
}

/** File name → the tensors in it. */
function readWeightMap(indexJson: unknown, name: string): Map<string, string[]> {
  const weightMap = typeof indexJson === "object" && indexJson !== null && Object.hasOwn(indexJson, "weight_map")
    ? (indexJson as { weight_map: unknown }).weight_map
    : undefined;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new TypeError(`${name} has no "weight_map" object: expected a model.safetensors.index.json`);
  }
  const files = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    checkShardName(file, name);
    const tensors = files.get(file);
    if (tensors) tensors.push(tensor);
    else files.set(file, [tensor]);
  }
  if (files.size === 0) throw new RangeError(`${name} has an empty "weight_map": download it again`);
  return files;
}

/** Closes every source even when one fails to. */
function checkedEnd(name: string, end: number, most: number): number {
  if (end > most) throw new RangeError(`cannot read ${end - most} bytes past the end of ${quote(name)}`);
  return end;
}

async function closeAll(sources: readonly ByteSource[]): Promise<void> {
  const results = await Promise.allSettled(sources.map((source) => source.close()));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
