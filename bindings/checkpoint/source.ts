// Where a checkpoint's bytes come from. Everything here runs on every platform; http(s) is in url.ts; files, which not
// all have, in file.ts.
import { readAhead, wanted } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";
import { lengthTold } from "./safetensors.ts";

export interface ByteSource {
  /** For error messages: a file name or an address. */
  readonly name: string;
  readonly size: number;
  /**
   * The bytes [begin, end), all of them or an error. They may be shared with other readers: not to be written to. With
   * `into`, of that length, a source that can puts them there and returns it.
   */
  read(begin: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
  /** Lets go of what the source holds; may be called again. */
  close(): Promise<void>;
}

export interface SourceOptions {
  /** When it aborts, reads fail with its reason and the source closes. */
  readonly signal?: AbortSignal;
}

/**
 * Adds what every source promises to a bare `read`: checked ranges, no short reads, nothing after close() or an abort,
 * and a source closed once a read has failed.
 */
export function checkedSource(
  name: string, size: number, read: Read, close: () => void | Promise<void>, { signal }: SourceOptions = {},
): ByteSource {
  let closing: Promise<void> | undefined;
  const source: ByteSource = {
    name,
    size,
    async read(begin, end, into) {
      if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end) || begin < 0 || begin > end || end > size) {
        throw (await import("./faults.ts")).rangeFault(name, size, begin, end);
      }
      try {
        signal?.throwIfAborted();
        if (closing) throw new Error(`${name} is closed: read before close(), or open it again`);
        const bytes = begin === end ? new Uint8Array(0) : await read(begin, end, into);
        signal?.throwIfAborted();
        return wanted(name, bytes, begin, end);
      } catch (error) {
        // an error in closing would hide the one that matters
        await source.close().catch(() => {});
        throw signal?.aborted ? signal.reason : error;
      }
    },
    close: () => (closing ??= (async () => close())()),
  };
  return source;
}

/** Bytes in memory; reads are views, not copies. */
export function bytesSource(name: string, bytes: Uint8Array | ArrayBuffer, options?: SourceOptions): ByteSource {
  let held: Uint8Array | undefined;
  if (bytes instanceof Uint8Array) held = bytes;
  else if (Object.prototype.toString.call(bytes) === "[object ArrayBuffer]") held = new Uint8Array(bytes);
  else throw new TypeError(`${name} is no Uint8Array or ArrayBuffer: pass the file's bytes`);
  return checkedSource(
    name, held.byteLength, async (begin, end) => held!.subarray(begin, end), () => void (held = undefined), options,
  );
}

/** A Blob, so also a browser's File; read in pieces, never whole. */
export function blobSource(name: string, blob: Blob, options?: SourceOptions): ByteSource {
  const read: Read = async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer());
  return checkedSource(name, blob.size, readAhead(read, blob.size, 1 << 20, 16), () => {}, options);
}

/** A stream of a checkpoint, read to its end at once and held in memory. Its first bytes tell when to stop. */
export async function streamSource(
  name: string, stream: ReadableStream<Uint8Array>, options: SourceOptions = {},
): Promise<ByteSource> {
  const { size, read, drop } = await collect(name, stream, UNTOLD, { ...options, told: true });
  return checkedSource(name, size, read, drop, options);
}

/** The most that a stream may bring. */
export interface Limit {
  readonly bytes: number;
  /** After "sent more than". */
  readonly said: string;
}

/** Of what says nowhere how long it is: as much as a WebAssembly memory holds. */
export const UNTOLD: Limit = { bytes: 2 ** 32, said: "4 GiB without saying how long it is" };
export const announced = (bytes: number): Limit => ({ bytes, said: `the ${bytes} bytes it announced` });

/** How long a server may send nothing: Node 20's fetch, for one, never says that a body is not the gzip it claims. */
const SILENT_MS = 120_000;

export interface DrainOptions extends SourceOptions {
  /** Of a server's stream: makes a failed read, or silence, an error of ours. */
  readonly lost?: (error: unknown) => Error;
  /** For tests. */
  readonly silentMs?: number;
}

