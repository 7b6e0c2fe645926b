// Text to token ids and back, as a model's tokenizer.json says (BPE, Unigram, WordPiece) or its tokenizer.model: @huggingface/tokenizers
// behind checks.
// Only language code imports this module: image models need none of it.
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { quote } from "../checkpoint/names.ts";
import { FILE, kindOf } from "./json.ts";
import { mayCutAtSpaces, piecesOf } from "./pieces.ts";
import { tokenizerJsonOf } from "./sentencepiece.ts";
import type { TokenizerJson } from "./tokenizer-json.ts";
import { asObject, readTokenizerJson } from "./tokenizer-json.ts";

interface TextOptions {
  readonly special?: boolean;
}

export interface Tokenizer {
  /**
   * Text → ids i32 [tokens]. A special token written out in the text, "<|endoftext|>", becomes that token. A lone surrogate is no character
   * and becomes U+FFFD. `special: false` leaves out what the file puts around every text, such as a token that begins it.
   * TypeError when `text` is no string; RangeError when the vocabulary has no token for a part of it, nor one for the unknown.
   */
  encode(text: string, options?: TextOptions): Int32Array;
  /**
   * encode() of a long text in pieces, with `turn` awaited between them, so that others have theirs: the same ids.
   * Where the file does not say that texts may be cut, as SentencePiece's do not, it is one piece.
   */
  encodeInTurns(text: string, options?: TextOptions, turn?: () => unknown): Promise<Int32Array>;
  /**
   * Ids → text, exactly: no clean-up of spaces, whatever tokenizer_config.json says. Bytes that are no UTF-8 become U+FFFD.
   * Special tokens are left out, unless `special` is true. RangeError for an id that no token has.
   */
  decode(ids: ArrayLike<number>, options?: TextOptions): string;
  /** One more than the highest id; a model's logits may be longer, padded. */
  readonly vocabSize: number;
  /** The id of a token as tokenizer.json spells it: "<|endoftext|>", or "Ġhello" for " hello" where tokens are bytes. */
  idOf(token: string): number | undefined;
}

/** What is used of the library, whose own types do not resolve everywhere. */
interface Library {
  readonly normalizer: (LibraryPart & ((text: string) => string)) | null;
  readonly pre_tokenizer: LibraryPart | null;
  readonly decoder: LibraryPart | null;
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | null | undefined)[]; tokens: string[] };
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
}

interface LibraryPart {
  readonly config?: { readonly type: string; readonly pattern?: object };
  pattern?: object;
  text_decoder?: TextDecoder;
  readonly normalizers?: (LibraryPart | null)[];
  readonly tokenizers?: (LibraryPart | null)[];
  readonly decoders?: (LibraryPart | null)[];
}

type PatternMaker = (source: string, path: string) => object;

/**
 * A tokenizer from tokenizer.json and, if there is one, tokenizer_config.json: their text or parsed objects, which are
 * not kept track of. Or from the bytes of a SentencePiece tokenizer.model.
 * TypeError for what is no tokenizer.json or uses a part that is not supported, RangeError for an id out of range, or
 * for a pattern of a kind that no published tokenizer has, which takes openTokenizer().
 */
export function tokenizerFrom(json: unknown | string | Uint8Array, config?: unknown): Tokenizer {
  return made(read(json), config, (source, path) => {
    const kind = "a pattern of a kind that no published tokenizer has";
    const remedy = "use await openTokenizer(…), which loads what runs it";
    throw new RangeError(`${FILE}: "${path}" is ${quote(source)}, ${kind}: ${remedy}`);
  });
}

/** As tokenizerFrom(), and for patterns of any kind that RE2 runs, which is loaded for them. TypeError for others. */
export async function openTokenizer(json: unknown | string | Uint8Array, config?: unknown): Promise<Tokenizer> {
  const file = read(json);
  return made(file, config, file.strange.size > 0 ? (await import("./linear.ts")).linearPattern : undefined);
}

/** Bytes are a tokenizer.model, unless they are JSON that nobody decoded. */
const read = (json: unknown): TokenizerJson =>
  readTokenizerJson(json instanceof Uint8Array && json[0] !== 0x7b ? tokenizerJsonOf(json) : json);

