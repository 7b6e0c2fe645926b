// Checkpoints that are in no file and in no memory: tensors are made as they are read.
import { Checkpoint } from "./checkpoint.ts";
import type { TensorRef, Tensors } from "./tensors.ts";
import { madeTensors } from "./tensors.ts";

/** Numbers [first, first + count) of a tensor. */
type Make = (name: string, shape: readonly number[], first?: number, count?: number) => Float32Array;

/** A checkpoint that has every tensor asked for, in the shape asked for; `has`: whether an optional one is there. */
export function madeCheckpoint(name: string, make: Make, has: (name: string) => boolean = () => false): Checkpoint {
  return new MadeCheckpoint(name, madeTensors((tensor, shape) => made(tensor, shape, make), has));
}

function made(name: string, shape: readonly number[], make: Make): TensorRef {
  return {
    name, dtype: "F32", shape, byteLength: 4 * shape.reduce((a, b) => a * b, 1),
    async read(into, from = 0) {
      const values = into ? make(name, shape, from / 4, into.length / 4) : make(name, shape);
      const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      into?.set(bytes);
      return into ?? bytes;
    },
  };
}

class MadeCheckpoint extends Checkpoint {
  readonly #tensors: Tensors;

  constructor(name: string, tensors: Tensors) {
    super(name, new Map(), new Map(), []);
    this.#tensors = tensors;
  }

  override has(name: string): boolean {
    return this.#tensors.has(name);
  }

  override tensor(name: string, shape: readonly number[]): TensorRef {
    return this.#tensors.tensor(name, shape);
  }
}
