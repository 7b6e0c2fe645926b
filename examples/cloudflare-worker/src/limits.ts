// What one request may ask for. An isolate has 128 MB for everything: models, pictures, and all requests that it is serving.
import { ApiError } from "./errors.ts";

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

/** A body of at most `most` bytes, whatever its headers promise. */
export async function readBody(request: Request, most: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.byteLength;
      if (size <= most) chunks.push(chunk);
      // a client that still sends may find its connection cut before it reads the answer, so a body somewhat too large is read to its end
      else if (size > 4 * most) break;
    }
    if (size > most) throw new ApiError(413, "request_too_large", `the body has more than ${most} bytes: send less`);
  } catch (error) {
    throw error instanceof ApiError ? error : new ApiError(400, "incomplete_body", "the body ended early: send it again");
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.byteLength;
  }
  return body;
}

export async function readJson(request: Request): Promise<unknown> {
  const bytes = await readBody(request, MOST_JSON_BYTES);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch {
    throw new ApiError(400, "invalid_json", "the body is not JSON: send an object, content-type application/json");
  }
}
