// examples/cloudflare-worker in the real workerd, against the same requests in one process that nothing interrupts.
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Model, Session } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import type { Worker } from "./worker.ts";
import { cannotRun, copyExample, root, runStart, startWorker } from "./worker.ts";

// what runs here is workerd, so once is enough
const { CI, SLAB_AGAIN } = process.env;
const why = SLAB_AGAIN ?? cannotRun();
const skip = SLAB_AGAIN !== undefined || (why !== undefined && !CI);
const check = skip ? test.skip : test;
if (skip) console.log(`skipped: examples/cloudflare-worker: ${why}`);

const CONVERSATIONS = 50, REQUESTS = 1000, AT_ONCE = 8, RESTART_AFTER = [300, 650];
const MANY = { TOKENS_PER_MINUTE: 10_000_000 };
const samples = ["bird.jpg", "cat.png", "deer.jpg", "horse.webp", "owl.webp"].map(
  (name) => new Uint8Array(readFileSync(join(root, "models/samples", name))),
);

let example: ReturnType<typeof copyExample>, worker: Worker, language: Model;
const packed = (role: string): string => join(example.folder, "assets", role);
const state = (name: string): string => join(example.folder, ".state", name);

test.before(async () => {
  if (skip) return;
  if (why) throw new Error(why);
  example = copyExample();
  worker = await startWorker(example.folder, state("main"), MANY);
  language = await load(packed("language"), { deterministic: true, threads: 1 });
});
test.after(async () => {
  await worker?.kill();
  language?.dispose();
  example?.remove();
});

/** What a completion asks for, beyond what all of them do. */
interface Ask {
  readonly prompt?: string | number[];
  readonly max_tokens: number;
  readonly temperature: number;
  readonly seed: number;
  readonly stream?: boolean;
}

/** `init` as a function makes a body for each attempt: a stream can be sent once only. */
async function request(path: string, init: RequestInit | (() => RequestInit) = {}): Promise<Response> {
  const send = (): Promise<Response> => fetch(worker.url + path, typeof init === "function" ? init() : init);
  try {
    return await send();
  } catch (error) {
    // the server may close an idle connection just when it is used again
    if (
      !["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"].includes(
        ((error as Error).cause as { code?: string } | undefined)?.code ?? "",
      )
    )
      throw error;
    return send();
  }
}

const post = (path: string, body: unknown, init: RequestInit = {}): Promise<Response> =>
  request(path, {
    method: "POST", body: body instanceof Uint8Array ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body),
    ...init,
  });

async function newConversation(): Promise<string> {
  const response = await post("/v1/conversations", {});
  assert.is(response.status, 201);
  return ((await response.json()) as { id: string }).id;
}

