// A worker that an app's function has started.
import { describe } from "../describe.ts";
import type { StartModel } from "./platform.ts";

/**
 * Starts it, and looks whether it is one: `methods` are what this host asks of it.
 * @throws TypeError for anything else, a promise of one included
 */
export function givenWorker<Worker>(start: StartModel, expected: string, methods: readonly string[]): Worker {
  const given = start() as unknown as Record<string, unknown> | null | undefined;
  if (!methods.every((method) => typeof given?.[method] === "function")) {
    throw new TypeError(`the function that loader() was given returned ${describe(given)}, expected ${expected}`);
  }
  return given as Worker;
}