/**
 * Reads a stream to its end, passing each chunk with its offset, and returns how many bytes came. Stops with an error
 * beyond the limit, which `take` may lower. However it ends, the stream is let go of.
 */
export async function drain(
  name: string, stream: ReadableStream<Uint8Array>, limit: Limit, { signal, lost, silentMs = SILENT_MS }: DrainOptions,
  take: (chunk: Uint8Array, at: number) => Limit | void | Promise<Limit | void>,
): Promise<number> {
  let size = 0;
  const reader = stream.getReader();
  // ends a read that waits for data
  const cancel = (): void => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", cancel, { once: true });
  const next = (): ReturnType<typeof reader.read> => {
    if (!lost) return reader.read();
    let timer: ReturnType<typeof setTimeout>;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`nothing came for ${silentMs / 1000} s`)), silentMs);
    });
    return Promise.race([reader.read(), silence])
      .catch((error: unknown) => Promise.reject(lost(error)))
      .finally(() => clearTimeout(timer));
  };
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await next();
      signal?.throwIfAborted();
      if (done) return size;
      if (!(value instanceof Uint8Array)) throw (await import("./faults.ts")).chunkFault(name, value);
      const end = size + value.byteLength;
      if (end <= limit.bytes) limit = (await take(value, size)) ?? limit;
      if (end > limit.bytes) throw new RangeError(`${name} sent more than ${limit.said}: download it again`);
      size = end;
    }
  } catch (error) {
    // not awaited: a stream may take its time, or never finish, to cancel
    reader.cancel(error).catch(() => {});
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", cancel);
    reader.releaseLock();
  }
}

const blockBytes = 1 << 20;

export interface CollectOptions extends DrainOptions {
  /** A checkpoint, whose first bytes tell how long it is. */
  readonly told?: boolean;
  readonly onBytes?: (done: number) => void;
}

/**
 * Reads a stream to its end into blocks of 1 MiB, so that the data is never held twice, as it would be while a single
 * buffer grows, whether or not its length is known or true.
 */
export async function collect(
  name: string, stream: ReadableStream<Uint8Array>, limit: Limit, { told, onBytes, ...options }: CollectOptions,
): Promise<{ size: number; read: Read; drop(): void }> {
  let blocks: Uint8Array[] = [];
  const piece = (begin: number, end: number): Uint8Array => {
    const [first, last] = [Math.floor(begin / blockBytes), Math.floor((end - 1) / blockBytes)];
    if (first === last) return blocks[first]!.subarray(begin - first * blockBytes, end - first * blockBytes);
    const bytes = new Uint8Array(end - begin);
    for (let i = first; i <= last; i++) {
      const base = i * blockBytes;
      const block = blocks[i]!.subarray(Math.max(begin - base, 0), Math.min(end - base, blockBytes));
      bytes.set(block, Math.max(base - begin, 0));
    }
    return bytes;
  };
  // how many of the first bytes tell more
  let need = told ? 8 : Infinity;
  const size = await drain(name, stream, limit, options, async (chunk, at) => {
    for (let from = 0; from < chunk.byteLength;) {
      const into = (at + from) % blockBytes;
      if (into === 0) blocks.push(new Uint8Array(blockBytes));
      const part = chunk.subarray(from, from + blockBytes - into);
      blocks[blocks.length - 1]!.set(part, into);
      from += part.byteLength;
    }
    const here = at + chunk.byteLength;
    onBytes?.(here);
    while (here >= need) {
      const found = await lengthTold(name, piece(0, need));
      need = "need" in found ? found.need : Infinity;
      if ("end" in found && found.end < limit.bytes) {
        return { bytes: found.end, said: `the ${found.end} bytes that its header tells of` };
      }
    }
    return undefined;
  });
  if (size % blockBytes > 0) blocks.push(blocks.pop()!.slice(0, size % blockBytes));
  return { size, read: async (begin, end) => piece(begin, end), drop: () => void (blocks = []) };
}
