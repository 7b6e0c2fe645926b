// Browsers, and hosts unknown: modules by fetch, threads from web workers.
import * as tokenizer from "../tokenizer/index.ts";
import { cachePages } from "./cache-pages.ts";
import { fetchModule, once } from "./compile.ts";
import type { Build, Platform, Thread, Tokenizers } from "./platform.ts";
import { runtimeName, webHost } from "./web.ts";

// literal, each of them: so bundlers find the files
const FILES: Record<Build, () => URL> = {
  "simd": () => new URL("../../wasm/slab-simd.wasm", import.meta.url),
  "relaxed": () => new URL("../../wasm/slab-relaxed.wasm", import.meta.url),
  "simd-threads": () => new URL("../../wasm/slab-simd-threads.wasm", import.meta.url),
  "relaxed-threads": () => new URL("../../wasm/slab-relaxed-threads.wasm", import.meta.url),
};

const ISOLATION = "send the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp";

export const tokenizers: Tokenizers = async () => tokenizer;

export const platform: Platform = {
  ...webHost,
  kernels: once((build: Build) => fetchModule(FILES[build]())),
  peak: (relaxed) => fetchModule(relaxed ? new URL("../../wasm/peak-relaxed.wasm", import.meta.url) : new URL("../../wasm/peak-simd.wasm", import.meta.url)),
  compileAt: fetchModule,
  noThreads() {
    // a page's main thread computes, but never waits for another
    if (typeof document !== "undefined") return "this is a page's main thread, which may not wait: load the model with slab-wasm/worker";
    if (typeof Worker !== "function") return "this context cannot start workers";
    if (globalThis.crossOriginIsolated === false) return `this page is not cross-origin isolated: ${ISOLATION}`;
    // Firefox 153 does not come back from one in a hundred `new Worker` in a worker
    if (start === startHere && runtimeName().startsWith("firefox")) return "Firefox can hang when a worker starts another: load the model with slab-wasm/worker";
    return mayShare() ? undefined : "this engine does not share memory between workers";
  },
  spawn: (onError) => start(onError),
  pool: async () => (await import("../run/pool.ts")).poolOf(platform),
  keep: cachePages,
};

export function startHere(onError: (error: Error) => void): Thread {
  return threadOf(new Worker(new URL("./web-thread.js", import.meta.url), { type: "module" }), onError);
}

/** How this context starts threads. */
let start = startHere;

/** Has another context start this one's threads. */
export function startBy(other: typeof start): void {
  start = other;
}

export function threadOf(worker: Worker, onError: (error: Error) => void): Thread {
  worker.onerror = (event) => onError(new Error(event.message || "a worker did not start: serve the package's dist/js/browser whole"));
  return { post: (message) => worker.postMessage(message), end: () => worker.terminate(), hold: () => {} };
}

/** Whether shared memory can be posted: some engines have it and refuse that. */
function mayShare(): boolean {
  if (typeof SharedArrayBuffer !== "function") return false;
  const { port1, port2 } = new MessageChannel();
  try {
    port1.postMessage(new SharedArrayBuffer(4));
    return true;
  } catch {
    return false;
  } finally {
    port1.close();
    port2.close();
  }
}
