import { platform } from "#platform";

/** Longest time that the event loop is kept from turning before a turn is due; a piece of work comes on top. */
const LONGEST_MS = 15;

/** When the turn was begun that has not been seen to end. */
let begun: number | undefined;

/** Lets timers, input and aborts be served in the middle of long work. */
export const breathe = (): Promise<void> =>
  platform.breathe().then(() => {
    begun = undefined;
  });

/** What long work waits for between two pieces: the next turn of an event loop that has not turned for a while. */
export function overdue(): Promise<void> | undefined {
  // not performance.now(): Node loads a dozen modules of its own for it, which takes longer than compiling the kernels
  const now = Date.now();
  if (!platform.pauses) return undefined;
  // without the sign, as clocks are set back
  if (begun !== undefined) return Math.abs(now - begun) < LONGEST_MS ? undefined : breathe();
  void breathe();
  begun = now;
  return undefined;
}
