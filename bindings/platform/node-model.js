// A model of its own under node:worker_threads.
// @ts-check
import { parentPort } from "node:worker_threads";
import { serve } from "../worker/serve.ts";

const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
serve((receive) => port.on("message", receive), (reply) => port.postMessage(reply));
