// Named tensors in safetensors or PyTorch files, read when asked for.
import { quote } from "./names.ts";
import type { PthOptions } from "./pth.ts";
import { isPth, readHeader } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import { closeAll, storedIn } from "./stored.ts";
import { findTensor, scopeOf } from "./tensors.ts";
import type { Stored, TensorInfo, TensorRef, Tensors } from "./tensors.ts";

export class Checkpoint implements Tensors {
  readonly name: string;
  readonly prefix = "";
  /**
   * The files' own notes, such as format: "pt"; of a PyTorch file "pth.format", "pth.dict" (the one taken) and
   * "pth.dicts".
   */
  readonly metadata: ReadonlyMap<string, string>;
  readonly #stored: ReadonlyMap<string, Stored>;
  readonly #sources: readonly ByteSource[];
  readonly #asked = new Set<string>();

  /** @internal use open(), openSharded() or memoryCheckpoint() */
  constructor(
    name: string, stored: ReadonlyMap<string, Stored>, metadata: ReadonlyMap<string, string>,
    sources: readonly ByteSource[],
  ) {
    this.name = name;
    this.metadata = metadata;
    this.#stored = stored;
    this.#sources = sources;
  }

  /**
   * One file, safetensors or of torch.save, told apart by its first bytes. Reads and checks its header, or its pickle,
   * of which nothing is run; the source belongs to the checkpoint now, also on an error.
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
      let rounded = false;
      for (const entry of entries.values()) {
        stored.set(entry.name, storedIn(source, entry));
        rounded ||= entry.dtype === "I8";
      }
      // few are
      const all = rounded ? (await import("./rounded.ts")).widened(stored) : stored;
      return new Checkpoint(source.name, all, metadata, [source]);
    } catch (error) {
      await closeAll([source]).catch(() => {});
      throw error;
    }
  }

  /**
   * Many files under one index, a parsed model.safetensors.index.json. Opens each file once and checks every header.
   * @param open  gets a plain file name, without any folder
   */
  static async openSharded(
    indexJson: unknown, open: (file: string) => Promise<ByteSource>, name: string,
  ): Promise<Checkpoint> {
    // small models are one file
    const { openShards } = await import("./shards.ts");
    const { stored, metadata, sources } = await openShards(indexJson, open, name);
    return new Checkpoint(name, stored, metadata, sources);
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
