// The executor. A plan is a flat list of op records; a run walks it, op after op. Each op's work is cut into
// chunks that threads take by compare-and-swap; whoever finishes the last chunk opens the next op. No thread
// waits for another that holds no work, so a thread that is late, or that another process has pushed off its
// core, costs nothing but its help.
import { CLAIM, DONE, PATIENCE, RUN_EPOCH, RUN_LENGTH, RUN_PLAN, SLEEPERS, STOPPED } from "./header";
import { runOp } from "./dispatch";
import { OP_BYTES } from "./opcodes";

/** Looks at the epoch this often before it sleeps: some 20 µs. */
const SPINS: i32 = 8000;
/** A sleeper wakes by itself after this many nanoseconds, so that no thread can be stranded. */
const SLEEP_NS: i64 = 2000000;

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

/**
 * Units of each of the last chunks: half a grain or less, so that nobody waits long for the very last. An op of two
 * grains or fewer has no others.
 */
// @ts-ignore: decorator
@inline
function lastGrain(units: i32, grain: i32): i32 {
  const whole = wholeChunks(units, grain);
  return whole == 0 ? grain : (units - whole * grain + 3) >> 2;
}

function chunks(record: usize): i32 {
  const units = load<i32>(record, 4);
  const grain = load<i32>(record, 8);
  const whole = wholeChunks(units, grain);
  const last = lastGrain(units, grain);
  return whole + (units - whole * grain + last - 1) / last;
}

/**
 * Opens `length` ops from `plan` for all threads. The caller then takes part as thread 0, which
 * returns when all is done.
 */
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
      const chunk = total - left;
      const whole = wholeChunks(units, grain);
      const size = chunk < whole ? grain : lastGrain(units, grain);
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
