// The machine's own limits, measured in the same run as everything that is compared with them.
import { readFileSync } from "node:fs";

export interface Peak {
  /** One sample of multiply-adds; `flops` of them. */
  compute(): void;
  readonly flops: number;
  /** One sample of reading memory far larger than the caches, as four streams; `bytes` of it. */
  read(): void;
  readonly bytes: number;
}

const READ_BYTES = 192 << 20;

/** The peak kernels of a build, "simd" or "relaxed". */
export function loadPeak(build: "simd" | "relaxed"): Peak {
  const memory = new WebAssembly.Memory({ initial: READ_BYTES / 65536 + 1, maximum: READ_BYTES / 65536 + 1 });
  const module = new WebAssembly.Module(readFileSync(new URL(`../wasm/peak-${build}.wasm`, import.meta.url)));
  const { peakMultiplyAdd, peakRead } = new WebAssembly.Instance(module, { env: { memory } }).exports as Record<string, (...args: number[]) => void>;
  new Float32Array(memory.buffer).fill(0.5);
  const turns = 6000, slice = 24 << 20;
  let at = 0;
  return {
    flops: turns * 96,
    compute: () => peakMultiplyAdd!(turns, 0),
    bytes: slice,
    read() {
      peakRead!(65536 + at, slice, 0);
      at = (at + slice) % READ_BYTES;
    },
  };
}
