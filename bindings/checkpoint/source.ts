// Where a checkpoint's bytes come from. Everything here runs on every platform; http(s) is in url.ts; files, which not all have, in file.ts.
import { readAhead } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";

export interface ByteSource {
  /** For error messages: a file name or an address. */
  readonly name: string;
  readonly size: number;
  /**
   * The bytes [begin, end), all of them or an error. They may be shared with other readers: not to be written to. With `into`, of that
   * length, a source that can puts them there and returns it.
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
        throw new RangeError(`cannot read bytes ${begin} to ${end} of ${name}, expected a range within its ${size} bytes`);
      }
      try {
        signal?.throwIfAborted();
        if (closing) throw new Error(`${name} is closed: read before close(), or open it again`);
        const bytes = begin === end ? new Uint8Array(0) : await read(begin, end, into);
        signal?.throwIfAborted();
        if (bytes.byteLength !== end - begin) {
          throw new RangeError(`${name} gave ${bytes.byteLength} bytes from byte ${begin}, expected ${end - begin}: it changed or was cut off; open it again`);
        }
        return bytes;
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
  return checkedSource(name, held.byteLength, async (begin, end) => held!.subarray(begin, end), () => void (held = undefined), options);
}

/** A Blob, so also a browser's File; read in pieces, never whole. */
export function blobSource(name: string, blob: Blob, options?: SourceOptions): ByteSource {
  const read: Read = async (begin, end) => new Uint8Array(await blob.slice(begin, end).arrayBuffer());
  return checkedSource(name, blob.size, readAhead(read, blob.size, 1 << 20, 16), () => {}, options);
}

/** A stream, read to its end at once and held in memory. */
export async function streamSource(name: string, stream: ReadableStream<Uint8Array>, options: SourceOptions = {}): Promise<ByteSource> {
  const { size, read, drop } = await collect(name, stream, Number.POSITIVE_INFINITY, options.signal);
  return checkedSource(name, size, read, drop, options);
}

/**
 * Reads a stream to its end, passing each chunk with its offset, and returns how many bytes came. Stops with an error
 * beyond `most` bytes. However it ends, the stream is let go of.
 */
export async function drain(
  name: string, stream: ReadableStream<Uint8Array>, most: number, signal: AbortSignal | undefined,
  take: (chunk: Uint8Array, at: number) => void,
): Promise<number> {
  let size = 0;
  const reader = stream.getReader();
  // ends a read that waits for data
  const cancel = (): void => void reader.cancel(signal?.reason).catch(() => {});
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for (;;) {
      signal?.throwIfAborted();
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return size;
      if (!(value instanceof Uint8Array)) throw new TypeError(`${name} is a stream of ${typeof value}, expected Uint8Array chunks`);
      if (size + value.byteLength > most) throw new RangeError(`${name} sent more than the ${most} bytes it announced: download it again`);
      take(value, size);
      size += value.byteLength;
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

/**
 * Reads a stream to its end into blocks of 1 MiB, so that the data is never held twice, as it would be while a single
 * buffer grows, whether or not its length is known or true.
 */
export async function collect(
  name: string, stream: ReadableStream<Uint8Array>, most: number, signal?: AbortSignal,
): Promise<{ size: number; read: Read; drop(): void }> {
  let blocks: Uint8Array[] = [];
  const size = await drain(name, stream, most, signal, (chunk, at) => {
    for (let from = 0; from < chunk.byteLength;) {
      const into = (at + from) % blockBytes;
      if (into === 0) blocks.push(new Uint8Array(blockBytes));
      const piece = chunk.subarray(from, from + blockBytes - into);
      blocks[blocks.length - 1].set(piece, into);
      from += piece.byteLength;
    }
  });
  if (size % blockBytes > 0) blocks.push(blocks.pop()!.slice(0, size % blockBytes));

  const read: Read = async (begin, end) => {
    const [first, last] = [Math.floor(begin / blockBytes), Math.floor((end - 1) / blockBytes)];
    if (first === last) return blocks[first].subarray(begin - first * blockBytes, end - first * blockBytes);
    const bytes = new Uint8Array(end - begin);
    for (let i = first; i <= last; i++) {
      const base = i * blockBytes;
      bytes.set(blocks[i].subarray(Math.max(begin - base, 0), Math.min(end - base, blockBytes)), Math.max(base - begin, 0));
    }
    return bytes;
  };
  return { size, read, drop: () => void (blocks = []) };
}
