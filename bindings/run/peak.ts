// The machine's own limits: multiply-adds in registers, and reading memory.
import { instantiateSync } from "@assemblyscript/loader";

export interface Peak {
  /** One sample of multiply-adds, `flops` of them. */
  compute(): void;
  readonly flops: number;
  /** One sample of reading memory far larger than the caches, as four streams; `bytes` of it. */
  read(): void;
  readonly bytes: number;
}

/** The kernels that measure them. */
export function instantiatePeak(module: WebAssembly.Module): Peak {
  const size = 96 << 20, slice = 12 << 20, pages = size / 65536 + 1;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const { peakMultiplyAdd, peakRead } = instantiateSync(module, { env: { memory } }).exports as unknown as Record<
    string,
    (...args: number[]) => void
  >;
  // touched once, or every page read is the same page of zeros
  new Float32Array(memory.buffer).fill(0.5);
  const turns = 20_000;
  let at = 0;
  return {
    flops: turns * 96,
    compute: () => peakMultiplyAdd!(turns, 0),
    bytes: slice,
    read() {
      peakRead!(65536 + at, slice, 0);
      at = (at + slice) % size;
    },
  };
}
