// A pool thread as a web worker.
// @ts-check
import { serve } from "../run/thread.js";

serve((receive) => globalThis.addEventListener("message", (event) => receive(event.data)));
