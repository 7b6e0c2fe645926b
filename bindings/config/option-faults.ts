// What someone meant who gave an option that a call does not have: a name mistyped, or one from another library.
import type { ModelConfig } from "./config.ts";
import { nearestNames, quote } from "../checkpoint/names.ts";
import { rightKind } from "./options.ts";
import { describe } from "../describe.ts";

/** What OpenAI's API, transformers, llama.cpp and their like call the same thing, without case and underscores. */
const SAME: readonly (readonly [option: string, names: string])[] = [
  ["maxTokens", "maxcompletiontokens maxnewtokens maxoutputtokens maxlength npredict numpredict"],
  ["stop", "stopsequences stopstrings stoptokens until"], ["temperature", "temp"], ["topK", "k"], ["topP", "p"],
  ["repetitionPenalty", "repeatpenalty penaltyrepeat frequencypenalty presencepenalty"], ["seed", "randomseed"],
  ["logprobs", "toplogprobs"], ["logits", "logitsprocessor logitsprocessors"], ["signal", "abortsignal cancel"],
  ["context", "nctx numctx ctxsize contextsize contextlength maxseqlen maxpositionembeddings"],
  ["threads", "nthreads numthreads threadcount workers"], ["sessions", "nparallel nseqmax"], ["cache", "usecache"],
  ["dtype", "quantization quantized precision"], ["onProgress", "progresscallback"],
  ["wasm", "wasmpath wasmpaths wasmurl"],
];

/** What there is in place of what there is not. */
const NONE: readonly (readonly [why: string, names: string])[] = [
  ["models run on the CPU", "device backend executionproviders ngpulayers gpulayers"],
  ["temperature: 0 takes the most likely token", "dosample"], ["there is no beam search", "numbeams"],
  ["fork() a session for several answers", "n bestof"], ["the prompt is a text or token ids", "messages"],
  ["tokens always come one by one: iterate, or take stream()", "stream streamer callbackfunction onnewtoken"],
  ["rule the config's eos out with logitBias", "mintokens minnewtokens"],
  ["the model is the one that load() gave", "model"],
];

/** What is wrong with the options of a call. */
export function optionFault(call: string, options: unknown, known: readonly string[]): TypeError {
  if (typeof options !== "object" || options === null) {
    return new TypeError(`the options of ${call}() are ${describe(options)}, expected an object`);
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  const stray = given.find(([name]) => !known.includes(name))?.[0];
  if (stray !== undefined) return new TypeError(`${call}() has no option ${quote(stray)}: ${remedy(stray, known)}`);
  const [name, value] = given.find((each) => !rightKind(...each))!;
  const wanted = name === "signal" ? "an AbortSignal" : /^(on|logits)/.test(name) ? "a function" : "true or false";
  return new TypeError(`${name} is ${describe(value)}, expected ${wanted}`);
}

function remedy(name: string, known: readonly string[]): string {
  const plain = (text: string): string => text.replaceAll("_", "").toLowerCase(), wanted = plain(name);
  const listed = (table: typeof SAME): string[] =>
    table.filter(([, names]) => names.split(" ").includes(wanted)).map(([first]) => first);
  const [why] = listed(NONE), same = listed(SAME);
  const likely = known.find((k) => plain(k) === wanted || same.includes(k));
  const meant = likely ?? (why ? undefined : nearestNames(name, known)[0]);
  return meant ? `did you mean ${meant}?` : why ? `${why}; leave it out` : `it has ${known.join(", ")}`;
}

/** An option of load() that this kind of model does not have. */
export function otherKind(name: "sessions" | "context", { architecture }: ModelConfig): TypeError {
  const kind = name === "sessions" ? "language models" : "language models whose state grows";
  return new TypeError(`${name} is an option of ${kind}, and ${architecture} is none: leave it out`);
}
