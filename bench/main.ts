// The benchmark: prints its tables, and writes them above the notes in bench/RESULTS.md, with charts beside it.
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WEIGHT_TYPES } from "../bindings/plan/dtype.ts";
import { decodeSvg, modelsSvg, operatorsSvg, positionsSvg } from "./charts.ts";
import { benchKernels } from "./kernels.ts";
import { benchBatch, benchDecode, benchPositions, benchPrefill, benchSnapshot } from "./language.ts";
import { benchLlama } from "./llama.ts";
import { loadPeak } from "./limits.ts";
import { timeInTurn } from "./measure.ts";
import { benchModels, PAPER } from "./models.ts";
import { benchOperators } from "./operators.ts";
import { missingPeers, setPeerDirectory } from "./peers.ts";
import { benchQuality } from "./quality.ts";
import { kib, MARKER, ms, openReport, percent, table, times } from "./report.ts";
import { benchScripts, benchSizes } from "./sizes.ts";
import { benchStartup } from "./startup.ts";
import type { Baseline } from "./targets.ts";
import { baselineOf, fallen, isMet, targetsOf } from "./targets.ts";
import { benchThreads } from "./threads.ts";

const HELP = `npm run bench -- [options]: how fast everything is here, beside the machine's limits and the peers

  --short            under a minute: fewer models, shorter samples
  --peers DIR        ONNX networks of the peers, packed with xz or not
  --pictures DIR     pictures on which int8 must agree with f32
  --json             one JSON document in place of the tables
  --update-baseline  adds this run's ratios to bench/baseline.json, which holds those of three
  --fail-on-fall     exits with 1 when a ratio fell by 20 % against bench/baseline.json; without it that is a warning
  --llama TYPE       only LLaMA-350M with weights of this type (f32, int8, int4): a minute, a gigabyte or more;
                     prints, writes nothing
  --help`;

const { values: args } = parseArgs({ options: {
  short: { type: "boolean", default: false }, peers: { type: "string" }, pictures: { type: "string" },
  json: { type: "boolean", default: false }, llama: { type: "string" },
  "update-baseline": { type: "boolean", default: false }, "fail-on-fall": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} });
if (args.help) {
  console.log(HELP);
  process.exit(0);
}
const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
/** What was asked for, or the first of the usual places that is there. */
function folderOf(option: string, asked: string | undefined, ...usual: string[]): string | undefined {
  if (asked !== undefined && !existsSync(asked)) throw new RangeError(`--${option} ${asked}: there is no such folder`);
  return asked ?? usual.map(file).find((path) => existsSync(path));
}
const peers = folderOf("peers", args.peers, "../../shared/peers");
const pictures = folderOf("pictures", args.pictures, "../../shared/data/cifar10-test-300", "../models/samples")!;
if (peers) setPeerDirectory(peers);
const relaxed = Number(process.versions.node.split(".")[0]) >= 22;
const builds = relaxed ? (["relaxed", "simd"] as const) : (["simd"] as const);
const { section, write, results } = openReport(args.json);

if (args.llama !== undefined) {
  const dtype = WEIGHT_TYPES.find((type) => type === args.llama);
  if (!dtype) throw new RangeError(`--llama is ${args.llama}, expected one of ${WEIGHT_TYPES.join(", ")}`);
  const llama = await benchLlama(args.short ? 4000 : 16000, dtype, [1, 2], [32, 512]);
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  section(`LLaMA-350M with PRepBN, random weights in ${dtype}`, table(
    ["build", "threads", "load", "prompt", "position", "a token", "median", "tokens/s", "GB/s", "of the bandwidth"],
    llama.flatMap((l) => l.decode.map((d) => [
      l.build, String(l.threads), ms(l.loadMs), `${l.promptTokensPerSecond.toFixed(0)} tokens/s`, String(d.position),
      ms(d.bestMs), ms(d.medianMs), (1000 / d.bestMs).toFixed(1),
      d.gigabytesPerSecond.toFixed(1), percent(d.fraction),
    ])),
  ) + `\n\nMemory: ${mebibytes(llama[0]!.memory.weights)} of weights, ${mebibytes(llama[0]!.memory.state)} of cache `
    + `for one session of ${llama[0]!.context} tokens, ${mebibytes(llama[0]!.memory.total)} in all.`, llama);
  if (args.json) console.log(JSON.stringify(results));
  process.exit(0);
}

