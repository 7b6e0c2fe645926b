// tokenizer.model: what SentencePiece itself says of files that it made, a file made by hand, and files that nobody
// should have made.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../../bindings/index.ts";
import { tokenizerFrom } from "../../../bindings/tokenizer/index.ts";
import { tokenizerJsonOf } from "../../../bindings/tokenizer/sentencepiece.ts";
import { uniform01 } from "../../../cli/synthetic.ts";
import { growth } from "../../growth.ts";
import { llamaEntries, tinyLlamaConfig } from "../../golden/tiny-llama.ts";
import { safetensorsBytes } from "../../../bindings/checkpoint/index.ts";
import { withFolder, writeEntries } from "../tiny.ts";

const golden = JSON.parse(readFileSync(new URL("../../golden/sentencepiece.json", import.meta.url), "utf8")) as Record<
  string,
  { model: string; cases: { text: string; ids: number[]; back: string }[] }
>;

for (const [name, { model, cases }] of Object.entries(golden)) {
  test(`ids and text as SentencePiece has them: ${name}`, () => {
    const tokenizer = tokenizerFrom(new Uint8Array(Buffer.from(model, "base64")));
    for (const { text, ids, back } of cases) {
      assert.equal([...tokenizer.encode(text, { special: false })], ids, JSON.stringify(text));
      assert.equal([...tokenizer.encode(text)], [1, ...ids], JSON.stringify(text));
      // its text for an unknown piece is one of its own; here it is left out, as special tokens are
      if (!ids.includes(0)) assert.is(tokenizer.decode(ids), back);
    }
  });
}

// by hand

const [UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [2, 3, 4, 5, 6];
type Piece = readonly [text: string, score: number, kind?: number];

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) + 128, ...varint(Math.floor(n / 128))]);
const message = (field: number, bytes: ArrayLike<number>): number[] => [
  ...varint(field * 8 + 2), ...varint(bytes.length), ...Array.from(bytes),
];
const number = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)];
const pieceBytes = ([text, score, kind]: Piece): number[] =>
  message(1, [
    ...message(1, new TextEncoder().encode(text)), 21, ...new Uint8Array(Float32Array.of(score).buffer),
    ...(kind === undefined ? [] : number(3, kind)),
  ]);

function modelOf(
  pieces: readonly Piece[],
  { trainer = number(3, 2), normaliser = number(4, 0) }: { trainer?: number[]; normaliser?: number[] } = {},
): Uint8Array {
  return Uint8Array.from([...pieces.flatMap(pieceBytes), ...message(2, trainer), ...message(3, normaliser)]);
}

const allBytes: Piece[] = Array.from({ length: 256 }, (_, byte) => [
  `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`, 0, BYTE,
]);
const special: Piece[] = [["<unk>", 0, UNKNOWN], ["<s>", 0, CONTROL], ["</s>", 0, CONTROL]];
// "ab" before "bc", "abc" of either; "xy" and "yx" share a score
const letters: Piece[] = [
  ["ab", -1], ["bc", -2], ["abc", -3], ["▁abc", -4], ["xy", -5], ["yx", -5], ["▁", -6], ["a", -7], ["b", -8], ["c", -9],
  ["x", -10], ["y", -11],
];
const base = special.length + allBytes.length;
const idOf = (text: string): number => base + letters.findIndex(([piece]) => piece === text);

test("a file made by hand: better scores merge first, what no piece has is bytes", () => {
  const tokenizer = tokenizerFrom(modelOf([...special, ...allBytes, ...letters]));
  assert.is(tokenizer.vocabSize, base + letters.length);
  const pieces = (text: string): number[] => [...tokenizer.encode(text, { special: false })];
  assert.equal(pieces("abc"), [idOf("▁abc")]);
  assert.equal(pieces("aabcbc"), ["▁", "a", "abc", "bc"].map(idOf));
  assert.equal(pieces("bcab ab"), ["▁", "bc", "ab", "▁", "ab"].map(idOf));
  assert.equal(pieces("xyx"), ["▁", "xy", "x"].map(idOf));
  assert.equal(pieces("é\n"), [idOf("▁"), 3 + 0xc3, 3 + 0xa9, 3 + 10]);
  assert.equal([...tokenizer.encode("abc</s>")], [1, idOf("▁abc"), 2]);
  for (const text of ["abc", " abc  é漢👋\n", "", "xyzzy <s"]) assert.is(tokenizer.decode(tokenizer.encode(text)), text);
  assert.is(tokenizer.decode([1, idOf("▁abc"), 2], { special: true }), "<s> abc</s>");
});

