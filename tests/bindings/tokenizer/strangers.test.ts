// Files of strangers: each part is known and well-formed or named in one error at load, patterns take time that is
// linear in the text, and nothing is written to the console.
import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { safetensorsBytes } from "../../../bindings/checkpoint/index.ts";
import { load } from "../../../bindings/index.ts";
import { openTokenizer, tokenizerFrom } from "../../../bindings/tokenizer/index.ts";
import { linearPattern } from "../../../bindings/tokenizer/linear.ts";
import { isLinear } from "../../../bindings/tokenizer/patterns.ts";
import { lmEntries, tinyLmConfig } from "../../golden/tiny-lm.ts";
import { rejects } from "../checkpoint/fixtures.ts";
import { writeEntries } from "../tiny.ts";

const { warn, error, log } = console;
test.before(() => {
  for (const name of ["warn", "error", "log"] as const) {
    console[name] = (...said: unknown[]) => {
      throw new Error(`console.${name}: ${said.join(" ")}`);
    };
  }
});
test.after(() => void Object.assign(console, { warn, error, log }));

const vocab = Object.fromEntries([..."abcdefghij !?<>s$0123"].map((token, id) => [token, id]));
const model = { type: "BPE", vocab, merges: [] };
const split = (pattern: unknown, behavior = "Isolated") =>
  ({ model, pre_tokenizer: { type: "Split", pattern, behavior } });
const pre = (...pretokenizers: unknown[]) => ({ model, pre_tokenizer: { type: "Sequence", pretokenizers } });
const sequence = (parts: readonly unknown[]) => ({ model, normalizer: { type: "Sequence", normalizers: parts } });
const template = (...single: unknown[]) => ({ model, post_processor: { type: "TemplateProcessing", single } });
const replace = (pattern: unknown, content: unknown = "") => ({ type: "Replace", pattern, content });

