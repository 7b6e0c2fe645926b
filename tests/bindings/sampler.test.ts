import { test } from "uvu";
import * as assert from "uvu/assert";
import { samplingFault } from "../../bindings/tasks/language-faults.ts";
import { exp, Sampler, type Sampling, samplingOf } from "../../bindings/tasks/sampler.ts";
import { uniform01 } from "../../cli/synthetic.ts";

const samplerOf = (options: Sampling = {}): Sampler => new Sampler(samplingOf(options)!);

/** f32 [count], roughly normal with the standard deviation `spread`: as logits are. */
const normal = (key: string, count: number, spread = 3): Float32Array => {
  const u = uniform01(key, 4 * count);
  return Float32Array.from({ length: count }, (_, i) => spread * 1.732 * (u[4 * i]! + u[4 * i + 1]! + u[4 * i + 2]! + u[4 * i + 3]! - 2));
};

/** A seeded generator of its own: sfc32, as its author seeds it. */
function* sfc32(seed: number): Generator<number, never> {
  let [a, b, c, counter] = [0, Number(BigInt.asUintN(32, BigInt(seed))), Number(BigInt.asUintN(32, BigInt(seed) >> 32n)), 1];
  const word = (): number => {
    const out = (a + b + counter++) >>> 0;
    [a, b, c] = [(b ^ (b >>> 9)) >>> 0, (c + c * 8) >>> 0, (((c << 21) >>> 0) + (c >>> 11) + out) >>> 0];
    return out;
  };
  for (let i = 0; i < 12; i++) word();
  for (;;) yield (Math.floor(word() / 32) * 2 ** 26 + Math.floor(word() / 64)) / 2 ** 53;
}

/** What may be drawn, in the order of ids, by sorting everything. */
function naive(
  logits: Float32Array,
  { temperature = 0.8, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, logitBias = {} }: Sampling,
  seen: Iterable<number> = [],
): [id: number, probability: number][] {
  const scores = Array.from(logits);
  for (const [id, bias] of logitBias instanceof Map ? logitBias : Object.entries(logitBias)) {
    scores[Number(id)]! += bias;
  }
  for (const id of new Set(seen)) scores[id] = scores[id]! > 0 ? scores[id]! / repetitionPenalty : scores[id]! * repetitionPenalty;
  let left = scores.map((score, id) => [id, score] as [number, number]).sort(([i, a], [j, b]) => b - a || i - j);
  if (topK > 0) left = left.slice(0, topK);
  const weights = left.map(([id, score]) => [id, Math.exp((score - left[0]![1]) / temperature)] as [number, number]);
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  const kept: [number, number][] = [];
  let reached = 0;
  for (const [id, weight] of weights) {
    kept.push([id, weight]);
    reached += weight / total;
    if (topP < 1 && reached >= topP) break;
  }
  while (kept.at(-1)![1] < minP * kept[0]![1]) kept.pop();
  const sum = kept.reduce((sum, [, weight]) => sum + weight, 0);
  return kept.map(([id, weight]) => [id, weight / sum] as [number, number]).sort(([i], [j]) => i - j);
}

function pick(kept: [number, number][], u: number): number {
  let sum = 0;
  for (const [id, probability] of kept) if (u < (sum += probability)) return id;
  return kept.at(-1)![0];
}

