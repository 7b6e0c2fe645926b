// The file tokenizer.json, which anyone may have written: nothing in it is believed before it has been looked at.
import { quote } from "../checkpoint/names.ts";
import type { Json } from "./json.ts";
import { FILE, isObject, kindOf, object, wrong } from "./json.ts";
import type { Findings } from "./parts.ts";
import { readAddedToken, readPart } from "./parts.ts";

export interface TokenizerJson {
  /** What the library is to see of the file. */
  readonly json: Json & { readonly added_tokens: readonly (Json & { readonly content: string })[] };
  readonly strange: Findings["strange"];
  /** One more than the highest id. */
  readonly vocabSize: number;
  /** Ids of tokens that steer a model and stand for no text. */
  readonly special: Set<number>;
}

// four times the largest vocabulary published: a list is as long as its highest id
const MAX_VOCAB = 1 << 22;

/**
 * The file's text or parsed object, checked. TypeError for a wrong kind or a missing part, RangeError for an id that
 * cannot be.
 */
export function readTokenizerJson(source: unknown): TokenizerJson {
  const root = asObject(FILE, source);
  if (root["model"] === undefined) {
    throw new TypeError(
      `${FILE} has no "model", expected the file that the tokenizers library saves: the sentencepiece file and `
        + "config.json are others",
    );
  }
  const model = object("model", root["model"]), vocab = model["vocab"];
  if (vocab === undefined || vocab === null)
    throw new TypeError(`${FILE}: "model" has no "vocab": download the file again`);
  const found: Findings = { parts: 0, growth: 1, strange: new Map() };
  const type = model["type"] ?? (Array.isArray(vocab) ? "Unigram" : model["merges"] ? "BPE" : undefined);
  const checked = readPart("model", { ...model, type }, found);
  let highest = -1;
  if (type === "Unigram") highest = checkPieces(vocab, model["unk_id"]);
  else {
    const ids = object("model.vocab", vocab);
    for (const token of Object.keys(ids)) highest = Math.max(highest, checkId(`the id of ${quote(token)}`, ids[token]));
    if (type === "BPE") checkMerges(model, ids);
  }

  const given = root["added_tokens"] ?? [], special = new Set<number>();
  if (!Array.isArray(given)) throw wrong("added_tokens", "a list", given);
  const added = given.map((item: unknown, i) => {
    const token = readAddedToken(item, `added_tokens[${i}]`, found);
    const id = checkId(`the id of ${quote(token.content)}`, token["id"]);
    highest = Math.max(highest, id);
    if (token["special"] === true) special.add(id);
    return token;
  });
  if (highest < 0) throw new RangeError(`${FILE} has no tokens at all: download it again`);
  const sections = (["normalizer", "pre_tokenizer", "post_processor", "decoder"] as const)
    .map((name) => [name, readPart(name, root[name], found)] as const);
  const json = { ...Object.fromEntries(sections), model: checked, added_tokens: added };
  return { json, strange: found.strange, vocabSize: highest + 1, special };
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
  throw new TypeError(
    `${file} is ${kindOf(value)}, expected an object or its JSON text: decode bytes with TextDecoder`,
  );
}

/** Unigram: ids are places in the list. Returns the highest. */
function checkPieces(vocab: unknown, unknownId: unknown): number {
  if (!Array.isArray(vocab)) throw wrong("model.vocab", "a list of [token, score]", vocab);
  vocab.forEach((piece, i) => {
    const good = Array.isArray(piece) && typeof piece[0] === "string" && typeof piece[1] === "number";
    if (!good) throw wrong(`model.vocab[${i}]`, "[token, score]", piece);
  });
  if (vocab.length === 0) throw new RangeError(`${FILE}: "model.vocab" is empty, expected tokens: download it again`);
  if (vocab.length > MAX_VOCAB)
    throw new RangeError(`${FILE} has ${vocab.length} tokens, expected at most ${MAX_VOCAB}`);
  if (unknownId !== undefined && unknownId !== null && checkId(`"model.unk_id"`, unknownId) >= vocab.length) {
    throw new RangeError(
      `${FILE}: "model.unk_id" is ${unknownId}, expected below ${vocab.length}, the number of tokens: download `
        + "it again",
    );
  }
  return vocab.length - 1;
}

/** BPE: every merge joins two strings to a token; one that did not would make encode lose text. */
function checkMerges(model: Json, vocab: Json): void {
  const merges = model["merges"];
  if (!Array.isArray(merges)) throw wrong("model.merges", "a list", merges);
  // the library reads all merges as it reads the first
  const pairs = Array.isArray(merges[0]);
  merges.forEach((merge: unknown, i) => {
    const parts: unknown = pairs ? merge : typeof merge === "string" ? merge.split(" ") : undefined;
    if (!Array.isArray(parts) || parts.length !== 2 || typeof parts[0] !== "string" || typeof parts[1] !== "string") {
      throw wrong(`model.merges[${i}]`, pairs ? "a pair of tokens" : `"token token"`, merge);
    }
    if (!Object.hasOwn(vocab, parts[0] + parts[1])) {
      throw new RangeError(
        `${FILE}: "model.merges[${i}]" makes ${quote(parts[0] + parts[1])}, which is not in the vocabulary: `
          + "download it again",
      );
    }
  });
}

function checkId(what: string, id: unknown): number {
  if (typeof id !== "number")
    throw new TypeError(`${FILE}: ${what} is ${kindOf(id)}, expected a number: download it again`);
  if (!Number.isInteger(id) || id < 0 || id >= MAX_VOCAB) {
    throw new RangeError(
      `${FILE}: ${what} is ${id}, expected an integer from 0 to ${MAX_VOCAB - 1}: download it again`,
    );
  }
  return id;
}
