// What calls are given beside what they work on: looked through before anything is done.

/** A call that can be ended early. */
export interface Interruptible {
  /** Ends the call at the next point where it can, with the signal's reason as the error. */
  readonly signal?: AbortSignal | undefined;
}

/** Options by call, here for those that slab-wasm/worker takes too. */
export const LOAD =
  "threads deterministic dtype config sessions context signal onProgress onDownload headers fetch cache wasm build";
export const GENERATE =
  "maxTokens stop signal temperature topK topP minP repetitionPenalty logitBias seed logits logprobs";

/** Whether an option is of the kind that its name says. */
export const rightKind = (name: string, value: unknown): unknown =>
  name === "signal" ? (value as AbortSignal | null)?.throwIfAborted
  : /^(on[A-Z]|logits$)/.test(name) ? typeof value === "function"
  : !/^(cache|deterministic)$/.test(name) || typeof value === "boolean";

/**
 * Refuses what are no options, and those that the call does not have; what was meant is looked up only then.
 * @param names  the call's options, with spaces between
 * @throws TypeError
 */
export async function checkOptions(call: string, options: unknown, names = "signal"): Promise<void> {
  if (options === undefined) return;
  const known = names.split(" ");
  const good = ([name, value]: [string, unknown]): unknown =>
    value === undefined || (known.includes(name) && rightKind(name, value));
  if (typeof options === "object" && options !== null && Object.entries(options).every(good)) return;
  throw (await import("../extras.ts")).optionFault(call, options, known);
}
