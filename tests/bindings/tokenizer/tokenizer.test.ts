import { test } from "uvu";
import * as assert from "uvu/assert";
import { tokenizerFrom } from "../../../bindings/tokenizer/index.ts";
import { seeded } from "../checkpoint/fixtures.ts";
import { booksJson, sentencePieceJson, texts, tokenizers } from "./tokenizers.ts";

const books = tokenizers["byte-level"]!, pieces = tokenizers["SentencePiece, Metaspace"]!;

function throws(run: () => unknown, type: Function, message: RegExp): void {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof type, `${error} is no ${type.name}`);
    assert.match((error as Error).message, message);
    return;
  }
  assert.unreachable(`expected an error like ${message}`);
}

for (const [name, tokenizer] of Object.entries(tokenizers)) {
  for (const [what, text] of Object.entries(texts)) {
    test(`${name}: ${what} comes back`, () => {
      const ids = tokenizer.encode(text);
      assert.instance(ids, Int32Array);
      assert.is(tokenizer.decode(ids), text);
      assert.is(tokenizer.decode([...ids]), text);
    });
  }
}

/** Long texts out of what divides tokenizers: white space of all kinds, words, numbers, signs, special tokens. */
function* longTexts(count: number): Generator<string> {
  const parts = [
    " ", " ", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\ufeff", "a", "it", "'s", "'", "’", "naïve", "é",
    "e\u0301", "42", "3.14", "-", "…", ".", "?!", "🦜", "👩‍🚀", "\ud83d", "한국", "word",
    "<|endoftext|>", "<|", "|>", "\u0000", "x'll", "'LL", "_", "\u2028",
  ];
  const random = seeded(17);
  for (let i = 0; i < count; i++) {
    let text = "";
    while (text.length < 9000) text += parts[random(parts.length)];
    yield text;
  }
}

for (const [name, tokenizer] of Object.entries(tokenizers)) {
  test(`${name}: a long text in turns has the ids of the whole`, async () => {
    let turns = 0;
    for (const text of [
      ...longTexts(4), "no space ".repeat(1000), "nospace".repeat(900), "  two  ".repeat(900), "", "short",
    ]) {
      for (const options of [undefined, { special: false }]) {
        assert.equal(await tokenizer.encodeInTurns(text, options, () => turns++), tokenizer.encode(text, options));
      }
    }
    // where it can be known that nothing reaches over the cuts
    assert.is(turns > 8, name === "byte-level");
  });
}

test("options of other libraries are refused", () => {
  throws(
    () => books.encode("a", { add_special_tokens: false } as object), TypeError,
    /^encode\(\) has no option "add_special_tokens": it has special$/,
  );
  throws(
    () => books.decode([65], { skip_special_tokens: true } as object), TypeError,
    /^decode\(\) has no option "skip_special_tokens": it has special$/,
  );
  for (const options of [null, 5]) {
    throws(() => books.encode("a", options as never), TypeError, /^the options of encode\(\) are/);
  }
  assert.equal([...books.encode("a", { special: undefined })], [65]);
});

test("in turns: what may not be cut is one piece, what turn() throws ends it", async () => {
  const text = "as it comes ".repeat(500), json = JSON.parse(booksJson) as Record<string, object>;
  const changed: object[] = [
    { normalizer: { type: "Lowercase" } }, { pre_tokenizer: { ...json["pre_tokenizer"], add_prefix_space: true } },
    { pre_tokenizer: { ...json["pre_tokenizer"], use_regex: false } },
    { added_tokens: [{ id: 0, content: "it comes as", special: true }] },
    { added_tokens: [{ id: 0, content: "<|endoftext|>", special: true, lstrip: true }] },
    { post_processor: {
      type: "TemplateProcessing", single: [{ Sequence: { id: "A" } }, { SpecialToken: { id: "<|endoftext|>" } }],
      pair: [], special_tokens: {},
    } },
  ];
  for (const change of changed) {
    const other = tokenizerFrom({ ...json, ...change });
    assert.equal(
      await other.encodeInTurns(text, undefined, () => assert.unreachable(JSON.stringify(change))), other.encode(text),
    );
  }
  const stop = new Error("enough");
  await books.encodeInTurns(text, undefined, () => { throw stop; }).then(
    () => assert.unreachable("expected an error"), (error) => assert.is(error, stop),
  );
  await books.encodeInTurns(5 as never, undefined, () => {}).then(
    () => assert.unreachable("expected an error"),
    (error) => assert.match(error.message, /^the text to encode is a number/),
  );
});

test("byte-level: ids as the reference implementation gives them", () => {
  assert.is(books.vocabSize, 4096);
  assert.is(books.idOf("<|endoftext|>"), 0);
  assert.is(books.idOf("a"), 65);
  assert.is(books.idOf("nosuchtoken"), undefined);
  assert.is(books.idOf("__proto__"), undefined);
  assert.equal([...books.encode("a!")], [65, 1]);
  assert.equal([...books.encode(" the")], [books.idOf("Ġthe")]);
});

