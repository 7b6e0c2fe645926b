// What differs between runtimes, behind one small interface.

/** One of the WebAssembly builds. Relaxed: fused multiply-add. Threads: over shared memory. */
export type Build = "simd" | "relaxed" | "simd-threads" | "relaxed-threads";

/** A started thread: it receives messages and never keeps the process alive. */
export interface Thread {
  post(message: unknown): void;
  end(): void;
}

export interface Platform {
  /** As `caps.runtime` names it, e.g. "node 24.21.0". */
  readonly runtime: string;
  /** Hardware threads this process may use. */
  cores(): number;
  /** The compiled module of a build; compiled once per process. */
  kernels(build: Build): Promise<WebAssembly.Module>;
  /** The compiled module that measures the machine's limits. */
  peak(relaxed: boolean): Promise<WebAssembly.Module>;
  /** Why relaxed SIMD must not be used although the engine accepts it, or undefined. */
  readonly distrustRelaxed: string | undefined;
  /** Why threads cannot be used, or undefined. */
  readonly noThreads: string | undefined;
  /** Rows of the matrix product's register tile that this engine's register allocator copes with. */
  tileRows(relaxed: boolean): 4 | 5 | 6;
  spawn(onError: (error: Error) => void): Thread;
}
