// From logits to the next token. The same logits, options and seed give the same tokens on every JavaScript engine: Math.exp and its like
// differ in their last bits between engines, so there is only arithmetic that IEEE 754 defines, and a generator of integer operations.

export interface Sampling {
  /** 0: always the most likely token. Above: logits are divided by it. Default 0.8. */
  temperature?: number | undefined;
  /** Only the k most likely tokens. 0 (default): all. */
  topK?: number | undefined;
  /** Only the most likely tokens that together reach this probability, in (0, 1]. 1 (default): all. */
  topP?: number | undefined;
  /** Only tokens at least this fraction as likely as the most likely one, in [0, 1]. 0 (default): all. */
  minP?: number | undefined;
  /** Added to the logits of these ids; -Infinity rules a token out. */
  logitBias?: ReadonlyMap<number, number> | Readonly<Record<number, number>> | undefined;
  /** Divides the logit of a token seen before if positive, multiplies it if negative. 1 (default): none. */
  repetitionPenalty?: number | undefined;
  /** An integer that decides every draw. Default: a random one. */
  seed?: number | undefined;
}

export type CheckedSampling = { [key in Exclude<keyof Sampling, "logitBias">]-?: number } & {
  logitBias: ReadonlyMap<number, number>;
};

/** What decides every draw, where nobody says. */
export const randomSeed = (): number => Math.floor(Math.random() * 2 ** 32);

/**
 * The options with defaults filled in; undefined where one is none, of which samplingFault() tells more. Other keys are
 * left alone.
 */
export function samplingOf(options: Sampling): CheckedSampling | undefined {
  const { temperature = 0.8, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = randomSeed(), logitBias = {} } = options;
  if (typeof logitBias !== "object" || logitBias === null) return undefined;
  const biases = new Map(
    logitBias instanceof Map ? logitBias : Object.entries(logitBias).map(([id, bias]) => [Number(id), bias]),
  );
  const good = [temperature, topK, topP, minP, repetitionPenalty, seed, ...biases.values()]
    .every((value) => typeof value === "number" && value < Infinity)
    && temperature >= 0 && Number.isSafeInteger(topK) && topK >= 0 && topP > 0 && topP <= 1 && minP >= 0 && minP <= 1
    && repetitionPenalty > 0 && Number.isSafeInteger(seed);
  return good ? { temperature, topK, topP, minP, repetitionPenalty, seed, logitBias: biases } : undefined;
}

/**
 * Draws tokens: biases, repetition penalty, temperature, top-k, softmax, top-p, min-p, draw, in this order. Of equally
 * likely tokens the lower id comes first.
 * `sample` does not remember what it drew: tell `accept` every id of the prompt and of the answer, if there is a repetition penalty.
 */
export class Sampler {
  readonly options: Readonly<CheckedSampling>;
  readonly #generator: Generator;
  readonly #seen = new Set<number>();
  // the same ids, to walk without an iterator
  readonly #seenIds: number[] = [];
  // reused by every call: scores, then weights [vocab]; a heap [vocab]; ids that are still in [vocab]
  #scores = new Float64Array(0);
  #heap = new Float64Array(0);
  #ids = new Int32Array(0);

  constructor(options: CheckedSampling) {
    this.options = options;
    this.#generator = new Generator(options.seed);
  }

