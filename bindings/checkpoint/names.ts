// Names from files, which anyone may have written: how they are shown, and which ones a mistyped name may have meant.

/** A name as an error shows it: quoted, control characters escaped, cut where it would flood a terminal. */
export function quote(name: string): string {
  const text = JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}…` : name);
  // C1 controls, bidirectional overrides and line separators reach a terminal unescaped by JSON
  return text.replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** A value out of JSON, for an error: as it is written there, cut off. */
export function written(value: unknown): string {
  try {
    return String(JSON.stringify(value)).slice(0, 60);
  } catch {
    // nested deeper than the engine goes or, out of a pickle, in a circle
    return Array.isArray(value) ? "a list" : typeof value === "object" ? "an object" : String(value);
  }
}

/** Whether a path or an address is one of a file, not of a folder. Its bytes will say of what kind it is. */
export const isWeights = (path: string): boolean => /\.(safetensors|pth|pt|bin|ckpt|gguf|onnx|h5)$/i.test(path);

const mostCompared = 5000;

/** Up to three names that `wanted` may have meant: the same without a prefix first, then the fewest edits. */
export function nearestNames(wanted: string, names: readonly string[]): string[] {
  const near: { name: string; distance: number }[] = [];
  const most = Math.max(2, Math.floor(wanted.length / 4));
  let compared = 0;
  for (const name of names) {
    if (name.length > 200 || wanted.length > 200) continue;
    if (name.endsWith(`.${wanted}`) || wanted.endsWith(`.${name}`)) near.push({ name, distance: 0 });
    else if (Math.abs(name.length - wanted.length) <= most && ++compared <= mostCompared) {
      const distance = editDistance(wanted, name, most);
      if (distance <= most) near.push({ name, distance });
    }
  }
  return near.sort((a, b) => a.distance - b.distance).slice(0, 3).map(({ name }) => name);
}

/** Insertions, deletions and substitutions between two strings; gives up, with `most + 1`, beyond `most`. */
function editDistance(a: string, b: string, most: number): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      next[j] = a[i - 1] === b[j - 1] ? row[j - 1] : 1 + Math.min(row[j - 1], row[j], next[j - 1]);
      least = Math.min(least, next[j]);
    }
    if (least > most) return most + 1;
    row = next;
  }
  return row[b.length];
}

/**
 * Checks a shard's file name, which comes from a downloaded index and is joined to a folder or an address: plain
 * characters only, so that neither a path ("../", "C:") nor a URL ("%2e%2e", "?", "#") can lead out of the folder.
 */
export function checkShardName(file: unknown, index: string): asserts file is string {
  if (typeof file !== "string") {
    throw new TypeError(
      `${index}: a file name in "weight_map" is ${file === null ? "null" : typeof file}, expected a string: `
        + "download it again",
    );
  }
  if (file.length > 255 || !/^\w[\w.+ -]*\.safetensors$/.test(file)) {
    throw new RangeError(
      `${index}: "weight_map" names the file ${quote(file)}, expected a plain *.safetensors name in the same `
        + "folder: rename the file or mend the index",
    );
  }
}
