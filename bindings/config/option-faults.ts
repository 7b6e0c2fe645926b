// What someone meant who gave an option that a call does not have: a name mistyped, or one from another library.
import type { ModelConfig } from "./config.ts";
import { nearestNames, quote } from "../checkpoint/names.ts";
import { rightKind } from "./options.ts";
import { describe } from "../describe.ts";

/** Names that OpenAI, transformers, llama.cpp and their like have for the same thing, without case and underscores. */
const SAME: Readonly<Record<string, string>> = {
  maxcompletiontokens: "maxTokens", maxnewtokens: "maxTokens", maxlength: "maxTokens", maxoutputtokens: "maxTokens", npredict: "maxTokens", numpredict: "maxTokens",
  stopsequences: "stop", stopstrings: "stop", stoptokens: "stop", until: "stop",
  temp: "temperature", k: "topK", p: "topP",
  repeatpenalty: "repetitionPenalty", penaltyrepeat: "repetitionPenalty", frequencypenalty: "repetitionPenalty", presencepenalty: "repetitionPenalty",
  randomseed: "seed", toplogprobs: "logprobs", logitsprocessor: "logits", logitsprocessors: "logits",
  abortsignal: "signal", cancel: "signal", aborter: "signal",
  nctx: "context", numctx: "context", ctxsize: "context", contextsize: "context", contextlength: "context", maxseqlen: "context", maxpositionembeddings: "context",
  nthreads: "threads", numthreads: "threads", threadcount: "threads", workers: "threads", nparallel: "sessions", nseqmax: "sessions",
  quantization: "dtype", quantized: "dtype", precision: "dtype", progresscallback: "onProgress", usecache: "cache", wasmpath: "wasm", wasmpaths: "wasm", wasmurl: "wasm",
};

/** Why there is no such thing here. */
const NONE: Readonly<Record<string, string>> = {
  device: "models run on the CPU", backend: "models run on the CPU", executionproviders: "models run on the CPU", ngpulayers: "models run on the CPU", gpulayers: "models run on the CPU",
  dosample: "temperature: 0 takes the most likely token", numbeams: "there is no beam search", n: "fork() a session for several answers", bestof: "fork() a session for several answers",
  stream: "tokens always come one by one: iterate, or take stream()", streamer: "iterate over the tokens, or take stream()", callbackfunction: "iterate over the tokens",
  onnewtoken: "iterate over the tokens", mintokens: "rule the config's eos out with logitBias", minnewtokens: "rule the config's eos out with logitBias",
  messages: "the prompt is a text or token ids", model: "the model is the one that load() gave",
};

/** What is wrong with the options of a call, one of which is. */
export function optionFault(call: string, options: unknown, known: readonly string[]): TypeError {
  if (typeof options !== "object" || options === null) return new TypeError(`the options of ${call}() are ${describe(options)}, expected an object`);
  const given = Object.entries(options).filter(([, value]) => value !== undefined), stray = given.find(([name]) => !known.includes(name));
  if (stray) return new TypeError(`${call}() has no option ${quote(stray[0])}: ${remedy(stray[0], known)}`);
  const [name, value] = given.find((each) => !rightKind(...each))!;
  return new TypeError(`${name} is ${describe(value)}, expected ${name === "signal" ? "an AbortSignal" : /^(on|logits)/.test(name) ? "a function" : "true or false"}`);
}

function remedy(name: string, known: readonly string[]): string {
  const plain = (text: string): string => text.replaceAll("_", "").toLowerCase(), wanted = plain(name), none = NONE[wanted];
  const meant = known.find((k) => plain(k) === wanted || k === SAME[wanted]) ?? (none ? undefined : nearestNames(name, known)[0]);
  return meant ? `did you mean ${meant}?` : none ? `${none}; leave it out` : `it has ${known.join(", ")}`;
}

/** An option of load() that this kind of model does not have. */
export function otherKind(name: "sessions" | "context", { architecture }: ModelConfig): TypeError {
  const kind = name === "sessions" ? "language models" : "language models whose state grows";
  return new TypeError(`${name} is an option of ${kind}, and ${architecture} is none: leave it out`);
}