const combinations: Sampling[] = [
  {}, { temperature: 1 }, { temperature: 0.1 }, { temperature: 5 }, { topK: 1 }, { topK: 2 }, { topK: 40 }, { topK: 999 }, { topK: 1000 }, { topK: 5000 },
  { topP: 0.9 }, { topP: 0.01 }, { topP: 0.5, temperature: 2 }, { topP: 0.999999 }, { topP: 1e-300 }, { repetitionPenalty: 1.3 }, { repetitionPenalty: 0.7 },
  { topK: 50, topP: 0.9, repetitionPenalty: 1.1, temperature: 0.7 }, { topK: 3, topP: 0.99, temperature: 100 },
  { minP: 0.05 }, { minP: 1 }, { minP: 0.3, temperature: 2 }, { minP: 0.1, topP: 0.7 }, { minP: 0.02, topK: 20 },
  { logitBias: { 3: 5, 999: -Infinity, 7: -2.5 } }, { logitBias: new Map([[5, 100]]), temperature: 0.5 },
  { logitBias: { 1: 4 }, repetitionPenalty: 2, minP: 0.01 },
];
for (const options of combinations) {
  test(`the naive twin draws the same: ${JSON.stringify(options)}`, () => {
    for (const seed of [0, 7]) {
      const sampler = samplerOf({ ...options, seed }), u = sfc32(seed), seen: number[] = [];
      for (let step = 0; step < 25; step++) {
        const logits = normal(`${seed} ${step}`, 1000);
        // rounded logits have ties
        if (step % 3 === 0) for (let i = 0; i < 1000; i++) logits[i] = Math.round(logits[i]!);
        const id = sampler.sample(logits);
        assert.is(id, pick(naive(logits, options, seen), u.next().value), `step ${step}`);
        sampler.accept(id);
        seen.push(id);
      }
    }
  });
}

test("greedy is the highest logit, of equal ones the lowest id, and draws no random number", () => {
  const sampler = samplerOf({ temperature: 0, topK: 5, topP: 0.5, seed: 1 });
  assert.is(sampler.sample(Float32Array.of(1, 3, 2, 3)), 1);
  assert.is(sampler.sample(Float32Array.of(-Infinity, -5, -Infinity)), 1);
  assert.is(sampler.sample(Float32Array.of(-0, 0)), 0);
  assert.is(sampler.sample(Float32Array.of(1, Infinity, Infinity)), 1);
  // one that has drawn none gives the same ids from here on
  Object.assign(sampler.options, { temperature: 1, topK: 0, topP: 1 });
  const fresh = samplerOf({ temperature: 1, seed: 1 }), logits = normal("greedy", 1000);
  for (let i = 0; i < 20; i++) assert.is(sampler.sample(logits), fresh.sample(logits));
});

test("the repetition penalty, positive and negative logits", () => {
  const greedy = (logits: number[], repetitionPenalty: number, seen: number[]): number => {
    const sampler = samplerOf({ temperature: 0, repetitionPenalty });
    seen.forEach((id) => sampler.accept(id));
    return sampler.sample(Float32Array.from(logits));
  };
  assert.is(greedy([2, 1.5], 1.2, [0]), 0);
  assert.is(greedy([2, 1.5], 1.4, [0]), 1);
  assert.is(greedy([2, 1.5], 1.4, [0, 0, 1]), 0);
  assert.is(greedy([-1, -1.5], 1.4, [0]), 0);
  assert.is(greedy([-1, -1.5], 1.6, [0]), 1);
  assert.is(greedy([1, 1.5], 0.5, [0]), 0);
  assert.is(greedy([1, 2], 1.1, [5]), 1);
});

/** How often each id comes in `draws` draws. */
function counts(logits: Float32Array, options: Sampling, draws: number): number[] {
  const sampler = samplerOf(options), seen = Array<number>(logits.length).fill(0);
  for (let i = 0; i < draws; i++) seen[sampler.sample(logits)]!++;
  return seen;
}

test("draws follow the probabilities", () => {
  const logits = normal("probabilities", 32, 1.5);
  for (const options of [{}, { temperature: 1.7 }, { topK: 8 }, { topP: 0.8 }, { topK: 20, topP: 0.7 }] as Sampling[]) {
    const draws = 20_000, kept = naive(logits, options), seen = counts(logits, { ...options, seed: 11 }, draws);
    let chi2 = 0;
    for (const [id, probability] of kept) chi2 += (seen[id]! - draws * probability) ** 2 / (draws * probability);
    // mean n - 1, variance 2 (n - 1): four standard deviations
    const freedom = kept.length - 1;
    assert.ok(chi2 < freedom + 4 * Math.sqrt(2 * freedom), `chi-square ${chi2} for ${freedom} degrees of freedom`);
    assert.is(kept.reduce((sum, [id]) => sum + seen[id]!, 0), draws, "only what is kept");
  }
});

