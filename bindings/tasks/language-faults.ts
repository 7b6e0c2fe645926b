// What is wrong with what a language model was given. Loaded when it is refused.
import { describe } from "../describe.ts";
import type { Sampling } from "./sampler.ts";

const kindOf = (value: unknown): string => (value === null ? "null" : typeof value);

/** Which of the sampling options is none. */
export function samplingFault(
  { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0, logitBias = {} }: Sampling,
): Error {
  const faultOf = (name: string, value: number, good: boolean, expected: string): Error | undefined => {
    if (typeof value !== "number") return new TypeError(`${name} is ${kindOf(value)}, expected ${expected}`);
    return good ? undefined : new RangeError(`${name} is ${value}, expected ${expected}`);
  };
  const isObject = typeof logitBias === "object" && logitBias !== null;
  const biases = !isObject ? [] : logitBias instanceof Map ? [...logitBias] : Object.entries(logitBias);
  return faultOf("temperature", temperature, temperature >= 0 && temperature < Infinity,
    "a number from 0 (always the most likely token)")
    ?? faultOf("topK", topK, Number.isSafeInteger(topK) && topK >= 0, "an integer from 0 (all tokens)")
    ?? faultOf("topP", topP, topP > 0 && topP <= 1, "a number above 0, up to 1 (all tokens)")
    ?? faultOf("minP", minP, minP >= 0 && minP <= 1, "a number from 0 (all tokens) to 1")
    ?? faultOf("repetitionPenalty", repetitionPenalty, repetitionPenalty > 0 && repetitionPenalty < Infinity,
      "a number above 0; 1 is no penalty")
    ?? faultOf("seed", seed, Number.isSafeInteger(seed), "an integer that a number holds exactly")
    ?? biases.map(([id, bias]) => faultOf(`logitBias of ${id}`, bias, bias < Infinity, "a number, or -Infinity"))
      .find((fault) => fault !== undefined)
    ?? new TypeError(`logitBias is ${String(logitBias)}, expected a Map or an object of ids to numbers`);
}

export const maxTokensFault = (maxTokens: unknown): RangeError =>
  new RangeError(`maxTokens is ${String(maxTokens)}, expected a whole number from 0`);

/** What a model without a tokenizer, or without a bos_token_id, cannot be given. */
export function promptFault(what: "text" | "stop" | "empty" | "unread"): Error {
  const without = "the model came without tokenizer.json";
  if (what === "text") return new TypeError(`${without}: give token ids instead of text, or load it with a tokenizer`);
  if (what === "stop") return new TypeError(`${without}: stop strings need one`);
  return new RangeError(what === "empty"
    ? "the prompt has no tokens and the config no bos_token_id: give a prompt"
    : "the session has read no token yet: prefill at least one, e.g. the config's bos_token_id");
}

/** What is wrong with token ids, of a list or of an option that names them. */
export function idsFault(ids: ArrayLike<number>, vocab: number, option?: string): Error {
  if (typeof ids !== "object" || ids === null || typeof ids.length !== "number") {
    return new TypeError(`ids is ${describe(ids)}, expected an Int32Array or an array of token ids`);
  }
  let i = 0;
  while (i < ids.length && Number.isInteger(ids[i]) && ids[i]! >= 0 && ids[i]! < vocab) i++;
  const which = option === undefined ? `token id ${ids[i]} at index ${i}` : `token id ${ids[i]} of ${option}`;
  return new RangeError(`${which} is not in the vocabulary: `
    + `expected a whole number from 0 to ${vocab - 1}`);
}

export const roomFault = (count: number, position: number, context: number): RangeError =>
  new RangeError(`${count} more tokens after ${position} are beyond the context of ${context}: `
    + "read fewer, reset() the session, or load the model with a larger context");

/** Why sessions cannot make one step; `ids`: how many there are, where that is what is wrong. */
export function batchFault(sessions: readonly unknown[], ids: number | undefined): RangeError {
  if (ids !== undefined) return new RangeError(`${ids} ids for ${sessions.length} sessions, expected one each`);
  return new RangeError("a session is there twice: one step gives each session one token");
}

export const sessionsFault = (sessions: unknown): RangeError =>
  new RangeError(`sessions is ${String(sessions)}, expected a whole number from 1 to 1024`);

export function vocabFault(tokenizer: unknown, size: number, vocab: number): RangeError {
  const file = tokenizer instanceof Uint8Array ? "tokenizer.model" : "tokenizer.json";
  return new RangeError(`${file} has ${size} tokens, the config's vocab_size is ${vocab}: `
    + "they belong to different models");
}
