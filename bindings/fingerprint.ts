/**
 * FNV-1a, 32 bits, of bytes or of a text's code points; goes on from `hash`. Tells things apart, and is no signature.
 */
export function fnv1a(values: Iterable<number> | string, hash = 0x811c9dc5): number {
  for (const value of values)
    hash = Math.imul(hash ^ (typeof value === "string" ? value.codePointAt(0)! : value), 16777619);
  return hash >>> 0;
}
