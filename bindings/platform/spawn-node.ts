import { startWorker, threadOf } from "./node.ts";
import type { SpawnModel } from "./platform.ts";

/** In Deno, time for a worker to end its own threads before it is ended: waiting ones would keep its memory. */
const FAREWELL_MS = 500;

export const spawnModel: SpawnModel = (onMessage, onError) => {
  const worker = startWorker(new URL("./node-model.js", import.meta.url)), thread = threadOf(worker, onError);
  worker.on("message", onMessage);
  if (!process.versions.deno) return thread;
  const end = (): void => {
    thread.post({ id: 0, of: 0, method: "dispose", args: [] });
    setTimeout(thread.end, FAREWELL_MS).unref();
  };
  return { ...thread, end };
};
