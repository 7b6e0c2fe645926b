// A text continued: what a client may ask for, and the answer whole or as it comes, both as OpenAI's POST
// /v1/completions has them.
import type { GenerateOptions, Model, Session } from "slab-wasm";
import { ApiError, errorBody } from "./errors.ts";
import { MOST_PROMPT_TOKENS, MOST_TOKENS } from "./limits.ts";

export const MODEL_NAME = "slab-lm-stories";

/** A request, checked. */
export interface Order {
  readonly conversation?: string;
  /** Where the client believes the conversation to be. */
  readonly position?: number;
  readonly prompt: string | readonly number[];
  readonly options: GenerateOptions & { maxTokens: number };
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly returnTokenIds: boolean;
  /** The request as it was sent, but for how the answer is told: the same text for the same request. */
  readonly asked: string;
}

/** An answer. Conversations keep their last one. */
export interface Reply {
  readonly id: string;
  readonly created: number;
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finish: "length" | "stop";
  readonly promptTokens: number;
  /** Of a conversation. */
  readonly conversation?: { readonly id: string; readonly position: number };
}

// requests

const number = (least: number, most: number) =>
  (value: unknown) => typeof value === "number" && value >= least && value <= most;
const whole = (least: number, most: number) =>
  (value: unknown) => Number.isSafeInteger(value) && number(least, most)(value);
const boolean = (value: unknown) => typeof value === "boolean";
const text = (value: unknown) => typeof value === "string";
const only = (neutral: unknown) => (value: unknown) => JSON.stringify(value) === JSON.stringify(neutral);
const unsupported = "left out: it is not supported here";

/** What each field may be, and how that is said. Null is as good as left out. */
const FIELDS: Readonly<Record<string, readonly [good: (value: unknown) => boolean, expected: string]>> = {
  model: [only(MODEL_NAME), JSON.stringify(MODEL_NAME)],
  prompt: [
    (value) => text(value) || (Array.isArray(value) && value.every(whole(0, 2 ** 31))),
    "a string or a list of token ids",
  ],
  max_tokens: [whole(0, MOST_TOKENS), `a whole number up to ${MOST_TOKENS}`],
  temperature: [number(0, 2), "a number from 0 to 2"],
  top_p: [(value) => number(0, 1)(value) && value !== 0, "a number above 0, up to 1"],
  top_k: [whole(0, 2 ** 31), "a whole number"],
  repetition_penalty: [(value) => number(0, 10)(value) && value !== 0, "a number above 0, up to 10"],
  seed: [whole(-(2 ** 53), 2 ** 53), "a whole number"],
  stop: [
    (value) =>
      [value].flat().length <= 4 && [value].flat().every((s) => text(s) && s !== "" && (s as string).length <= 100),
    "a string, or up to four, of 1 to 100 characters",
  ],
  stream: [boolean, "true or false"],
  stream_options: [(value) => typeof value === "object" && !Array.isArray(value), "an object"],
  return_token_ids: [boolean, "true or false"],
  conversation: [text, "the id that POST /v1/conversations gave"],
  position: [whole(0, 2 ** 53), "a whole number"],
  user: [text, "a string"],
  n: [only(1), "1"], best_of: [only(1), "1"], echo: [only(false), "false"], suffix: [only(""), unsupported],
  logprobs: [only(null), unsupported],
  logit_bias: [only({}), unsupported], presence_penalty: [only(0), "0; use repetition_penalty"],
  frequency_penalty: [only(0), "0; use repetition_penalty"],
};

/** Fields that say how an answer is told. */
const TELLING = new Set(["stream", "stream_options", "return_token_ids", "user"]);