/** The tokens of an answer, whole or streamed; an error when it has no end. */
async function tokensOf(response: Response): Promise<{ tokens: number[]; position: number }> {
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`);
  if (response.headers.get("content-type") !== "text/event-stream") {
    const { choices: [{ token_ids }], conversation } = JSON.parse(text);
    return { tokens: token_ids, position: conversation?.position };
  }
  const events = text.split("\n\n").filter((event) => event !== "").map((event) => event.replace(/^data: /, ""));
  if (events.at(-1) !== "[DONE]") throw new Error("the stream was cut off");
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event));
  return {
    tokens: chunks.flatMap((chunk) => chunk.choices[0].token_ids), position: chunks.at(-1).conversation?.position,
  };
}

const complete = async (
  ask: Ask, conversation?: string, key?: string,
): Promise<{ tokens: number[]; position: number }> =>
  tokensOf(
    await post(
      "/v1/completions",
      { ...ask, return_token_ids: true, ...(conversation ? { conversation } : {}) },
      key ? { headers: { "idempotency-key": key } } : {},
    ),
  );

/** The same in this process. */
async function straight(
  session: Session, { prompt = "", max_tokens: maxTokens, temperature, seed }: Ask,
): Promise<number[]> {
  const { eos } = language.config as { eos?: number }, tokens: number[] = [];
  for await (const { id } of session.generate(prompt, { maxTokens, temperature, seed }))
    if (id !== eos) tokens.push(id);
  return tokens;
}

/** Numbers that are the same in every run. */
function generator(seed: number): (below: number) => number {
  return (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
}

const PROMPTS = ["It was", " a dark night", " and she said", " the sea", "\n\n", " captain", " Mr."];

check("cold start to the first token", async () => {
  await (await request("/health")).json();
  const before = worker.usage().cpuMs, start = performance.now();
  const cold = await complete({ prompt: "It was a dark", max_tokens: 1, temperature: 0, seed: 1 });
  const coldMs = performance.now() - start, middle = worker.usage().cpuMs;
  await complete({ prompt: "It was a dark", max_tokens: 1, temperature: 0, seed: 1 });
  const warm = worker.usage().cpuMs - middle;
  assert.equal(
    cold.tokens,
    await straight(language.session(), { prompt: "It was a dark", max_tokens: 1, temperature: 0, seed: 1 }),
  );

  // the model's own part: the same bytes, in memory already, on this thread
  const bytes = readFileSync(join(packed("language"), "model.safetensors"));
  const config: unknown = JSON.parse(readFileSync(join(packed("language"), "config.json"), "utf8"));
  const own = process.cpuUsage();
  using model = await load({ config, weights: bytes }, { deterministic: true, threads: 1, sessions: 4 });
  await model.session().prefill([1, 2, 3, 4]);
  const { user, system } = process.cpuUsage(own);
  console.log(
    `cold start to the first token: ${middle - before} ms of CPU in workerd, ${coldMs.toFixed(0)} ms of time `
      + `(a warm request: ${warm} ms of CPU);`
      + ` the model's own part, measured in Node ${process.versions.node}: `
      + `${((user + system) / 1000).toFixed(0)} ms of CPU`,
  );
});

