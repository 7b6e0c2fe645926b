// A checkpoint of random weights for a preset: speed does not depend on what the weights say.
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import { Checkpoint } from "../bindings/checkpoint/index.ts";

/** Answers every request with small random numbers of the shape asked for. */
export function randomCheckpoint(name: string): Checkpoint {
  let state = 1;
  const scopeOf = (prefix: string): Tensors => ({
    prefix,
    has: (tensor) => tensor === "norm2.alpha",
    tensor(tensor, shape): TensorRef {
      const count = shape.reduce((a, b) => a * b, 1);
      return {
        name: prefix ? `${prefix}.${tensor}` : tensor, dtype: "F32", shape, byteLength: count * 4,
        async read(into) {
          const values = new Float32Array(into ? into.length / 4 : count);
          const scale = shape.length > 1 ? 1 / Math.sqrt(shape.slice(1).reduce((a, b) => a * b, 1)) : 0.5;
          for (let i = 0; i < values.length; i++) {
            state = (Math.imul(state, 1664525) + 1013904223) | 0;
            values[i] = (state / 2 ** 31) * scale;
          }
          if (tensor.endsWith("running_var")) values.forEach((v, i) => (values[i] = 1 + Math.abs(v)));
          const bytes = new Uint8Array(values.buffer);
          into?.set(bytes);
          return into ?? bytes;
        },
      };
    },
    scope: (inner) => scopeOf(prefix ? `${prefix}.${inner}` : inner),
  });
  return Object.assign(Object.create(Checkpoint.prototype) as Checkpoint, { name, metadata: new Map<string, string>(), ...scopeOf(""), close: async () => {} });
}
