// workerd (Cloudflare Workers): it compiles nothing while it runs, so every module is an import; it has one thread.
import peakRelaxed from "../../wasm/peak-relaxed.wasm";
import peakSimd from "../../wasm/peak-simd.wasm";
import relaxed from "../../wasm/slab-relaxed.wasm";
import simd from "../../wasm/slab-simd.wasm";
import * as tokenizer from "../tokenizer/index.ts";
import type { Platform, Tokenizers } from "./platform.ts";
import { webHost } from "./web.ts";

export const tokenizers: Tokenizers = async () => tokenizer;

export const platform: Platform = {
  ...webHost,
  cores: () => 1,
  kernels: async (build) => (build.startsWith("relaxed") ? relaxed : simd),
  peak: async (isRelaxed) => (isRelaxed ? peakRelaxed : peakSimd),
  compileAt: async (url) => {
    throw new TypeError(`wasm is an address (${url.href}), and an edge worker compiles nothing: import the .wasm file and give the WebAssembly.Module`);
  },
  noThreads: () => "edge workers have no threads",
  breathe: () => new Promise((resolve) => void setTimeout(resolve)),
  spawn: refuse,
  pool: refuse,
  base: undefined,
  keep: undefined,
};

function refuse(): never {
  throw new Error("edge workers have no threads: use load() of slab-wasm");
}
