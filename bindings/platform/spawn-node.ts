import type { Worker } from "node:worker_threads";
import { givenWorker } from "./given-worker.ts";
import { startWorker, threadOf } from "./node.ts";
import type { SpawnModel, StartModel } from "./platform.ts";

/** In Deno, time for a worker to end its own threads before it is ended: waiting ones would keep its memory. */
const FAREWELL_MS = 500;

export const ownModel: StartModel = () => startWorker(new URL("./node-model.js", import.meta.url));

export const spawnModel: SpawnModel = (onMessage, onError, start) => {
  // a Worker of the web, which Deno and Bun have too, has none of the last two
  const methods = ["postMessage", "terminate", "on", "unref"];
  const worker = givenWorker<Worker>(start, "a new Worker(…) of node:worker_threads", methods);
  const thread = threadOf(worker, onError);
  worker.on("message", onMessage);
  if (!process.versions.deno) return thread;
  const end = (): void => {
    thread.post({ id: 0, of: 0, method: "dispose", args: [] });
    setTimeout(thread.end, FAREWELL_MS).unref();
  };
  return { ...thread, end };
};
