// Writes what packed.ts reads: a model's weights as they lie in memory.
import { safetensorsBytes } from "../checkpoint/write.ts";
import { planKey, VERSION, WEIGHTS } from "./packed.ts";
import type { Runtime } from "../run/runtime.ts";

/** A packed checkpoint as a file's bytes. */
export function packedFile({
  plan, caps, memory: { weightsAddress, weightsBytes, fingerprint, memory },
}: Runtime): Uint8Array<ArrayBuffer> {
  const weights = new Uint8Array(memory.buffer, weightsAddress, weightsBytes);
  return safetensorsBytes([{ name: WEIGHTS, dtype: "U8", shape: [weights.length], data: weights }], {
    "format": "pt", "slab.packed": VERSION, "slab.dtype": plan.type,
    "slab.layout": plan.type === "int8" ? (caps.relaxed ? "relaxed" : "plain") : "any", "slab.key": planKey(plan),
    "slab.fingerprint": String(fingerprint), "slab.folds": JSON.stringify(plan.folds),
    "slab.tables": JSON.stringify(Object.fromEntries(plan.rawTables)),
  });
}
