import type { Owner } from "./platform.ts";

export function toOwner(): Owner {
  throw new Error("edge workers have no threads: use loader() of slab-wasm/core in place of serve()");
}