const limits: [string, string, string][] = [];
for (const build of builds) {
  const peak = loadPeak(build);
  const measured = await timeInTurn(
    { compute: () => peak.compute(), read: () => peak.read() }, args.short ? 400 : 2000,
  );
  limits.push([
    build, `${(peak.flops / measured.compute!.bestMs / 1e6).toFixed(1)} GFLOP/s`,
    `${(peak.bytes / measured.read!.bestMs / 1e6).toFixed(1)} GB/s`,
  ]);
}
section(
  "The machine's limits, one thread", table(["build", "multiply-add peak", "reading memory, four streams"], limits),
  limits,
);

const kernels = await benchKernels(args.short ? 80 : 1500, builds);
section("Kernels, one thread", table(
  ["kernel", "build", "GFLOP/s", "peak in the same turn", "of the peak", "by medians"],
  kernels.map((k) => [
    k.kernel, k.build, k.gflops.toFixed(1), k.peakGflops.toFixed(1), percent(k.fraction), percent(k.medianFraction),
  ]),
), kernels);

const threads = await benchThreads(args.short ? 500 : 4000, [[197, 192, 768], [197, 384, 1536]]);
section("Two threads on one matrix product", table(
  ["shape", "one thread", "two threads", "speed-up"],
  threads.map((t) => [t.shape, ms(t.oneMs), ms(t.twoMs), times(t.speedup)]),
), threads);

const models = await benchModels(args.short ? 3000 : 20000, args.short ? 1 : Infinity, relaxed);
section("Whole models, a picture of 224×224", table(
  [
    "model", "build", "weights", "threads", "GFLOP", "best", "median", "GFLOP/s", "of the f32 peak", "over f32",
    "peer's best", "times faster", "by medians",
  ],
  models.map((m) => [
    m.model, m.build, m.dtype, String(m.threads), ((m.gflops * m.bestMs) / 1000).toFixed(2), ms(m.bestMs),
    ms(m.medianMs), m.gflops.toFixed(1), percent(m.fraction), times(m.overF32),
    m.peer ? ms(m.peer.bestMs) : "–", times(m.peer?.ratio), times(m.peer?.medianRatio),
  ]),
) + "\n\nThe paper's own figures for these networks (README of its repository; GPU throughput is read off a chart, "
  + "±3): " + [...new Set(models.map((m) => m.model))].flatMap((model) => {
    const figures = PAPER[model];
    return figures ? [
      `${model} ${figures.top1} % top-1`
        + `${figures.gpuImagesPerSecond ? `, ${figures.gpuImagesPerSecond} images/s on its GPU` : ""}`,
    ] : [];
  }).join("; ") + "."
  + (models.some((m) => m.peer)
    ? "\n\nPeer, the faster of two networks where there are two: "
      + `${[...new Set(models.flatMap((m) => (m.peer ? [m.peer.name] : [])))].join("; ")}, one thread.`
      + "\n\n![Whole models beside the peer](models.svg)"
    : ""), models);

const operators = await benchOperators(args.short ? 300 : 2500, builds);
section("Operators against the peers' own, one thread", table(
  ["operator", "build", "best", "median", "peer", "peer's best", "times faster", "by medians", "results apart"],
  operators.map((o) => [
    o.operator, o.build, ms(o.bestMs), ms(o.medianMs), o.peer, ms(o.peerMs), times(o.ratio), times(o.medianRatio),
    o.difference.toExponential(0),
  ]),
) + "\n\nA peer that has several ways to do the work takes its fastest, and is not charged for the call: the time of "
  + "one that computes nothing is taken off. Its int8 products get bytes that are quantised already where that is "
  + "faster; ours quantises its activations."
  + "\n\n![Operators beside the peers' own](operators.svg)", operators);