  /** This token is in the text now: the repetition penalty applies to it from here on. */
  accept(id: number): void {
    if (this.#seen.has(id)) return;
    this.#seen.add(id);
    this.#seenIds.push(id);
  }

  /**
   * The next id, from logits f32 [vocab], which are left as they are. A logit of -Infinity is never drawn; those of +Infinity share all draws.
   * RangeError for NaN and when every logit is -Infinity. Greedy sampling draws no random number, any other exactly one.
   */
  sample(logits: Float32Array): number {
    const { temperature, topK, topP, minP } = this.options;
    const best = this.#penalise(logits);
    if (temperature === 0) return best;
    const scores = this.#scores, max = scores[best]!;
    let count = topK > 0 && topK < logits.length ? this.#keepTopK(logits.length, topK) : this.#keepAll(logits.length);
    const total = this.#weigh(count, max, temperature);
    let kept = total;
    if (topP < 1) [count, kept] = this.#keepTopP(count, total, topP);
    if (minP > 0) [count, kept] = this.#keepMinP(count, minP);
    return this.#draw(count, kept);
  }

  /** Logits → scores; the id of the highest. */
  #penalise(logits: Float32Array): number {
    const n = logits.length, { repetitionPenalty, logitBias } = this.options;
    if (this.#scores.length < n) {
      this.#scores = new Float64Array(n);
      this.#heap = new Float64Array(n);
      this.#ids = new Int32Array(n);
    }
    const scores = this.#scores, seen = this.#seenIds;
    scores.set(logits);
    for (const [id, bias] of logitBias) if (id < n) scores[id]! += bias;
    if (repetitionPenalty !== 1) {
      for (let i = 0; i < seen.length; i++) {
        const id = seen[i]!;
        if (id < n) scores[id] = scores[id]! > 0 ? scores[id]! / repetitionPenalty : scores[id]! * repetitionPenalty;
      }
    }
    let best = -1, max = -Infinity;
    for (let i = 0; i < n; i++) {
      const score = scores[i]!;
      if (score <= max) continue;
      if (score !== score) throw new RangeError(`logits[${i}] is NaN, expected a number: the weights or the session's state are damaged`);
      best = i;
      max = score;
    }
    if (best < 0) throw new RangeError(`all ${n} logits are -Infinity, expected one that can be drawn: the weights or a mask are wrong`);
    return best;
  }

  #keepAll(n: number): number {
    const scores = this.#scores, ids = this.#ids;
    let count = 0;
    for (let i = 0; i < n; i++) if (scores[i]! > -Infinity) ids[count++] = i;
    return count;
  }

  /** Writes the ids of the k highest scores, ascending; returns how many. */
  #keepTopK(n: number, k: number): number {
    const scores = this.#scores, heap = this.#heap, ids = this.#ids;
    // a heap of the k highest, the lowest on top, all negated: siftDown keeps the highest there
    for (let i = 0; i < k; i++) heap[i] = -scores[i]!;
    heapify(heap, k);
    for (let i = k; i < n; i++) {
      if (-scores[i]! >= heap[0]!) continue;
      heap[0] = -scores[i]!;
      siftDown(heap, 0, k);
    }
    const cut = -heap[0]!;
    let ties = k;
    for (let i = 0; i < n; i++) if (scores[i]! > cut) ties--;
    let count = 0;
    for (let i = 0; i < n; i++) {
      const score = scores[i]!;
      if (score > -Infinity && (score > cut || (score === cut && ties-- > 0))) ids[count++] = i;
    }
    return count;
  }

  /** Scores → softmax weights, not yet divided by their sum, which is returned. weights[i] belongs to ids[i]. */
  #weigh(count: number, max: number, temperature: number): number {
    // ids ascend, so a weight never overwrites a score that is still needed
    const scores = this.#scores, ids = this.#ids, scale = 1 / temperature;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const score = scores[ids[i]!]!;
      // Infinity - Infinity, and 0 times Infinity, would be NaN
      const weight = score === max ? 1 : exp((score - max) * scale);
      scores[i] = weight;
      total += weight;
    }
    return total;
  }

  /** Keeps the fewest highest weights that reach `topP` of the total; returns how many and their sum. */
  #keepTopP(count: number, total: number, topP: number): [number, number] {
    const weights = this.#scores, heap = this.#heap, ids = this.#ids;
    // weights below the average of the part to leave out cannot be needed; half of it, to be safe from rounding
    const least = ((1 - topP) * total) / count / 2;
    let size = 0;
    // always written, counted if needed: there is nothing to predict
    for (let i = 0; i < count; i++) {
      const weight = weights[i]!;
      heap[size] = weight;
      size += weight >= least ? 1 : 0;
    }
    heapify(heap, size);
    let reached = 0, cut = 0, ties = 0;
    while (size > 0 && (reached < topP * total || reached === 0)) {
      const weight = heap[0]!;
      ties = weight === cut ? ties + 1 : 1;
      cut = weight;
      reached += weight;
      heap[0] = heap[--size]!;
      siftDown(heap, 0, size);
    }
    let kept = 0, sum = 0;
    for (let i = 0; i < count; i++) {
      const weight = weights[i]!;
      if (weight > cut || (weight === cut && ties-- > 0)) {
        weights[kept] = weight;
        ids[kept++] = ids[i]!;
        sum += weight;
      }
    }
    return [kept, sum];
  }

  /** Keeps weights from `least` on: the highest is 1. How many, and their sum. */
  #keepMinP(count: number, least: number): [number, number] {
    const weights = this.#scores, ids = this.#ids;
    let kept = 0, sum = 0;
    for (let i = 0; i < count; i++) {
      const weight = weights[i]!;
      if (weight < least) continue;
      weights[kept] = weight;
      ids[kept++] = ids[i]!;
      sum += weight;
    }
    return [kept, sum];
  }

  #draw(count: number, total: number): number {
    const weights = this.#scores, ids = this.#ids, at = this.#generator.next() * total;
    let sum = 0, last = 0;
    for (let i = 0; i < count; i++) {
      if (weights[i] === 0) continue;
      sum += weights[i]!;
      if (at < sum) return ids[i]!;
      last = i;
    }
    return ids[last]!;
  }
}

