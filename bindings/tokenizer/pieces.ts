// Long texts in pieces whose ids, one after another, are those of the whole: where tokenizer.json lets that be known.

/** Characters of a piece, which take some 10 ms. */
const PIECE = 4096;

type Json = { readonly [key: string]: unknown };

/**
 * Whether a text may be cut before any single space between two other characters. Byte-level vocabularies divide a text
 * by GPT-2's pattern and look at each part alone. Its parts have a space as their first character only, or are nothing but
 * white space, and it looks ahead for white space only after white space: so a part begins at such a space, and what is
 * on one side has no say on the other. Added tokens must not reach over the cut, and nothing may come around each piece.
 */
export function mayCutAtSpaces(json: Json, settings: Json): boolean {
  const section = (name: string): Json => (json[name] ?? {}) as Json;
  const splitter = section("pre_tokenizer"), model = section("model"), { type: dress } = section("post_processor");
  const { remove_space: trimmed, do_lowercase_and_remove_accent: lowered } = settings;
  const asItIs = json["normalizer"] === null && !trimmed && !lowered && !splitter["add_prefix_space"];
  const byPattern = splitter["type"] === "ByteLevel" && splitter["use_regex"] !== false;
  const alone = model["type"] === "BPE" && !model["fuse_unk"] && (dress === undefined || dress === "ByteLevel");
  const plain = ({ content, lstrip, rstrip }: Json): boolean => !/\s/.test(String(content)) && !lstrip && !rstrip;
  return byPattern && asItIs && alone && (json["added_tokens"] as Json[]).every(plain);
}

/** The text in pieces of at least PIECE characters, but for the last. */
export function* piecesOf(text: string): Generator<string> {
  const cut = /\S (?=\S)/gu;
  let from = 0;
  while (from + PIECE < text.length) {
    cut.lastIndex = from + PIECE;
    if (!cut.test(text)) break;
    yield text.slice(from, cut.lastIndex - 1);
    from = cut.lastIndex - 1;
  }
  yield text.slice(from);
}
