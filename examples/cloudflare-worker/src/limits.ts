// What one request may ask for. An isolate has 128 MB for everything: models, pictures, and all
// requests that it is serving.
import type { Env } from "./env.ts";
import { ApiError, retryLater } from "./errors.ts";

export const MOST_JSON_BYTES = 64 << 10;
export const MOST_PICTURE_BYTES = 2 << 20;
export const MOST_PIXELS = 1 << 20;
export const MOST_PROMPT_TOKENS = 4096;
export const MOST_TOKENS = 512;
/** Texts that an isolate writes at once. */
export const MOST_AT_ONCE = 16;
/** Requests for one conversation that wait for their turn, the one being served included. */
export const MOST_IN_LINE = 8;
/** Conversations that nobody continues for so long are deleted. */
export const DAYS_KEPT = 30;
/** What a picture costs of a client's allowance. */
export const PICTURE_TOKENS = 64;
/** Bytes of bodies that an isolate keeps at once, those that arrive and those that are worked on. */
export const MOST_HELD_BYTES = 32 << 20;
/** What a body is given room for first. */
const SMALL_BODY = 8 << 10;
/** Of a body, read at once. */
const PIECE = 16 << 10;

let held = 0;

/** Bytes of bodies that this isolate keeps now. */
export const heldBytes = (): number => held;

type Call = { readonly request: Request; readonly env: Env };

/** Reads a body of at most `most` bytes, whatever its headers promise, and holds it until `use` is done. */
export async function withBody<T>(call: Call, most: number, use: (body: Uint8Array) => T | Promise<T>): Promise<T> {
  let body = new Uint8Array(0), size = 0, refusal: ApiError | undefined;
  const resize = (length: number): void => {
    const other = new Uint8Array(length);
    other.set(body.subarray(0, length));
    held += length - body.length;
    body = other;
  };
  try {
    for await (const piece of arriving(call, 4 * most)) {
      const begin = size;
      size += piece.byteLength;
      if (size > body.length && !refusal) {
        const length = Math.min(most, Math.max(2 * size, SMALL_BODY));
        if (size > most) {
          refusal = new ApiError(413, "request_too_large", `the body has more than ${most} bytes: send less`);
        } else if (held - body.length + length > MOST_HELD_BYTES) {
          refusal = retryLater(503, "overloaded", "this place holds as many bodies as it can", 2);
        }
        resize(refusal ? 0 : length);
      }
      if (!refusal) body.set(piece, begin);
    }
    if (refusal) throw refusal;
    return await use(body.subarray(0, size));
  } finally {
    held -= body.length;
  }
}

/** Reads a body that nobody wants: a client that still sends may find its connection cut before it reads why. */
export async function discardBody(call: Call): Promise<void> {
  if (!call.request.body || call.request.bodyUsed) return;
  try {
    for await (const _ of arriving(call, 4 * MOST_PICTURE_BYTES));
  } catch {
    // the answer is another error already
  }
}

/** A body's pieces, each gone with the next, up to about `most` bytes and for so long. */
async function* arriving({ request, env }: Call, most: number): AsyncGenerator<Uint8Array> {
  const reader = request.body?.getReader({ mode: "byob" });
  if (!reader) return;
  const { promise: late, reject } = Promise.withResolvers<never>(), seconds = Number(env.SECONDS_PER_BODY);
  const tooLate = new ApiError(408, "request_timeout", `the body took more than ${seconds} s: send it again`);
  const timer = setTimeout(() => reject(tooLate), 1000 * seconds);
  try {
    // always into the same bytes: what is thrown away leaves no garbage
    let piece = new Uint8Array(PIECE);
    for (let size = 0; size <= most; size += piece.byteLength) {
      const { done, value } = await Promise.race([reader.read(new Uint8Array(piece.buffer)), late]);
      if (done) return;
      yield (piece = value);
    }
  } catch (error) {
    throw error === tooLate ? error : new ApiError(400, "incomplete_body", "the body ended early: send it again");
  } finally {
    clearTimeout(timer);
    void reader.cancel().catch(() => {});
  }
}

export const readJson = (call: Call): Promise<unknown> =>
  withBody(call, MOST_JSON_BYTES, (bytes) => {
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
    } catch {
      throw new ApiError(400, "invalid_json", "the body is not JSON: send an object, content-type application/json");
    }
  });
