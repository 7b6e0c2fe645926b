// What differs between runtimes, behind one small interface. `#platform` in package.json says which file a runtime
// takes.
import type { UrlOptions } from "../checkpoint/url.ts";
import type { Folder, FolderOptions } from "../load/folder.ts";
import type { Pool } from "../run/pool.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

/** One of the WebAssembly builds. Relaxed: fused multiply-add. Threads: over shared memory. */
export type Build = "simd" | "relaxed" | "simd-threads" | "relaxed-threads";

/** A started thread. It keeps the process alive only while it is held. */
export interface Thread {
  post(message: unknown): void;
  end(): void;
  /** Whether it may keep the process alive, until told otherwise. */
  hold(on: boolean): void;
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
  /** Compiles the module at an address. */
  compileAt(url: URL): Promise<WebAssembly.Module>;
  /** Why relaxed SIMD must not be used although the engine accepts it, or undefined. */
  readonly distrustRelaxed: string | undefined;
  /** Why threads cannot be used, or undefined. */
  noThreads(): string | undefined;
  /** Rows of the matrix product's register tile that this engine's register allocator copes with. */
  tileRows(relaxed: boolean): 4 | 5 | 6;
  /** Resolves when timers, input and aborts that were due have been served. */
  breathe(): Promise<void>;
  /**
   * Whether long work pauses where another call may come to wait for it. Not at the edge: its clock stands still while
   * it computes, and no request may wait for what another has begun.
   */
  readonly pauses: boolean;
  /** Starts a thread of the pool. */
  spawn(onError: (error: Error) => void): Thread;
  /** The pool, where there may be threads. */
  pool(): Promise<Pool>;
  /** A folder on disk; undefined where there are only URLs. */
  readonly disk: ((path: string | URL, options: FolderOptions) => Promise<Folder>) | undefined;
  /** What relative URLs are relative to, if anything. */
  readonly base: string | undefined;
  /** Where downloads are kept from one visit to the next; undefined where that is not for a library to decide. */
  readonly keep: UrlOptions["keep"] | undefined;
}

/** What a Worker of the DOM and one of node:worker_threads share: who has the types of neither can name it. */
export interface StartedWorker {
  postMessage(message: unknown): void;
  terminate(): unknown;
}

/** Starts a worker whose script serves a model; a new one each time. */
export type StartModel = () => StartedWorker;

/**
 * Takes up with a worker that holds a model, for bindings/worker. Behind `#spawn`, as is the start of the package's own
 * one: bundlers build every worker that a module names, used or not.
 */
export type SpawnModel = (
  onMessage: (message: unknown) => void, onError: (error: Error) => void, start: StartModel,
) => Thread;

/** The other end, in that worker: whoever has started it. Behind `#owner`, as an app's own script asks for it. */
export interface Owner {
  listen(receive: (message: unknown) => void): void;
  post(message: unknown): void;
}

/**
 * The tokenizer library, beside the platform: an app without language models leaves it out. Where modules are files it
 * is loaded when one is.
 */
export type Tokenizers = () => Promise<{ openTokenizer(json: unknown, config?: unknown): Promise<Tokenizer> }>;
