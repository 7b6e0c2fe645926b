// Options that a call does not have are refused, with what was meant; so are wrong kinds. Before anything is done.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loader, slabDeit } from "../../bindings/core.ts";
import { load } from "../../bindings/index.ts";
import type { Model } from "../../bindings/index.ts";
import { load as loadInWorker } from "slab-wasm/worker";
import { safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import { llamaEntries, tinyLlamaConfig } from "../golden/tiny-llama.ts";
import { lmEntries, tinyLm, tinyLmConfig } from "../golden/tiny-lm.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { tinyConfig, tinyFile, tinyPixels, writeEntries } from "./tiny.ts";

const images = { config: tinyConfig, weights: tinyFile };
const language = { config: tinyLmConfig, weights: safetensorsBytes(writeEntries(lmEntries(tinyLmConfig))) };
const picture = { data: new Uint8Array(3), width: 1, height: 1 };

/** What is said of an option: a TypeError that begins with the call and the name. */
const said = (
  call: string, name: string, remedy: string,
): RegExp => new RegExp(`^${call}\\(\\) has no option "${name}": ${remedy.replace(/[.()?[\]]/g, "\\$&")}$`);

const GENERATE: readonly [name: string, remedy: string][] = [
  // OpenAI's
  ["max_tokens", "did you mean maxTokens?"], ["max_completion_tokens", "did you mean maxTokens?"],
  ["top_p", "did you mean topP?"], ["logit_bias", "did you mean logitBias?"],
  ["top_logprobs", "did you mean logprobs?"], ["frequency_penalty", "did you mean repetitionPenalty?"],
  ["presence_penalty", "did you mean repetitionPenalty?"],
  ["stream", "tokens always come one by one: iterate, or take stream(); leave it out"],
  ["n", "fork() a session for several answers; leave it out"],
  // transformers.js's
  ["max_new_tokens", "did you mean maxTokens?"],
  ["do_sample", "temperature: 0 takes the most likely token; leave it out"], ["top_k", "did you mean topK?"],
  ["num_beams", "there is no beam search; leave it out"], ["repetition_penalty", "did you mean repetitionPenalty?"],
  ["min_p", "did you mean minP?"],
  // wllama's, llama.cpp's and Ollama's
  ["nPredict", "did you mean maxTokens?"], ["n_predict", "did you mean maxTokens?"],
  ["num_predict", "did you mean maxTokens?"], ["temp", "did you mean temperature?"],
  ["abortSignal", "did you mean signal?"], ["repeat_penalty", "did you mean repetitionPenalty?"],
  // mistyped
  ["maxTokes", "did you mean maxTokens?"], ["temprature", "did you mean temperature?"], ["Seed", "did you mean seed?"],
];

const LOAD: readonly [name: string, remedy: string][] = [
  ["device", "models run on the CPU; leave it out"], ["dtyp", "did you mean dtype?"],
  ["quantized", "did you mean dtype?"], ["n_ctx", "did you mean context?"], ["n_threads", "did you mean threads?"],
  ["numThreads", "did you mean threads?"], ["progress_callback", "did you mean onProgress?"],
  ["onprogress", "did you mean onProgress?"], ["n_gpu_layers", "models run on the CPU; leave it out"],
  ["executionProviders", "models run on the CPU; leave it out"],
  [
    "revision",
    "it has threads, deterministic, dtype, config, sessions, context, signal, "
      + "onProgress, onDownload, cache, wasm, build",
  ],
];

test("generate: options of other libraries, and mistyped ones", async () => {
  const model = await load(tinyLm(), { threads: 1 }), session = model.session();
  for (const [name, remedy] of GENERATE) {
    await rejects(
      () => session.generate([1], { [name]: 5 } as object).next(), said("generate", name, remedy), TypeError,
    );
  }
  assert.is(session.position, 0);
  // what is undefined was not given
  await session.generate([1], { max_tokens: undefined, maxTokens: 1 } as object).next();
  model.dispose();
});

test("load: the same, here, in slab-wasm/core and in a worker", async () => {
  for (const open of [load, loader([slabDeit]), loadInWorker] as (typeof load)[]) {
    for (const [name, remedy] of LOAD) {
      await rejects(() => open(images, { [name]: "webgpu" } as object), said("load", name, remedy), TypeError);
    }
    for (const [options, message] of [
      [null, /^the options of load\(\) are null, expected an object$/], [5, /^the options of load\(\) are number 5/],
      [{ signal: 5 }, /^signal is number 5, expected an AbortSignal$/],
      [{ signal: null }, /^signal is null/], [{ onProgress: "yes" }, /^onProgress is "yes", expected a function$/],
      [{ onDownload: {} }, /^onDownload is Object/],
      [{ deterministic: "yes" }, /^deterministic is "yes", expected true or false$/],
      [{ cache: 0 }, /^cache is number 0, expected true or false$/],
    ] as const) await rejects(() => open(images, options as never), message, TypeError);
  }
});

test("options that a kind of model does not have", async () => {
  for (const open of [load, loadInWorker] as (typeof load)[]) {
    await rejects(
      () => open(images, { sessions: 2 }),
      /^sessions is an option of language models, and slab_deit is none: leave it out$/, TypeError,
    );
    await rejects(
      () => open(images, { context: 64 }),
      /^context is an option of language models whose state grows, and slab_deit is none: leave it out$/, TypeError,
    );
    await rejects(
      () => open(language, { context: 64 }),
      /^context is an option of language models whose state grows, and slab_lm is none: leave it out$/, TypeError,
    );
  }
  const llama = { config: tinyLlamaConfig, weights: safetensorsBytes(writeEntries(llamaEntries(tinyLlamaConfig))) };
  for (const context of [-1, 0, 1.5, "8"]) {
    await rejects(
      () => load(llama, { context: context as number }), /^context is .*, expected a whole number from 1 to/,
      RangeError,
    );
  }
});

/** Both models, as load() and as slab-wasm/worker give them. */
async function everywhere(use: (images: Model, language: Model) => Promise<void>): Promise<void> {
  for (const open of [load, loadInWorker] as (typeof load)[]) {
    const models = [await open(images, { threads: 1 }), await open(language, { threads: 1 })] as const;
    try {
      await use(...models);
    } finally {
      for (const model of models) model.dispose();
    }
  }
}

test("the other calls", () =>
  everywhere(async (images, language) => {
    const session = await language.session(), given = { signal: 5 } as never;
    await rejects(
      () => images.classify(picture, { top_k: 3 } as object), said("classify", "top_k", "did you mean topK?"),
      TypeError,
    );
    await rejects(() => images.classify(picture, null as never), /^the options of classify\(\) are null/, TypeError);
    await rejects(
      () => images.evidence(picture, { label: 3 } as object), said("evidence", "label", "it has index, signal"),
      TypeError,
    );
    await rejects(() => images.profile({ program: "decode" }), said("profile", "program", "it has rounds"), TypeError);
    await rejects(
      () => language.profile({ round: 1 } as object), said("profile", "round", "did you mean rounds?"), TypeError,
    );
    await rejects(
      () => language.profile({ program: "forward" as never }), /^program is "forward", expected "decode" or "prefill"$/,
      RangeError,
    );
    const calls: Record<string, (options: never) => Promise<unknown>> = {
      forward: (options) => images.forward(tinyPixels, options), prefill: (options) => session.prefill([1], options),
      decode: (options) => session.decode(1, options),
      logits: (options) => session.logits([1], options),
      decodeBatch: (options) => language.decodeBatch([session], [1], options),
    };
    for (const [name, call] of Object.entries(calls)) {
      await rejects(() => call(given), /^signal is number 5, expected an AbortSignal$/, TypeError);
      await rejects(() => call({ timeout: 5 } as never), said(name, "timeout", "it has signal"), TypeError);
      await rejects(() => call(null as never), new RegExp(`^the options of ${name}\\(\\) are null`), TypeError);
    }
    assert.is(session.position, 0);
  }));

test.run();
