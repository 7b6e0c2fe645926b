// What pages of other origins may do: all that there is, as nothing goes by cookies. ORIGIN names whose.
import type { Env } from "./env.ts";

/** The answer to what a browser asks before such a request. */
export const preflight = (allow: string): Response => new Response(null, {
  status: 204,
  headers: {
    allow,
    "access-control-allow-methods": allow,
    "access-control-allow-headers": "authorization, content-type, idempotency-key",
    "access-control-max-age": "86400",
  },
});

/** The same answer, errors too, for a page to read. */
export function readable(answer: Response, { ORIGIN }: Env): Response {
  const response = new Response(answer.body, answer);
  response.headers.set("access-control-allow-origin", ORIGIN);
  response.headers.set("access-control-expose-headers", "allow, retry-after");
  return response;
}