check(
  `${REQUESTS} requests of ${CONVERSATIONS} conversations, killed twice in between: no token is lost or repeated`,
  async () => {
    const random = generator(7), ids = await Promise.all(Array.from({ length: CONVERSATIONS }, newConversation));
    const asks = Array.from({ length: REQUESTS }, (_, i): Ask & { of: number; key: string } => ({
      of: random(CONVERSATIONS),
      key: `request-${i}`,
      max_tokens: 1 + random(3),
      temperature: random(2) * 0.8,
      seed: random(1000),
      stream: random(2) === 0,
      ...(random(4) === 0
        ? {}
        : random(3) === 0
          ? { prompt: [1 + random(4000), 1 + random(4000)] }
          : { prompt: PROMPTS[random(PROMPTS.length)]! }),
    }));
    const answers: { tokens: number[]; position: number }[] = [];
    const busy = new Set<number>();
    const waiting = asks.map((_, i) => i);
    let ready: Promise<unknown> = Promise.resolve(), done = 0, again = 0, wasmBytes = 0, residentBytes = 0;

    async function restart(): Promise<void> {
      await worker.kill();
      worker = await startWorker(example.folder, state("main"), MANY);
    }
    async function send(index: number): Promise<void> {
      const { of, key, ...ask } = asks[index]!;
      for (let attempt = 0; ; attempt++) {
        await ready;
        try {
          answers[index] = await complete(ask, ids[of]!, key);
          break;
        } catch (error) {
          // a connection that broke: the client cannot know whether its request was served
          if (attempt === 3 || /^\d+:/.test((error as Error).message)) throw error;
          again++;
        }
      }
      done++;
      if (RESTART_AFTER.includes(done)) ready = restart();
      if (done % 50 === 0) {
        const labels = await post("/classify", samples[(done / 50) % samples.length]!).catch(() => undefined);
        if (labels) assert.is(labels.status, 200);
        await ready;
        const health = (await (await request("/health")).json()) as { wasm_bytes: number };
        [wasmBytes, residentBytes] = [
          Math.max(wasmBytes, health.wasm_bytes), Math.max(residentBytes, worker.usage().residentBytes),
        ];
      }
    }
    async function lane(): Promise<void> {
      for (;;) {
        const next = waiting.findIndex((index) => !busy.has(asks[index]!.of));
        if (next < 0 && waiting.length === 0) return;
        if (next < 0) {
          await setTimeout(1);
          continue;
        }
        const [index] = waiting.splice(next, 1) as [number], { of } = asks[index]!;
        busy.add(of);
        await send(index);
        busy.delete(of);
      }
    }
    const start = performance.now();
    await Promise.all(Array.from({ length: AT_ONCE }, lane));
    const seconds = (performance.now() - start) / 1000;

    let tokens = 0;
    for (let of = 0; of < CONVERSATIONS; of++) {
      const session = language.session();
      for (const [index, ask] of asks.entries()) {
        if (ask.of !== of) continue;
        assert.equal(answers[index]!.tokens, await straight(session, ask), `request ${index} of conversation ${of}`);
        assert.is(answers[index]!.position, session.position);
        tokens += answers[index]!.tokens.length;
      }
      const there = (await (await request(`/v1/conversations/${ids[of]}`)).json()) as { position: number };
      assert.is(there.position, session.position);
      session.reset();
    }
    assert.ok(wasmBytes > 0 && wasmBytes < 64 << 20, `${wasmBytes} bytes of WebAssembly memory`);
    console.log(
      `${REQUESTS} requests, ${tokens} tokens in ${seconds.toFixed(1)} s; ${again} were cut off by the two `
        + "kills and sent again;"
        + ` WebAssembly at most ${(wasmBytes / 2 ** 20).toFixed(1)} MiB, workerd as a whole `
        + `${(residentBytes / 2 ** 20).toFixed(0)} MiB`,
    );
  },
);

check("requests for one conversation at the same time take turns", async () => {
  const asks = [" one", " two", " three"].map((prompt, seed): Ask => ({
    prompt, max_tokens: 3, temperature: 0.8, seed, stream: seed === 1,
  }));
  const id = await newConversation(), got = await Promise.all(asks.map((ask) => complete(ask, id)));
  // whichever came first, the positions tell the order
  const order = [0, 1, 2].sort((a, b) => got[a]!.position - got[b]!.position), session = language.session();
  for (const index of order) {
    assert.equal(got[index]!.tokens, await straight(session, asks[index]!));
    assert.is(got[index]!.position, session.position);
  }
});

check("a conversation that too many wait for refuses more, and loses nothing", async () => {
  const id = await newConversation(), ask: Ask = { prompt: " on", max_tokens: 20, temperature: 0, seed: 1 };
  const responses = await Promise.all(
    Array.from({ length: 12 }, () => post("/v1/completions", { ...ask, conversation: id })),
  );
  const good = responses.filter(({ status }) => status === 200).length;
  assert.ok(good >= 8 && good < 12, `${good} were served`);
  for (const response of responses) {
    const body = await response.json() as { error?: { code: string } };
    if (response.status !== 200)
      assert.equal(
        [response.status, body.error?.code, response.headers.get("retry-after")],
        [429, "conversation_busy", "1"],
      );
  }
  const session = language.session();
  for (let i = 0; i < good; i++) await straight(session, ask);
  assert.equal((await complete(ask, id)).tokens, await straight(session, ask));
});

check("a request sent again with its key is answered as before", async () => {
  const id = await newConversation(), ask: Ask = { prompt: "Once", max_tokens: 4, temperature: 0.8, seed: 3 };
  const first = await complete(ask, id, "a");
  const second = await complete(ask, id, "a");
  const streamed = await complete({ ...ask, stream: true }, id, "a");
  const third = await complete(ask, id, "b");
  assert.equal([second, streamed], [first, first]);
  assert.not.equal(third.position, first.position);
});

