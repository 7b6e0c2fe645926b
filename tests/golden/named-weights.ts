// Weights that no file holds: every tensor that a network asks for, its values made from its name as generator.ts does.
import type { Checkpoint, TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import { scopeOf } from "../../bindings/checkpoint/tensors.ts";
import { randomCheckpoint } from "../../cli/random-checkpoint.ts";

/**
 * A checkpoint of any network; each tensor is made once.
 * @param optional  how the names end of those that it has, of the tensors that not every checkpoint has
 */
export function namedWeights(name: string, optional: readonly string[] = []): Checkpoint {
  const random = randomCheckpoint(name), made = new Map<string, Promise<Uint8Array>>();
  const weights: Tensors = {
    prefix: "",
    has: (tensor) => optional.some((end) => tensor.endsWith(end)),
    tensor(tensor, shape): TensorRef {
      const ref = random.tensor(tensor, shape);
      return {
        ...ref,
        async read(into, from = 0) {
          if (!made.has(tensor)) made.set(tensor, ref.read());
          const bytes = await made.get(tensor)!;
          into?.set(bytes.subarray(from, from + into.length));
          return into ?? bytes;
        },
      };
    },
    scope: (prefix) => scopeOf(weights, prefix),
  };
  return Object.assign(randomCheckpoint(name), weights);
}
