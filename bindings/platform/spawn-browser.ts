import { threadOf } from "./browser.ts";
import type { SpawnModel } from "./platform.ts";

export const spawnModel: SpawnModel = (onMessage, onError) => {
  const worker = new Worker(new URL("./web-model.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => onMessage(data);
  return threadOf(worker, onError);
};
