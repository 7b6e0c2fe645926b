// Checkpoints on disk: Node, Deno and Bun. Nothing else in this folder may import from node:.
import { fs, url } from "../platform/builtins.ts";
import { readAhead } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";
import { checkedSource } from "./source.ts";
import type { ByteSource, SourceOptions } from "./source.ts";

// small tensors lie in groups; large ones are read straight to where they are wanted
const pageBytes = 16 << 10;
const pagesKept = 32;
// Node refuses more than 2^31 - 1 bytes at once
const mostAtOnce = 1 << 30;
// what several threads read in the time of one: most of it goes into memory that is touched for the first time
const largeBytes = 4 << 20, lanes = 4;

/**
 * A regular file, kept open until close(), an abort or a failed read. A tensor's worth is read at once, which is
 * quicker than a trip to another thread and back; a whole packed model in pieces by several threads, while this one
 * goes on.
 */
export async function fileSource(path: string | URL, options: SourceOptions = {}): Promise<ByteSource> {
  const { signal } = options;
  const name = typeof path === "string" ? path : url.fileURLToPath(path);
  signal?.throwIfAborted();
  let handle: number | undefined;
  try {
    // asked before opening, as opening a named pipe would wait for its writer
    if (!fs.statSync(name).isFile())
      throw new TypeError(`${name} is not a regular file, expected one such as model.safetensors`);
    handle = fs.openSync(name, "r");
    const { size } = fs.fstatSync(handle), opened = handle;
    const { read, settled } = reader(name, opened);
    return checkedSource(
      name, size, readAhead(read, size, pageBytes, pagesKept), () => settled().then(() => fs.closeSync(opened)),
      options,
    );
  } catch (error) {
    if (handle !== undefined) fs.closeSync(handle);
    throw explain(name, error);
  }
}

function reader(name: string, handle: number): { read: Read; settled(): Promise<void> } {
  const cutOff = (at: number): RangeError =>
    new RangeError(`${name} became shorter while it was read, it ends at byte ${at}: load it again`);
  const fill = (into: Uint8Array, begin: number): void => {
    for (let at = 0; at < into.byteLength;) {
      const bytesRead = fs.readSync(handle, into, at, Math.min(into.byteLength - at, mostAtOnce), begin + at);
      if (bytesRead === 0) throw cutOff(begin + at);
      at += bytesRead;
    }
  };
  const fillMeanwhile = async (into: Uint8Array, begin: number): Promise<void> => {
    for (let at = 0; at < into.byteLength;) {
      const bytesRead = await new Promise<number>((resolve, reject) =>
        fs.read(handle, into, at, Math.min(into.byteLength - at, mostAtOnce), begin + at, (error, count) =>
          error ? reject(error) : resolve(count),
        ),
      );
      if (bytesRead === 0) throw cutOff(begin + at);
      at += bytesRead;
    }
  };
  // a file that is closed under a read could be another file by the time the read happens
  const underWay = new Set<Promise<unknown>>();
  return {
    async read(begin, end, into = new Uint8Array(end - begin)) {
      const size = into.byteLength;
      if (size < largeBytes) {
        fill(into, begin);
        return into;
      }
      const cuts = Array.from({ length: lanes + 1 }, (_, i) => Math.floor((size * i) / lanes));
      const all = Promise.allSettled(
        cuts.slice(1).map((cut, i) => fillMeanwhile(into.subarray(cuts[i], cut), begin + cuts[i]!)),
      );
      underWay.add(all);
      const results = await all;
      underWay.delete(all);
      for (const result of results) if (result.status === "rejected") throw result.reason;
      return into;
    },
    async settled() {
      await Promise.all(underWay);
    },
  };
}

function explain(name: string, error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === "ENOENT" || code === "ENOTDIR")
    return new Error(`there is no file ${name}: check the path`, { cause: error });
  if (code === "EACCES" || code === "EPERM")
    return new Error(`${name} may not be read: check its permissions`, { cause: error });
  return error;
}
