// What the project wants to reach, against what this run measured; and how a run is compared with the
// ratios of an earlier one.
import type { KernelResult } from "./kernels.ts";
import { TARGET_PRODUCTS } from "./kernels.ts";
import type { BatchResult, DecodeResult } from "./language.ts";
import type { ModelResult } from "./models.ts";
import type { OperatorResult } from "./operators.ts";
import type { QualityResult } from "./quality.ts";
import type { Size } from "./sizes.ts";
import { CORES } from "./sizes.ts";
import type { StartupResult } from "./startup.ts";
import { PEER } from "./startup.ts";
import type { ThreadsResult } from "./threads.ts";

export interface Target {
  /** Also the name of its ratio in baseline.json. */
  readonly what: string;
  readonly unit: "×" | "%" | " KiB" | " ms";
  readonly wanted: number;
  /** Whether `wanted` is a ceiling. */
  readonly most?: boolean;
  /** Of the best times. */
  readonly got: number;
  /** Of the median times, where there are many. */
  readonly byMedians?: number;
}

export interface Measured {
  readonly kernels: readonly KernelResult[];
  readonly batch: readonly BatchResult[];
  readonly models: readonly ModelResult[];
  readonly threads: readonly ThreadsResult[];
  readonly decode: readonly DecodeResult[];
  readonly operators: readonly OperatorResult[];
  readonly quality: readonly QualityResult[];
  readonly startup: readonly StartupResult[];
  readonly wasm: readonly Size[];
  readonly scripts: readonly Size[];
}

/** Operators of the best build, by the names of operators.ts: how many times faster than the peer. */
export const OPERATORS: Readonly<Record<string, number>> = {
  "int8 product 196×384×384": 1.6, "int8 product 512×512×512": 1.6, "int4 product 1×1024×1024": 15,
  "linear attention step": 5, "linear attention step within a network": 5, "linear attention prefill": 2.5,
  "depthwise 3×3": 1.5, "depthwise 5×5": 1.5,
};

