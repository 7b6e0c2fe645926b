// How likely the model had every token, and the best of them.
import { describe } from "../describe.ts";
import { exp } from "./sampler.ts";

export interface Chances {
  /** Log-probabilities f32 [vocab]. */
  readonly all: Float32Array;
  /** The most likely tokens, best first; of equally likely ones the lower id. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** A function from logits f32 [vocab], which it leaves as they are, to the log-softmax of them and its `count` best. */
export function logProbabilities(count: number): (logits: Float32Array) => Chances {
  const expected = "expected a whole number from 0: so many of the most likely tokens are told";
  if (typeof count !== "number") throw new TypeError(`logprobs is ${describe(count)}, ${expected}`);
  if (!(Number.isInteger(count) && count >= 0)) throw new RangeError(`logprobs is ${count}, ${expected}`);
  return (logits) => {
    let max = -Infinity, sum = 0;
    for (let i = 0; i < logits.length; i++) max = Math.max(max, logits[i]!);
    for (let i = 0; i < logits.length; i++) sum += exp(logits[i]! - max);
    const shift = max + Math.log(sum), all = logits.map((logit) => logit - shift);
    // ids in order, the last the least likely
    const best: number[] = [];
    for (let id = 0; id < all.length && count > 0; id++) {
      if (best.length === count && !(all[id]! > all[best[count - 1]!]!)) continue;
      let at = Math.min(best.length, count - 1);
      for (; at > 0 && all[id]! > all[best[at - 1]!]!; at--) best[at] = best[at - 1]!;
      best[at] = id;
    }
    return { all, top: best.map((id) => ({ id, logprob: all[id]! })) };
  };
}
