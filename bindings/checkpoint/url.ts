// A file behind http(s): Range requests where the server grants them, one whole download where it does not.
import { limited, readAhead } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";
import type { RequestOptions } from "./request.ts";
import { discard, get, parseAddress, shown, unreachable } from "./request.ts";
import { announced, checkedSource, collect, drain, UNTOLD } from "./source.ts";
import type { ByteSource, SourceOptions } from "./source.ts";

// one request opens a file and brings the header of all but the largest; sixteen megabytes are kept at most
const pageBytes = 1 << 21;
const pagesKept = 8;
// what browsers allow themselves per host
const requestsAtOnce = 6;

/** Pages of a file, kept from one visit to the next. Whatever goes wrong there, the file is read all the same. */
export interface Pages {
  get(index: number): Promise<Uint8Array | undefined>;
  /** False when there is no more room. */
  put(index: number, bytes: Uint8Array): Promise<boolean>;
}

export interface UrlOptions extends SourceOptions, RequestOptions {
  /** Told how many of the file's bytes are here; `total` is undefined while the server has not said. */
  readonly onBytes?: (done: number, total: number | undefined) => void;
  /** Where pages of this very content of a file are kept, if anywhere. `version` changes with the content. */
  readonly keep?: (address: string, version: string) => Promise<Pages | undefined>;
}

/** A checkpoint behind http(s). Where it can only be had whole, its first bytes tell when to stop. */
export async function urlSource(url: string | URL, options: UrlOptions = {}): Promise<ByteSource> {
  const address = await parseAddress(url), name = shown(address);
  const { signal, onBytes } = options;
  signal?.throwIfAborted();

  // ends requests under way on close() too
  const stop = new AbortController();
  const abort = (): void => stop.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const close = (): void => {
    signal?.removeEventListener("abort", abort);
    stop.abort(new Error(`${name} is closed: read before close(), or open it again`));
  };
  const receiving = { signal: stop.signal, lost: (error: unknown) => unreachable(name, error) };
  const request = (range?: string): Promise<Response> =>
    get(address, { ...options, signal: stop.signal }, range ? [416] : [], range);

  const whole = async (response: Response): Promise<ByteSource> => {
    // with a content-encoding the length is that of the compressed bytes
    const total = isPlain(response) ? wholeNumber(response.headers.get("content-length")) : undefined;
    const limit = total === undefined ? UNTOLD : announced(total), body = response.body ?? new Blob([]).stream();
    const counted = (done: number): void => onBytes?.(done, total);
    const held = await collect(name, body, limit, { ...receiving, told: true, onBytes: counted });
    checkWhole(name, held.size, total);
    return checkedSource(name, held.size, held.read, () => (held.drop(), close()), options);
  };

  try {
    const response = await request(`bytes=0-${pageBytes - 1}`);
    if (response.status === 416 && /\/0$/.test(response.headers.get("content-range") ?? "")) {
      await discard(response);
      return checkedSource(name, 0, async () => new Uint8Array(0), close, options);
    }
    if (response.status === 200) return await whole(response);
    const range = contentRange(response);
    if (response.status !== 206 || !range || range.begin !== 0 || range.end > pageBytes || !isPlain(response)) {
      // a server, or a proxy, that is confused by ranges; or one that hides Content-Range from other origins
      await discard(response);
      return await whole(await request());
    }

    const { total } = range;
    const tag = strongTag(response);
    const bytesOf = async (answer: Response, length: number): Promise<Uint8Array> => {
      const bytes = new Uint8Array(length);
      const put = (chunk: Uint8Array, at: number): void => bytes.set(chunk, at);
      checkWhole(name, answer.body ? await drain(name, answer.body, announced(length), receiving, put) : 0, length);
      return bytes;
    };
    const piece = async (begin: number, end: number): Promise<Uint8Array> => {
      const answer = await request(`bytes=${begin}-${end - 1}`);
      const got = contentRange(answer);
      const retagged = tag !== undefined && (strongTag(answer) ?? tag) !== tag;
      if (answer.status !== 206 || !got || got.begin !== begin || got.end > end || got.total !== total || retagged) {
        await discard(answer);
        throw new Error(`${name} changed on the server while it was read: load it again`);
      }
      return bytesOf(answer, got.end - begin);
    };
    const read: Read = async (begin, end) => {
      const first = await piece(begin, end);
      if (first.byteLength === end - begin) return first;
      // a server may send less than was asked for, but each answer holds one byte at least
      const bytes = new Uint8Array(end - begin);
      bytes.set(first);
      for (let at = first.byteLength; at < bytes.byteLength;) {
        const more = await piece(begin + at, end);
        bytes.set(more, at);
        at += more.byteLength;
      }
      return bytes;
    };
    const opening = await bytesOf(response, range.end);
    const pageZero = range.end === Math.min(pageBytes, total) ? opening : undefined;
    let done = opening.byteLength;
    onBytes?.(done, total);
    const counted: Read = async (begin, end) => {
      const bytes = await read(begin, end);
      done += bytes.byteLength;
      onBytes?.(Math.min(done, total), total);
      return bytes;
    };
    const version = tag ?? response.headers.get("last-modified") ?? undefined;
    const pages = version === undefined ? undefined : await options.keep?.(address.href, `${version} ${total}`);
    const source = limited(
      requestsAtOnce,
      pages ? keptIn(pages, counted, (bytes) => onBytes?.(Math.min((done += bytes), total), total)) : counted,
    );
    return checkedSource(
      name, total, readAhead(source, total, pageBytes, pagesKept, pageZero, pages !== undefined), close, options,
    );
  } catch (error) {
    close();
    throw signal?.aborted ? signal.reason : error;
  }
}

/** Reads whole pages from where they are kept, and keeps those that had to be fetched. */
function keptIn(pages: Pages, read: Read, onKept: (bytes: number) => void): Read {
  let room = true;
  return async (begin, end) => {
    const index = begin / pageBytes, kept = await pages.get(index).catch(() => undefined);
    if (kept?.byteLength === end - begin) {
      onKept(kept.byteLength);
      return kept;
    }
    const bytes = await read(begin, end);
    if (room) room = await pages.put(index, bytes).catch(() => false);
    return bytes;
  };
}

/** `size` of `total` bytes came, where that was said. */
function checkWhole(name: string, size: number, total: number | undefined): void {
  if (total === undefined || size === total) return;
  throw new Error(`${name} was cut off: the server sent ${size} of ${total} bytes: try again`);
}

/** Content-Range as [begin, end) of total; undefined when it is missing, hidden or makes no sense. */
function contentRange(response: Response): { begin: number; end: number; total: number } | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/i.exec(response.headers.get("content-range") ?? "");
  const [begin, last, total] = (match ?? []).slice(1).map(wholeNumber);
  if (begin === undefined || last === undefined || total === undefined || begin > last || last >= total)
    return undefined;
  return { begin, end: last + 1, total };
}

function wholeNumber(text: string | null): number | undefined {
  return text !== null && /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined;
}

function isPlain(response: Response): boolean {
  const encoding = response.headers.get("content-encoding");
  return !encoding || encoding === "identity";
}

/** What changes with the file's bytes; a weak tag may change without. */
function strongTag(response: Response): string | undefined {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') ? tag : undefined;
}
