// A checkpoint of any network, its values made from the tensors' names as they are read: by the recipe of the tests' golden vectors, so
// that norms fold to sensible numbers, and none of it is ever in memory as a whole.
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import { Checkpoint } from "../bindings/checkpoint/index.ts";
import { syntheticValues } from "../tests/golden/generator.ts";

/** Answers every request with numbers of the shape asked for. */
export function randomCheckpoint(name: string): Checkpoint {
  const scopeOf = (prefix: string): Tensors => ({
    prefix,
    has: (tensor) => tensor === "norm2.alpha",
    tensor(tensor, shape): TensorRef {
      const key = prefix ? `${prefix}.${tensor}` : tensor, count = shape.reduce((a, b) => a * b, 1);
      return {
        name: key, dtype: "F32", shape, byteLength: count * 4,
        async read(into, from = 0) {
          const bytes = new Uint8Array(syntheticValues(key, shape, from / 4, into ? into.length / 4 : count).buffer);
          into?.set(bytes);
          return into ?? bytes;
        },
      };
    },
    scope: (inner) => scopeOf(prefix ? `${prefix}.${inner}` : inner),
  });
  return Object.assign(Object.create(Checkpoint.prototype) as Checkpoint, { name, metadata: new Map<string, string>(), ...scopeOf(""), close: async () => {} });
}
