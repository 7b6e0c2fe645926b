// tokenizer.json and tokenizer.model, each of which then reads and writes two texts.
import { readFileSync } from "node:fs";
import { openTokenizer } from "../../../bindings/tokenizer/index.ts";
import { booksJson, sentencePieceJson } from "../../bindings/tokenizer/tokenizers.ts";
import { joined, mutate, mutateJson, pick, utf8 } from "../mutate.ts";
import type { Target } from "../target.ts";

const text = new TextDecoder();
const texts = ["the cab  12, é漢 👋", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"];

async function use(file: string | Uint8Array): Promise<void> {
  const { encode, decode } = await openTokenizer(file);
  for (const each of texts) decode(encode(each));
}

const values = [
  '"Regex"', '"String"', '"(a+)+$"', '"(a|a)*b"', '"a*b|c"', '"[a"', '"(?=a)"', '"\\\\p{L}+"', '"(a{1000}){1000}"',
  '"Sequence"', '"Split"', '"Replace"', '"ByteLevel"',
  '"Metaspace"', '"Unigram"', '"WordPiece"', '"BPE"', '"WordLevel"', '"TemplateProcessing"', '"Precompiled"',
  '"Lowercase"', '"NFKC"', '"ByteFallback"', '"Fuse"', '"Strip"',
  '{"type":"Split","pattern":{"Regex":"(a+)+b"},"behavior":"Isolated","invert":false}',
  '{"type":"Replace","pattern":{"Regex":"a"},"content":"aa"}', '{"type":"Lowercase"}',
  '{"id":0,"content":"a","special":true,"normalized":false}', '["a","a"]', '"a a"', '{"type":"FixedLength","length":0}',
  '{"type":"Prepend","prepend":"a"}',
];
const tokens = ['"', "{", "}", "[", "]", ",", ":", "-1", "1e9", "null", "{}", '""', '"__proto__":', '"$&"',
  '"pattern":{"Regex":"[a"}', '"length":0'].map((token) => utf8.encode(token));

const vocab = Object.fromEntries([..."abc the<>s[]▁Ġ"].map((token, id) => [token, id]));
const pre_tokenizer = {
  type: "Sequence", pretokenizers: [
    { type: "Split", pattern: { Regex: "\\p{L}+| " }, behavior: "Isolated", invert: false },
    { type: "Digits", individual_digits: true }, { type: "ByteLevel", use_regex: true },
    { type: "FixedLength", length: 3 },
  ],
};

const tokenizerJson: Target = {
  name: "tokenizer-json",
  share: 5,
  ours: /^tokenizer\.json|^the vocabulary has no token/,
  async seeds() {
    const bpe = { type: "BPE", vocab: { ...vocab, ab: 20 }, merges: ["a b"] };
    return [
      sentencePieceJson("replace"), sentencePieceJson("metaspace"),
      { model: bpe, pre_tokenizer, decoder: { type: "ByteLevel" } },
      {
        model: { type: "WordPiece", unk_token: "a", continuing_subword_prefix: "##", vocab },
        decoder: { type: "WordPiece", prefix: "##" },
        normalizer: { type: "BertNormalizer", lowercase: true }, pre_tokenizer: { type: "BertPreTokenizer" },
        post_processor: { type: "BertProcessing", sep: ["s", 9], cls: ["a", 0] },
      },
      {
        model: { type: "Unigram", unk_id: 0, vocab: [["a", -1], ["b", -2.5], ["ab", -2]] },
        normalizer: { type: "NFKC" }, pre_tokenizer: { type: "Whitespace" },
      },
      JSON.parse(booksJson),
    ].map((file) => utf8.encode(JSON.stringify(file)));
  },
  mutate(seeds, random) {
    // the last is a whole one, which takes its time
    const seed = random(100) ? seeds[random(seeds.length - 1)]! : pick(seeds, random);
    return random(4) ? utf8.encode(mutateJson(text.decode(seed), random, values)) : mutate(seed, random, tokens, seeds);
  },
  read: (bytes) => use(text.decode(bytes)),
};

const golden = JSON.parse(readFileSync(new URL("../../golden/sentencepiece.json", import.meta.url),
  "utf8")) as Record<string, { model: string }>;
// messages, varints that go on, lengths that do not fit, pieces that are there already
const fields: Uint8Array[] = [[0x0a, 0], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], [0x0a, 0x80, 0x80], [0x18, 6],
  [0x18, 0xff, 1], [0x12, 0], [0x1a, 2, 0x12, 0], [0x15, 0, 0, 0xc0, 0x7f], [0x08], [0x0b], [0x0d]].map((bytes) =>
  Uint8Array.from(bytes));
const piece = (content: string): Uint8Array => {
  const bytes = utf8.encode(content);
  return Uint8Array.of(0x0a, bytes.length + 2, 0x0a, bytes.length, ...bytes);
};
fields.push(...["a", "▁", "ab", "aa", "aaaa", "aaaaaaaa", "<0x41>", "\u0000", "é漢", "x".repeat(80)].map(piece));

const tokenizerModel: Target = {
  name: "tokenizer-model",
  share: 9,
  // a text that is no tokenizer.model is read as JSON
  ours: /^tokenizer\.(model|json)|^the vocabulary has no token/,
  seeds: async () => Object.values(golden).map(({ model }) => Uint8Array.from(Buffer.from(model, "base64"))),
  mutate(seeds, random) {
    const seed = pick(seeds, random), changed: Uint8Array = mutate(seed, random, fields, seeds);
    return random(3) ? changed : joined(changed, ...Array.from({ length: random(20) }, () => pick(fields, random)));
  },
  read: use,
};

export const tokenizers: readonly Target[] = [tokenizerJson, tokenizerModel];
