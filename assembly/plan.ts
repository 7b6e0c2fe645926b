// The executor. A plan is a flat list of op records; a run walks it, op after op. Each op's work is cut into chunks that
// threads take by compare-and-swap; whoever finishes the last chunk opens the next op. No thread waits for another that holds no
// work, so a thread that is late, or that another process has pushed off its core, costs nothing but its help.
import { CLAIM, DONE, PATIENCE, RUN_EPOCH, RUN_LENGTH, RUN_PLAN, SLEEPERS, STOPPED, THREAD_SCRATCH, THREAD_SCRATCH_BYTES } from "./header";
import * as op from "./opcodes";
import { OP_ARGS, OP_BYTES } from "./opcodes";
import { depthwiseConv } from "./conv";
import { depthwiseConvChannels } from "./depthwise";
import { gatherPatches, gatherWindows, stretchRows } from "./patches";
import { copyBlocks, meanRows } from "./elementwise";
import { linearInt8, quantizeRows } from "./int8";
import { quantizeVectorInt8 } from "./int4";
import { linearInt4Rows } from "./int4-rows";
import { keyValueState, linearAttention } from "./linear-attention";
import { linear } from "./matmul";
import { causalConv } from "./causal-conv";
import { affine, layerNorm, rmsNorm } from "./norm";
import { embed } from "./pack";
import { recurrentChunks, recurrentStep } from "./recurrent";
import { recurrentChunksByChannel } from "./recurrent-vector";
import { scoreAttention, transposeKeys } from "./score-attention";
import { gatherRows } from "./gather";
import { windowAttention } from "./window-attention";
import { cachedAttention, cacheTokens } from "./softmax-attention";

/** Looks at the epoch this often before it sleeps: some 20 µs. */
const SPINS: i32 = 8000;
/** A sleeper wakes by itself after this many nanoseconds, so that no thread can be stranded. */
const SLEEP_NS: i64 = 2000000;

// @ts-ignore: decorator
@inline
function arg(record: usize, index: usize): i32 {
  return load<i32>(record + OP_ARGS + index * 4);
}

// @ts-ignore: decorator
@inline
function argF32(record: usize, index: usize): f32 {
  return load<f32>(record + OP_ARGS + index * 4);
}

/** Units [begin, end) of one op. */
function runOp(r: usize, begin: i32, end: i32, thread: i32): void {
  const scratch = load<usize>(THREAD_SCRATCH) + <usize>thread * load<usize>(THREAD_SCRATCH_BYTES);
  switch (load<i32>(r)) {
    case op.LINEAR:
      linear(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12));
      break;
    case op.KEY_VALUE_STATE:
      keyValueState(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4));
      break;
    case op.LINEAR_ATTENTION:
      linearAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), argF32(r, 8));
      break;
    case op.TRANSPOSE_KEYS:
      transposeKeys(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4));
      break;
    case op.SCORE_ATTENTION:
      scoreAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), argF32(r, 11), scratch);
      break;
    case op.DEPTHWISE_CONV:
      depthwiseConv(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), scratch);
      break;
    case op.GATHER_PATCHES:
      gatherPatches(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9));
      break;
    case op.GATHER_WINDOWS:
      gatherWindows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10));
      break;
    case op.STRETCH_ROWS:
      stretchRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
      break;
    case op.MEAN_ROWS:
      meanRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
      break;
    case op.AFFINE:
      affine(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6));
      break;
    case op.LAYER_NORM:
      layerNorm(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), argF32(r, 7));
      break;
    case op.COPY:
      copyBlocks(begin, end, arg(r, 0), arg(r, 1), arg(r, 2));
      break;
    case op.EMBED:
      embed(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5));
      break;
    case op.RECURRENT_STEP:
      recurrentStep(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16), arg(r, 17), argF32(r, 18), scratch);
      break;
    case op.RECURRENT_CHUNKS:
      recurrentChunks(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), argF32(r, 16), scratch);
      break;
    case op.RECURRENT_CHUNKS_BY_CHANNEL:
      recurrentChunksByChannel(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16), arg(r, 17), argF32(r, 18), scratch);
      break;
    case op.CAUSAL_CONV:
      causalConv(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11));
      break;
    case op.RMS_NORM:
      rmsNorm(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), argF32(r, 6));
      break;
    case op.QUANTIZE_ROWS:
      quantizeRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5));
      break;
    case op.LINEAR_INT8:
      linearInt8(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16));
      break;
    case op.QUANTIZE_VECTOR:
      quantizeVectorInt8(arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
      break;
    case op.LINEAR_INT4:
      linearInt4Rows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), scratch);
      break;
    case op.DEPTHWISE_CONV_CHANNELS:
      depthwiseConvChannels(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16), arg(r, 17), scratch);
      break;
    case op.WINDOW_ATTENTION:
      windowAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), scratch);
      break;
    case op.GATHER_ROWS:
      gatherRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12));
      break;
    case op.CACHE_TOKENS:
      cacheTokens(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14));
      break;
    case op.CACHED_ATTENTION:
      cachedAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), scratch);
      break;
    default:
      unreachable();
  }
}