test("special tokens are encoded, and left out of the text unless asked for", () => {
  const ids = books.encode("end<|endoftext|>.");
  assert.ok(ids.includes(0));
  assert.is(books.decode(ids), "end.");
  assert.is(books.decode(ids, { special: true }), "end<|endoftext|>.");
  assert.is(books.decode([0, 0]), "");
  assert.is(books.decode([]), "");
});

test("what the file puts around a text can be left out", () => {
  assert.is(pieces.encode("he")[0], pieces.idOf("<s>"));
  assert.equal([...pieces.encode("he", { special: false })], [...pieces.encode("he").slice(1)]);
  assert.is(pieces.decode(pieces.encode("he"), { special: true }), "<s> he");
});

test("an added token that is not special is text", () => {
  const ids = pieces.encode("a<tool>b");
  assert.ok(ids.includes(pieces.idOf("<tool>")!));
  assert.is(pieces.vocabSize, pieces.idOf("<tool>")! + 1);
  assert.match(pieces.decode(ids), /^a<tool>/);
});

test("spaces before punctuation stay, whatever tokenizer_config.json says", () => {
  const tokenizer = tokenizerFrom(JSON.parse(booksJson), JSON.stringify({ clean_up_tokenization_spaces: true }));
  assert.is(tokenizer.decode(tokenizer.encode("is n't it ? yes , it 's")), "is n't it ? yes , it 's");
});

test("additional_special_tokens of tokenizer_config.json are special", () => {
  const tokenizer = tokenizerFrom(booksJson, { additional_special_tokens: ["!", "no such token", { content: "a" }] });
  assert.is(tokenizer.decode(tokenizer.encode("a!")), "a");
});

test("a lone surrogate becomes U+FFFD", () => {
  for (const tokenizer of Object.values(tokenizers)) {
    assert.equal(tokenizer.encode("a\ud83db\udc4b"), tokenizer.encode("a\ufffdb\ufffd"));
    assert.is(tokenizer.decode(tokenizer.encode("\ud83d")), "\ufffd");
  }
});

test("bytes that are no UTF-8 become U+FFFD", () => {
  const byte = (value: number): number => pieces.idOf(`<0x${value.toString(16).toUpperCase()}>`)!;
  assert.is(pieces.decode([byte(0xe2), byte(0x82), byte(0xac)]), "€");
  assert.is(pieces.decode([byte(0xe2), byte(0x82)]), "\ufffd");
  assert.is(pieces.decode([byte(0x82), byte(0x82), byte(0x41)]), "\ufffd\ufffdA");
});

test("a long text is encoded", () => {
  const text = `${"the whale and the sea ".repeat(5000)}${"a".repeat(20_000)}`;
  assert.is(books.decode(books.encode(text)), text);
});

test("wrong arguments", () => {
  for (const text of [undefined, null, 5, ["a"], new Uint8Array(2)])
    throws(() => books.encode(text as unknown as string), TypeError, /^the text to encode is .*, expected a string$/);
  throws(() => books.decode("12" as unknown as number[]), TypeError, /^the ids to decode are a string, expected/);
  throws(() => books.decode(null as unknown as number[]), TypeError, /^the ids to decode are null/);
  throws(
    () => books.decode([1, 4096]), RangeError, /^ids\[1\] is 4096, expected the id of a token, an integer below 4096/,
  );
  for (const id of [-1, 1.5, NaN, 2 ** 40, "1", "length"])
    throws(() => books.decode([id as number]), RangeError, /^ids\[0\] is /);
});

test("an id between others that no token has", () => {
  const json = sentencePieceJson("replace");
  json.added_tokens.push({ id: 5000, content: "<far>", special: true, normalized: false });
  const tokenizer = tokenizerFrom(json);
  assert.is(tokenizer.vocabSize, 5001);
  throws(() => tokenizer.decode([4999]), RangeError, /^ids\[0\] is 4999/);
});

test("text that no token stands for", () => {
  const json = { model: { type: "Unigram", unk_id: null, vocab: [["a", -1], ["b", -2]] } };
  const tokenizer = tokenizerFrom(json);
  assert.equal([...tokenizer.encode("ab")], [0, 1]);
  throws(() => tokenizer.encode("az"), RangeError, /^the vocabulary has no token for "z"/);
});

test("sections that may be left out", () => {
  const tokenizer = tokenizerFrom({ model: { vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] } });
  assert.equal([...tokenizer.encode("abba")], [2, 1, 0]);
});

