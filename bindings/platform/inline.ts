// slab-wasm/inline: any web host, with the modules inside the JavaScript, for bundlers that lose files. One thread: a worker would need a file.
import peakRelaxed from "../../wasm/peak-relaxed.wasm";
import peakSimd from "../../wasm/peak-simd.wasm";
import relaxed from "../../wasm/slab-relaxed.wasm";
import simd from "../../wasm/slab-simd.wasm";
import * as tokenizer from "../tokenizer/index.ts";
import { cachePages } from "./cache-pages.ts";
import { compileInline, fetchModule, once } from "./compile.ts";
import type { Platform, Tokenizers } from "./platform.ts";
import { webHost } from "./web.ts";

export const tokenizers: Tokenizers = async () => tokenizer;

export const platform: Platform = {
  ...webHost,
  kernels: once((build) => compileInline(build.startsWith("relaxed") ? relaxed : simd)),
  peak: (isRelaxed) => compileInline(isRelaxed ? peakRelaxed : peakSimd),
  compileAt: fetchModule,
  noThreads: () => "slab-wasm/inline has no file that a thread could start from: import slab-wasm",
  spawn: refuse,
  pool: refuse,
  keep: cachePages,
};

function refuse(): never {
  throw new Error("slab-wasm/inline has no threads: import slab-wasm or slab-wasm/worker");
}
