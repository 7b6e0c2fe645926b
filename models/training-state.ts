// What a checkpoint says of its own training: how far PRepBN had come on its way from LayerNorm to RepBN when it was
// saved.
import type { Checkpoint } from "../bindings/checkpoint/index.ts";

export interface Unfinished {
  /** The norm that has most left. */
  readonly norm: string;
  /**
   * Steps left in which its LayerNorm would still have a share, of `total`; or steps left before RepBN begins to learn.
   */
  readonly left: number;
  readonly total: number | undefined;
  readonly warm: number;
}

/**
 * A norm that had not come to its end, or undefined for a finished network. Evaluation uses RepBN alone all the same,
 * as the official code does, so the accuracy of such a checkpoint is poor.
 */
export async function unfinished(checkpoint: Checkpoint): Promise<Unfinished | undefined> {
  let most: Unfinished | undefined;
  for (const name of checkpoint.names()) {
    if (!name.endsWith(".iter")) continue;
    const norm = name.slice(0, -".iter".length);
    const left = (await counter(checkpoint, name)) ?? 0, warm = (await counter(checkpoint, `${norm}.warm`)) ?? 0;
    if (left > 0 || warm > 0) {
      if (most && left + warm <= most.left + most.warm) continue;
      most = { norm, left, warm, total: await counter(checkpoint, `${norm}.total_step`) };
    }
  }
  return most;
}

/** A number kept in a tensor of no dimensions. */
async function counter(checkpoint: Checkpoint, name: string): Promise<number | undefined> {
  const found = checkpoint.info(name);
  if (found?.dtype !== "I64" || found.byteLength !== 8) return undefined;
  const bytes = await checkpoint.raw(name).read();
  return Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0, true));
}
