/** Lets timers, input and aborts be served in the middle of long work. */
export const breathe = (): Promise<void> => new Promise((resolve) => (typeof setImmediate === "function" ? setImmediate(resolve) : setTimeout(resolve)));
