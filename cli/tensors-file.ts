// Writes tensors of a checkpoint to a safetensors file, one at a time.
import type { FileHandle } from "node:fs/promises";
import { open, rename, rm } from "node:fs/promises";
import type { Checkpoint, DType, FloatDType } from "../bindings/checkpoint/index.ts";
import { toFloat32 } from "../bindings/checkpoint/index.ts";
import { isRoundable, rounded, SCALE } from "../bindings/checkpoint/rounded.ts";
import { safetensorsBytes, safetensorsLayout } from "../bindings/checkpoint/write.ts";
import type { WriteEntry } from "../bindings/checkpoint/write.ts";
import { notFinite } from "../bindings/checkpoint/floats.ts";

type OnBytes = (done: number, total: number) => void;

/** The tensors as they are; the file appears once it is whole. Returns its bytes. */
export async function writeTensors(
  file: string, checkpoint: Checkpoint, names: readonly string[], onProgress: OnBytes,
): Promise<number> {
  const { header, sorted, byteLength } = safetensorsLayout(names.map((name) => {
    const { dtype, shape } = checkpoint.info(name)!;
    return { name, dtype: dtype as DType, shape };
  }), { format: "pt" });
  await replace(file, async (handle) => {
    await handle.writeFile(header);
    let done = header.length;
    for (const { name } of sorted) {
      const bytes = await checkpoint.raw(name).read();
      await handle.writeFile(bytes);
      onProgress((done += bytes.length), byteLength);
    }
  });
  return byteLength;
}

/** The tensors with matrices rounded to int8, a scale for each row. Returns the bytes of the file. */
export async function writeRounded(
  file: string, checkpoint: Checkpoint, names: readonly string[], onProgress: OnBytes,
): Promise<number> {
  const entries: WriteEntry[] = [], bytesOf = (numbers: Int8Array | Float32Array): Uint8Array =>
    new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  for (const name of names) {
    const { dtype, shape } = checkpoint.info(name)!, data = await checkpoint.raw(name).read();
    if (!isRoundable({ dtype, shape })) {
      entries.push({ name, dtype: dtype as DType, shape, data });
      continue;
    }
    const rows = shape[0]!, { ints, scales } = rounded(toFloat32(data, dtype as FloatDType), rows);
    // what training left of NaN and infinity is told, not rounded away
    if (!scales.every(Number.isFinite)) throw notFinite(name);
    entries.push({ name, dtype: "I8", shape, data: bytesOf(ints) });
    entries.push({ name: name + SCALE, dtype: "F32", shape: [rows, 1], data: bytesOf(scales) });
  }
  const content = safetensorsBytes(entries, { format: "pt" });
  await writeBytes(file, content, onProgress);
  return content.length;
}

/** Bytes written at once: few enough to see it go on. */
const PIECE = 16 << 20;

/** A file of these bytes, which appears once it is whole. */
export async function writeBytes(file: string, content: Uint8Array, onProgress: OnBytes): Promise<void> {
  await replace(file, async (handle) => {
    for (let at = 0; at < content.length; at += PIECE) {
      await handle.writeFile(content.subarray(at, at + PIECE));
      onProgress(Math.min(at + PIECE, content.length), content.length);
    }
  });
}

/** A file that is there whole, or not at all. */
export async function replace(file: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const draft = `${file}.tmp`;
  const handle = await open(draft, "w");
  try {
    await write(handle);
    await handle.close();
    await rename(draft, file);
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(draft, { force: true });
    throw error;
  }
}
