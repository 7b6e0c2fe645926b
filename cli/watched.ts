// A checkpoint that tells how much of it has been read.
import type { Checkpoint, TensorRef } from "../bindings/checkpoint/index.ts";

/** @param onRead  gets the bytes read of the tensors that were asked for, each counted once, and all bytes of these */
export function watched(checkpoint: Checkpoint, onRead: (done: number, total: number) => void): Checkpoint {
  const ends = new Map<string, number>();
  let done = 0, total = 0;
  const tensor = (name: string, shape: readonly number[]): TensorRef => {
    const found = checkpoint.tensor(name, shape);
    if (!ends.has(name)) total += found.byteLength;
    ends.set(name, ends.get(name) ?? 0);
    return {
      ...found,
      async read(into, from = 0) {
        const bytes = await found.read(into, from);
        const before = ends.get(name)!, end = Math.max(before, from + bytes.length);
        ends.set(name, end);
        onRead((done += end - before), total);
        return bytes;
      },
    };
  };
  const proxy: Checkpoint = new Proxy(checkpoint, {
    get(target, key) {
      if (key === "tensor") return tensor;
      const value: unknown = Reflect.get(target, key);
      // a scope asks the one that it is of; the rest has fields that no proxy reaches
      return typeof value === "function" ? value.bind(key === "scope" ? proxy : target) : value;
    },
  });
  return proxy;
}
