// A model of its own as a web worker. Its owner starts its threads: see spawn-browser.ts.
// @ts-check
import { serve } from "../worker/serve.ts";
import { startBy } from "./browser.ts";

/** @param {import("./spawn-browser.ts").ThreadMail} mail */
const toOwner = (mail) => globalThis.postMessage(mail);

let threads = 0;
startBy(() => {
  const thread = threads++;
  return { post: (mail) => toOwner({ thread, mail }), end: () => toOwner({ thread }), hold: () => {} };
});
serve(
  (receive) => globalThis.addEventListener("message", (event) => receive(event.data)),
  (reply) => globalThis.postMessage(reply),
);