check("a key used again for something else is refused, and nothing is lost", async () => {
  const id = await newConversation(), ask: Ask = { prompt: "Once", max_tokens: 4, temperature: 0.8, seed: 3 };
  const first = await complete(ask, id, "a");
  for (const other of [{ prompt: " upon" }, { max_tokens: 5 }, { seed: 4 }, { position: 0 }]) {
    const body = { ...ask, return_token_ids: true, conversation: id, ...other };
    const response = await post("/v1/completions", body, { headers: { "idempotency-key": "a" } });
    const { error } = await response.json() as { error?: { code: string } };
    const what = JSON.stringify(other);
    assert.equal([what, response.status, error?.code], [what, 422, "idempotency_key_reused"]);
  }
  // in another order, with a field that says how the answer is told, and one that is left out
  const { seed, ...rest } = ask;
  const same = { seed, user: "me", top_p: null, ...rest, return_token_ids: true, conversation: id };
  assert.equal(await tokensOf(await post("/v1/completions", same, { headers: { "idempotency-key": "a" } })), first);
  const session = language.session();
  assert.equal(first.tokens, await straight(session, ask));
  const next = await complete({ ...ask, prompt: " upon" }, id, "b");
  assert.equal(next.tokens, await straight(session, { ...ask, prompt: " upon" }));
});

