// A model of its own as a web worker. Its owner starts its threads: see spawn-browser.ts.
// @ts-check
import { serve } from "../worker/serve.ts";
import { startBy } from "./browser.ts";

let threads = 0;
startBy(() => {
  const thread = threads++;
  return { post: (mail) => globalThis.postMessage({ thread, mail }), end: () => globalThis.postMessage({ thread }), hold: () => {} };
});
serve((receive) => globalThis.addEventListener("message", (event) => receive(event.data)), (reply) => globalThis.postMessage(reply));
