// Weights that no file holds: every tensor that a network asks for, its values made from its name as cli/synthetic.ts
// does.
import type { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { madeCheckpoint } from "../../bindings/checkpoint/made.ts";
import { syntheticValues } from "../../cli/synthetic.ts";

/**
 * A checkpoint of any network; each tensor is made once.
 * @param optional  how the names end of those that it has, of the tensors that not every checkpoint has
 */
export function namedWeights(name: string, optional: readonly string[] = []): Checkpoint {
  const made = new Map<string, Float32Array>();
  return madeCheckpoint(name, (tensor, shape, first = 0, count) => {
    const values = made.get(tensor) ?? syntheticValues(tensor, shape);
    made.set(tensor, values);
    return values.subarray(first, count === undefined ? undefined : first + count);
  }, (tensor) => optional.some((end) => tensor.endsWith(end)));
}
