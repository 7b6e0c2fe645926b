// How sound bytes become others: anywhere, or in the structure of JSON.

/** Whole numbers in [0, below). */
export type Random = (below: number) => number;

/** A generator for the input of this index alone, so that any one can be made again (mulberry32). */
export function randomOf(seed: number, index: number): Random {
  let state = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

export const pick = <T>(list: readonly T[], random: Random): T => list[random(list.length)]!;
export const utf8 = new TextEncoder();
export const joined = (...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(Buffer.concat(parts));

const EXTREMES = [
  0n, 1n, -1n, 2n, 127n, 128n, 255n, 32767n, 65535n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 53n,
  2n ** 63n - 1n, 2n ** 63n,
];

/** A number of 1, 2, 4 or 8 bytes at `at` becomes an extreme one, or one beside what it was. */
function number(bytes: Uint8Array, at: number, random: Random): void {
  const size = Math.min(1 << random(4), bytes.length - at), little = random(2) === 0;
  const place = (i: number): number => at + (little ? i : size - 1 - i);
  let value = 0n;
  for (let i = 0; i < size; i++) value |= BigInt(bytes[place(i)]!) << BigInt(8 * i);
  const beside = [value + 1n, value - 1n, value * 2n, value >> 1n, BigInt(bytes.length)];
  value = pick(random(3) > 0 ? EXTREMES : beside, random);
  for (let i = 0; i < size; i++) bytes[place(i)] = Number((value >> BigInt(8 * i)) & 255n);
}

/**
 * One to three changes: a bit, a byte, a number, a cut, a piece removed, repeated or taken from another file, or one of
 * `tokens` written over it.
 */
export function mutate(
  file: Uint8Array, random: Random, tokens: readonly Uint8Array[] = [], others: readonly Uint8Array[] = [],
): Uint8Array<ArrayBuffer> {
  let bytes = Uint8Array.from(file);
  for (let n = 1 + random(3); n > 0 && bytes.length > 0; n--) {
    // half of the places lie where headers do
    const at = random(2) ? random(bytes.length) : random(Math.min(bytes.length, 512)), kind = random(9);
    if (kind === 0) bytes[at]! ^= 1 << random(8);
    else if (kind === 1) bytes[at] = random(256);
    else if (kind === 2) number(bytes, at, random);
    else if (kind === 3 && random(4) === 0) bytes = bytes.slice(0, at + 1);
    else if (kind === 4) bytes = joined(bytes.subarray(0, at), bytes.subarray(at + random(16)));
    else if (kind === 5) bytes = joined(bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(64))));
    else if (kind === 6 && others.length > 0) {
      const other = pick(others, random), from = random(other.length);
      bytes = joined(bytes.subarray(0, at), other.subarray(from, from + random(256)), bytes.subarray(at + random(256)));
    } else if (tokens.length > 0) {
      const token = pick(tokens, random);
      bytes = joined(bytes.subarray(0, at), token, bytes.subarray(at + (random(2) ? token.length : 1)));
    }
  }
  return bytes;
}

// JSON

/** A value whose objects may have a name twice, or any name: scalars and names as they are written. */
type Node = { raw: string } | { list: Node[] } | { entries: [string, Node][] };

function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) return { list: value.map(nodeOf) };
  if (typeof value !== "object" || value === null) return { raw: JSON.stringify(value) };
  return { entries: Object.entries(value).map(([name, each]) => [JSON.stringify(name), nodeOf(each)]) };
}

const namesOf = (node: Node): string[] =>
  "raw" in node ? []
    : "list" in node ? node.list.flatMap(namesOf)
    : node.entries.flatMap(([name, value]) => [name, ...namesOf(value)]);

const written = (node: Node): string =>
  "raw" in node ? node.raw
    : "list" in node ? `[${node.list.map(written).join()}]`
    : `{${node.entries.map(([name, value]) => `${name}:${written(value)}`).join()}}`;