check("a client that goes away leaves the conversation as it was", async () => {
  const id = await newConversation(), ask: Ask = { prompt: "The", max_tokens: 2, temperature: 0, seed: 1 };
  const before = await complete(ask, id), stop = new AbortController();
  const response = await post(
    "/v1/completions", { ...ask, max_tokens: 512, stream: true, conversation: id }, { signal: stop.signal },
  );
  const reader = response.body!.getReader();
  assert.match(new TextDecoder().decode((await reader.read()).value), /^data: \{"id"/);
  stop.abort();
  await reader.read().catch(() => {});
  const session = language.session();
  assert.equal(before.tokens, await straight(session, ask));
  assert.equal(await complete(ask, id), { tokens: await straight(session, ask), position: session.position });
  assert.is(((await (await request("/health")).json()) as { writing: number }).writing, 0);
});

check("pictures: the same labels as here, at once and through the queue", async () => {
  using vision = await load(packed("vision"), { deterministic: true, threads: 1 });
  for (const [i, sample] of samples.entries()) {
    const expected = await vision.classify(sample, { topK: 5 }), now = await post("/classify", sample);
    assert.is(now.status, 200);
    const { labels } = await now.json() as { labels: { label: string; score: number }[] };
    assert.equal(labels.map(({ label }) => label), expected.map(({ label }) => label));
    // Math.exp of two engines may differ in the last bit
    labels.forEach(({ score }, i) => assert.ok(Math.abs(score - expected[i]!.score) < 1e-15));
    const name = `sample-${i}`, put = await request(`/pictures/${name}`, { method: "PUT", body: sample });
    assert.equal([put.status, await put.json()], [202, { name, status: "queued" }]);
    if (i === 0) await request("/pictures/broken", { method: "PUT", body: sample.slice(0, 3000) });
  }
  for (const name of [...samples.keys()].map((i) => `sample-${i}`)) {
    const { status, labels } = await settled(name);
    assert.equal([status, labels?.length], ["done", 5]);
  }
  assert.is((await settled("broken")).error?.code, "invalid_image");
});

async function settled(name: string): Promise<{ status: string; labels?: unknown[]; error?: { code: string } }> {
  for (let i = 0; i < 100; i++) {
    const response = await request(`/pictures/${name}`), body = await response.json() as { status: string };
    if (response.status !== 202) return body;
    await setTimeout(100);
  }
  throw new Error(`${name} was not classified in 10 s`);
}

interface Held {
  readonly socket: Socket;
  /** What the server says to it. */
  answer(): Promise<string>;
}

/** The start of an upload, whose end does not come. */
async function holdUpload(bytes: number, headers: readonly string[] = []): Promise<Held> {
  const { hostname, port } = new URL(worker.url), socket = connect(Number(port), hostname);
  let text = "";
  socket.setEncoding("utf8").on("data", (piece: string) => (text += piece)).on("error", () => {});
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  const more = ["connection: close", ...headers, `content-length: ${bytes + 1}`];
  socket.write(["POST /classify HTTP/1.1", `host: ${hostname}`, ...more, "", ""].join("\r\n"));
  await new Promise<void>((resolve) => socket.write(new Uint8Array(bytes), () => resolve()));
  return { socket, answer: () => closed.then(() => text) };
}

check("uploads that do not end take 32 MiB at most, and others are told to come again", async () => {
  const bytes = 2_000_000, before = worker.usage().residentBytes;
  // one after the other: where they would be too many at once, the last are refused
  const held: Held[] = [];
  try {
    for (let i = 0; i < 150; i++) held.push(await holdUpload(bytes));
    const health = async () => (await (await request("/health")).json()) as { body_bytes: number };
    for (let i = 0; i < 50 && (await health()).body_bytes < 31 << 20; i++) await setTimeout(100);
    assert.ok((await health()).body_bytes <= 32 << 20);
    const refused = await post("/classify", new Uint8Array(bytes));
    const { error } = await refused.json() as { error: { code: string } };
    assert.equal([refused.status, error.code, refused.headers.get("retry-after")], [503, "overloaded", "2"]);
    const grown = (worker.usage().residentBytes - before) / 2 ** 20;
    console.log(`150 uploads of ${bytes} bytes that do not end: workerd took ${grown.toFixed(0)} MiB more`);
    assert.ok(!(grown > 128), `${grown} MiB`);
  } finally {
    for (const { socket } of held) socket.destroy();
  }
  for (let i = 0; ; i++) {
    const { body_bytes: left } = (await (await request("/health")).json()) as { body_bytes: number };
    if (left === 0) break;
    assert.ok(i < 50, `${left} bytes are kept of uploads that were given up`);
    await setTimeout(100);
  }
  assert.is((await post("/classify", samples[0]!)).status, 200);
});

check("a page of another origin may ask, and reads answers and errors", async () => {
  const paths = { "/classify": "POST", "/pictures/bird": "PUT, GET", "/v1/conversations/0": "GET, DELETE" };
  for (const [path, methods] of Object.entries(paths)) {
    const asked = { "origin": "https://example.org", "access-control-request-method": methods.split(", ")[0]! };
    const response = await request(path, { method: "OPTIONS", headers: asked }), { headers } = response;
    assert.equal([response.status, await response.text()], [204, ""]);
    assert.is(headers.get("access-control-allow-origin"), "*");
    assert.is(headers.get("access-control-allow-methods"), `${methods}, OPTIONS`);
    assert.match(headers.get("access-control-allow-headers")!, /authorization, content-type, idempotency-key/);
  }
  const good = await post("/v1/completions", { prompt: "It", max_tokens: 2, stream: true });
  const bad = await post("/v1/completions", { prompt: 3 }), none = await request("/nothing", { method: "OPTIONS" });
  for (const { headers } of [good, bad, none]) assert.is(headers.get("access-control-allow-origin"), "*");
  assert.match(bad.headers.get("access-control-expose-headers")!, /retry-after/);
  assert.match(await good.text(), /\[DONE\]/);
});

check("a port that is in use is one sentence", async () => {
  const { port } = new URL(worker.url);
  for (const [given, why] of [[port, "in use"], ["many", "none"]] as const) {
    const output = `port ${given} is ${why}: give another, npm start -- --port N\n`;
    assert.equal(runStart(example.folder, ["--port", given]), { code: 1, output });
  }
});

check("every error is JSON with a status", async () => {
  const id = await newConversation(), gone = await newConversation(), prompt = "It";
  assert.is((await request(`/v1/conversations/${gone}`, { method: "DELETE" })).status, 200);
  const large = new Uint8Array(3 << 20);
  const gif = new TextEncoder().encode("GIF89a............");
  const cut = samples[1]!.slice(0, 20_000);
  const completions = "/v1/completions";
  const cases: [
    what: string, path: string, init: RequestInit | (() => RequestInit) | object, status: number, code: string,
  ][] = [
    ["no such path", "/nothing", { method: "GET" }, 404, "not_found"],
    ["wrong method", "/classify", { method: "GET" }, 405, "method_not_allowed"],
    ["not JSON", completions, { method: "POST", body: "{" }, 400, "invalid_json"],
    ["no object", completions, { method: "POST", body: "[]" }, 400, "invalid_json"],
    ["not UTF-8", completions, { method: "POST", body: new Uint8Array([34, 255, 34]) }, 400, "invalid_json"],
    [
      "too much JSON",
      completions,
      { method: "POST", body: JSON.stringify({ prompt: "a".repeat(70_000) }) },
      413,
      "request_too_large",
    ],
    ["unknown field", completions, { prompt, max_token: 3 }, 400, "unknown_parameter"],
    ["a name of every object", completions, { prompt, constructor: 3 }, 400, "unknown_parameter"],
    ["wrong type", completions, { prompt, max_tokens: "3" }, 400, "invalid_value"],
    ["too many tokens", completions, { prompt, max_tokens: 100_000 }, 400, "invalid_value"],
    ["not supported", completions, { prompt, n: 2 }, 400, "invalid_value"],
    ["empty stop", completions, { prompt, stop: "" }, 400, "invalid_value"],
    ["unknown model", completions, { prompt, model: "gpt" }, 404, "model_not_found"],
    ["unknown token", completions, { prompt: [4096] }, 400, "invalid_value"],
    ["long prompt", completions, { prompt: Array(4097).fill(1) }, 400, "context_length_exceeded"],
    ["position without conversation", completions, { prompt, position: 0 }, 400, "invalid_value"],
    ["unknown conversation", completions, { prompt, conversation: "0".repeat(64) }, 404, "conversation_not_found"],
    ["no id at all", completions, { prompt, conversation: "my talk" }, 404, "conversation_not_found"],
    ["deleted conversation", completions, { prompt, conversation: gone }, 404, "conversation_not_found"],
    ["deleted conversation", `/v1/conversations/${gone}`, { method: "GET" }, 404, "conversation_not_found"],
    ["deleted twice", `/v1/conversations/${gone}`, { method: "DELETE" }, 404, "conversation_not_found"],
    ["wrong position", completions, { prompt, conversation: id, position: 5 }, 409, "position_mismatch"],
    [
      "wrong position, streamed", completions, { prompt, conversation: id, position: 5, stream: true }, 409,
      "position_mismatch",
    ],
    [
      "long key",
      completions,
      {
        method: "POST", body: JSON.stringify({ prompt, conversation: id }),
        headers: { "idempotency-key": "k".repeat(256) },
      },
      400,
      "invalid_value",
    ],
    ["no picture", "/classify", { method: "POST" }, 400, "invalid_image"],
    ["large picture", "/classify", { method: "POST", body: large }, 413, "request_too_large"],
    [
      "large picture of unknown length", "/classify",
      () => ({ method: "POST", body: new Blob([large]).stream(), duplex: "half" }), 413, "request_too_large",
    ],
    ["wrong kind of picture", "/classify", { method: "POST", body: gif }, 415, "invalid_image"],
    ["corrupt picture", "/classify", { method: "POST", body: cut }, 400, "invalid_image"],
    ["wrong top", "/classify?top=0", { method: "POST", body: samples[0]! }, 400, "invalid_value"],
    ["unknown picture", "/pictures/none", { method: "GET" }, 404, "picture_not_found"],
  ];
  for (const [what, path, given, status, code] of cases) {
    const response =
      typeof given === "function" || "method" in given ? await request(path, given) : await post(path, given);
    const { error } = await response.json() as { error?: { message: string; type: string; code: string } };
    assert.equal([what, response.status, error?.code], [what, status, code]);
    assert.is(error!.type, "invalid_request_error");
    assert.ok(error!.message.length > 10);
  }
  // none of them changed anything, or left the model worse than it was
  assert.equal(await complete({ prompt, max_tokens: 2, temperature: 0, seed: 1 }, id), {
    tokens: await straight(language.session(), { prompt, max_tokens: 2, temperature: 0, seed: 1 }), position: 3,
  });
});

check("limits of tokens and time, a key, models in a bucket", async () => {
  const main = worker;
  const limits = { TOKENS_PER_MINUTE: 100, SECONDS_PER_TEXT: 0, SECONDS_PER_BODY: 1 };
  const vars = { ...limits, API_KEY: "secret", MODELS: "r2", ORIGIN: "https://example.org" };
  worker = await startWorker(example.folder, state("limits"), vars);
  try {
    const ask = (body: object, key = "secret"): Promise<Response> =>
      post("/v1/completions", body, { headers: { authorization: `Bearer ${key}` } });
    const told = async (response: Response): Promise<unknown[]> => [
      response.status, ((await response.json()) as { error: { code: string } }).error.code,
    ];
    assert.equal(await told(await ask({ prompt: "It" }, "guess")), [401, "invalid_api_key"]);
    assert.equal(await told(await ask({ prompt: "It" })), [503, "model_unavailable"]);
    await worker.kill();
    await fillBucket(state("limits"));
    worker = await startWorker(example.folder, state("limits"), vars);
    const short = (await (await ask({ prompt: "It", max_tokens: 90, temperature: 0 })).json()) as {
      choices: { finish_reason: string }[];
      usage: { completion_tokens: number };
    };
    assert.equal([short.choices[0]!.finish_reason, short.usage.completion_tokens], ["length", 1]);
    const refused = await ask({ prompt: "It", max_tokens: 90 });
    assert.ok(Number(refused.headers.get("retry-after")) > 30);
    assert.equal(await told(refused), [429, "rate_limit_exceeded"]);
    // a picture is paid for before it is read: nothing of this one is kept
    const unpaid = await (await holdUpload(1_000_000, ["authorization: Bearer secret"])).answer();
    assert.match(unpaid, /^HTTP\/1\.1 429 [^]*"rate_limit_exceeded"/);
    const { headers } = await request("/classify", { method: "OPTIONS" });
    assert.is(headers.get("access-control-allow-origin"), "https://example.org");
    await worker.kill();
    worker = await startWorker(example.folder, state("slow"), vars);
    const slow = await (await holdUpload(1_000_000, ["authorization: Bearer secret"])).answer();
    assert.match(slow, /^HTTP\/1\.1 408 [^]*"request_timeout"/);
  } finally {
    await worker.kill();
    worker = main;
  }
});

/** Puts the packed models into the worker's bucket while it does not run. */
async function fillBucket(folder: string): Promise<void> {
  const { Miniflare } = await import(
    import.meta.resolve(join(example.folder, "node_modules/miniflare/dist/src/index.js"))
  );
  const miniflare = new Miniflare({
    cf: false, modules: true, script: "export default {}", r2Buckets: { BUCKET: "slab-worker" },
    defaultPersistRoot: folder,
  });
  try {
    const bucket = await miniflare.getR2Bucket("BUCKET");
    for (const file of ["config.json", "model.safetensors", "tokenizer.json"])
      await bucket.put(`models/language/${file}`, readFileSync(join(packed("language"), file)));
  } finally {
    await miniflare.dispose();
  }
}

test.run();
