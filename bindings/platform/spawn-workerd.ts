import type { SpawnModel, StartModel } from "./platform.ts";

export const ownModel: StartModel = refuse;
export const spawnModel: SpawnModel = refuse;

function refuse(): never {
  throw new Error("edge workers have no threads: use load() of slab-wasm");
}
