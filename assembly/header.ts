// The first bytes of a model's memory: what threads share, and constants that kernels load.
// Plain numbers, imported by bindings/ too. Words written by different threads have a 64-byte line each.

/** i64: epoch << 32 | chunks of the current op that nobody has claimed yet. */
export const CLAIM = 64;
/** i32: chunks of the current op that are finished. */
export const DONE = 128;
/** i32: threads asleep on the epoch. */
export const SLEEPERS = 192;
/** i32 ×3: address of the first op of the run, its number of ops, the epoch of its first op. */
export const RUN_PLAN = 256;
export const RUN_LENGTH = 260;
export const RUN_EPOCH = 264;
/** i32: rows of the matrix product's register tile, 4 or 6: what the engine's register allocator copes with. */
export const TILE_ROWS = 268;
/** i32 ×2: address and bytes of one thread's private scratch; thread t owns [address + t·bytes, …). */
export const THREAD_SCRATCH = 272;
export const THREAD_SCRATCH_BYTES = 276;
/** i32: 1 once a run cannot end any more, because a thread that held a chunk has failed or is gone. */
export const STOPPED = 280;
/** i32: how many sleeps in a row without progress it takes to believe that; 0 for no end. */
export const PATIENCE = 284;
/** f32×4 each, written by initialise(). */
export const CONSTANTS = 384;
/** f32[32]: zeros, the bias of a product that has none. */
export const ZEROS = 896;
/** Bytes of the whole header. */
export const HEADER_BYTES = 1024;

/** Floats in a panel: the width of the register tile, and what every row's length is padded to. */
export const PANEL = 8;
/** Tokens in a page of a cache of keys and values. */
export const CACHE_PAGE = 32;