function made(file: TokenizerJson, config: unknown, patternOf?: PatternMaker): Tokenizer {
  const { vocabSize, special } = file;
  const settings = config === undefined ? {} : asObject("tokenizer_config.json", config);
  const extra = settings["additional_special_tokens"] ?? [];
  if (!Array.isArray(extra)) {
    throw new TypeError(`tokenizer_config.json: "additional_special_tokens" is ${kindOf(extra)}, expected a list`);
  }
  const library = construct(file, settings, patternOf);
  for (const token of extra) {
    const id = typeof token === "string" ? library.token_to_id(token) : undefined;
    if (id !== undefined) special.add(id);
  }

  function encoded(text: string, add_special_tokens: boolean): ReturnType<Library["encode"]> {
    try {
      return library.encode(text, { add_special_tokens });
    } catch (error) {
      const { message } = error as Error;
      if (message.startsWith(FILE)) throw error;
      // such as the engine's, of a long text without spaces
      const what = `${text.length} characters cannot be encoded at once (${message})`;
      throw new RangeError(`${what}: encode them in parts`, { cause: error });
    }
  }

  function encode(text: string, options: TextOptions = {}): Int32Array {
    if (typeof text !== "string") throw new TypeError(`the text to encode is ${kindOf(text)}, expected a string`);
    checkOptions("encode", options);
    const { ids, tokens } = encoded(text.replace(/\p{Surrogate}/gu, "\ufffd"), options.special ?? true);
    return Int32Array.from(ids, (id, i) => {
      if (typeof id === "number") return id;
      throw new RangeError(`the vocabulary has no token for ${quote(String(tokens[i]))}, nor one for unknown text: use the tokenizer.json of the model`);
    });
  }

  function decode(ids: ArrayLike<number>, options: TextOptions = {}): string {
    if (typeof ids !== "object" || ids === null || !Number.isInteger(ids.length)) {
      throw new TypeError(`the ids to decode are ${kindOf(ids)}, expected an Int32Array or a list of numbers`);
    }
    checkOptions("decode", options);
    const shown: number[] = [];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (!Number.isInteger(id) || library.id_to_token(id) === undefined) {
        throw new RangeError(`ids[${i}] is ${String(id)}, expected the id of a token, an integer below ${vocabSize}: use the tokenizer.json of the model`);
      }
      if (options.special || !special.has(id)) shown.push(id);
    }
    // special tokens are gone already; the library would also trim what is left
    return shown.length === 0 ? "" : library.decode(shown, { skip_special_tokens: false, clean_up_tokenization_spaces: false });
  }

  const divisible = mayCutAtSpaces(file.json, settings);
  async function encodeInTurns(text: string, options?: TextOptions, turn?: () => unknown): Promise<Int32Array> {
    if (typeof text !== "string" || !divisible) return encode(text, options);
    const parts: Int32Array[] = [];
    for (const piece of piecesOf(text)) {
      if (parts.length > 0) await turn?.();
      parts.push(encode(piece, options));
    }
    const ids = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
    parts.reduce((at, part) => (ids.set(part, at), at + part.length), 0);
    return ids;
  }

  // what the file puts around every text must exist
  encode("");
  return { encode, encodeInTurns, decode, vocabSize, idOf: (token) => library.token_to_id(token) };
}

/** `special` is all there is; other libraries have more. */
function checkOptions(call: string, options: object): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`the options of ${call}() are ${kindOf(options)}, expected an object`);
  }
  const stray = Object.entries(options).find(([name, value]) => name !== "special" && value !== undefined);
  if (stray) throw new TypeError(`${call}() has no option ${quote(stray[0])}: it has special`);
}

function construct({ json, strange }: TokenizerJson, settings: object, patternOf?: PatternMaker): Library {
  const patterns = new Map([...strange].map(([standIn, { source, path }]) => [standIn, patternOf!(source, path)]));
  let library: Library;
  try {
    library = new HuggingFaceTokenizer(json, settings) as unknown as Library;
  } catch (error) {
    const why = quote(error instanceof Error ? error.message : String(error)).slice(1, -1);
    const remedy = "save it again with a current version of tokenizers";
    throw new TypeError(`${FILE} cannot be used (${why}): ${remedy}`, { cause: error });
  }
  const { normalizer, pre_tokenizer, decoder } = library;
  // the library has looked for normalised tokens with what stood in
  const before = patterns.size > 0 && normalizer ? json.added_tokens.map(({ content }) => normalizer(content)) : [];
  for (const part of [normalizer, pre_tokenizer, decoder]) prepare(part, patterns);
  before.forEach((text, i) => {
    const { content, special, normalized = special !== true } = json.added_tokens[i]!;
    if (normalized !== true || normalizer!(content) === text) return;
    const how = "by a pattern of a kind that no published tokenizer has";
    throw new TypeError(`${FILE}: "normalizer" changes the token ${quote(content)} ${how}: that is not supported`);
  });
  return library;
}

/** Puts the patterns where others stand in for them. */
function prepare(part: LibraryPart | null, patterns: ReadonlyMap<object, object>): void {
  if (!part) return;
  const { config } = part, pattern = patterns.get(config?.pattern ?? part);
  if (pattern) part.pattern = pattern;
  // which would drop a U+FEFF that begins a run of bytes
  if (config?.type === "ByteFallback") part.text_decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  for (const each of [part.normalizers, part.tokenizers, part.decoders].flat()) prepare(each ?? null, patterns);
}
