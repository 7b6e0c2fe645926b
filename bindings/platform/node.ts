// Node, Deno and Bun: modules from files, threads from node:worker_threads.
import type { Worker } from "node:worker_threads";
import { fs, os } from "./builtins.ts";
import { poolOf } from "../run/pool.ts";
import { diskFolder } from "./disk.ts";
import type { Build, Platform, Thread, Tokenizers } from "./platform.ts";

const FILES: Record<Build, URL> = {
  "simd": new URL("../../wasm/slab-simd.wasm", import.meta.url),
  "relaxed": new URL("../../wasm/slab-relaxed.wasm", import.meta.url),
  "simd-threads": new URL("../../wasm/slab-simd-threads.wasm", import.meta.url),
  "relaxed-threads": new URL("../../wasm/slab-relaxed-threads.wasm", import.meta.url),
};

const PEAK = { relaxed: new URL("../../wasm/peak-relaxed.wasm", import.meta.url), simd: new URL("../../wasm/peak-simd.wasm", import.meta.url) };

const compiled = new Map<Build, WebAssembly.Module>();
const { versions } = process;
const runtime = versions.deno ? `deno ${versions.deno}` : versions.bun ? `bun ${versions.bun}` : `node ${versions.node}`;
const [nodeMajor = 0] = versions.node.split(".").map(Number);
// Bun gives the version of the V8 that it stands in for
const [v8Major = 0] = versions.bun ? [] : versions.v8.split(".").map(Number);

export const tokenizers: Tokenizers = () => import("../tokenizer/index.ts");

export const platform: Platform = {
  runtime,
  distrustRelaxed: nodeMajor < 22 ? `Node ${nodeMajor} computes relaxed SIMD wrongly behind its flag; use Node 22 or later` : undefined,
  // there only under --permission
  noThreads: () => (process.permission?.has("worker") === false ? "this process may not start threads, which takes --allow-worker" : undefined),
  cores: () => os.availableParallelism(),
  async kernels(build) {
    let module = compiled.get(build);
    if (!module) {
      module = new WebAssembly.Module(fs.readFileSync(FILES[build]));
      compiled.set(build, module);
    }
    return module;
  },
  async peak(relaxed) {
    return new WebAssembly.Module(fs.readFileSync(PEAK[relaxed ? "relaxed" : "simd"]));
  },
  async compileAt(url) {
    // fetch takes no file: URLs
    return WebAssembly.compile(url.protocol === "file:" ? fs.readFileSync(url) : await (await fetch(url)).arrayBuffer());
  },
  // V8 before 13 hoists every load of a loop body, which leaves fewer registers for accumulators;
  // an unfused multiply-add needs one more register than a fused one
  tileRows: (relaxed) => (v8Major < 13 ? 4 : relaxed ? 6 : 5),
  breathe: () => new Promise((resolve) => void setImmediate(resolve)),
  pauses: true,
  spawn: (onError) => threadOf(startWorker(new URL("./node-thread.js", import.meta.url)), onError),
  pool: async () => poolOf(platform),
  disk: diskFolder,
  base: undefined,
  keep: undefined,
};

export function startWorker(file: URL): Worker {
  // loading this module takes longer than compiling the kernels: only who starts a thread pays for it
  const { Worker } = process.getBuiltinModule("node:worker_threads");
  // plain JavaScript, whatever this process was told to load first
  return new Worker(file, { execArgv: [] });
}

export function threadOf(worker: Worker, onError: (error: Error) => void): Thread {
  worker.unref();
  worker.on("error", onError);
  worker.on("exit", (code) => onError(new Error(`a thread ended with exit code ${code}`)));
  return { post: (message) => worker.postMessage(message), end: () => void worker.terminate(), hold: (on) => (on ? worker.ref() : worker.unref()) };
}
