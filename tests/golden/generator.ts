// Seeded test data: weights and inputs come from names, so that golden vectors need no files with their inputs.

/** FNV-1a, 32 bits, of the UTF-8 bytes of the key. */
export function seedOf(key: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(key)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** `count` values of mulberry32, seeded by the key, from the one numbered `first`: u_i in [0, 1). */
export function uniform01(key: string, count: number, first = 0): Float64Array {
  let state = (seedOf(key) + Math.imul(first, 0x6d2b79f5)) | 0;
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    values[i] = ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  return values;
}
