import { platform } from "#platform";

/** Lets timers, input and aborts be served in the middle of long work. */
export const breathe = (): Promise<void> => platform.breathe();