const vocab = { a: 0, b: 1, ab: 2 }, merges = ["a b"], model = { type: "BPE", vocab, merges };
const bad: [string, unknown, Function, RegExp][] = [
  ["no JSON", "{", TypeError, /^tokenizer.json is no JSON: download it again$/],
  ["a page", "<html>", TypeError, /is no JSON/],
  ["a number", "5", TypeError, /^tokenizer.json is a number, expected an object/],
  ["nothing", undefined, TypeError, /^tokenizer.json is undefined/],
  ["null", null, TypeError, /^tokenizer.json is null/],
  ["a list", [], TypeError, /^tokenizer.json is a list/],
  ["bytes", new TextEncoder().encode("{}"), TypeError, /^tokenizer.json is Uint8Array, .*TextDecoder$/],
  ["another file", { vocab_size: 4096 }, TypeError, /^tokenizer.json has no "model"/],
  ["model is a string", { model: "BPE" }, TypeError, /"model" is "BPE", expected an object/],
  ["no vocab", { model: { type: "BPE", merges } }, TypeError, /"model" has no "vocab"/],
  [
    "unknown model", { model: { type: "WordLevel", vocab } }, TypeError,
    /"model.type" is "WordLevel", expected "BPE", "Unigram" or "WordPiece"/,
  ],
  ["no type", { model: { vocab } }, TypeError, /"model.type" is undefined/],
  [
    "vocab is a list", { model: { type: "BPE", vocab: ["a"], merges } }, TypeError,
    /"model.vocab" is a list, expected an object/,
  ],
  ["vocab is empty", { model: { type: "BPE", vocab: {}, merges: [] } }, RangeError, /has no tokens at all/],
  [
    "id is a string", { model: { type: "BPE", vocab: { a: "0" }, merges: [] } }, TypeError,
    /the id of "a" is a string, expected a number/,
  ],
  [
    "id below 0", { model: { type: "BPE", vocab: { a: -1 }, merges: [] } }, RangeError,
    /the id of "a" is -1, expected an integer from 0/,
  ],
  ["id of half", { model: { type: "WordPiece", vocab: { a: 0.5 } } }, RangeError, /the id of "a" is 0.5/],
  [
    "id of a trillion", { model: { type: "BPE", vocab: { a: 1e12 }, merges: [] } }, RangeError,
    /is 1000000000000, expected/,
  ],
  [
    "__proto__ as token", `{"model":{"type":"BPE","vocab":{"__proto__":-3},"merges":[]}}`, RangeError,
    /the id of "__proto__" is -3/,
  ],
  ["no merges", { model: { type: "BPE", vocab } }, TypeError, /"model.merges" is undefined, expected a list/],
  [
    "merge of one", { model: { type: "BPE", vocab, merges: ["ab"] } }, TypeError,
    /"model.merges\[0\]" is "ab", expected "token token"/,
  ],
  [
    "merge of a kind of its own", { model: { type: "BPE", vocab, merges: [["a", "b"], "a b"] } }, TypeError,
    /"model.merges\[1\]" is "a b", expected a pair/,
  ],
  [
    "merge to nothing", { model: { type: "BPE", vocab, merges: ["b a"] } }, RangeError,
    /"model.merges\[0\]" makes "ba", which is not in the vocabulary/,
  ],
  [
    "Unigram's vocab", { model: { type: "Unigram", vocab: { a: 0 } } }, TypeError,
    /"model.vocab" is an object, expected a list/,
  ],
  [
    "Unigram's piece", { model: { type: "Unigram", vocab: [["a", 0], ["b"]] } }, TypeError,
    /"model.vocab\[1\]" is a list, expected \[token, score\]/,
  ],
  [
    "unk_id beyond", { model: { type: "Unigram", vocab: [["a", 0]], unk_id: 1 } }, RangeError,
    /"model.unk_id" is 1, expected below 1/,
  ],
  [
    "added tokens", { model: { type: "BPE", vocab, merges }, added_tokens: {} }, TypeError,
    /"added_tokens" is an object, expected a list/,
  ],
  [
    "added token", { model: { type: "BPE", vocab, merges }, added_tokens: [null] }, TypeError,
    /"added_tokens\[0\]" is null/,
  ],
  [
    "added token's id",
    { model: { type: "BPE", vocab, merges }, added_tokens: [{ id: 1e9, content: "x" }] },
    RangeError,
    /the id of "x" is 1000000000/,
  ],
  [
    "added token's content", { model: { type: "BPE", vocab, merges }, added_tokens: [{ id: 3 }] }, TypeError,
    /"added_tokens\[0\].content" is undefined/,
  ],
  [
    "decoder is a string", { model: { type: "BPE", vocab, merges }, decoder: "x" }, TypeError,
    /"decoder" is "x", expected an object/,
  ],
  ["unknown decoder", { model, decoder: { type: "Magic" } }, TypeError, /"decoder.type" is "Magic", expected "Seq/],
  ["broken normalizer", { model, normalizer: { type: "Sequence", normalizers: [5] } }, TypeError, /s\[0\]" is 5/],
  [
    "template of a stranger",
    {
      model: { type: "BPE", vocab, merges },
      post_processor: { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<s>" } }] },
    },
    RangeError,
    /has no token for "<s>"/,
  ],
];
for (const [what, json, type, message] of bad)
  test(`refused: ${what}`, () => throws(() => tokenizerFrom(json), type, message));

test("refused: a tokenizer_config.json of the wrong kind", () => {
  throws(() => tokenizerFrom(booksJson, "["), TypeError, /^tokenizer_config.json is no JSON/);
  throws(() => tokenizerFrom(booksJson, 5), TypeError, /^tokenizer_config.json is a number, expected an object/);
});

test.run();
