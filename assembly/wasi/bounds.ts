// Whether the ops of a stranger's plan stay within their memory, with all of their rows live and with fewer. What an op
// touches stands beside its kernel.
import { good } from "../extents";
import { OP_ARGS, OP_BYTES } from "../opcodes";
import { liveArgument, liveTogether, liveUnits, opFits, sequenceArgument } from "./checks";

/** Whether an op can run, with all of its rows live. */
export function checkOp(at: usize): bool {
  const units = load<i32>(at, 4);
  return good(units) && opFits(at, units);
}

/**
 * Whether a live field is the number of rows of an op of its program: then fewer rows than were checked touch nothing
 * more. `before`: the field before it.
 */
export function checkLive(at: u32, before: u32, factor: u32, from: usize, ops: u32, rows: u32): bool {
  if (at < from || rows == 0 || factor == 0) return false;
  const index = (at - from) / OP_BYTES, start = from + index * OP_BYTES;
  if (index >= ops || <u64>load<u32>(at) != <u64>rows * factor) return false;
  const code = load<i32>(start), argument = liveArgument(code);
  if (at - start == 4) return liveUnits(code);
  if (argument < 0 || at - start != OP_ARGS + <u32>argument * 4) return false;
  // its units are heads of rows, head by head: fewer rows are fewer units
  return !liveTogether(code) || before == start + 4;
}

/** The field that has to be live, with one row for each token, or the op would go on past the context; 0: none. */
export function growingField(start: usize): usize {
  const code = load<i32>(start), sequence = sequenceArgument(code);
  if (sequence < 0 || load<i32>(start + OP_ARGS + <usize>sequence * 4) == 0) return 0;
  return start + OP_ARGS + <usize>liveArgument(code) * 4;
}