test("top-k and top-p at their borders", () => {
  const drawn = (logits: number[], options: Sampling): number[] =>
    counts(Float32Array.from(logits), { temperature: 1, seed: 3, ...options }, 400).flatMap((n, id) => (n > 0 ? [id] : []));
  assert.equal(drawn([0, 0, 0, 0], { topK: 2 }), [0, 1]);
  assert.equal(drawn([0, 1, 0, 1, 0], { topK: 3 }), [0, 1, 3]);
  assert.equal(drawn([0, 0, 0, 0], { topP: 0.5 }), [0, 1]);
  assert.equal(drawn([0, 0, 0, 0], { topP: 0.500001 }), [0, 1, 2]);
  assert.equal(drawn([0, 0, 0, 0], { topP: 0.25 }), [0]);
  assert.equal(drawn([0, 0, 0, 0], { topP: 0.76 }), [0, 1, 2, 3]);
  assert.equal(drawn([-Infinity, 0, -Infinity, 0], { topK: 3 }), [1, 3]);
  assert.equal(drawn([-Infinity, 0, -Infinity, 0], { topP: 0.9 }), [1, 3]);
  // top-k first: of what it leaves, half is one token
  assert.equal(drawn([0, 0, 0, 0], { topK: 2, topP: 0.5 }), [0]);
});

test("infinite logits and extreme options", () => {
  assert.ok(counts(Float32Array.of(0, Infinity, 1e38, Infinity), { seed: 5 }, 200).every((n, id) => (id % 2 ? n > 60 : n === 0)));
  assert.equal(counts(Float32Array.of(-Infinity, 3, -Infinity), { seed: 5 }, 50), [0, 50, 0]);
  assert.equal(counts(Float32Array.of(1, 2, 1.9999), { temperature: 1e-300, seed: 5 }, 50), [0, 50, 0]);
  assert.ok(counts(Float32Array.of(-3e38, 3e38, 0), { temperature: 1e300, seed: 5 }, 300).every((n) => n > 60));
  assert.is(samplerOf({ topK: 5, topP: 0.5 }).sample(Float32Array.of(7)), 0);
});

test("the same seed gives these ids, on every engine", () => {
  const run = (options: Sampling): number[] => {
    const sampler = samplerOf(options);
    return Array.from({ length: 12 }, (_, step) => {
      const id = sampler.sample(normal(`golden ${step}`, 4096));
      sampler.accept(id);
      return id;
    });
  };
  assert.equal(run({ seed: 42 }), [1588, 3607, 713, 3290, 1592, 3616, 2336, 1908, 3200, 2557, 805, 1294]);
  assert.equal(run({ seed: -(2 ** 40) - 3, topK: 200, topP: 0.95, temperature: 1.2, repetitionPenalty: 1.1 }), [4018, 182, 1144, 1152, 3041, 1262, 3512, 1211, 2924, 522, 3925, 1442]);
});

test("logits are left as they are, and a sampler takes any size", () => {
  const sampler = samplerOf({ topK: 3, topP: 0.9, repetitionPenalty: 2, seed: 1 });
  for (const size of [100, 7, 3000, 1]) {
    const logits = normal(`size ${size}`, size), before = logits.slice();
    sampler.accept(sampler.sample(logits));
    assert.equal(logits, before);
  }
});

test("a random seed can be read and used again", () => {
  const { seed } = samplingOf({})!, sampler = samplerOf({ seed }), again = samplerOf({ seed });
  const logits = normal("again", 4096);
  assert.ok(Number.isSafeInteger(seed));
  assert.ok(new Set([1, 2, 3].map(() => samplingOf({})!.seed)).size > 1);
  for (let i = 0; i < 20; i++) assert.is(sampler.sample(logits), again.sample(logits));
});

