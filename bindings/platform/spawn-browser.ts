import { startHere, threadOf } from "./browser.ts";
import { givenWorker } from "./given-worker.ts";
import type { SpawnModel, StartModel, Thread } from "./platform.ts";

/**
 * What a model's worker says of its threads, which its owner starts: a message for one, which starts it if it is not
 * there, or none: its end.
 */
export interface ThreadMail {
  readonly thread: number;
  readonly mail?: unknown;
}

export const ownModel: StartModel = () => new Worker(new URL("./web-model.js", import.meta.url), { type: "module" });

/** A script that is not there, or no script, is an event without words. */
const NOT_STARTED =
  'the worker of loader() did not start: check the address of its script, and that it has the option type: "module"';

export const spawnModel: SpawnModel = (onMessage, onError, start) => {
  const worker = givenWorker<Worker>(start, "a new Worker(…)", ["postMessage", "terminate"]);
  const model = threadOf(worker, onError);
  if (start !== ownModel) worker.onerror = ({ message }) => onError(new Error(message || NOT_STARTED));
  const threads = new Map<number, Thread>();
  worker.onmessage = ({ data }) => {
    if (!("thread" in data)) return onMessage(data);
    const { thread, mail } = data as ThreadMail;
    if (mail === undefined) {
      threads.get(thread)?.end();
      threads.delete(thread);
      return;
    }
    // nobody waits for a thread: one that dies helps no more, and is not replaced
    if (!threads.has(thread)) threads.set(thread, startHere(() => {}));
    threads.get(thread)!.post(mail);
  };
  const end = (): void => {
    // what it said before its end would start them anew
    worker.onmessage = null;
    model.end();
    for (const thread of threads.values()) thread.end();
  };
  return { ...model, end };
};
