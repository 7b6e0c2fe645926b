// Which request goes where.
import { charge } from "./allowance.ts";
import { MODEL_NAME, promptTokens, readOrder, respond } from "./completion.ts";
import { unknownConversation } from "./conversation.ts";
import { preflight, readable } from "./cors.ts";
import type { Env } from "./env.ts";
import { ApiError, answer } from "./errors.ts";
import { discardBody, readJson } from "./limits.ts";
import { health, model, startWriting } from "./models.ts";
import type { PictureMessage } from "./pictures.ts";
import { classifyBatch, classifyLater, classifyNow, labelsOf } from "./pictures.ts";

export { Allowance } from "./allowance.ts";
export { Conversation } from "./conversation.ts";

interface Call {
  readonly request: Request;
  readonly env: Env;
  readonly context: ExecutionContext;
  /** Whose allowance pays. */
  readonly client: string;
  /** What the path's last part is. */
  readonly name: string;
}

const ROUTES: readonly (readonly [
  path: RegExp, methods: Readonly<Record<string, (call: Call) => Response | Promise<Response>>>,
])[] = [
  [/^\/health$/, { GET: () => Response.json(health()) }],
  [/^\/classify$/, { POST: (call) => classifyNow(call, call.context) }],
  [/^\/pictures\/([\w.-]{1,200})$/, {
    PUT: (call) => classifyLater(call.name, call),
    GET: ({ env, name }) => labelsOf(name, env),
  }],
  [/^\/v1\/models$/, { GET: () => Response.json({
    object: "list", data: [{ id: MODEL_NAME, object: "model", created: 0, owned_by: "slab-wasm" }],
  }) }],
  [/^\/v1\/completions$/, { POST: complete }],
  [/^\/v1\/conversations$/, { POST: startConversation }],
  [/^\/v1\/conversations\/(\w+)$/, {
    GET: ({ env, name }) => conversation(env, name).describe(),
    DELETE: ({ env, name }) => conversation(env, name).remove(),
  }],
];

export default {
  async fetch(request, env, context) {
    const response = await answer(() => handle(request, env, context));
    if (!response.ok) await discardBody({ request, env });
    return readable(response, env);
  },
  queue: classifyBatch,
} satisfies ExportedHandler<Env, PictureMessage>;

function handle(request: Request, env: Env, context: ExecutionContext): Response | Promise<Response> {
  const { pathname } = new URL(request.url), { method } = request;
  for (const [path, methods] of ROUTES) {
    const match = path.exec(pathname);
    if (!match) continue;
    const route = Object.hasOwn(methods, method) ? methods[method] : undefined;
    const allow = [...Object.keys(methods), "OPTIONS"].join(", ");
    // a browser asks without the key
    if (method === "OPTIONS") return preflight(allow);
    if (!route) throw new ApiError(405, "method_not_allowed", `${pathname} takes ${allow}, not ${method}`, { allow });
    if (env.API_KEY && request.headers.get("authorization") !== `Bearer ${env.API_KEY}`) {
      throw new ApiError(401, "invalid_api_key", "the request bears no valid key: send authorization: Bearer KEY");
    }
    const client = request.headers.get("cf-connecting-ip") ?? "local";
    return route({ request, env, context, client, name: match[1] ?? "" });
  }
  throw new ApiError(404, "not_found", `there is nothing at ${pathname.slice(0, 80)}: the README lists what there is`);
}

async function complete(call: Call): Promise<Response> {
  const { request, env, context, client } = call, order = readOrder(await readJson(call));
  if (order.conversation !== undefined) {
    const key = request.headers.get("idempotency-key");
    if (key !== null && key.length > 255) {
      throw new ApiError(400, "invalid_value", `idempotency-key has ${key.length} characters, expected at most 255`);
    }
    return conversation(env, order.conversation).complete(order, client, key);
  }
  const language = await model("language", env, context), prompt = promptTokens(language, order, 0);
  const stopWriting = await startWriting(env, client, prompt.length + order.options.maxTokens);
  const session = language.session();
  return respond(order, {
    model: language, session, prompt, seconds: Number(env.SECONDS_PER_TEXT),
    commit: (reply) => reply,
    end: () => {
      session.dispose();
      stopWriting();
    },
  });
}

async function startConversation({ env, client }: Call): Promise<Response> {
  await charge(env, client, 1);
  const id = env.CONVERSATIONS.newUniqueId();
  await env.CONVERSATIONS.get(id).create();
  return Response.json(
    { id: id.toString(), object: "conversation", created_at: Math.floor(Date.now() / 1000), position: 0 },
    { status: 201 },
  );
}

/** Ids that this Worker did not make are refused here already. */
function conversation(env: Env, id: string) {
  try {
    return env.CONVERSATIONS.get(env.CONVERSATIONS.idFromString(id));
  } catch {
    throw unknownConversation();
  }
}
