// The file tokenizer.json, which anyone may have written: nothing in it is believed before it has been looked at.
import { quote } from "../checkpoint/names.ts";

type Json = { readonly [key: string]: unknown };

export interface TokenizerJson {
  /** A copy of the file's object with every section that may be left out present. */
  readonly json: Json;
  /** One more than the highest id. */
  readonly vocabSize: number;
  /** Ids of tokens that steer a model and stand for no text. */
  readonly special: Set<number>;
}

// four times the largest vocabulary published: a list is as long as its highest id
const MAX_VOCAB = 1 << 22;
const FILE = "tokenizer.json";

/** The file's text or parsed object, checked. TypeError for a wrong kind or a missing part, RangeError for an id that cannot be. */
export function readTokenizerJson(source: unknown): TokenizerJson {
  const root = asObject(FILE, source);
  if (root["model"] === undefined) {
    throw new TypeError(`${FILE} has no "model", expected the file that the tokenizers library saves: the sentencepiece file and config.json are others`);
  }
  const model = object("model", root["model"]), vocab = model["vocab"];
  if (vocab === undefined || vocab === null) throw new TypeError(`${FILE}: "model" has no "vocab": download the file again`);
  const type = model["type"] ?? (Array.isArray(vocab) ? "Unigram" : model["merges"] ? "BPE" : undefined);
  let highest = -1;
  if (type === "Unigram") highest = checkPieces(vocab, model["unk_id"]);
  else if (type === "BPE" || type === "WordPiece") {
    const ids = object("model.vocab", vocab);
    for (const token of Object.keys(ids)) highest = Math.max(highest, checkId(`the id of ${quote(token)}`, ids[token]));
    if (type === "BPE") checkMerges(model, ids);
  } else throw new TypeError(`${FILE}: "model.type" is ${show(type)}, expected "BPE", "Unigram" or "WordPiece": only these are supported`);

  const added = root["added_tokens"] ?? [], special = new Set<number>();
  if (!Array.isArray(added)) throw wrong("added_tokens", "a list", added);
  added.forEach((item, i) => {
    const { id, content, special: steers } = object(`added_tokens[${i}]`, item);
    if (typeof content !== "string") throw wrong(`added_tokens[${i}].content`, "a string", content);
    const checked = checkId(`the id of ${quote(content)}`, id);
    highest = Math.max(highest, checked);
    if (steers === true) special.add(checked);
  });
  if (highest < 0) throw new RangeError(`${FILE} has no tokens at all: download it again`);

  const sections = Object.fromEntries(["normalizer", "pre_tokenizer", "post_processor", "decoder"].map((name) => {
    const section = root[name] ?? null;
    if (section !== null) object(name, section);
    return [name, section];
  }));
  return { json: { ...root, ...sections, model: { ...model, type }, added_tokens: added }, vocabSize: highest + 1, special };
}

/** Text or an object → an object. */
export function asObject(file: string, source: unknown): Json {
  let value = source;
  if (typeof source === "string") {
    try {
      value = JSON.parse(source);
    } catch (error) {
      // the parser's message would quote the file
      throw new TypeError(`${file} is no JSON: download it again`, { cause: error });
    }
  }
  if (isObject(value) && !ArrayBuffer.isView(value) && !(value instanceof ArrayBuffer)) return value;
  throw new TypeError(`${file} is ${kindOf(value)}, expected an object or its JSON text: decode bytes with TextDecoder`);
}

/** What a value is, for an error. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return value.constructor?.name && value.constructor !== Object ? value.constructor.name : "an object";
  return `a ${typeof value}`;
}

/** Unigram: ids are places in the list. Returns the highest. */
function checkPieces(vocab: unknown, unknownId: unknown): number {
  if (!Array.isArray(vocab)) throw wrong("model.vocab", "a list of [token, score]", vocab);
  vocab.forEach((piece, i) => {
    const good = Array.isArray(piece) && typeof piece[0] === "string" && typeof piece[1] === "number";
    if (!good) throw wrong(`model.vocab[${i}]`, "[token, score]", piece);
  });
  if (vocab.length > MAX_VOCAB) throw new RangeError(`${FILE} has ${vocab.length} tokens, expected at most ${MAX_VOCAB}`);
  if (unknownId !== undefined && unknownId !== null && checkId(`"model.unk_id"`, unknownId) >= vocab.length) {
    throw new RangeError(`${FILE}: "model.unk_id" is ${unknownId}, expected below ${vocab.length}, the number of tokens: download it again`);
  }
  return vocab.length - 1;
}

/** BPE: every merge joins two strings to a token; one that did not would make encode lose text. */
function checkMerges(model: Json, vocab: Json): void {
  const merges = model["merges"];
  if (!Array.isArray(merges)) throw wrong("model.merges", "a list", merges);
  const prefixed = Boolean(model["continuing_subword_prefix"]);
  // the library reads all merges as it reads the first
  const pairs = Array.isArray(merges[0]);
  merges.forEach((merge: unknown, i) => {
    const parts: unknown = pairs ? merge : typeof merge === "string" ? merge.split(" ") : undefined;
    if (!Array.isArray(parts) || parts.length !== 2 || typeof parts[0] !== "string" || typeof parts[1] !== "string") {
      throw wrong(`model.merges[${i}]`, pairs ? "a pair of tokens" : `"token token"`, merge);
    }
    if (!prefixed && !Object.hasOwn(vocab, parts[0] + parts[1])) {
      throw new RangeError(`${FILE}: "model.merges[${i}]" makes ${quote(parts[0] + parts[1])}, which is not in the vocabulary: download it again`);
    }
  });
}

function checkId(what: string, id: unknown): number {
  if (typeof id !== "number") throw new TypeError(`${FILE}: ${what} is ${kindOf(id)}, expected a number: download it again`);
  if (!Number.isInteger(id) || id < 0 || id >= MAX_VOCAB) {
    throw new RangeError(`${FILE}: ${what} is ${id}, expected an integer from 0 to ${MAX_VOCAB - 1}: download it again`);
  }
  return id;
}

function object(path: string, value: unknown): Json {
  if (!isObject(value)) throw wrong(path, "an object", value);
  return value;
}

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const show = (value: unknown): string => (typeof value === "string" ? quote(value) : kindOf(value));
const wrong = (path: string, expected: string, came: unknown): TypeError =>
  new TypeError(`${FILE}: "${path}" is ${show(came)}, expected ${expected}: download it again`);