/** sfc32 by Chris Doty-Humphrey (PractRand), seeded as there. */
class Generator {
  #a = 0;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#b = seed | 0;
    this.#c = Math.floor(seed / 2 ** 32) | 0;
    for (let i = 0; i < 12; i++) this.#word();
  }

  #word(): number {
    const word = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + word) | 0;
    return word;
  }

  /** In [0, 1), 53 bits. */
  next(): number {
    const high = this.#word() >>> 5, low = this.#word() >>> 6;
    return (high * 2 ** 26 + low) / 2 ** 53;
  }
}

/** Moves heap[at] down to its place: the highest of `size` on top. */
function siftDown(heap: Float64Array, at: number, size: number): void {
  const value = heap[at]!;
  for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && heap[child + 1]! > heap[child]!) child++;
    if (heap[child]! <= value) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = value;
}

function heapify(heap: Float64Array, size: number): void {
  for (let i = (size >> 1) - 1; i >= 0; i--) siftDown(heap, i, size);
}

// 2^-k, all exact; made when first needed, so that importing this does nothing
let halves: Float64Array | undefined;

function powersOfHalf(): Float64Array {
  const powers = new Float64Array(1023);
  for (let k = 0, power = 1; k < powers.length; k++, power /= 2) powers[k] = power;
  return powers;
}

/** e^x for x ≤ 0, within one unit of the last place: the rational approximation of fdlibm. Below e^-708 it is 0, so never subnormal. */
export function exp(x: number): number {
  if (x < -708) return 0;
  const k = Math.floor(0.5 - x * 1.4426950408889634);
  // x = -k ln 2 + r; ln 2 in two parts, the first with zeros at its end so that k times it is exact
  const high = x + k * 6.93147180369123816490e-1, low = -k * 1.90821492927058770002e-10;
  const r = high - low, t = r * r;
  const c = r - t * (1.66666666666666019037e-1 + t * (-2.77777777770155933842e-3 + t * (6.61375632143793436117e-5 + t * (-1.65339022054652515390e-6 + t * 4.13813679705723846039e-8))));
  return (1 - (low - (r * c) / (2 - c) - high)) * (halves ??= powersOfHalf())[k]!;
}
