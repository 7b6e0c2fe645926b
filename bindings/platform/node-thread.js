// A pool thread under node:worker_threads.
// @ts-check
import { parentPort } from "node:worker_threads";
import { serve } from "../run/thread.js";

const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
serve((receive) => port.on("message", receive));
