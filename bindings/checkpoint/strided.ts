// Tensors whose elements do not lie in the order of their indices, such as a transposed weight: read row by row into
// that order.
import { readExactly } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import type { TorchTensor } from "./torch.ts";

/** Whether the elements lie in a row, as they are to be read. */
export function isContiguous({ shape, strides }: TorchTensor): boolean {
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && strides[i] !== stride) return false;
    stride *= shape[i]!;
  }
  return true;
}

/**
 * Fills `into` with the tensor's bytes from byte `from` on.
 * @param begin  where the storage begins in the file
 */
export async function readStrided(
  source: ByteSource, { shape, strides, offset, type: { size } }: TorchTensor, begin: number, into: Uint8Array,
  from: number,
): Promise<Uint8Array> {
  const first = offset * size;
  const last = (offset + shape.reduce((sum, dim, i) => sum + (dim - 1) * strides[i]!, 0) + 1) * size;
  const bytes = await readExactly(source, begin + first, begin + last);
  // a call may begin and end within an element
  const [low, high] = [Math.floor(from / size), Math.ceil((from + into.length) / size)];
  const index: number[] = [];
  for (let i = shape.length - 1, rest = low; i >= 0; i--) {
    index[i] = rest % shape[i]!;
    rest = Math.floor(rest / shape[i]!);
  }
  let at = index.reduce((sum, k, i) => sum + k * strides[i]!, 0) * size;
  for (let element = low; element < high; element++) {
    const out = element * size - from;
    for (let b = Math.max(0, -out), end = Math.min(size, into.length - out); b < end; b++)
      into[out + b] = bytes[at + b]!;
    // the next index, the last dimension first
    for (let i = shape.length - 1; i >= 0; i--) {
      at += strides[i]! * size;
      if (++index[i]! < shape[i]!) break;
      at -= shape[i]! * strides[i]! * size;
      index[i] = 0;
    }
  }
  return into;
}
