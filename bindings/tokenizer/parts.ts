// What a tokenizer.json is made of: the parts that @huggingface/tokenizers knows, their fields, and what each may be.
// A part is copied as it is checked, so that the library sees nothing else.
import { quote } from "../checkpoint/names.ts";
import type { Json } from "./json.ts";
import { FILE, object, show, wrong } from "./json.ts";
import { isLinear, LONGEST_PATTERN } from "./patterns.ts";

/** What is found out of a file on the way. */
export interface Findings {
  parts: number;
  /** How many times as long a text may become. */
  growth: number;
  /** Patterns that are for linear.ts, by what stands in for them. */
  readonly strange: Map<object, { readonly source: string; readonly path: string }>;
}

/** Checks a field, and gives what the library is to see of it; undefined: nothing. */
type Check = (value: unknown, path: string, found: Findings) => unknown;

/** In a file, and in a list; the largest published have a dozen. */
const MOST_PARTS = 64;
const MOST_GROWTH = 1024;
/** Merges and WordPiece take time with the square of a word. */
const LONGEST_WORD = 256;

const is = (kind: "boolean" | "number" | "string", expected: string): Check => (value, path) => {
  if (typeof value === kind) return value;
  throw wrong(path, expected, value);
};
const maybe = (check: Check): Check => (value, path, found) =>
  (value === undefined || value === null ? undefined : check(value, path, found));
const text = is("string", "a string"), words = maybe(text), flag = maybe(is("boolean", "true or false"));
/** Read by others, or by nobody. */
const kept: Check = (value) => value, unread: Check = () => undefined;

const whole = (least: number, most: number): Check => (value, path) => {
  if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value;
  throw wrong(path, `a whole number from ${least} to ${most}`, value);
};

const choice = (names: readonly string[]): string =>
  names.map((name, i) => `${i === 0 ? "" : i === names.length - 1 ? " or " : ", "}${quote(name)}`).join("");

const one = (...names: readonly string[]): Check => (value, path) => {
  const name = names.find((name) => typeof value === "string" && name.toLowerCase() === value.toLowerCase());
  if (name === undefined) throw wrong(path, choice(names), value);
  return name;
};

const character: Check = (value, path) => {
  if (typeof value === "string" && [...value].length === 1) return value;
  throw wrong(path, "one character", value);
};

/** What the library would pass over in silence. */
const none: Check = (value, path) => {
  if (value === undefined || value === null || value === "" || value === false) return undefined;
  throw new TypeError(`${FILE}: "${path}" is ${show(value)}, which is not supported: expected none`);
};

const list = (check: Check): Check => (value, path, found) => {
  if (!Array.isArray(value)) throw wrong(path, "a list", value);
  if (value.length > MOST_PARTS) {
    const most = `expected at most ${MOST_PARTS}`;
    throw new RangeError(`${FILE}: "${path}" has ${value.length} items, ${most}: download it again`);
  }
  return value.map((item, i) => check(item, `${path}[${i}]`, found));
};

/** An object of these fields and no others. */
function fields(checks: Readonly<Record<string, Check>>, of = ""): Check {
  return (value, path, found) => {
    const given = object(path, value), copy: Record<string, unknown> = {};
    for (const name of Object.keys(given)) {
      if (Object.hasOwn(checks, name)) continue;
      const expected = `expected none but ${choice(Object.keys(checks))}: only these are supported`;
      throw new TypeError(`${FILE}: "${path}"${of} has the field ${quote(name)}, ${expected}`);
    }
    for (const [name, check] of Object.entries(checks)) {
      const checked = check(Object.hasOwn(given, name) ? given[name] : undefined, `${path}.${name}`, found);
      if (checked !== undefined) copy[name] = checked;
    }
    return copy;
  };
}

/** Of these, exactly one. */
function either(checks: Readonly<Record<string, Check>>): Check {
  const all = fields(Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, maybe(check)])));
  return (value, path, found) => {
    const copy = all(value, path, found) as Json;
    if (Object.keys(copy).length !== 1) throw wrong(path, `an object with ${Object.keys(checks).join(" or ")}`, value);
    return copy;
  };
}

const source: Check = (value, path) => {
  if (typeof value === "string" && value !== "" && value.length <= LONGEST_PATTERN) return value;
  throw wrong(path, `a string of 1 to ${LONGEST_PATTERN} characters`, value);
};
const anyPattern = either({ Regex: source, String: source });

const pattern: Check = (value, path, found) => {
  const given = anyPattern(value, path, found) as { Regex?: string }, { Regex: regex } = given;
  if (regex === undefined || isLinear(regex)) return given;
  // matches nothing, until linear.ts takes its place
  const standIn = { Regex: "(?!)" };
  found.strange.set(standIn, { source: regex, path: `${path}.Regex` });
  return standIn;
};

const number = maybe(is("number", "a number"));
const token = fields({ id: text, type_id: unread }), itself = fields({ id: one("A"), type_id: unread });
/** A token and its id. */
const pair: Check = (value, path, found) => {
  if (!Array.isArray(value) || value.length !== 2) throw wrong(path, "[token, id]", value);
  return [text(value[0], `${path}[0]`, found), whole(0, 2 ** 31)(value[1], `${path}[1]`, found)];
};

