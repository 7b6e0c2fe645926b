import type { SpawnModel } from "./platform.ts";

export const spawnModel: SpawnModel = () => {
  throw new Error("edge workers have no threads: use load() of slab-wasm");
};
