// The benchmark: prints its tables, and writes them above the notes in bench/RESULTS.md. Options: --short, --peers DIR, --json;
// --llama TYPE: only LLaMA-350M with weights of this type (f32, int8, int4), which takes a minute and a gigabyte or more; prints, writes nothing.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { WEIGHT_TYPES } from "../bindings/dtype.ts";
import { benchKernels } from "./kernels.ts";
import { benchBatch, benchDecode, benchPositions, benchPrefill, benchSnapshot } from "./language.ts";
import { benchLlama } from "./llama.ts";
import { loadPeak } from "./limits.ts";
import { timeInTurn } from "./measure.ts";
import { benchModels } from "./models.ts";
import { benchOperators } from "./operators.ts";
import { missingPeers, setPeerDirectory } from "./peers.ts";
import { plotSvg } from "./plot.ts";
import { benchStartup } from "./startup.ts";
import { benchThreads } from "./threads.ts";

const { values: args } = parseArgs({ options: { short: { type: "boolean", default: false }, peers: { type: "string" }, json: { type: "boolean", default: false }, llama: { type: "string" } } });
const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const peers = args.peers ?? file("../../shared/peers");
if (existsSync(peers)) setPeerDirectory(peers);
const relaxed = Number(process.versions.node.split(".")[0]) >= 22;
const builds = relaxed ? (["relaxed", "simd"] as const) : (["simd"] as const);

const percent = (fraction: number): string => `${(fraction * 100).toFixed(0)} %`;
const ms = (time: number): string => (time < 1 ? `${(time * 1000).toFixed(0)} µs` : `${time.toFixed(2)} ms`);
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

const sections: string[] = [];
const results: Record<string, unknown> = {};
function section(title: string, text: string, data: unknown): void {
  sections.push(`## ${title}\n\n${text}`);
  results[title] = data;
  if (!args.json) console.log(`\n## ${title}\n\n${text}`);
}

if (args.llama !== undefined) {
  const dtype = WEIGHT_TYPES.find((type) => type === args.llama);
  if (!dtype) throw new RangeError(`--llama is ${args.llama}, expected one of ${WEIGHT_TYPES.join(", ")}`);
  const llama = await benchLlama(args.short ? 4000 : 16000, dtype, [1, 2], [32, 512]), mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  section(`LLaMA-350M with PRepBN, random weights in ${dtype}`, table(
    ["build", "threads", "load", "prompt", "position", "a token", "median", "tokens/s", "GB/s", "of the bandwidth"],
    llama.flatMap((l) => l.decode.map((d) => [
      l.build, String(l.threads), ms(l.loadMs), `${l.promptTokensPerSecond.toFixed(0)} tokens/s`, String(d.position), ms(d.bestMs), ms(d.medianMs), (1000 / d.bestMs).toFixed(1),
      d.gigabytesPerSecond.toFixed(1), percent(d.fraction),
    ])),
  ) + `\n\nMemory: ${mebibytes(llama[0]!.memory.weights)} of weights, ${mebibytes(llama[0]!.memory.state)} of cache for one session of ${llama[0]!.context} tokens, ${mebibytes(llama[0]!.memory.total)} in all.`, llama);
  if (args.json) console.log(JSON.stringify(results));
  process.exit(0);
}

const limits: [string, string, string][] = [];
for (const build of builds) {
  const peak = loadPeak(build);
  const times = await timeInTurn({ compute: () => peak.compute(), read: () => peak.read() }, args.short ? 400 : 2000);
  limits.push([build, `${(peak.flops / times.compute!.bestMs / 1e6).toFixed(1)} GFLOP/s`, `${(peak.bytes / times.read!.bestMs / 1e6).toFixed(1)} GB/s`]);
}
section("The machine's limits, one thread", table(["build", "multiply-add peak", "reading memory, four streams"], limits), limits);

