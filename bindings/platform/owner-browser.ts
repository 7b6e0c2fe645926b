import { startBy } from "./browser.ts";
import type { Owner } from "./platform.ts";
import type { ThreadMail } from "./spawn-browser.ts";

/** Whoever started this worker, who starts its threads too: see spawn-browser.ts. */
export function toOwner(): Owner {
  // a page has a postMessage too, to itself
  if (typeof document !== "undefined" || typeof globalThis.postMessage !== "function") {
    throw new Error("serve() was called outside a worker: call it in the script of a new Worker(…)");
  }
  const post = (message: unknown): void => globalThis.postMessage(message);
  let threads = 0;
  startBy(() => {
    const thread = threads++, tell = (mail: ThreadMail): void => post(mail);
    return { post: (mail) => tell({ thread, mail }), end: () => tell({ thread }), hold: () => {} };
  });
  return { listen: (receive) => globalThis.addEventListener("message", ({ data }) => receive(data)), post };
}
