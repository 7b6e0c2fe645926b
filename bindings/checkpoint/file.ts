// Checkpoints on disk: Node, Deno and Bun. Nothing else in this folder may import from node:.
import { fs, url } from "../platform/builtins.ts";
import { readAhead } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";
import { checkedSource } from "./source.ts";
import type { ByteSource, SourceOptions } from "./source.ts";

// small tensors lie in groups; large ones are read straight to where they are wanted
const pageBytes = 64 << 10;
const pagesKept = 32;
// Node refuses more than 2^31 - 1 bytes at once
const mostAtOnce = 1 << 30;

/**
 * A regular file, kept open until close(), an abort or a failed read. Reads are synchronous underneath: a tensor's worth at a time from a
 * disk is quicker than a trip to another thread and back.
 */
export async function fileSource(path: string | URL, options: SourceOptions = {}): Promise<ByteSource> {
  const { signal } = options;
  const name = typeof path === "string" ? path : url.fileURLToPath(path);
  signal?.throwIfAborted();
  let handle: number | undefined;
  try {
    // asked before opening, as opening a named pipe would wait for its writer
    if (!fs.statSync(name).isFile()) throw new TypeError(`${name} is not a regular file, expected one such as model.safetensors`);
    handle = fs.openSync(name, "r");
    const { size } = fs.fstatSync(handle), opened = handle;
    return checkedSource(name, size, readAhead(reader(name, handle), size, pageBytes, pagesKept), () => fs.closeSync(opened), options);
  } catch (error) {
    if (handle !== undefined) fs.closeSync(handle);
    throw explain(name, error);
  }
}

function reader(name: string, handle: number): Read {
  return async (begin, end, into = new Uint8Array(end - begin)) => {
    for (let at = 0; at < into.byteLength;) {
      const bytesRead = fs.readSync(handle, into, at, Math.min(into.byteLength - at, mostAtOnce), begin + at);
      if (bytesRead === 0) throw new RangeError(`${name} became shorter while it was read, it ends at byte ${begin + at}: load it again`);
      at += bytesRead;
    }
    return into;
  };
}

function explain(name: string, error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === "ENOENT" || code === "ENOTDIR") return new Error(`there is no file ${name}: check the path`, { cause: error });
  if (code === "EACCES" || code === "EPERM") return new Error(`${name} may not be read: check its permissions`, { cause: error });
  return error;
}