const kernels = await benchKernels(args.short ? 150 : 1500, builds);
section("Kernels, one thread", table(
  ["kernel", "build", "GFLOP/s", "peak in the same turn", "of the peak", "by medians"],
  kernels.map((k) => [k.kernel, k.build, k.gflops.toFixed(1), k.peakGflops.toFixed(1), percent(k.fraction), percent(k.medianFraction)]),
), kernels);

const threads = await benchThreads(args.short ? 500 : 4000, [[197, 192, 768], [197, 384, 1536]]);
section("Two threads on one matrix product", table(
  ["shape", "one thread", "two threads", "speed-up"], threads.map((t) => [t.shape, ms(t.oneMs), ms(t.twoMs), `${t.speedup.toFixed(2)}×`]),
), threads);

const models = await benchModels(args.short ? 3000 : 20000, args.short ? 1 : 3, relaxed);
section("Whole models, a picture of 224×224", table(
  ["model", "build", "weights", "threads", "best", "median", "GFLOP/s", "of the f32 peak", "over f32", "peer's best", "times faster", "by medians"],
  models.map((m) => [
    m.model, m.build, m.dtype, String(m.threads), ms(m.bestMs), ms(m.medianMs), m.gflops.toFixed(1), percent(m.fraction), `${m.overF32.toFixed(2)}×`,
    m.peer ? ms(m.peer.bestMs) : "–", m.peer ? `${m.peer.ratio.toFixed(2)}×` : "–", m.peer ? `${m.peer.medianRatio.toFixed(2)}×` : "–",
  ]),
) + (models.some((m) => m.peer) ? `\n\nPeer: ${[...new Set(models.flatMap((m) => (m.peer ? [m.peer.name] : [])))].join("; ")}, one thread.` : ""), models);

const operators = await benchOperators(args.short ? 200 : 2500, builds);
section("Operators against the peers' own, one thread", table(
  ["operator", "build", "best", "median", "peer", "peer's best", "times faster", "by medians", "results apart"],
  operators.map((o) => [
    o.operator, o.build, ms(o.bestMs), ms(o.medianMs), o.peer, ms(o.peerMs), `${o.ratio.toFixed(2)}×`, `${o.medianRatio.toFixed(2)}×`, o.difference.toExponential(0),
  ]),
) + "\n\nA peer that has several ways to do the work takes its fastest, and is not charged for the call: the time of one that computes nothing is taken off. " +
  "Its int8 products get bytes that are quantised already where that is faster; ours quantises its activations.", operators);

const decode = await benchDecode(args.short ? 2500 : 15000, builds);
section("SLAB-LM, 13.7M parameters: decoding a token", table(
  ["build", "weights", "threads", "best", "median", "tokens/s", "over f32", "GB/s", "of the bandwidth", "times faster", "by medians"],
  decode.map((d) => [
    d.build, d.dtype, String(d.threads), ms(d.bestMs), ms(d.medianMs), (1000 / d.bestMs).toFixed(0), `${d.overF32.toFixed(2)}×`, d.gigabytesPerSecond.toFixed(1), percent(d.fraction),
    d.peer ? `${d.peer.ratio.toFixed(2)}×` : "–", d.peer ? `${d.peer.medianRatio.toFixed(2)}×` : "–",
  ]),
) + (decode[0]?.peer ? `\n\nPeer: ${decode[0].peer.name}, one thread.` : ""), decode);

const prefill = await benchPrefill(args.short ? 1500 : 8000, builds);
section("SLAB-LM: reading a prompt of 512 tokens, one thread", table(
  ["build", "tokens/s", "GFLOP/s", "of the peak"], prefill.map((p) => [p.build, p.tokensPerSecond.toFixed(0), p.gflops.toFixed(1), percent(p.fraction)]),
), prefill);

const batch = await benchBatch(args.short ? 1500 : 8000);
section("SLAB-LM: sessions in one step", table(
  ["threads", "sessions", "tokens/s together", "against one"], batch.map((b) => [String(b.threads), String(b.sessions), b.tokensPerSecond.toFixed(0), `${b.ratio.toFixed(2)}×`]),
), batch);

