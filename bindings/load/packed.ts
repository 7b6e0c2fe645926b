// A checkpoint in the form that a model has in memory: folded, packed, perhaps quantised. Loading it is one read into
// place. A safetensors file with one tensor, "slab.weights", and in its metadata what the network's own tensors would
// have said.
import type { Checkpoint } from "../checkpoint/index.ts";
import { isFloatDType } from "../checkpoint/dtype.ts";
import type { WeightType } from "../plan/dtype.ts";
import { WEIGHT_TYPES } from "../plan/dtype.ts";
import { fnv1a } from "../fingerprint.ts";
import type { Fold, Plan } from "../plan/plan.ts";

export const WEIGHTS = "slab.weights", VERSION = "4";

export interface Packed {
  readonly type: WeightType;
  /** Which builds can read it: int8 panels differ between relaxed and plain ones. */
  readonly layout: "any" | "relaxed" | "plain";
  readonly fingerprint: number;
  readonly folds: readonly Fold[];
  /** Number formats of the tables that are kept as they were. */
  readonly tables: Readonly<Record<string, string>>;
  /** Which tensors lie in the file, in order: of the network and of this release's way of packing. */
  readonly key: string;
}

/** What tells one way of laying weights out from another. */
export function planKey(plan: Plan): string {
  return plan.weightTensors.reduce((hash, { name, bytes }) => fnv1a(`${name}:${bytes};`, hash), fnv1a([])).toString(16);
}

export const isFold = (f: Partial<Fold> | null | undefined): boolean => typeof f?.norm === "string"
  && typeof f.change === "number" && Array.isArray(f.into) && f.into.every((i) => typeof i === "string");

/** The metadata of a packed checkpoint, checked; undefined for any other checkpoint. */
export async function packedOf({ metadata, name }: Checkpoint): Promise<Packed | undefined> {
  const field = (key: string): string => metadata.get(`slab.${key}`) ?? "";
  if (!metadata.has("slab.packed")) return undefined;
  const type = WEIGHT_TYPES.find((t) => t === field("dtype"));
  const layout = (["any", "relaxed", "plain"] as const).find((l) => l === field("layout"));
  const fingerprint = Number(field("fingerprint")), sound = type && layout && fingerprint >>> 0 === fingerprint;
  let folds: unknown, tables: unknown;
  try {
    [folds, tables] = [JSON.parse(field("folds")), JSON.parse(field("tables"))];
  } catch {
    // refused below
  }
  if (
    field("packed") === VERSION && sound && Array.isArray(folds) && folds.every(isFold)
    && typeof tables === "object" && tables && Object.values(tables).every((t) => isFloatDType(t as string))
  ) return { type, layout, fingerprint, folds, tables: { ...tables } as Record<string, string>, key: field("key") };
  throw (await import("../extras.ts")).packedFault(name, metadata, !!sound);
}

/** Reads the packed weights to where they belong. */
export async function readPacked(checkpoint: Checkpoint, packed: Packed, plan: Plan, into: Uint8Array): Promise<void> {
  const found = checkpoint.info(WEIGHTS);
  if (planKey(plan) !== packed.key || found?.dtype !== "U8" || found.byteLength !== into.length) {
    throw (await import("../extras.ts")).packedForOther(checkpoint.name);
  }
  await checkpoint.raw(WEIGHTS).read(into);
  plan.folds.push(...packed.folds);
}
