// How tensors are read from their file, and files are let go of.
import { quote } from "./names.ts";
import type { Entry } from "./safetensors.ts";
import { readExactly } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import type { Stored } from "./tensors.ts";

/** A tensor of a file with a safetensors header. */
export function storedIn(source: ByteSource, { name, dtype, shape, begin, end }: Entry): Stored {
  return {
    name,
    dtype,
    shape,
    byteLength: end - begin,
    file: source.name,
    read: (into, from = 0) =>
      into
        ? readExactly(source, begin + from, checkedEnd(name, begin + from + into.length, end), into)
        : readExactly(source, begin, end),
  };
}

/** `end`, where a read of a tensor ends, or an error beyond `most`, where the tensor does. */
export function checkedEnd(name: string, end: number, most: number): number {
  if (end > most) throw new RangeError(`cannot read ${end - most} bytes past the end of ${quote(name)}`);
  return end;
}

/** Closes every source even when one fails to. */
export async function closeAll(sources: readonly ByteSource[]): Promise<void> {
  const results = await Promise.allSettled(sources.map((source) => source.close()));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}