/** @throws ApiError that names the field, what it is and what was expected */
export function readOrder(body: unknown): Order {
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new ApiError(400, "invalid_json", "the body is no JSON object");
  }
  const given = new Map(Object.entries(body).filter(([, value]) => value !== null));
  for (const [name, value] of given) {
    const rule = Object.hasOwn(FIELDS, name) ? FIELDS[name] : undefined;
    if (!rule) {
      throw new ApiError(
        400, "unknown_parameter",
        `${JSON.stringify(name.slice(0, 40))} is no parameter: use ${Object.keys(FIELDS).slice(0, 14).join(", ")}`,
      );
    }
    if (!rule[0](value)) {
      throw new ApiError(
        name === "model" ? 404 : 400, name === "model" ? "model_not_found" : "invalid_value",
        `${name} is ${JSON.stringify(value).slice(0, 60)}, expected ${rule[1]}`,
      );
    }
  }
  if (given.has("position") && !given.has("conversation")) {
    throw new ApiError(400, "invalid_value", "position is for a conversation: give its id too");
  }
  const get = <T>(name: string): T | undefined => given.get(name) as T | undefined;
  const conversation = get<string>("conversation"), position = get<number>("position");
  return {
    ...(conversation === undefined ? {} : { conversation }), ...(position === undefined ? {} : { position }),
    prompt: get<string | number[]>("prompt") ?? "",
    options: {
      maxTokens: get<number>("max_tokens") ?? 16, temperature: get("temperature") ?? 0.8, topP: get("top_p") ?? 1,
      topK: get("top_k") ?? 0,
      repetitionPenalty: get("repetition_penalty") ?? 1,
      seed: get("seed") ?? crypto.getRandomValues(new Uint32Array(1))[0]!,
      stop: [get<string | string[]>("stop") ?? []].flat(),
    },
    stream: get("stream") ?? false,
    includeUsage: get<{ include_usage?: boolean }>("stream_options")?.include_usage === true,
    returnTokenIds: get("return_token_ids") ?? false,
    asked: JSON.stringify([...given].filter(([name]) => !TELLING.has(name)).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** The tokens of a prompt. What the tokenizer puts around every text belongs to its beginning. */
export function promptTokens({ tokenizer, config }: Model, { prompt }: Order, position: number): readonly number[] {
  const ids = typeof prompt === "string" ? Array.from(tokenizer!.encode(prompt, { special: position === 0 })) : prompt;
  if (ids.length > MOST_PROMPT_TOKENS) {
    throw new ApiError(
      400, "context_length_exceeded",
      `the prompt has ${ids.length} tokens, expected at most ${MOST_PROMPT_TOKENS}: send it in pieces, with `
        + "max_tokens 0, to a conversation",
    );
  }
  const vocabulary = "vocab" in config.network ? config.network.vocab : 0, unknown = ids.find((id) => id >= vocabulary);
  if (unknown !== undefined) {
    throw new ApiError(400, "invalid_value", `prompt has the token id ${unknown}, expected ids below ${vocabulary}`);
  }
  return ids;
}

// answers

export interface Work {
  readonly model: Model;
  readonly session: Session;
  readonly prompt: readonly number[];
  /** Time after which the text ends as if it had reached its max_tokens. */
  readonly seconds: number;
  /** Gets the answer when all of it is there, before the client has its end. */
  readonly commit: (reply: Reply) => Reply;
  /** Called once, however it ends. */
  readonly end: () => void;
}

/** Writes the text; the client has it whole, or token by token as server-sent events. */
export async function respond(order: Order, work: Work): Promise<Response> {
  if (!order.stream) {
    try {
      return Response.json(whollyAs(order, await write(order, work, () => true)));
    } finally {
      work.end();
    }
  }
  let gone = false;
  return eventStream(async (send) => {
    try {
      const reply = await write(
        order, work, (id, text, tokens) => !gone && (send(pieceOf(order, id, text, tokens)), true),
      );
      for (const event of lastEvents(order, reply)) send(event);
    } catch (error) {
      if (!gone) send(errorBody(error));
    } finally {
      work.end();
    }
  }, () => (gone = true));
}

/** An answer that was given before. */
export function repeat(order: Order, reply: Reply): Response {
  if (!order.stream) return Response.json(whollyAs(order, reply));
  return eventStream(async (send) => {
    send(pieceOf(order, reply, reply.text, reply.tokens));
    for (const event of lastEvents(order, reply)) send(event);
  });
}

type Shown = (reply: Pick<Reply, "id" | "created">, text: string, tokens: readonly number[]) => boolean;

/** @param show  gets each piece, and says whether anyone still wants the rest */
async function write(
  { options }: Order, { model: { config }, session, prompt, seconds, commit }: Work, show: Shown,
): Promise<Reply> {
  const start = { id: `cmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000) };
  const deadline = Date.now() + seconds * 1000, tokens: number[] = [];
  let text = "";
  const story = session.generate(prompt, options);
  for await (const { id, text: piece } of story) {
    // the end token brings text that was held back, but is no part of the answer
    const ids = "eos" in config && id === config.eos ? [] : [id];
    tokens.push(...ids);
    text += piece;
    if (!show(start, piece, ids)) throw new ApiError(499, "client_closed_request", "the client went away");
    if (Date.now() >= deadline) break;
  }
  const finish = story.finish === "stop" || story.finish === "eos" ? "stop" : "length";
  return commit({ ...start, text, tokens, finish, promptTokens: prompt.length });
}

const header = ({ id, created }: Pick<Reply, "id" | "created">) => ({
  id, object: "text_completion", created, model: MODEL_NAME,
});

const choice = ({ returnTokenIds }: Order, text: string, tokens: readonly number[], finish: Reply["finish"] | null) =>
  ({ index: 0, text, logprobs: null, finish_reason: finish, ...(returnTokenIds ? { token_ids: tokens } : {}) });

const usage = ({ promptTokens, tokens }: Reply) => ({
  prompt_tokens: promptTokens, completion_tokens: tokens.length, total_tokens: promptTokens + tokens.length,
});

const conversationOf = ({ conversation }: Reply) => (conversation ? { conversation } : {});

const whollyAs = (order: Order, reply: Reply) =>
  ({
    ...header(reply), choices: [choice(order, reply.text, reply.tokens, reply.finish)], usage: usage(reply),
    ...conversationOf(reply),
  });

const pieceOf = (order: Order, reply: Pick<Reply, "id" | "created">, text: string, tokens: readonly number[]) =>
  ({ ...header(reply), choices: [choice(order, text, tokens, null)] });

const lastEvents = (order: Order, reply: Reply): unknown[] => [
  { ...header(reply), choices: [choice(order, "", [], reply.finish)], ...conversationOf(reply) },
  ...(order.includeUsage ? [{ ...header(reply), choices: [], usage: usage(reply) }] : []), DONE,
];

const DONE = "[DONE]";

function eventStream(produce: (send: (event: unknown) => void) => Promise<void>, onCancel = (): void => {}): Response {
  const encoder = new TextEncoder();
  let gone = false;
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      await produce(
        (event) => controller.enqueue(encoder.encode(`data: ${event === DONE ? DONE : JSON.stringify(event)}\n\n`)),
      );
      if (!gone) controller.close();
    },
    cancel() {
      gone = true;
      onCancel();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } });
}
