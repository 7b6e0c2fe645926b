// Tokenizers for tests: the byte-level one of the language model in models/pretrained, and small ones in the manner of
// SentencePiece.
import { readFileSync } from "node:fs";
import { tokenizerFrom, type Tokenizer } from "../../../bindings/tokenizer/index.ts";
import { uniform01 } from "../../../cli/synthetic.ts";

export const booksJson: string = readFileSync(
  new URL("../../../models/pretrained/slab-lm-books/tokenizer.json", import.meta.url), "utf8",
);

const pairs = ["▁ t", "h e", "▁t he", "l l", "o w", "▁ ▁", "é s"];
const tokens = [
  "<unk>", "<s>", "</s>",
  ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`), "▁",
  ..."abcdefghijklmnopqrstuvwxyzTHE.,!?'é漢", ...pairs.map((pair) => pair.replace(" ", "")), "<tool>",
];

// as older conversions of Llama write it, and as newer ones do
const decoders = {
  replace: [
    { type: "Replace", pattern: { String: "▁" }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" },
    { type: "Strip", content: " ", start: 1, stop: 0 },
  ],
  metaspace: [
    { type: "ByteFallback" },
    { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
  ],
};

/** A tokenizer.json: characters, bytes for all others, "▁" for a space, a text begins with <s>. */
export const sentencePieceJson = (decoder: keyof typeof decoders) => ({
  added_tokens: [
    ...["<unk>", "<s>", "</s>"].map((content, id) => ({ id, content, special: true, normalized: false })),
    { id: tokens.length - 1, content: "<tool>", special: false, normalized: false },
  ],
  normalizer: null,
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }], pair: [],
  },
  decoder: { type: "Sequence", decoders: decoders[decoder] },
  model: {
    type: "BPE", unk_token: "<unk>", byte_fallback: true, fuse_unk: true,
    vocab: Object.fromEntries(tokens.slice(0, -1).map((token, id) => [token, id])), merges: pairs,
  },
});

export const tokenizers: Record<string, Tokenizer> = {
  "byte-level": tokenizerFrom(booksJson),
  "SentencePiece, Replace and Strip": tokenizerFrom(sentencePieceJson("replace")),
  "SentencePiece, Metaspace": tokenizerFrom(sentencePieceJson("metaspace")),
};

export const texts: Record<string, string> = {
  empty: "",
  plain: "It was the best of times, it was the worst of times.",
  spaces: "a  b   c \n\n\t d ",
  emoji: "hi 👋🏽 family 👨‍👩‍👧‍👦 flag 🇳🇿!",
  cjk: "漢字と仮名、한국어。",
  combining: "e\u0301le\u0300ve n\u0303 \u0915\u094d\u0937",
  "right to left": "שלום عالم",
  "replacement characters": "a\ufffdb\ufffd\ufffd\ufffd\ufffdc",
  "byte order mark": "a\ufeffb",
  controls: "\u0000\u0001\u007f\u0085\u2028",
};

/** Seeded integers in [0, below). */
export const integers = (key: string, count: number, below: number): number[] =>
  Array.from(uniform01(key, count), (u) => Math.floor(u * below));
