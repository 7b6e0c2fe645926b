// From logits to the next token: the same draws as bindings/sampler.ts, bit for bit.
import { fail } from "./system";

// options; see the help
export let temperature: f64 = 0, topK: i32 = 0, topP: f64 = 1, repetitionPenalty: f64 = 1;

export function setTemperature(value: f64): void { temperature = value; }
export function setTopK(value: i32): void { topK = value; }
export function setTopP(value: f64): void { topP = value; }
export function setRepetitionPenalty(value: f64): void { repetitionPenalty = value; }

// f64 [n] scores, then weights; f64 [n] a heap; i32 [n] ids that are still in; u8 [n] seen before
let scores: usize = 0, heap: usize = 0, ids: usize = 0, seen: usize = 0, words: i32 = 0;

/** Bytes that the sampler works in, for a vocabulary of `n`. */
export function samplerBytes(n: i32): u64 {
  return <u64>n * 21;
}

/** Begins at the memory given, which is zero. */
export function openSampler(at: usize, n: i32): void {
  words = n;
  scores = at; heap = scores + <usize>n * 8; ids = heap + <usize>n * 8; seen = ids + <usize>n * 4;
}

// sfc32

let a: i32 = 0, b: i32 = 0, c: i32 = 0, counter: i32 = 1;

export function setSeed(seed: i64): void {
  a = 0; b = <i32>seed; c = <i32>(seed >> 32); counter = 1;
  for (let i = 0; i < 12; ++i) nextWord();
}

function nextWord(): u32 {
  const word = a + b + counter++;
  a = b ^ (b >>> 9);
  b = c + (c << 3);
  c = rotl(c, 21) + word;
  return word;
}

/** In [0, 1), 53 bits. */
function draw01(): f64 {
  const high = nextWord() >>> 5, low = nextWord() >>> 6;
  return (<f64>high * 67108864.0 + <f64>low) / 9007199254740992.0;
}

// @ts-ignore: decorator
@inline
function scoreAt(i: i32): f64 {
  return load<f64>(scores + <usize>i * 8);
}

// @ts-ignore: decorator
@inline
function setScore(i: i32, value: f64): void {
  store<f64>(scores + <usize>i * 8, value);
}

// @ts-ignore: decorator
@inline
function heapAt(i: i32): f64 {
  return load<f64>(heap + <usize>i * 8);
}

// @ts-ignore: decorator
@inline
function setHeap(i: i32, value: f64): void {
  store<f64>(heap + <usize>i * 8, value);
}

// @ts-ignore: decorator
@inline
function idAt(i: i32): i32 {
  return load<i32>(ids + <usize>i * 4);
}

// @ts-ignore: decorator
@inline
function setId(i: i32, id: i32): void {
  store<i32>(ids + <usize>i * 4, id);
}

/** This token is in the text now. */
export function accept(id: i32): void {
  store<u8>(seen + id, 1);
}

/** The next id, of logits f32 [n]. */
export function sample(logits: usize): i32 {
  let best = -1, max: f64 = -Infinity;
  for (let i = 0; i < words; ++i) {
    let score = <f64>load<f32>(logits + <usize>i * 4);
    if (repetitionPenalty != 1 && load<u8>(seen + i)) {
      score = score > 0 ? score / repetitionPenalty : score * repetitionPenalty;
    }
    if (score != score) fail("a logit is NaN: the weights are damaged, make the file again");
    setScore(i, score);
    if (score > max) {
      best = i;
      max = score;
    }
  }
  if (best < 0) fail("all logits are -Infinity: the weights are damaged, make the file again");
  if (temperature == 0) return best;
  let count = topK > 0 && topK < words ? keepTopK(topK) : keepAll();
  const scale = 1 / temperature;
  let total: f64 = 0;
  for (let i = 0; i < count; ++i) {
    const score = scoreAt(idAt(i)), weight = score == max ? 1 : exp((score - max) * scale);
    setScore(i, weight);
    total += weight;
  }
  kept = total;
  if (topP < 1) count = keepTopP(count, total);
  return draw(count);
}

function keepAll(): i32 {
  let count = 0;
  for (let i = 0; i < words; ++i) if (scoreAt(i) > -Infinity) setId(count++, i);
  return count;
}

/** Keeps the k highest; returns how many. */
function keepTopK(k: i32): i32 {
  for (let i = 0; i < k; ++i) setHeap(i, -scoreAt(i));
  heapify(k);
  for (let i = k; i < words; ++i) {
    if (-scoreAt(i) >= heapAt(0)) continue;
    setHeap(0, -scoreAt(i));
    siftDown(0, k);
  }
  const cut = -heapAt(0);
  let ties = k, count = 0;
  for (let i = 0; i < words; ++i) if (scoreAt(i) > cut) --ties;
  for (let i = 0; i < words; ++i) {
    const score = scoreAt(i);
    if (score > -Infinity && (score > cut || (score == cut && ties-- > 0))) setId(count++, i);
  }
  return count;
}

/** Sum of the weights that are still in. */
let kept: f64 = 0;

/** Keeps the fewest highest weights that reach topP of the total; returns how many. */
function keepTopP(count: i32, total: f64): i32 {
  const least = ((1 - topP) * total) / <f64>count / 2;
  let size = 0;
  for (let i = 0; i < count; ++i) {
    setHeap(size, scoreAt(i));
    if (scoreAt(i) >= least) ++size;
  }
  heapify(size);
  let reached: f64 = 0, cut: f64 = 0, ties = 0;
  while (size > 0 && (reached < topP * total || reached == 0)) {
    const weight = heapAt(0);
    ties = weight == cut ? ties + 1 : 1;
    cut = weight;
    reached += weight;
    setHeap(0, heapAt(--size));
    siftDown(0, size);
  }
  let left = 0;
  kept = 0;
  for (let i = 0; i < count; ++i) {
    const weight = scoreAt(i);
    if (weight > cut || (weight == cut && ties-- > 0)) {
      setScore(left, weight);
      setId(left++, idAt(i));
      kept += weight;
    }
  }
  return left;
}

function draw(count: i32): i32 {
  const at = draw01() * kept;
  let sum: f64 = 0, last = 0;
  for (let i = 0; i < count; ++i) {
    const weight = scoreAt(i);
    if (weight == 0) continue;
    sum += weight;
    if (at < sum) return idAt(i);
    last = i;
  }
  return idAt(last);
}

/** Moves heap[at] down to its place: the highest of `size` on top. */
function siftDown(at: i32, size: i32): void {
  const value = heapAt(at);
  for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && heapAt(child + 1) > heapAt(child)) ++child;
    if (heapAt(child) <= value) break;
    setHeap(at, heapAt(child));
    at = child;
  }
  setHeap(at, value);
}

function heapify(size: i32): void {
  for (let i = (size >> 1) - 1; i >= 0; --i) siftDown(i, size);
}

/** e^x for x ≤ 0, in the order of operations of bindings/sampler.ts. */
export function exp(x: f64): f64 {
  if (x < -708) return 0;
  const k = floor(0.5 - x * 1.4426950408889634);
  const high = x + k * 6.93147180369123816490e-1, low = -k * 1.90821492927058770002e-10;
  const r = high - low, t = r * r;
  const p = r - t * (1.66666666666666019037e-1 + t * (-2.77777777770155933842e-3 + t * (6.61375632143793436117e-5
    + t * (-1.65339022054652515390e-6 + t * 4.13813679705723846039e-8))));
  return (1 - (low - (r * p) / (2 - p) - high)) * reinterpret<f64>((1023 - <i64>k) << 52);
}