const NUMBERS = [
  "0", "-0", "1", "-1", "2", "3", "0.5", "1e9", "1e308", "1e999", "-1e999", "5e-324", "255", "65536", "1048576",
  "2147483647", "2147483648", "4294967295", "4294967296", "9007199254740991", "9007199254740993", "1".repeat(20),
];
const STRINGS = [
  '""', '"a"', '" "', '"\\u0000"', '"\\ud800"', '"\\ufeff"', '"\\u202e"', '"é漢👋"', '"__proto__"', '"constructor"',
  '"toString"', '"../x"', '"$&"', '"1"', '"-1"', '"NaN"', '"null"', '"\\r\\nx: y"', `"${"x".repeat(5000)}"`,
];
const OTHERS = ["null", "true", "false", "[]", "{}", "[[]]", "[null]", '{"":0}', "", "NaN", "undefined", ","];

/** What a value is nested in, again and again. */
const AROUND = [["[", "]"], ['{"a":', "}"], ['{"type":"Sequence","decoders":[', "]}"]] as const;

/** What may stand anywhere. The last change may nest it as deep as a file of its size can be. */
function scalar(random: Random, tokens: readonly string[], last: boolean): Node {
  const kind = random(40);
  if (kind === 0 && last) {
    const depth = 10 ** (1 + random(5)), [open, shut] = pick(AROUND, random);
    return { raw: `${open.repeat(depth)}0${shut.repeat(depth)}` };
  }
  const list = kind < 14 ? NUMBERS : kind < 22 ? STRINGS : kind < 27 || tokens.length === 0 ? OTHERS : tokens;
  return { raw: pick(list, random) };
}

/** One to three changes of values, names, order and number, anywhere in a JSON text; `tokens` are texts of values. */
export function mutateJson(text: string, random: Random, tokens: readonly string[] = []): string {
  let root = nodeOf(JSON.parse(text));
  for (let n = random(2) ? 1 : 1 + random(3); n > 0; n--) {
    // every value, and how to put another in its place
    const places: { node: Node; put(other: Node): void }[] = [];
    const visit = (node: Node, put: (other: Node) => void): void => {
      places.push({ node, put });
      if ("list" in node) node.list.forEach((each, i) => visit(each, (other) => (node.list[i] = other)));
      else if ("entries" in node) for (const entry of node.entries) visit(entry[1], (other) => (entry[1] = other));
    };
    visit(root, (other) => (root = other));
    const { node, put } = pick(places, random), kind = random(10);
    if ("raw" in node || kind < 3) {
      const old = "raw" in node ? Number(node.raw) : NaN;
      const beside = [old + 1, old - 1, old * 2, old / 2, -old, old * 1024];
      if (Number.isFinite(old) && random(3) === 0) put({ raw: String(pick(beside, random)) });
      else put(kind === 2 ? structuredClone(pick(places, random).node) : scalar(random, tokens, n === 1));
    } else {
      const children: unknown[] = "list" in node ? node.list : node.entries;
      const at = random(children.length), child = children[at];
      if (kind === 3) children.splice(at, 1 + random(2));
      else if (kind === 4 && child) children.splice(at, 0, structuredClone(child));
      else if (kind === 5) children.reverse();
      else if (kind === 6 && child && places.length < 5000) children.push(...Array(10 ** random(4)).fill(child));
      else if ("list" in node) node.list.splice(at, 0, scalar(random, tokens, n === 1));
      else if (kind < 9 && child) (child as [string, Node])[0] = pick(random(2) ? STRINGS : namesOf(root), random);
      else node.entries.push([pick(node.entries, random)?.[0] ?? '"a"', scalar(random, tokens, n === 1)]);
    }
    // what a value contains may now contain it
    if (n > 1) {
      const now = written(root);
      try {
        root = nodeOf(JSON.parse(now));
      } catch {
        return now;
      }
    }
  }
  return written(root);
}
