// A checkpoint in the form that a model has in memory: folded, packed, perhaps quantised. Loading it is one read into
// place. A safetensors file with one tensor, "slab.weights", and in its metadata what the network's own tensors would
// have said.
import type { Checkpoint } from "../checkpoint/index.ts";
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

/** The metadata of a packed checkpoint, checked; undefined for any other checkpoint. */
export function packedOf(checkpoint: Checkpoint): Packed | undefined {
  const { metadata, name } = checkpoint, version = metadata.get("slab.packed");
  if (version === undefined) return undefined;
  const bad = (what: string): RangeError =>
    new RangeError(`${name} is packed, but ${what}: convert the original checkpoint again`);
  if (version !== VERSION)
    throw bad(`in version ${JSON.stringify(version.slice(0, 20))}, this release reads ${VERSION}`);
  const field = (key: string): string => metadata.get(`slab.${key}`) ?? "";
  const type = WEIGHT_TYPES.find((t) => t === field("dtype"));
  const layout = (["any", "relaxed", "plain"] as const).find((l) => l === field("layout"));
  const fingerprint = Number(field("fingerprint"));
  if (!type || !layout || !Number.isInteger(fingerprint) || fingerprint < 0 || fingerprint >= 2 ** 32)
    throw bad("its metadata is damaged");
  let folds: unknown, tables: unknown;
  try {
    [folds, tables] = [JSON.parse(field("folds")), JSON.parse(field("tables"))];
  } catch {
    throw bad("its metadata is damaged");
  }
  const isFold = (f: unknown): f is Fold =>
    typeof f === "object"
    && f !== null
    && "norm" in f
    && typeof f.norm === "string"
    && "change" in f
    && typeof f.change === "number"
    && "into" in f
    && Array.isArray(f.into)
    && f.into.every((i) => typeof i === "string");
  if (!Array.isArray(folds) || !folds.every(isFold)) throw bad("its list of folds is damaged");
  if (
    typeof tables !== "object"
    || tables === null
    || !Object.values(tables).every((t) => ["F32", "F16", "BF16", "F64"].includes(t as string))
  )
    throw bad("its list of tables is damaged");
  return { type, layout, fingerprint, folds, tables: { ...tables } as Record<string, string>, key: field("key") };
}

/** Reads the packed weights to where they belong. */
export async function readPacked(checkpoint: Checkpoint, packed: Packed, plan: Plan, into: Uint8Array): Promise<void> {
  const found = checkpoint.info(WEIGHTS);
  if (planKey(plan) !== packed.key || found?.dtype !== "U8" || found.byteLength !== into.length) {
    throw new RangeError(
      `${checkpoint.name} is packed for another network or release than config.json asks for: convert the `
        + "original checkpoint again",
    );
  }
  await checkpoint.raw(WEIGHTS).read(into);
  plan.folds.push(...packed.folds);
}
