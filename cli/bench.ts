// slab bench: how fast a model runs here, and with --profile where the time goes, against the machine's limits of the same run.
import { existsSync } from "node:fs";
import type { Model, OpProfile, Profile } from "../bindings/index.ts";
import { isBackbone, isLanguageModel } from "../bindings/config/config.ts";
import { PRESETS } from "../models/all.ts";
import { loadModel } from "./load-model.ts";
import { HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, parse, wholeNumber } from "./options.ts";
import { randomCheckpoint } from "./random-checkpoint.ts";
import { help, milliseconds, out, outJson, percent, printable, Progress, quantile, table } from "./report.ts";

export const summary = "how fast a model runs here, op by op";

const HELP = `slab bench MODEL [options]: ${summary}

MODEL is a folder or URL of config.json beside model.safetensors, or a name of slab list; a preset runs with random
weights.

  --profile         every kind of op: time, GFLOP/s, GB/s, its bound and the fraction of the limit, on one thread
  --ops             with --profile, every single op
  --rounds N        runs that are timed; default 40
${HELP_OF.dtype}
${HELP_OF.config}
${HELP_OF.context}
${HELP_OF.threads}
${HELP_OF.deterministic}
${HELP_OF.all}`;

interface Timing {
  readonly what: string;
  readonly bestMs: number;
  readonly medianMs: number;
  readonly perSecond: number;
}

async function time(what: string, rounds: number, items: number, run: () => Promise<unknown>): Promise<Timing> {
  // the engine optimises in the background: the first runs do not count
  for (let until = performance.now() + 300; performance.now() < until; ) await run();
  const samples: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begin = performance.now();
    await run();
    samples.push(performance.now() - begin);
  }
  const medianMs = quantile(samples, 0.5);
  return { what, bestMs: Math.min(...samples), medianMs, perSecond: (items / medianMs) * 1000 };
}

/** A pass of each kind that the model has. */
async function timings(model: Model, rounds: number): Promise<Timing[]> {
  if (!isLanguageModel(model.config)) {
    const { channels, imageSize } = model.config.network, pixels = new Float32Array(channels * imageSize * imageSize).fill(0.3);
    return [await time("a picture", rounds, 1, () => (isBackbone(model.config) ? model.features(pixels) : model.forward(pixels)))];
  }
  const { vocab } = model.config.network, reader = model.session(), writer = model.session();
  const count = Math.min(256, reader.context), prompt = Int32Array.from({ length: count }, (_, i) => (i * 7919) % vocab);
  return [
    await time("a token decoded", rounds, 1, () => {
      if (writer.position === writer.context) writer.reset();
      return writer.decode(17 % vocab);
    }),
    await time(`a prompt of ${count} tokens`, Math.max(3, Math.ceil(rounds / 8)), count, () => { reader.reset(); return reader.prefill(prompt); }),
  ];
}

const row = (o: OpProfile, share: number): string[] => [
  milliseconds(o.timeMs), percent(share), o.gflops.toFixed(1), o.gigabytesPerSecond.toFixed(1), o.bound, percent(o.fraction), o.op, printable(`${o.label} ${o.output}`.trim()),
];

/** Ops that do the same in every layer, added up: fractions weighted by time. */
function grouped(ops: readonly OpProfile[]): OpProfile[] {
  const groups = new Map<string, OpProfile[]>();
  for (const op of ops) {
    const key = `${op.op} ${op.output.replace(/\d+/g, "N")} ${op.bound}`;
    groups.set(key, [...(groups.get(key) ?? []), op]);
  }
  return [...groups.values()].map((same) => {
    const timeMs = same.reduce((sum, o) => sum + o.timeMs, 0), mean = (of: (o: OpProfile) => number): number => same.reduce((sum, o) => sum + of(o) * o.timeMs, 0) / timeMs;
    return {
      ...same[0]!, label: same.length > 1 ? `${same.length} ×` : same[0]!.label, output: same[0]!.output.replace(/\d+/, "N"), timeMs,
      gflops: mean((o) => o.gflops), gigabytesPerSecond: mean((o) => o.gigabytesPerSecond), fraction: mean((o) => o.fraction),
    };
  }).sort((a, b) => b.timeMs - a.timeMs);
}

function show(title: string, { peakGflops, bandwidthGbps, totalMs, ops }: Profile, single: boolean): void {
  out(`\n${title}: ${milliseconds(totalMs)} on one thread; limits measured beside it: ${peakGflops.toFixed(1)} GFLOP/s, ${bandwidthGbps.toFixed(1)} GB/s`);
  const rows = single ? ops : grouped(ops);
  for (const line of table(["time", "share", "GFLOP/s", "GB/s", "bound", "of it", "op", "makes"], rows.map((o) => row(o, o.timeMs / totalMs)))) out(line);
}

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse("bench", { ...MODEL_OPTIONS, profile: { type: "boolean" }, ops: { type: "boolean" }, rounds: { type: "string" }, context: { type: "string" } }, args);
  const { values, positionals: [given, ...more] } = parsed;
  if (values.help) return help(HELP);
  if (given === undefined) throw new RangeError("no model was given: name a folder, a URL or one of slab list, e.g. slab bench slab-deit-cifar10");
  if (more.length > 0) throw new RangeError(`one model at a time: ${printable(more.join(" "))} is one too many`);
  const rounds = wholeNumber("rounds", values.rounds, 1, 100_000) ?? 40;
  const progress = new Progress(values);
  progress.show("loading the model");
  const random = Object.hasOwn(PRESETS, given) && !existsSync(given);
  const source = random ? { config: given, weights: randomCheckpoint(given) } : modelSource(given);
  using model = await loadModel(source, await loadOptions(parsed), 2);
  progress.show("running");
  const results = await timings(model, rounds);
  const profiles: Record<string, Profile> = {};
  if (values.profile) {
    if (!isLanguageModel(model.config)) profiles.forward = await model.profile({ rounds });
    else {
      profiles.decode = await model.profile({ program: "decode", rounds });
      profiles.prefill = await model.profile({ program: "prefill", rounds });
    }
  }
  progress.clear();
  if (values.json) return outJson({ model: given, ...(random ? { weights: "random" } : {}), dtype: model.plan.type, caps: model.caps, timings: results, ...(values.profile ? { profiles } : {}) });
  out(`${printable(model.config.name)}: build ${model.caps.build} on ${model.caps.runtime}, ${model.caps.threads} of ${model.caps.cores} threads, ${random ? "random weights" : "weights"} ${model.plan.type}`);
  for (const line of table(["", "best", "median", "a second"], results.map((t) => [t.what, milliseconds(t.bestMs), milliseconds(t.medianMs), t.perSecond.toFixed(1)]))) out(line);
  for (const [name, profile] of Object.entries(profiles)) show(name, profile, values.ops === true);
}
