// Checkpoints on disk: Node, Deno and Bun. Nothing else in this folder may import from node:.
import { open, stat } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { readAhead } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";
import { checkedSource } from "./source.ts";
import type { ByteSource, SourceOptions } from "./source.ts";

// 1 MiB: a read's fixed cost is small beside it; 16 of them hold a small model whole, in whatever order it is read
const pageBytes = 1 << 20;
const pagesKept = 16;
// Node refuses more than 2^31 - 1 bytes at once
const mostAtOnce = 1 << 30;

/** A regular file, kept open until close(), an abort or a failed read. */
export async function fileSource(path: string | URL, options: SourceOptions = {}): Promise<ByteSource> {
  const { signal } = options;
  const name = typeof path === "string" ? path : fileURLToPath(path);
  signal?.throwIfAborted();
  let handle: FileHandle | undefined;
  try {
    // asked before opening, as opening a named pipe would wait for its writer
    if (!(await stat(name)).isFile()) throw new TypeError(`${name} is not a regular file, expected one such as model.safetensors`);
    handle = await open(name, "r");
    const { size } = await handle.stat();
    signal?.throwIfAborted();
    return checkedSource(name, size, readAhead(reader(name, handle), size, pageBytes, pagesKept), () => handle!.close(), options);
  } catch (error) {
    await handle?.close().catch(() => {});
    throw signal?.aborted ? signal.reason : explain(name, error);
  }
}

function reader(name: string, handle: FileHandle): Read {
  return async (begin, end) => {
    const bytes = new Uint8Array(end - begin);
    for (let at = 0; at < bytes.byteLength;) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(bytes.byteLength - at, mostAtOnce), begin + at);
      if (bytesRead === 0) throw new RangeError(`${name} became shorter while it was read, it ends at byte ${begin + at}: load it again`);
      at += bytesRead;
    }
    return bytes;
  };
}

function explain(name: string, error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === "ENOENT" || code === "ENOTDIR") return new Error(`there is no file ${name}: check the path`, { cause: error });
  if (code === "EACCES" || code === "EPERM") return new Error(`${name} may not be read: check its permissions`, { cause: error });
  return error;
}