test("a model that has no token to begin a text with, and one that has another", () => {
  const other = number(41, 2), none = [...varint(41 * 8), 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
  assert.equal(
    [...tokenizerFrom(modelOf([...special, ...letters], { trainer: [...number(3, 2), ...other] })).encode("abc")],
    [2, 6],
  );
  assert.equal(
    [...tokenizerFrom(modelOf([...special, ...letters], { trainer: [...number(3, 2), ...none] })).encode("abc")],
    [6],
  );
});

test("text that the vocabulary cannot spell is the unknown token", () => {
  assert.equal(
    [...tokenizerFrom(modelOf([...special, ...letters])).encode("a漢字a", { special: false })],
    [9, 10, 0, 10],
  );
});

function throws(bytes: Uint8Array, kind: Function, message: RegExp): void {
  try {
    tokenizerFrom(bytes);
  } catch (error) {
    assert.instance(error, kind);
    assert.match((error as Error).message, message);
    return;
  }
  assert.unreachable(`expected an error like ${message}`);
}

test("kinds of models that are not supported say so, with the remedy", () => {
  const remedy =
    /which is not supported: save the tokenizer as tokenizer\.json with a current version of transformers$/;
  for (const [bytes, what] of [
    [modelOf(letters, { trainer: [] }), /^tokenizer\.model is not a byte-pair model, /],
    [modelOf(letters, { trainer: number(3, 1) }), /^tokenizer\.model is not a byte-pair model, /],
    [
      modelOf(letters, { normaliser: message(2, [1, 2, 3]) }),
      /^tokenizer\.model changes the text by normalisation rules, /,
    ],
    [modelOf(letters, { normaliser: number(5, 0) }), /^tokenizer\.model leaves spaces as they are, /],
    [modelOf(letters, { trainer: [...number(3, 2), ...number(24, 1)] }), /has spaces at the ends of words, /],
    [modelOf([...letters, ["q", 0, USER_DEFINED]]), /has a piece, "q", of kind user-defined, /],
    [modelOf([...letters, ["q", 0, UNUSED]]), /has a piece, "q", of kind unused, /],
    [modelOf([["q", 0, 9]]), /of kind 9, /],
  ] as const) {
    throws(bytes, TypeError, what);
    throws(bytes, TypeError, remedy);
  }
});

test("damaged files say what is wrong", () => {
  for (const [bytes, what] of [
    [
      new Uint8Array(0),
      /^tokenizer\.model has no pieces: it is no SentencePiece model, or damaged; download it again$/,
    ],
    [Uint8Array.of(10, 200, 1), /ends 200 bytes too early/],
    [Uint8Array.of(10), /ends 1 bytes too early/],
    [Uint8Array.of(255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255), /a number of more than ten bytes/],
    [Uint8Array.of(11), /a field of type 3/],
    [modelOf([...letters, ["a", 1]]), /has the piece "a" twice/],
    [modelOf([["a", NaN]]), /has a piece, "a", of score NaN/],
    [modelOf([["", 0]]), /has a piece, 0, of 0 characters, expected 1 to 64/],
    [modelOf([["a".repeat(65), 0]]), /has a piece, 0, of 65 characters/],
    [Uint8Array.from(message(1, message(1, [255]))), /has a piece, 0, that is no UTF-8/],
    [
      modelOf([...letters, ...allBytes.slice(1)]),
      /has 255 pieces of kind byte, 255 of them <0x00> to <0xFF>, expected all 256/,
    ],
    [modelOf([...letters, ...allBytes.slice(1), ["<0x100>", 0, BYTE]]), /has 256 pieces of kind byte, 255 of them/],
    [new Uint8Array((16 << 20) + 1), /has 16777217 bytes, expected at most 16777216/],
  ] as const)
    throws(bytes, RangeError, what);
});

test("pieces with the names of an object's own parts are pieces", () => {
  const names = ["__proto__", "constructor", "toString"];
  const tokenizer = tokenizerFrom(modelOf([...special, ...letters, ...names.map((name): Piece => [name, 0])]));
  for (const [i, name] of names.entries()) assert.is(tokenizer.idOf(name), special.length + letters.length + i);
});

test("mutated and cut files end in a tokenizer or a clean error", () => {
  const whole = modelOf([...special, ...allBytes.slice(0, 0), ...letters]), u = uniform01("mutations", 6000);
  for (let i = 0; i < 2000; i++) {
    const bytes = whole.slice(0, i < whole.length ? i : whole.length);
    for (let j = 0; i >= whole.length && j < 1 + (i % 3); j++)
      bytes[Math.floor(u[(3 * i + j) % 6000]! * bytes.length)] = Math.floor(u[(7 * i + j) % 6000]! * 256);
    try {
      tokenizerJsonOf(bytes);
    } catch (error) {
      assert.ok(error instanceof RangeError || error instanceof TypeError, String(error));
      assert.match((error as Error).message, /^tokenizer\.model /);
    }
  }
});

test("the longest pieces that a file may have take time in proportion to their number", async () => {
  const times = await growth(5000, 20_000, (count) =>
    tokenizerJsonOf(
      modelOf([...letters, ...Array.from({ length: count }, (_, i): Piece => [String(i).padStart(64, "a"), -i])]),
    ),
  );
  assert.ok(times < 10, `four times the pieces take ${times.toFixed(1)} times as long`);
});

test("a folder with tokenizer.model alone", () => {
  const config = { ...tinyLlamaConfig, vocab_size: special.length + letters.length };
  return withFolder(
    {
      "config.json": JSON.stringify(config), "model.safetensors": safetensorsBytes(writeEntries(llamaEntries(config))),
      "tokenizer.model": modelOf([...special, ...letters]),
    },
    async (folder) => {
      const model = await load(folder, { threads: 1 });
      assert.equal([...model.tokenizer!.encode("abc")], [1, 6]);
      const { value } = await model.session().generate("abc", { maxTokens: 1, seed: 1 }).next();
      assert.type((value as { text: string }).text, "string");
      model.dispose();
    },
  );
});

test("a tokenizer.model of another model", () =>
  withFolder(
    {
      "config.json": JSON.stringify(tinyLlamaConfig),
      "model.safetensors": safetensorsBytes(writeEntries(llamaEntries(tinyLlamaConfig))),
      "tokenizer.model": modelOf([...special, ...allBytes, ...letters]),
    },
    async (folder) => {
      let message = "";
      await load(folder, { threads: 1 }).catch((error: Error) => { ({ message } = error); });
      assert.match(
        message, /^tokenizer\.model has 271 tokens, the config's vocab_size is 97: they belong to different models$/,
      );
    },
  ));

test.run();
