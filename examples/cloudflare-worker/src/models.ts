// The two models, each loaded when it is first asked for and shared by everything that runs in this isolate.
import type { Model } from "slab-wasm";
import { load } from "slab-wasm";
import { codecBytes } from "slab-wasm/image";
import { charge } from "./allowance.ts";
import type { Env } from "./env.ts";
import { retryLater } from "./errors.ts";
import { heldBytes, MOST_AT_ONCE } from "./limits.ts";
import { inOrder } from "./weights.ts";

export type ModelName = "language" | "vision";

const loaded: Partial<Record<ModelName, Model>> = {};
const loading: Partial<Record<ModelName, Promise<Model>>> = {};

/** @param context  of the request that asks first: it must not end before others have the model too */
export async function model(name: ModelName, env: Env, context: Pick<ExecutionContext, "waitUntil">): Promise<Model> {
  const promise = (loading[name] ??= read(name, env).then(
    (model) => (loaded[name] = model),
    (error: unknown) => {
      // the next request tries again
      delete loading[name];
      console.error(`cannot load ${name}:`, error);
      throw retryLater(503, "model_unavailable", `the ${name} model cannot be read`, 5);
    },
  ));
  context.waitUntil(promise);
  return promise;
}

async function read(name: ModelName, env: Env): Promise<Model> {
  const [config, weights, tokenizer] = await Promise.all([
    open(env, `${name}/config.json`).then((body) => new Response(body).json()),
    open(env, `${name}/model.safetensors`).then((body) => inOrder(`${name}/model.safetensors`, body)),
    name === "language" ? open(env, `${name}/tokenizer.json`).then((body) => new Response(body).text()) : undefined,
  ]);
  // a conversation goes on with the same bits on every machine; its state is in the model only while it is continued
  return load({ config, tokenizer, weights }, { deterministic: true, ...(name === "language" ? { sessions: 4 } : {}) });
}

async function open(env: Env, path: string): Promise<ReadableStream<Uint8Array>> {
  const found = env.MODELS === "r2"
    ? await env.BUCKET.get(`models/${path}`)
    : await env.ASSETS.fetch(`https://assets/${path}`);
  if (!found?.body || ("ok" in found && !found.ok)) {
    throw new Error(
      `${path} is not in ${env.MODELS === "r2" ? "the bucket's models/" : "the assets"}: npm run models makes it`,
    );
  }
  return found.body;
}

let writing = 0;

/** Finds room for a text in this isolate, and has the client pay for it; the function that it gives ends the text. */
export async function startWriting(env: Env, client: string, tokens: number): Promise<() => void> {
  if (writing >= MOST_AT_ONCE) {
    throw retryLater(503, "overloaded", `${MOST_AT_ONCE} texts are being written here already`, 1);
  }
  writing++;
  try {
    await charge(env, client, tokens);
  } catch (error) {
    writing--;
    throw error;
  }
  return () => void writing--;
}

/** What this isolate holds: all of its WebAssembly memory is the models' and the picture codecs'. */
export function health() {
  const models = Object.entries(loaded).map(([role, model]) => {
    const { config, caps, plan } = model;
    return { role, name: config.name, dtype: plan.type, build: caps.build, wasm_bytes: model.memory().total };
  });
  const codecs = codecBytes(), wasmBytes = models.reduce((sum, { wasm_bytes }) => sum + wasm_bytes, codecs);
  return { status: "ok", models, codec_bytes: codecs, body_bytes: heldBytes(), writing, wasm_bytes: wasmBytes };
}