const decode = await benchDecode(args.short ? 1500 : 15000, builds);
section("SLAB-LM, 13.7M parameters: decoding a token", table(
  [
    "build", "weights", "threads", "best", "median", "tokens/s", "over f32", "GB/s", "of the bandwidth", "times faster",
    "by medians",
  ],
  decode.map((d) => [
    d.build, d.dtype, String(d.threads), ms(d.bestMs), ms(d.medianMs), (1000 / d.bestMs).toFixed(0), times(d.overF32),
    d.gigabytesPerSecond.toFixed(1), percent(d.fraction),
    times(d.peer?.ratio), times(d.peer?.medianRatio),
  ]),
) + (decode[0]?.peer
  ? `\n\nPeer: ${decode[0].peer.name}, one thread.\n\n![Decoding beside the peer](decode.svg)`
  : ""), decode);

const prefill = await benchPrefill(args.short ? 1000 : 8000, builds);
section("SLAB-LM: reading a prompt of 512 tokens, one thread", table(
  ["build", "tokens/s", "GFLOP/s", "of the peak"],
  prefill.map((p) => [p.build, p.tokensPerSecond.toFixed(0), p.gflops.toFixed(1), percent(p.fraction)]),
), prefill);

const batch = await benchBatch(args.short ? 700 : 8000);
section("SLAB-LM: sessions in one step", table(
  ["threads", "sessions", "tokens/s together", "against one"],
  batch.map((b) => [String(b.threads), String(b.sessions), b.tokensPerSecond.toFixed(0), times(b.ratio)]),
), batch);

const snapshot = await benchSnapshot(args.short ? 300 : 2000);
section("SLAB-LM: a session saved and restored", table(
  ["bytes", "save, median", "restore, median"],
  [[snapshot.bytes.toLocaleString("en"), ms(snapshot.saveMs), ms(snapshot.restoreMs)]],
), snapshot);

const positions = await benchPositions(
  args.short ? 800 : 20000, args.short ? [100, 1000] : [100, 1000, 10_000, 30_000, 100_000],
);
section("SLAB-LM: a token early and late in a text, one thread", table(
  ["position", "median", "against the first", "WebAssembly memory"],
  positions.map((p) => [
    p.position.toLocaleString("en"), ms(p.medianMs), `${p.ratio.toFixed(3)}×`,
    `${p.memoryBytes.toLocaleString("en")} bytes`,
  ]),
) + "\n\n![Time of a token and state against position](positions.svg)", positions);
const quality = benchQuality(pictures, args.short ? { pictures: 30, tokens: 128 } : { pictures: 300, tokens: 2048 });
section("Quality: what quantised weights change", table(
  ["model", "weights", "compared on", "same first", "perplexity"],
  quality.map((q) => [
    q.model, q.dtype, q.perplexity === undefined ? `${q.count} pictures` : `${q.count} tokens`,
    `${(100 * q.agreement).toFixed(1)} %`,
    q.perplexity === undefined ? "–" : `${q.perplexity < 0 ? "" : "+"}${(100 * q.perplexity).toFixed(2)} %`,
  ]),
) + "\n\nThe text is models/samples/harbour.txt, in the manner of the books that the model was trained on.", quality);

const startup = await benchStartup(args.short ? 3 : 9);
section("Cold start: import to the first result of the CIFAR model", table(
  ["checkpoint", "build", "import", "load", "first picture", "total", "CPU time"],
  startup.map((s) => [s.checkpoint, s.build, ms(s.importMs), ms(s.loadMs), ms(s.firstMs), ms(s.totalMs), ms(s.cpuMs)]),
), startup);

const wasm = benchSizes();
section(
  "Size of the WebAssembly: a user loads one",
  table(["build", "bytes", "gzip", "brotli"], wasm.map((s) => [s.what, kib(s.bytes), kib(s.gzip), kib(s.brotli)])),
  wasm,
);