/** Every target of which this run has measured something. */
export function targetsOf(
  { kernels, models, threads, decode, batch, operators, quality, startup, wasm, scripts }: Measured,
): Target[] {
  const list: Target[] = [];
  const ratio = (what: string, wanted: number, got: number | undefined, byMedians?: number): void =>
    void (got !== undefined
      && list.push({ what, unit: "×", wanted, got, ...(byMedians === undefined ? {} : { byMedians }) }));
  const percent = (what: string, wanted: number, got: number | undefined, most = false): void =>
    void (got !== undefined && list.push({ what, unit: "%", wanted, got: 100 * got, most }));

  for (const { kernel, build, fraction } of kernels.filter(({ kernel }) => TARGET_PRODUCTS.has(kernel))) {
    percent(`${kernel}, ${build}: of the multiply-add peak`, build === "relaxed" ? 85 : 90, fraction);
  }
  for (const model of ["slab_deit_t", "slab_deit_s"]) {
    const of = (build: string, dtype = "f32"): ModelResult | undefined =>
      models.find((m) => m.model === model && m.build === build && m.dtype === dtype);
    const [relaxed, simd, two] = [of("relaxed"), of("simd"), of("relaxed-threads")];
    const [int8, plain8] = [of("relaxed", "int8"), of("simd", "int8")];
    percent(`${model}, relaxed: of the multiply-add peak`, 80, relaxed?.fraction);
    ratio(`${model}, relaxed, over the faster peer`, 2.5, relaxed?.peer?.ratio, relaxed?.peer?.medianRatio);
    ratio(`${model}, simd, over the faster peer`, 1.4, simd?.peer?.ratio, simd?.peer?.medianRatio);
    if (relaxed && two) {
      ratio(`${model}, two threads over one`, 1.6, relaxed.bestMs / two.bestMs, relaxed.medianMs / two.medianMs);
    }
    if (relaxed && int8) {
      ratio(`${model}, relaxed, int8 over f32`, 1.45, relaxed.bestMs / int8.bestMs, relaxed.medianMs / int8.medianMs);
    }
    if (simd && plain8) {
      ratio(`${model}, simd, int8 over f32`, 2.1, simd.bestMs / plain8.bestMs, simd.medianMs / plain8.medianMs);
    }
  }
  for (const model of ["swin_t_prepbn", "slab_swin_t", "pvt_t_prepbn", "slab_pvt_t", "slab_cswin_t"]) {
    const relaxed = models.find((m) => m.model === model && m.build === "relaxed" && m.dtype === "f32");
    ratio(`${model}, relaxed, over the peer`, 2, relaxed?.peer?.ratio, relaxed?.peer?.medianRatio);
  }
  for (const { shape, speedup, medianSpeedup } of threads) {
    ratio(`product ${shape}, two threads over one`, 1.6, speedup, medianSpeedup);
  }

  const token = (dtype: string): DecodeResult | undefined =>
    decode.find((d) => d.build === decode[0]!.build && d.dtype === dtype && d.threads === 1);
  const f32 = token("f32");
  percent("decoding, f32: of the read bandwidth", 85, f32?.fraction);
  ratio("decoding, f32, over the peer", 2, f32?.peer?.ratio, f32?.peer?.medianRatio);
  for (const [dtype, wanted] of [["int8", 3.3], ["int4", 5]] as const) {
    const quantised = token(dtype);
    if (quantised) {
      ratio(`decoding, ${dtype} over f32`, wanted, quantised.overF32, f32 && f32.medianMs / quantised.medianMs);
    }
  }
  for (const { threads: count, sessions, ratio: over } of batch.filter(({ sessions }) => sessions === 16)) {
    ratio(
      `${sessions} sessions in one step over one session, ${count === 1 ? "one thread" : `${count} threads`}`, 4, over,
    );
  }
  for (const [key, wanted] of Object.entries(OPERATORS)) {
    const result = operators.find((o) => o.key === key);
    ratio(`${key}, over the peer`, wanted, result?.ratio, result?.medianRatio);
  }

  // a handful of pictures or words says nothing
  for (const { model, dtype, count, agreement, perplexity } of quality.filter(
    ({ count, perplexity }) => count >= (perplexity === undefined ? 100 : 1000),
  )) {
    if (perplexity === undefined) percent(`${model}, ${dtype}: the labels of f32, ${count} pictures`, 99, agreement);
    else percent(
      `${model}, ${dtype}: perplexity above that of f32, ${count} tokens`, dtype === "int8" ? 0.5 : 3, perplexity, true,
    );
  }
  for (const { checkpoint, totalMs, bestTotalMs } of startup.filter(
    (s) => s.checkpoint !== PEER && s.build === startup[0]!.build,
  )) {
    list.push({
      what: `CIFAR model, ${checkpoint}: import to the first label`, unit: " ms", wanted: 60, most: true,
      got: bestTotalMs, byMedians: totalMs,
    });
  }
  const peer = startup.find((s) => s.checkpoint === PEER);
  for (const { checkpoint, totalMs, bestTotalMs } of peer ? startup.filter((s) =>
    s !== peer && s.build === startup[0]!.build) : []) {
    ratio(
      `CIFAR model, ${checkpoint}: first label, over the peer's first session`, 5, peer!.bestReadyMs / bestTotalMs,
      (peer!.importMs + peer!.loadMs) / totalMs,
    );
  }
  const largest = wasm.reduce((a, b) => (b.brotli > a.brotli ? b : a));
  list.push({
    what: `WebAssembly, brotli: the largest build, ${largest.what}`, unit: " KiB", wanted: 100, most: true,
    got: largest.brotli / 1024,
  });
  for (const { what, brotli } of scripts.filter(({ what }) => CORES.includes(what))) {
    list.push({ what: `JavaScript, brotli: ${what}`, unit: " KiB", wanted: 20, most: true, got: brotli / 1024 });
  }
  return list;
}

export const isMet = ({ got, wanted, most }: Target): boolean => (most ? got <= wanted : got >= wanted);

/** The ratios of the last few runs that were kept, oldest first: of best and of median times. */
export type Baseline = Record<string, { readonly best: readonly number[]; readonly median?: readonly number[] }>;

/** So many runs are kept: what they have in common is not noise. */
const RUNS = 3;

const kept = (older: readonly number[] | undefined, value: number): number[] =>
  [...(older ?? []), Number(value.toPrecision(3))].slice(-RUNS);

/** A baseline with this run added. */
export function baselineOf(targets: readonly Target[], older: Baseline): Baseline {
  const ratios = targets.filter(({ unit }) => unit === "×").map(({ what, got, byMedians }) =>
    [what, {
      best: kept(older[what]?.best, got),
      ...(byMedians === undefined ? {} : { median: kept(older[what]?.median, byMedians) }),
    }] as const);
  return { ...older, ...Object.fromEntries(ratios) };
}

/** A ratio that fell by so much below the lowest that was kept is reported. */
const FALL = 0.2;

const isBelow = (value: number, runs: readonly number[]): boolean => value < (1 - FALL) * Math.min(...runs);

/**
 * One sentence for each ratio that fell, by best and by median times alike: either alone may be
 * another process's doing.
 */
export function fallen(targets: readonly Target[], baseline: Baseline): string[] {
  return targets.flatMap(({ what, got, byMedians }) => {
    const before = baseline[what];
    if (!before || !isBelow(got, before.best)) return [];
    if (byMedians !== undefined && before.median && !isBelow(byMedians, before.median)) return [];
    return [`${what}: ${got.toFixed(2)}×, at least ${Math.min(...before.best).toFixed(2)}× in bench/baseline.json`];
  });
}
