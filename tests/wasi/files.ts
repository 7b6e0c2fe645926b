// Files of `slab pack` that strangers change: a small network of every architecture.
import * as format from "../../assembly/slab-file.ts";
import { OP_BYTES } from "../../assembly/opcodes.ts";
import type { LoadOptions, ModelParts } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import { foldersIn, GOLDEN, readGolden } from "../golden/folders.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { checksum } from "../naive-language.ts";
import type { Ran } from "./hosts.ts";
import { runInShim } from "./hosts.ts";

export interface SlabFile {
  readonly bytes: Uint8Array;
  /** Of the picture that it takes; a language model takes none. */
  readonly side?: number;
}

async function standalone(source: ModelParts, options: LoadOptions = {}): Promise<Uint8Array> {
  using model = await load(source, { threads: 1, build: "simd", ...options });
  return await model.standalone();
}

async function grows(source: ModelParts): Promise<boolean> {
  using model = await load(source, { threads: 1, sessions: 1 });
  return model.session().context < Infinity;
}

/** Sizes at which layers are quantised. */
const wide = { hidden_size: 72, intermediate_size: 80, num_attention_heads: 3 };

/** By name. The weights need no files. */
export async function slabFiles(): Promise<Record<string, SlabFile>> {
  const files: Record<string, SlabFile> = {
    "int8 language model": { bytes: await standalone(tinyLm(wide), { dtype: "int8", sessions: 2 }) },
    "int4 language model": { bytes: await standalone(tinyLm(wide), { dtype: "int4", sessions: 2 }) },
  };
  for (const name of foldersIn(GOLDEN)) {
    const golden = await readGolden(name);
    if ("absent" in golden || golden.like !== undefined || "features" in golden.task) continue;
    const source = golden.source(golden.small);
    if (typeof source === "string") continue;
    const { image_size: side } = source.config as { image_size?: number };
    files[name] = side
      ? { bytes: await standalone(source), side }
      : { bytes: await standalone(source, { sessions: 2, ...((await grows(source)) ? { context: 40 } : {}) }) };
  }
  return files;
}

const prompt = Array.from({ length: 36 }, (_, i) => String(i));

/** Runs the model on a picture of this side, or on a prompt. */
export const runSlab = (bytes: Uint8Array, side?: number): Ran =>
  side
    ? runInShim(["classify", "m.slab"], { "m.slab": bytes }, new Uint8Array(3 * side * side).fill(99))
    : runInShim(["generate", "m.slab", ...prompt, "--max", "3"], { "m.slab": bytes });

export type Changes = readonly (readonly [place: number, value: number])[];

/** The file with some words changed and its checksum right again. */
export function forged(bytes: Uint8Array, changes: Changes): Uint8Array {
  const copy = bytes.slice(), view = new DataView(copy.buffer);
  for (const [at, value] of changes) view.setUint32(at, value, true);
  view.setUint32(format.CHECKSUM, checksum(new Uint32Array(copy.buffer, format.CHECKED_FROM)), true);
  return copy;
}

/** One or two words of the file, and other values: mostly of ops and the header, now and then of the tables. */
export function changesOf(bytes: Uint8Array, random: (below: number) => number): Changes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const field = (offset: number): number => view.getUint32(offset, true);
  const plan = field(format.PLAN) - format.FILE_BASE, planWords = (field(format.OPS) * OP_BYTES) / 4;
  const changes: (readonly [number, number])[] = [];
  for (let n = 1 + random(2); n > 0; n--) {
    const kind = random(8);
    const word = kind < 5 ? plan / 4 + random(planWords)
      : kind < 7 ? 4 + random(format.FILE_HEADER_BYTES / 4 - 4)
      : 64 + random(Math.max(plan / 4 - 64, 1));
    const place = 4 * word;
    if (place === format.FILE_BYTES) continue;
    const old = field(place), other = field(4 * (plan / 4 + random(planWords)));
    const values = [
      0, 1, old + 1, old - 1, old * 2, old >>> 1, old + 64, old - 64, other, 2 ** 31, 2 ** 32 - 1, 2 ** 24,
      1 + random(64), field(format.MEMORY_END), field(format.SCRATCH), random(2 ** 31),
    ];
    changes.push([place, values[random(values.length)]! >>> 0]);
  }
  return changes;
}
