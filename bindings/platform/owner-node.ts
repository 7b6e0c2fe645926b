import type { Owner } from "./platform.ts";

/** Whoever started this worker. */
export function toOwner(): Owner {
  const port = process.getBuiltinModule("node:worker_threads").parentPort;
  if (!port) {
    throw new Error(
      "serve() was called outside a worker: call it in the script of a new Worker(…) of node:worker_threads",
    );
  }
  return { listen: (receive) => void port.on("message", receive), post: (message) => port.postMessage(message) };
}
