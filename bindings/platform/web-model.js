// A model of its own as a web worker.
// @ts-check
import { serve } from "../worker/serve.ts";

serve((receive) => globalThis.addEventListener("message", (event) => receive(event.data)), (reply) => globalThis.postMessage(reply));
