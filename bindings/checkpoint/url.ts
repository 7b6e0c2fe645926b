// A file behind http(s): Range requests where the server grants them, one whole download where it does not.
import { limited, readAhead } from "./read-ahead.ts";
import type { Read } from "./read-ahead.ts";
import { checkedSource, collect, drain } from "./source.ts";
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

export interface UrlOptions extends SourceOptions {
  /** Told how many of the file's bytes are here; `total` is undefined while the server has not said. */
  readonly onBytes?: (done: number, total: number | undefined) => void;
  /** Where pages of this very content of a file are kept, if anywhere. `version` changes with the content. */
  readonly keep?: (address: string, version: string) => Promise<Pages | undefined>;
  /** Sent with every request, such as `authorization` for a gated model. */
  readonly headers?: Readonly<Record<string, string>>;
}

export async function urlSource(url: string | URL, options: UrlOptions = {}): Promise<ByteSource> {
  const address = parseAddress(url);
  // the query and the fragment may carry a token, and names end up in logs
  const name = address.origin + address.pathname;
  const { signal, headers, onBytes } = options;
  signal?.throwIfAborted();

  // ends requests under way on close() too
  const stop = new AbortController();
  const abort = (): void => stop.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const close = (): void => {
    signal?.removeEventListener("abort", abort);
    stop.abort(new Error(`${name} is closed: read before close(), or open it again`));
  };

  const request = async (range?: string): Promise<Response> => {
    let response: Response;
    try {
      response = await fetch(address, { headers: range ? { ...headers, range } : { ...headers }, signal: stop.signal });
    } catch (error) {
      throw stop.signal.aborted ? stop.signal.reason : unreachable(name, error);
    }
    if (response.ok || (range && response.status === 416)) return response;
    await discard(response);
    throw new Error(`cannot read ${name}: the server answered ${response.status}: ${remedy(response.status)}`);
  };

  const whole = async (response: Response): Promise<ByteSource> => {
    // with a content-encoding the length is that of the compressed bytes
    const announced = isPlain(response) ? wholeNumber(response.headers.get("content-length")) : undefined;
    let held = { size: 0, read: async () => new Uint8Array(0), drop: () => {} } as Awaited<ReturnType<typeof collect>>;
    await receiveBody(name, response, announced, stop.signal, async (body) => {
      held = await collect(name, onBytes ? body.pipeThrough(counter((done) => onBytes(done, announced))) : body, announced ?? Number.POSITIVE_INFINITY, stop.signal);
      return held.size;
    });
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
      await receiveBody(name, answer, length, stop.signal, (body) => drain(name, body, length, stop.signal, (chunk, at) => bytes.set(chunk, at)));
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
    const source = limited(requestsAtOnce, pages ? keptIn(pages, counted, (bytes) => onBytes?.(Math.min((done += bytes), total), total)) : counted);
    return checkedSource(name, total, readAhead(source, total, pageBytes, pagesKept, pageZero, pages !== undefined), close, options);
  } catch (error) {
    close();
    throw signal?.aborted ? signal.reason : error;
  }
}

/** Passes everything on, and tells how many bytes that were. */
function counter(tell: (done: number) => void): TransformStream<Uint8Array, Uint8Array> {
  let done = 0;
  return new TransformStream({
    transform(chunk, out) {
      tell((done += chunk.byteLength));
      out.enqueue(chunk);
    },
  });
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

function parseAddress(url: string | URL): URL {
  let address: URL;
  try {
    address = new URL(url);
  } catch {
    throw new TypeError(`the address of a checkpoint is no URL: expected http://… or https://…`);
  }
  if (address.protocol !== "https:" && address.protocol !== "http:") {
    throw new RangeError(`the address of a checkpoint begins with ${address.protocol}, expected https: or http:`);
  }
  if (address.username || address.password) {
    throw new RangeError(`the address of ${address.origin}${address.pathname} holds a password: pass it in headers.authorization`);
  }
  return address;
}

/** Runs `receive` on an answer's body, and makes its errors ours; it returns how many bytes came. */
async function receiveBody(
  name: string, response: Response, announced: number | undefined, signal: AbortSignal,
  receive: (body: ReadableStream<Uint8Array>) => Promise<number>,
): Promise<void> {
  let size = 0;
  try {
    if (response.body) size = await receive(response.body);
  } catch (error) {
    throw signal.aborted ? signal.reason : error instanceof RangeError ? error : unreachable(name, error);
  }
  if (announced !== undefined && size !== announced) {
    throw new Error(`${name} was cut off: the server sent ${size} of ${announced} bytes: try again`);
  }
}

/** Content-Range as [begin, end) of total; undefined when it is missing, hidden or makes no sense. */
function contentRange(response: Response): { begin: number; end: number; total: number } | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/i.exec(response.headers.get("content-range") ?? "");
  const [begin, last, total] = (match ?? []).slice(1).map(wholeNumber);
  if (begin === undefined || last === undefined || total === undefined || begin > last || last >= total) return undefined;
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

/** Frees the connection of an answer that is not read. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}

function unreachable(name: string, error: unknown): Error {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const reason = inner instanceof Error ? inner.message : String(inner);
  return new Error(`cannot read ${name}: ${reason || "the connection failed"}: check the address and the network, then try again`, { cause: error });
}

function remedy(status: number): string {
  if (status === 401 || status === 403) return "pass an access token in headers.authorization";
  return status >= 500 || status === 429 ? "try again later" : "check the address";
}