test("seeds differ in their high bits too", () => {
  const logits = new Float32Array(1000), ids = (seed: number): number[] => {
    const sampler = samplerOf({ seed });
    return Array.from({ length: 8 }, () => sampler.sample(logits));
  };
  const runs = [0, 1, -1, 2 ** 32, 2 ** 52, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER].map((seed) => ids(seed).join());
  assert.is(new Set(runs).size, runs.length);
});

test("exp has the accuracy of a double", () => {
  let worst = 0;
  for (const u of uniform01("exp", 100_000)) {
    for (const x of [-708 * u, -u, -1e-8 * u]) worst = Math.max(worst, Math.abs(exp(x) / Math.exp(x) - 1));
  }
  assert.ok(worst < 4.5e-16, `relative error ${worst}`);
  assert.is(exp(0), 1);
  assert.is(exp(-Infinity), 0);
  assert.is(exp(-709), 0);
  assert.is(exp(-1), 0.36787944117144233);
  assert.is(exp(-0.5), 0.6065306597126334);
});

test("defaults, and keys of others", () => {
  const { seed, ...rest } = samplingOf({ maxTokens: 5 } as Sampling)!;
  assert.equal(rest, { temperature: 0.8, topK: 0, topP: 1, minP: 0, repetitionPenalty: 1, logitBias: new Map() });
  assert.ok(Number.isSafeInteger(seed));
  assert.is(samplingOf({ temperature: undefined, seed: 3 })!.temperature, 0.8);
});

/** Options that are refused, and what is said of them. */
function refused(options: object, Kind: Function, message: string): void {
  assert.is(samplingOf(options), undefined);
  const error = samplingFault(options);
  assert.ok(error instanceof Kind && error.message.startsWith(message), error.message);
}

const bad: [keyof Sampling, unknown[]][] = [
  ["minP", [NaN, -0.1, 1.01]], ["temperature", [NaN, -0.1, Infinity]], ["topK", [NaN, -1, 1.5, Infinity]],
  ["topP", [NaN, 0, -1, 1.01]],
  ["repetitionPenalty", [NaN, 0, -1, Infinity]], ["seed", [NaN, 0.5, 2 ** 53, Infinity]],
];
for (const [name, values] of bad) {
  test(`refused: ${name}`, () => {
    for (const value of values) refused({ [name]: value }, RangeError, `${name} is ${value}, expected `);
    for (const value of ["1", null, {}, 1n]) refused({ [name]: value }, TypeError, `${name} is `);
  });
}

test("biases: a token alone, ruled out, and what is refused", () => {
  const logits = Float32Array.of(1, 2, 3);
  const drawn = (
    logitBias: Sampling["logitBias"], temperature = 1,
  ): number[] => counts(logits, { temperature, logitBias, seed: 5 }, 300).flatMap((n, id) => (n > 0 ? [id] : []));
  assert.equal(drawn({ 0: 100 }), [0]);
  assert.equal(drawn(new Map([[2, -Infinity]])), [0, 1]);
  assert.equal(drawn({ 2: -1.5 }, 0), [1]);
  // of an id that these logits do not have
  assert.equal(drawn({ 7: 5 }, 0), [2]);
  assert.equal(logits, Float32Array.of(1, 2, 3));
  for (const logitBias of [null, 5, "x"]) refused({ logitBias }, TypeError, "logitBias is");
  for (const bias of [NaN, Infinity]) refused({ logitBias: { 4: bias } }, RangeError, "logitBias of 4 is");
  refused({ logitBias: { 4: "1" } }, TypeError, "logitBias of 4 is string");
});

test("refused: logits", () => {
  for (const options of [{}, { temperature: 0 }, { topK: 1, topP: 0.5 }]) {
    const sampler = samplerOf(options);
    assert.throws(() => sampler.sample(Float32Array.of(1, NaN, 2)), (error: Error) => error instanceof RangeError && /^logits\[1\] is NaN, expected a number/.test(error.message));
    assert.throws(() => sampler.sample(Float32Array.of(-Infinity, -Infinity)), (error: Error) => error instanceof RangeError && /^all 2 logits are -Infinity/.test(error.message));
    assert.throws(() => sampler.sample(new Float32Array(0)), RangeError);
  }
});

test.run();