const snapshot = await benchSnapshot(args.short ? 300 : 2000);
section("SLAB-LM: a session saved and restored", table(
  ["bytes", "save, median", "restore, median"], [[snapshot.bytes.toLocaleString("en"), ms(snapshot.saveMs), ms(snapshot.restoreMs)]],
), snapshot);

const positions = await benchPositions(args.short ? 2000 : 20000, args.short ? [100, 1000, 4000] : [100, 1000, 10_000, 30_000, 100_000]);
section("SLAB-LM: a token early and late in a text, one thread", table(
  ["position", "median", "against the first", "WebAssembly memory"],
  positions.map((p) => [p.position.toLocaleString("en"), ms(p.medianMs), `${p.ratio.toFixed(3)}×`, `${p.memoryBytes.toLocaleString("en")} bytes`]),
) + "\n\n![Time of a token and state against position](positions.svg)", positions);
// keys and values of 10 layers × 320 channels, f32: what a softmax model of the same size would carry
const kvBytes = 10 * 2 * 320 * 4;
writeFileSync(file("positions.svg"), plotSvg("SLAB-LM: nothing grows with the text", "tokens read", [
  { title: "time of a token, ms (median)", lines: [{ label: "SLAB-LM", unit: "ms", colour: "#0a6", points: positions.map((p) => [p.position, p.medianMs]) }] },
  { title: "state of one session, MB", lines: [
    { label: "SLAB-LM", unit: "MB", colour: "#0a6", points: positions.map((p) => [p.position, p.stateBytes / 1e6]) },
    { label: "a KV cache (computed)", unit: "MB", colour: "#c40", points: positions.map((p) => [p.position, (p.position * kvBytes) / 1e6]) },
  ] },
]));

const startup = await benchStartup(args.short ? 3 : 9);
section("Cold start: import to the first result of the CIFAR model", table(
  ["checkpoint", "build", "import", "load", "first picture", "total", "CPU time"],
  startup.map((s) => [s.checkpoint, s.build, ms(s.importMs), ms(s.loadMs), ms(s.firstMs), ms(s.totalMs), ms(s.cpuMs)]),
), startup);

const sizes = ["simd", "relaxed", "simd-threads", "relaxed-threads"].map((build) => {
  const path = file(`../wasm/slab-${build}.wasm`), bytes = readFileSync(path);
  return [build, `${(statSync(path).size / 1024).toFixed(1)} KiB`, `${(gzipSync(bytes).length / 1024).toFixed(1)} KiB`, `${(brotliCompressSync(bytes).length / 1024).toFixed(1)} KiB`];
});
section("Size of the WebAssembly", table(["build", "bytes", "gzip", "brotli"], sizes), sizes);

const machine = `${cpus()[0]?.model ?? "unknown CPU"}, ${cpus().length} cores, Node ${process.versions.node} (V8 ${process.versions.v8}), ${new Date().toISOString().slice(0, 10)}`;
const missing = missingPeers.length ? `\n\nLeft out: ${[...new Set(missingPeers)].join("; ")}.` : "";
const marker = "# What was tried";
const resultsFile = file("RESULTS.md");
const notes = existsSync(resultsFile) ? (readFileSync(resultsFile, "utf8").split(`\n${marker}`)[1] ?? "") : "";
const head = `# Results\n\nWritten by \`npm run bench${args.short ? " -- --short" : ""}\` on: ${machine}.\n` +
  "Best: the 3 % quantile of many short samples; variants that are compared take turns in one run. Ratios carry over to other machines, absolute times do not." + missing;
writeFileSync(resultsFile, `${head}\n\n${sections.join("\n\n")}\n\n${marker}${notes || "\n"}`);
if (args.json) console.log(JSON.stringify({ machine, ...results }));
else if (missing) console.log(missing);
process.exit(0);
