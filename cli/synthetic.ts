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

/** What the recipe makes of the uniform values of a key: [centre − width, centre + width). */
function rangeOf(key: string, shape: readonly number[]): { centre: number; width: number } {
  const around = (centre: number, width: number): { centre: number; width: number } => ({ centre, width });
  if (key.endsWith("running_var")) return around(1.5, 0.5);
  if (key.endsWith("running_mean")) return around(0, 0.3);
  if (key.endsWith("alpha")) return around(0.1, 0.05);
  if (key.endsWith(".bn.weight")) return around(0.5, 0.2);
  if (key.endsWith(".weight") && shape.length >= 2) {
    const width = Math.sqrt(3 / shape.slice(1).reduce((a, b) => a * b, 1));
    return around(0, /(proj|fc2)\.weight$/.test(key) ? 0.5 * width : width);
  }
  if (key.endsWith(".weight")) return around(1, 0.2);
  if (key.endsWith(".bias")) return around(0, 0.1);
  if (key.endsWith("relative_position_bias_table")) return around(0, 1);
  return around(0, 0.3);
}

/** Values [first, first + count) of a key's tensor. */
export function syntheticValues(
  key: string, shape: readonly number[], first = 0, count = shape.reduce((a, b) => a * b, 1),
): Float32Array {
  const { centre, width } = rangeOf(key, shape), u = uniform01(key, count, first), data = new Float32Array(count);
  // several times faster than from(), and there are 22 million of them
  for (let i = 0; i < u.length; i++) data[i] = centre + width * (2 * u[i]! - 1);
  return data;
}
