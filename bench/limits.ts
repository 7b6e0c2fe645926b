// The machine's own limits, measured in the same run as everything that is compared with them.
import { readFileSync } from "node:fs";
import type { Peak } from "../bindings/run/peak.ts";
import { instantiatePeak } from "../bindings/run/peak.ts";

/** The peak kernels of a build, "simd" or "relaxed". */
export function loadPeak(build: "simd" | "relaxed"): Peak {
  return instantiatePeak(new WebAssembly.Module(readFileSync(new URL(`../wasm/peak-${build}.wasm`, import.meta.url))));
}
