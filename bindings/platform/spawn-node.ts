import { startWorker, threadOf } from "./node.ts";
import type { SpawnModel } from "./platform.ts";

export const spawnModel: SpawnModel = (onMessage, onError) => {
  const worker = startWorker(new URL("./node-model.js", import.meta.url));
  worker.on("message", onMessage);
  return threadOf(worker, onError);
};