/** Runs `length` ops from `plan` on this thread alone. */
export function runPlan(plan: usize, length: i32): void {
  for (; length > 0; --length, plan += OP_BYTES) runOp(plan, 0, load<i32>(plan, 4), 0);
}

/** Chunks of a whole grain: all but what the last two would take, which goes in smaller ones. */
// @ts-ignore: decorator
@inline
function wholeChunks(units: i32, grain: i32): i32 {
  return max(0, (units + grain - 1) / grain - 2);
}

/** Units of each of the last chunks: half a grain or less, so that nobody waits long for the very last. An op of two grains or fewer has no others. */
// @ts-ignore: decorator
@inline
function lastGrain(units: i32, grain: i32): i32 {
  const whole = wholeChunks(units, grain);
  return whole == 0 ? grain : (units - whole * grain + 3) >> 2;
}

function chunks(record: usize): i32 {
  const units = load<i32>(record, 4), grain = load<i32>(record, 8), whole = wholeChunks(units, grain), last = lastGrain(units, grain);
  return whole + (units - whole * grain + last - 1) / last;
}

/** Opens `length` ops from `plan` for all threads. The caller then takes part as thread 0, which returns when all is done. */
export function openRun(plan: usize, length: i32): void {
  const epoch = <i32>(atomic.load<i64>(CLAIM) >> 32);
  store<usize>(RUN_PLAN, plan);
  store<i32>(RUN_LENGTH, length);
  store<i32>(RUN_EPOCH, epoch);
  open(epoch, plan);
}

/** Publishes an op's chunks and wakes whoever sleeps. */
function open(epoch: i32, record: usize): void {
  atomic.store<i32>(DONE, 0);
  atomic.store<i64>(CLAIM, (<i64>epoch << 32) | <i64>chunks(record));
  if (atomic.load<i32>(SLEEPERS) > 0) atomic.notify(CLAIM + 4, -1);
}

/** Closes the run: an epoch with nothing to claim. */
function close(epoch: i32): void {
  atomic.store<i64>(CLAIM, <i64>epoch << 32);
  if (atomic.load<i32>(SLEEPERS) > 0) atomic.notify(CLAIM + 4, -1);
}

/**
 * Takes chunks of the run until its last op is done. Returns at once when no run is open.
 * @returns 1 when the run has stopped for good, else 0
 */
export function takePart(thread: i32): i32 {
  for (;;) {
    const claim = atomic.load<i64>(CLAIM);
    const epoch = <i32>(claim >> 32);
    const left = <i32>claim;
    if (left > 0) {
      if (atomic.cmpxchg<i64>(CLAIM, claim, claim - 1) != claim) continue;
      // while this chunk is out the op cannot end, so the run's description cannot change
      const index = epoch - load<i32>(RUN_EPOCH);
      const record = load<usize>(RUN_PLAN) + <usize>index * OP_BYTES;
      const units = load<i32>(record, 4), grain = load<i32>(record, 8), total = chunks(record);
      const chunk = total - left, whole = wholeChunks(units, grain), size = chunk < whole ? grain : lastGrain(units, grain);
      const begin = chunk < whole ? chunk * grain : whole * grain + (chunk - whole) * size;
      runOp(record, begin, min(begin + size, units), thread);
      if (atomic.add<i32>(DONE, 1) + 1 == total) {
        if (index + 1 == load<i32>(RUN_LENGTH)) {
          close(epoch + 1);
          return 0;
        }
        open(epoch + 1, record + OP_BYTES);
      }
    } else {
      if (epoch - load<i32>(RUN_EPOCH) >= load<i32>(RUN_LENGTH)) return 0;
      if (!awaitEpochAfter(epoch)) break;
    }
  }
  return 1;
}

/** Tells whoever waits for this thread's chunk that it will not come. */
export function abandonRun(): void {
  atomic.store<i32>(STOPPED, 1);
}

/** Spins, then sleeps, until the epoch is no longer `epoch`. False when it never will be. */
function awaitEpochAfter(epoch: i32): bool {
  for (let spin = SPINS; spin > 0; --spin) {
    if (atomic.load<i32>(CLAIM + 4) != epoch) return true;
  }
  // counted in sleeps that nobody ended, not in time: while the whole process is stopped nobody sleeps
  let patience = load<i32>(PATIENCE), done = atomic.load<i32>(DONE);
  while (atomic.load<i32>(STOPPED) != 1) {
    atomic.add<i32>(SLEEPERS, 1);
    const timedOut = atomic.wait<i32>(CLAIM + 4, epoch, SLEEP_NS) == 2;
    atomic.sub<i32>(SLEEPERS, 1);
    if (atomic.load<i32>(CLAIM + 4) != epoch) return true;
    const now = atomic.load<i32>(DONE);
    if (now != done) {
      done = now;
      patience = load<i32>(PATIENCE);
    } else if (timedOut && --patience == 0) abandonRun();
  }
  return false;
}
