// Pictures: classified at once, or put into the bucket and classified by the queue's consumer, in batches.
// A message is what R2 sends when an object is made: with an event notification for pictures/ the bucket
// may be filled by anything.
import { decodeImage } from "slab-wasm/image";
import { charge } from "./allowance.ts";
import type { Env } from "./env.ts";
import { ApiError, errorBody } from "./errors.ts";
import { MOST_PICTURE_BYTES, MOST_PIXELS, PICTURE_TOKENS, withBody } from "./limits.ts";
import { model } from "./models.ts";

export interface PictureMessage {
  readonly object: { readonly key: string };
}

/** Both pay before they send: what arrives takes memory. */
type Call = { readonly request: Request; readonly env: Env; readonly client: string };
type Context = Pick<ExecutionContext, "waitUntil">;

/** POST /classify */
export async function classifyNow(call: Call, context: Context): Promise<Response> {
  const top = Number(new URL(call.request.url).searchParams.get("top") ?? 5);
  if (!(Number.isInteger(top) && top >= 1)) {
    throw new ApiError(400, "invalid_value", "top is no whole number of at least 1");
  }
  await charge(call.env, call.client, PICTURE_TOKENS);
  const found = await withBody(call, MOST_PICTURE_BYTES, (bytes) => labels(bytes, top, call.env, context));
  return Response.json({ labels: found });
}

/** PUT /pictures/NAME: labels come when the queue's consumer has got to it. */
export async function classifyLater(name: string, call: Call): Promise<Response> {
  const { env, client } = call, key = `pictures/${name}`;
  await charge(env, client, PICTURE_TOKENS);
  return withBody(call, MOST_PICTURE_BYTES, async (bytes) => {
    if (bytes.length === 0) throw new ApiError(400, "invalid_image", "the picture has no bytes");
    await env.BUCKET.delete(`labels/${name}`);
    await env.BUCKET.put(key, bytes);
    await env.QUEUE.send({ object: { key } });
    return Response.json({ name, status: "queued" }, { status: 202 });
  });
}

/** GET /pictures/NAME */
export async function labelsOf(name: string, env: Env): Promise<Response> {
  const found = await env.BUCKET.get(`labels/${name}`);
  if (found) return Response.json(await found.json());
  if (!(await env.BUCKET.head(`pictures/${name}`))) {
    throw new ApiError(404, "picture_not_found", "there is no such picture: PUT it first");
  }
  return Response.json({ name, status: "queued" }, { status: 202 });
}

/** The queue's consumer. What is wrong with a picture is its result; what is wrong with us is tried again. */
export async function classifyBatch(batch: MessageBatch<PictureMessage>, env: Env, context: Context): Promise<void> {
  for (const message of batch.messages) {
    const { key } = message.body.object, name = key.replace(/^pictures\//, "");
    try {
      const picture = await env.BUCKET.get(key);
      // one that is gone needs no labels
      if (picture) {
        const result = picture.size > MOST_PICTURE_BYTES
          ? errorBody(new ApiError(413, "request_too_large", `the picture has more than ${MOST_PICTURE_BYTES} bytes`))
          : await labels(new Uint8Array(await picture.arrayBuffer()), 5, env, context).then(
            (labels) => ({ labels }), refused,
          );
        await env.BUCKET.put(`labels/${name}`, JSON.stringify({ name, status: "done", ...result }));
      }
      message.ack();
    } catch (error) {
      console.error(`cannot classify ${key}:`, error);
      message.retry({ delaySeconds: 5 });
    }
  }
}

function refused(error: unknown): ReturnType<typeof errorBody> {
  if (error instanceof ApiError && error.status < 500) return errorBody(error);
  throw error;
}

async function labels(
  bytes: Uint8Array, topK: number, env: Env, context: Context,
): Promise<{ label: string; score: number }[]> {
  // first, as decoded pictures would wait for it
  const vision = await model("vision", env, context);
  const image = await decodeImage(bytes, { maxPixels: MOST_PIXELS }).catch((error: Error) => {
    throw new ApiError(error instanceof TypeError ? 415 : 400, "invalid_image", error.message);
  });
  return (await vision.classify(image, { topK })).map(({ label, score }) => ({ label, score }));
}