const part = (section: Section): Check => (value, path, found) => {
  const { type } = object(path, value), known = PARTS[section];
  if (typeof type !== "string" || !Object.hasOwn(known, type)) {
    const expected = choice(Object.keys(known));
    throw new TypeError(`${FILE}: "${path}.type" is ${show(type)}, expected ${expected}: only these are supported`);
  }
  if (++found.parts > MOST_PARTS) throw new RangeError(`${FILE} has more than ${MOST_PARTS} parts: download it again`);
  const copy = fields({ type: text, ...known[type] }, ` (${type})`)(value, path, found) as Json;
  found.growth *= growthOf(section, copy);
  if (found.growth > MOST_GROWTH) {
    const longer = `may make a text more than ${MOST_GROWTH} times as long`;
    throw new RangeError(`${FILE}: "${path}" (${type}) ${longer}: download it again`);
  }
  return copy;
};

/** How many times as long a text may become each time that it goes through. */
function growthOf(section: Section, { type, prepend = "", pattern: given = {}, content: put = "" }: Json): number {
  // a character that is not ASCII is two or three bytes, and each byte a character
  if (type === "ByteLevel") return section === "pre_tokenizer" ? 3 : 1;
  const { String: found } = given as { String?: string }, length = (put as string).length;
  // a text may be of one character, and nothing be found between any two
  return found === undefined ? 1 + length + (prepend as string).length : Math.max(1, length / found.length);
}

const BYTES = { add_prefix_space: flag, trim_offsets: flag, use_regex: flag };
const SPACE = maybe(character);
const METASPACE = {
  replacement: SPACE, str_rep: SPACE, add_prefix_space: flag, split: flag,
  prepend_scheme: maybe(one("always", "first", "never")),
};
// the library would read "$&" as what was found
const content: Check = (value, path, found) =>
  (words(value, path, found) as string | undefined)?.replaceAll("$", "$$$$");
const REPLACE = { pattern, content };
const ENDS = { sep: pair, cls: pair, trim_offsets: flag, add_prefix_space: flag };
// the library gives the second that adds tokens no text
const processors: Check = (value, path, found) => {
  const copies = list(part("post_processor"))(value, path, found) as Json[];
  if (copies.filter(({ type }) => type !== "ByteLevel").length < 2) return copies;
  throw new TypeError(`${FILE}: "${path}" has several parts that add tokens, expected one: only that is supported`);
};
const BEHAVIORS = one("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext");

const SUBWORDS = { vocab: kept, merges: kept, unk_token: words };

export type Section = "normalizer" | "pre_tokenizer" | "model" | "post_processor" | "decoder";

const PARTS: Readonly<Record<Section, Readonly<Record<string, Readonly<Record<string, Check>>>>>> = {
  normalizer: {
    Sequence: { normalizers: list(part("normalizer")) },
    BertNormalizer: { clean_text: flag, handle_chinese_chars: flag, strip_accents: flag, lowercase: flag },
    NFC: {}, NFD: {}, NFKC: {}, NFKD: {}, Lowercase: {}, StripAccents: {}, Precompiled: { precompiled_charsmap: words },
    Strip: { strip_left: flag, strip_right: flag }, Prepend: { prepend: text }, Replace: REPLACE,
  },
  pre_tokenizer: {
    Sequence: { pretokenizers: list(part("pre_tokenizer")) },
    BertPreTokenizer: {}, Whitespace: {}, WhitespaceSplit: {}, ByteLevel: BYTES, Metaspace: METASPACE, Replace: REPLACE,
    Split: { pattern, behavior: maybe(BEHAVIORS), invert: flag }, Punctuation: { behavior: maybe(BEHAVIORS) },
    Digits: { individual_digits: flag }, FixedLength: { length: whole(1, 2 ** 31) },
  },
  model: {
    BPE: {
      ...SUBWORDS, dropout: number, continuing_subword_prefix: none, continuing_subword_suffix: words,
      end_of_word_suffix: words, fuse_unk: flag, byte_fallback: flag, ignore_merges: flag,
    },
    Unigram: { vocab: kept, unk_id: kept, byte_fallback: none },
    WordPiece: {
      ...SUBWORDS, continuing_subword_prefix: (...given) => words(...given) ?? "##",
      max_input_chars_per_word: maybe(whole(1, LONGEST_WORD)),
    },
  },
  post_processor: {
    Sequence: { processors },
    ByteLevel: BYTES, BertProcessing: ENDS, RobertaProcessing: ENDS,
    TemplateProcessing: {
      single: list(either({ SpecialToken: token, Sequence: itself })), pair: unread, special_tokens: unread,
    },
  },
  decoder: {
    Sequence: { decoders: list(part("decoder")) },
    ByteLevel: BYTES, Metaspace: METASPACE, Fuse: {}, ByteFallback: {}, Replace: REPLACE, BPEDecoder: { suffix: words },
    WordPiece: { prefix: words, cleanup: flag }, CTC: { pad_token: words, word_delimiter_token: words, cleanup: flag },
    Strip: { content: character, start: whole(0, LONGEST_WORD), stop: whole(0, LONGEST_WORD) },
  },
};

/** A part of a file, checked and copied; null for none. */
export function readPart(section: Section, value: unknown, found: Findings): Json | null {
  return value === undefined || value === null ? null : (part(section)(value, section, found) as Json);
}

const addedToken = fields({
  id: kept, content: text, single_word: flag, lstrip: flag, rstrip: flag, normalized: flag, special: flag,
});

/** A token beside the model's. */
export const readAddedToken = (value: unknown, path: string, found: Findings): Json & { readonly content: string } =>
  addedToken(value, path, found) as Json & { readonly content: string };