const bad: [what: string, json: unknown, message: RegExp, Kind?: Function][] = [
  ["a pre-tokenizer", { model, pre_tokenizer: { type: "Magic" } },
    /"pre_tokenizer\.type" is "Magic", expected "Sequence", .* or/],
  ["one in a list", pre({ type: "Digits" }, { type: "Nmt" }),
    /"pre_tokenizer\.pretokenizers\[1\]\.type" is "Nmt", expected/],
  ["no type", { model, normalizer: {} }, /"normalizer\.type" is undefined/],
  ["a type of Object.prototype", { model, decoder: { type: "constructor" } }, /"decoder\.type" is "constructor"/],
  ["null in a list", sequence([null]), /"normalizer\.normalizers\[0\]" is null, expected an object/],
  ["no list", { model, decoder: { type: "Sequence" } }, /"decoder\.decoders" is undefined, expected a list/],
  ["a field", { model, normalizer: { type: "Lowercase", locale: "tr" } },
    /"normalizer" \(Lowercase\) has the field "locale", expected none but "type": only these are supported/],
  ["a field's kind", { model, pre_tokenizer: { type: "ByteLevel", use_regex: "yes" } },
    /"pre_tokenizer\.use_regex" is "yes", expected true or false/],
  ["a pattern that is text", split("a"), /"pre_tokenizer\.pattern" is "a", expected an object/],
  ["a pattern of both kinds", split({ Regex: "a", String: "a" }),
    /"pre_tokenizer\.pattern" is an object, expected an object with/],
  ["a pattern of no kind", split({ Glob: "a" }), /"pre_tokenizer\.pattern" has the field "Glob"/],
  ["an empty pattern", split({ Regex: "" }),
    /"pre_tokenizer\.pattern\.Regex" is "", expected a string of 1 to 2048 characters/],
  ["a pattern of a book", split({ String: "a".repeat(3000) }),
    /"pre_tokenizer\.pattern\.String" is "a+…", expected a string/],
  ["no pattern", { model, normalizer: replace(undefined) }, /"normalizer\.pattern" is undefined/],
  ["no content", sequence([replace({ String: "a" }, 5)]),
    /"normalizer\.normalizers\[0\]\.content" is 5, expected a string/],
  ["no length", pre({ type: "FixedLength", length: 0 }),
    /"pre_tokenizer\.pretokenizers\[0\]\.length" is 0, expected a whole/],
  ["a long replacement", pre({ type: "Metaspace", replacement: "ab" }),
    /\.replacement" is "ab", expected one character/],
  ["a scheme", { model, decoder: { type: "Metaspace", prepend_scheme: "last" } },
    /\.prepend_scheme" is "last", expected "always"/],
  ["a behaviour", pre({ type: "Punctuation", behavior: "Sideways" }),
    /\.behavior" is "Sideways", expected "Isolated", "Removed"/],
  ["no template", { model, post_processor: { type: "TemplateProcessing" } },
    /"post_processor\.single" is undefined, expected a list/],
  ["a second text", template({ Sequence: { id: "B", type_id: 1 } }),
    /"post_processor\.single\[0\]\.Sequence\.id" is "B", expected "A"/],
  ["an empty piece", template({}),
    /"post_processor\.single\[0\]" is an object, expected an object with SpecialToken or Seq/],
  ["ends that are none", { model, post_processor: { type: "BertProcessing", sep: "s" } },
    /"post_processor\.sep" is "s"/],
  ["two templates",
    { model, post_processor: { type: "Sequence", processors: [0, 1].map(() => template().post_processor) } },
    /"post_processor\.processors" has several parts that add tokens/],
  ["a prefix of BPE", { model: { ...model, continuing_subword_prefix: "##" } },
    /"model\.continuing_subword_prefix" is "##", which is not/],
  ["bytes of Unigram", { model: { type: "Unigram", vocab: [["a", -1]], byte_fallback: true } },
    /"model\.byte_fallback" is true/],
  ["no pieces", { model: { type: "Unigram", vocab: [] }, added_tokens: [{ id: 0, content: "a" }] },
    /"model\.vocab" is empty/,
    RangeError],
  ["words of a book", { model: { type: "WordPiece", vocab, max_input_chars_per_word: 1e9 } },
    /"model\.max_.*_word" is 1000000000/],
  ["an added token's flag", { model, added_tokens: [{ id: 3, content: "x", lstrip: 1 }] },
    /"added_tokens\[0\]\.lstrip" is 1/],
  ["too many parts", sequence(Array.from({ length: 65 }, () => ({ type: "NFC" }))),
    /"normalizer\.normalizers" has 65 items/, RangeError],
  ["parts in parts",
    { model, normalizer: Array.from({ length: 70 }).reduce((inner: object) => sequence([inner]).normalizer, {}) },
    /has more than 64 parts/, RangeError],
  ["a text that grows and grows", sequence(Array.from({ length: 40 }, () => replace({ String: "a" }, "aa"))),
    /"normalizer\.normalizers\[10\]" \(Replace\) may make a text more than 1024 times as long/, RangeError],
  ["bytes of bytes", pre(...Array.from({ length: 9 }, () => ({ type: "ByteLevel" }))),
    /may make a text more than 1024/, RangeError],
];
for (const [what, json, message, Kind = TypeError] of bad) {
  test(`refused: ${what}`, async () => {
    for (const open of [tokenizerFrom, openTokenizer]) await rejects(() => open(json), message, Kind);
    await rejects(() => openTokenizer(json), /^tokenizer\.json(: "| has)/, Kind);
  });
}

test("refused: additional_special_tokens that are no list", () => {
  const message = /^tokenizer_config\.json: "additional_special_tokens" is an object, expected a list$/;
  return rejects(() => tokenizerFrom({ model }, { additional_special_tokens: {} }), message, TypeError);
});

test("content is put as it stands", () => {
  const { encode, decode } = tokenizerFrom({ model, normalizer: replace({ String: "a" }, "$$&$1$'") });
  assert.is(decode(encode("bab")).replaceAll(" ", ""), "b$$$1$b");
});

const { raw } = String;
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)", begin = raw`[^\r\n\p{L}\p{N}]?`;
const rest = raw`\s*[\r\n]+|\s+(?!\S)|\s+`;
const words = (but: string, after: string): string => {
  const first = raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}${but}]`, next = raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}${but}]`;
  return `${begin}${first}*${next}+${after}|${begin}${first}+${next}*${after}`;
};
/** As published files have them. */
const published: Readonly<Record<string, string>> = {
  "GPT-2": raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  "GPT-4, Llama 3": raw`${contractions}|${begin}\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${rest}`,
  "GPT-4 of tiktoken":
    raw`'(?i:[sdmt]|ll|ve|re)|${begin}+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s`,
  "GPT-4o, Llama 4": raw`${words("", `${contractions}?`)}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${rest}`,
  "Mistral's Tekken": raw`${words("", "")}|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${rest}`,
  Kimi: raw`[\p{Han}]+|${words(raw`&&[^\p{Han}]`, `${contractions}?`)}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|${rest}`,
  "Qwen 2": raw`${contractions}|${begin}\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|${rest}`,
  "Qwen 3.5": raw`${contractions}|${begin}[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|${rest}`,
  "DeepSeek V3": raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${"`"}{|}~][A-Za-z]+|[^${"\r\n"}\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|`
    + raw` ?[\p{P}\p{S}]+[${"\r\n"}]*|\s*[${"\r\n"}]+|\s+(?!\S)|\s+`,
  "DeepSeek's Chinese": "[一-龥぀-ゟ゠-ヿ]+", "DeepSeek's numbers": raw`\p{N}{1,3}`, "DeepSeek's lines": "[\r\n]",
  Bloom: raw` ?[^(\s|[.,!?…。，、।۔،])]+`, Falcon: "[0-9][0-9][0-9]", T5: " {2,}", spaces: raw`\s+`,
};

/** What reaches every alternative, and runs as long as it may. */
const runs = [
  "( ", "a", "A", "ǅ", "\u0301", "漢", "1", " ", "\n", "\n ", " \n", "!", "'", "a ", "A1", " !", "'S", "\u0301a",
  "Aa\u0301",
];

/** As the library splits, by its own pattern or another. */
const splits = (regex: string, text: string, pattern?: object): string[] => {
  const part = new SplitPreTokenizer({ type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false });
  return part.pre_tokenize_text.call(pattern ? { pattern, config: {} } : part, text);
};

for (const [name, pattern] of Object.entries(published)) {
  test(`${name}: known, and linear`, () => {
    assert.ok(isLinear(pattern));
    for (const run of runs) {
      const text = `${run.repeat(200_000 / run.length)}x`, started = performance.now();
      assert.is(splits(pattern, text).join(""), text);
      const ms = performance.now() - started;
      assert.ok(ms < 2000, `${JSON.stringify(run)} takes ${ms} ms`);
    }
  });
}

const strange = [
  "(a+)+$", "a*b", "a+b", "a?b?c", "(?:a|b)+", "a*b*c", raw`\s*[\r\n]+|\s`, "(?=a)b", raw`(a)\1`, "a{1000}", "^a",
  "a$", "a++b", "a*?", raw`x\s+(?!\S)`, raw`(?:a|\s+(?!\S))`, "[a&&[b]]", "a{,3}", "a|", "|a", "(", "[", "\\", "a**",
];
test("patterns of other forms are not known", () => {
  for (const pattern of strange) assert.not(isLinear(pattern), pattern);
  // of any length, at once
  for (const part of ["a?", "a*", "(?:a|b)", "a?b*|", "[ab]", "\\s+(?!\\S)|"]) {
    const started = performance.now();
    isLinear(`${part.repeat(2048 / part.length)}(`);
    assert.ok(performance.now() - started < 200, part);
  }
});

/** Pattern, text, pieces: as the reference implementation (tokenizers 0.23.2) splits. */
const pieces: [pattern: string, text: string, pieces: readonly string[]][] = [
  ["(a+)+$", "aab aa", ["aab ", "aa"]],
  [raw`\s+$|\w+`, "ab  \n c ", ["ab", "  ", "\n ", "c", " "]],
  ["x*", "axxb", ["a", "xx", "b"]],
  ["a|ab", "ab", ["a", "b"]],
  ["a{,2}b", "aaab", ["a", "aab"]],
  [raw`(?<n>a)b(c)`, "xabcab", ["x", "abc", "ab"]],
  [raw`[]a]+|[^]x]y`, "]ay", ["]a", "y"]],
  [raw`\x41|\u0042|\x{43}|\e`, "ABC\x1b", ["A", "B", "C", "\x1b"]],
  [raw`\h+|\W|[\w]`, "f0½_漢 \u00a0", ["f0", "½", "_", "漢", " ", "\u00a0"]],
  [raw`(?i:hello)+`, "HelloHELLO!", ["HelloHELLO", "!"]],
  [raw`^\s*b|.+`, "a\n b", ["a", "\n", " b"]],
  [raw`(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, "ae\u0301 b   !👋 ",
    ["ae\u0301 b", "  ", " !👋", " "]],
];
for (const [pattern, text, expected] of pieces) {
  test(`as the reference splits: ${JSON.stringify(pattern)}`, () => {
    assert.equal(splits("a", text, linearPattern(pattern, "")), expected);
  });
}

test("a known pattern splits the same in both engines", () => {
  const text = "Don't STOP-me now,\r\n\r\n  I'm 12345 ½   years \t\n old… e\u0301 漢字 👋🏽 ǅ  ";
  for (const [name, pattern] of Object.entries(published)) {
    // of atoms in atoms and the like there are none
    if (["GPT-4 of tiktoken", "Kimi", "Bloom"].includes(name)) continue;
    assert.equal(splits("a", text, linearPattern(pattern, "")), splits(pattern, text), name);
  }
});

test("patterns of strangers take little time, in every place that has one", async () => {
  const regex = { Regex: "(a+)+$" }, text = `${"a".repeat(5000)}!`, kept = { model, decoder: { type: "Fuse" } };
  await rejects(() => tokenizerFrom(split(regex)), /\.pattern\.Regex" is "\(a\+\)\+\$", .*openTokenizer/, RangeError);
  const places: object[] = [
    { ...kept, ...split(regex) }, { ...kept, normalizer: replace(regex, "b") },
    { ...kept, ...sequence([replace(regex, "b")]) },
    { ...kept, ...pre(replace(regex, "b"), { ...split(regex).pre_tokenizer, invert: true }) },
    { ...kept, ...split(regex, "Removed") },
    { model, decoder: { type: "Sequence", decoders: [{ type: "Fuse" }, replace(regex, "b")] } },
  ];
  const ends = ["aaa", "b", "b", "", "", "b"];
  for (const [i, json] of places.entries()) {
    const { encode, decode } = await openTokenizer(json), started = performance.now();
    if (i !== 3) assert.is(decode(encode(text)), text);
    assert.is(decode(encode("aaa")), ends[i], JSON.stringify(json));
    const ms = performance.now() - started;
    assert.ok(ms < 1000, `${ms} ms`);
  }
  const without = [raw`\d(?=\d*\b)`, raw`(a)\1`, raw`(?<=a)b`, "a++b", "(?>a)", "[a&&[b]]", raw`\bx`, "(?m:a.b)", "("];
  const message = /^tokenizer\.json: "pre_tokenizer\.pattern\.Regex" is ".*", which cannot be run in linear time \(/;
  for (const pattern of without) await rejects(() => openTokenizer(split({ Regex: pattern })), message, TypeError);
  const { encode } = await openTokenizer(split({ Regex: "a*b|a" }));
  assert.is(encode("aaab").length, 4);
  await rejects(() => encode("a".repeat(50_000)), /\.pattern\.Regex" takes too long on 50000/, RangeError);
});

test("added tokens are looked for in the text as a stranger's pattern leaves it", async () => {
  const normal = sequence([replace({ Regex: "b(b|c)*" }, "i")]);
  const added = (content: string) => ({ added_tokens: [{ id: 30, content, normalized: true }], ...normal });
  const { encode, idOf } = await openTokenizer(added("<s>"));
  assert.equal([...encode("abbc<s>")], [idOf("a"), idOf("i"), 30]);
  await rejects(() => openTokenizer(added("<b>")), /"normalizer" changes the token "<b>" by a pattern/, TypeError);
});

test("what cannot be encoded at once is said", () => {
  const { encode } = tokenizerFrom({ model: { type: "Unigram", vocab: [["a", -1]] } });
  assert.is(encode("a".repeat(1000)).length, 1000);
  try {
    encode("a".repeat(400_000));
  } catch (thrown) {
    assert.match((thrown as Error).message, /^400000 characters cannot be encoded at once \(.*\): encode/);
  }
});

test("load: a model with a tokenizer of a stranger", async () => {
  const parts = { config: tinyLmConfig, weights: safetensorsBytes(writeEntries(lmEntries(tinyLmConfig))) };
  const lm = await load({ ...parts, tokenizer: split({ Regex: "(a+)+$" }) }, { threads: 1 });
  assert.equal([...lm.tokenizer!.encode("aab")], [0, 0, 1]);
  lm.dispose();
  const tokenizer = { model, pre_tokenizer: { type: "Magic" } };
  await rejects(() => load({ ...parts, tokenizer }), /"pre_tokenizer\.type" is "Magic"/, TypeError);
});

test.run();