const { scripts, parts, dependencies } = await benchScripts();
section(
  "Size of the JavaScript, minified for browsers: the first download",
  table(["app", "bytes", "gzip", "brotli"], scripts.map((s) => [s.what, kib(s.bytes), kib(s.gzip), kib(s.brotli)]))
    + `\n\n${parts.map(({ what, parts }) =>
      `${what}: ${parts.map(({ part, bytes }) => `${part} ${kib(bytes)}`).join("; ")}.`).join("\n\n")}`,
  scripts,
);
section("Dependencies, built in", table(
  ["package", "version", "JavaScript, minified", "WebAssembly when first used, brotli"],
  dependencies.map((d) => [d.name, d.version, kib(d.scriptBytes), kib(d.wasmBrotli)]),
), dependencies);

const targets = targetsOf({ kernels, models, threads, decode, batch, operators, quality, startup, wasm, scripts });
const digits = (value: number): string => value.toFixed(Math.abs(value) < 10 ? 2 : 1);
section("Wanted and measured", table(
  ["", "wanted", "measured", "by medians", ""],
  targets.map((t) => [
    t.what, `${t.most ? "≤" : "≥"} ${t.wanted}${t.unit}`, `${digits(t.got)}${t.unit}`,
    t.byMedians === undefined ? "–" : `${digits(t.byMedians)}${t.unit}`, isMet(t) ? "yes" : "**no**",
  ]),
) + `\n\n${targets.filter(isMet).length} of ${targets.length} reached`
  + `${args.short ? ", of those that the short form measures" : ""}.`, targets, { first: true });

for (const [name, svg] of [
  ["models", modelsSvg(models)], ["decode", decodeSvg(decode)], ["operators", operatorsSvg(operators)],
  ["positions", positionsSvg(positions)],
] as const) {
  writeFileSync(file(`${name}.svg`), svg);
}

const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, `
  + `Node ${process.versions.node} (V8 ${process.versions.v8}), ${new Date().toISOString().slice(0, 10)}`;
const missing = missingPeers.length ? `\n\nLeft out: ${[...new Set(missingPeers)].join("; ")}.` : "";
const head = `# Results\n\nWritten by \`npm run bench${args.short ? " -- --short" : ""}\` on: ${machine}.\n`
  + "Best: the 3 % quantile of many short samples; variants that are compared take turns in one run. Ratios carry over "
  + "to other machines, absolute times do not." + missing;
write(file("RESULTS.md"), head);

// ratios against those of an earlier run
const baselineFile = file("baseline.json");
const baseline = existsSync(baselineFile) ? (JSON.parse(readFileSync(baselineFile, "utf8")) as Baseline) : {};
const falls = fallen(targets, baseline);
if (args["update-baseline"]) {
  writeFileSync(
    baselineFile,
    `{\n${Object.entries(baselineOf(targets, baseline)).map(([what, runs]) =>
      `  ${JSON.stringify(what)}: ${JSON.stringify(runs)}`).join(",\n")}\n}\n`,
  );
}
if (args.json) console.log(JSON.stringify({ machine, ...results, fallen: falls }));
else if (missing) console.log(missing);
// GitHub shows such a line beside the run; elsewhere it is one line more
const level = args["fail-on-fall"] ? "error" : "warning";
const prefix = process.env.GITHUB_ACTIONS
  ? `::${level} title=A ratio fell by 20 %::`
  : `${level}: a ratio fell by 20 %: `;
for (const fall of falls) console.error(prefix + fall);
if (process.env.GITHUB_STEP_SUMMARY) {
  // pictures cannot be shown there
  const tables = readFileSync(file("RESULTS.md"), "utf8").split(`\n${MARKER}`)[0]!.replace(/^!\[.*\n?/gm, "");
  appendFileSync(
    process.env.GITHUB_STEP_SUMMARY, [...falls.map((fall) => `- **Fell by 20 %**: ${fall}`), "", tables, ""].join("\n"),
  );
}
process.exit(falls.length && args["fail-on-fall"] ? 1 : 0);
