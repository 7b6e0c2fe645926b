import { test } from "uvu";
import * as assert from "uvu/assert";
import { StopFinder } from "../../bindings/tasks/stop-finder.ts";
import { TextStream } from "../../bindings/tasks/text-stream.ts";
import { tokenizerFrom, type Tokenizer } from "../../bindings/tokenizer/index.ts";
import { integers, texts, tokenizers } from "./tokenizer/tokenizers.ts";

const books = tokenizers["byte-level"]!, pieces = tokenizers["SentencePiece, Metaspace"]!;

/** Every piece, that of end() last. */
function stream(tokenizer: Tokenizer, ids: Iterable<number>, stop?: string[]): { shown: string[]; stream: TextStream } {
  const stream = new TextStream(tokenizer, stop && new StopFinder(stop));
  const shown = [...ids].map((id) => stream.push(id));
  shown.push(stream.end());
  return { shown, stream };
}

/** Exactly decode(ids), and every piece but the last made of whole characters. */
function assertExact(tokenizer: Tokenizer, ids: number[], what: string): void {
  const { shown } = stream(tokenizer, ids), want = tokenizer.decode(ids);
  if (shown.join("") !== want) assert.is(shown.join(""), want, `${what}: ids ${ids}`);
  for (const piece of shown) assert.not.match(piece, /\p{Surrogate}/u);
}

/** One token for each byte: what a vocabulary without merges would have. */
const byteIds: Record<string, (byte: number) => number> = {
  "byte-level": (byte) => {
    const printable = [...Array(256).keys()].filter((b) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
    const others = [...Array(256).keys()].filter((b) => !printable.includes(b));
    return books.idOf(String.fromCharCode(printable.includes(byte) ? byte : 256 + others.indexOf(byte)))!;
  },
  "SentencePiece, Replace and Strip": (byte) => 3 + byte,
  "SentencePiece, Metaspace": (byte) => 3 + byte,
};

for (const [name, tokenizer] of Object.entries(tokenizers)) {
  const bytes = Array.from({ length: 256 }, (_, byte) => byteIds[name]!(byte));

  for (const [what, text] of Object.entries(texts)) {
    test(`${name}: ${what}, streamed`, () => {
      assertExact(tokenizer, [...tokenizer.encode(text)], what);
      assertExact(tokenizer, [...new TextEncoder().encode(text)].map((byte) => bytes[byte]!), `${what}, byte by byte`);
    });
  }

  test(`${name}: random ids`, () => {
    for (let seed = 0; seed < 60; seed++)
      assertExact(tokenizer, integers(`ids ${seed}`, seed * 3, tokenizer.vocabSize), `seed ${seed}`);
    assertExact(tokenizer, integers("many ids", 3000, tokenizer.vocabSize), "many ids");
  });

  test(`${name}: random bytes`, () => {
    // leading bytes, continuation bytes and a letter, so that characters are often begun and seldom finished
    const likely = [0xf0, 0x9f, 0x98, 0x80, 0xe2, 0x82, 0xac, 0xc3, 0xa9, 0x61, 0xef, 0xbb, 0xbf, 0xbd, 0xff].map(
      (byte) => bytes[byte]!,
    );
    for (let seed = 0; seed < 100; seed++) {
      assertExact(tokenizer, integers(`bytes ${seed}`, 200, 256).map((byte) => bytes[byte]!), `seed ${seed}`);
      assertExact(
        tokenizer, integers(`likely ${seed}`, 200, likely.length).map((i) => likely[i]!), `likely bytes, seed ${seed}`,
      );
      // the same ids mixed with special tokens, a space and a word
      const mixed = [...likely, 0, 0, ...tokenizer.encode(" the", { special: false })];
      assertExact(
        tokenizer, integers(`mixed ${seed}`, 200, mixed.length).map((i) => mixed[i]!), `mixed ids, seed ${seed}`,
      );
    }
  });

  test(`${name}: runs of one token`, () => {
    for (const byte of [0x80, 0xbf, 0xe2, 0xf0, 0xff, 0x20, 0x61]) {
      for (const prefix of [[], [0xf0, 0x9f], [0xe2, 0x82]]) {
        for (const suffix of [[], [0x98, 0x80], [0xe2, 0x82, 0xac]]) {
          assertExact(
            tokenizer,
            [...prefix, ...Array(70).fill(byte), ...suffix].map((b: number) => bytes[b]!),
            `${prefix} then ${byte} then ${suffix}`,
          );
        }
      }
    }
    for (const id of [0, 1, 2]) assertExact(tokenizer, Array(70).fill(id), `id ${id}`);
  });

  test(`${name}: no character comes in halves, and invalid bytes come soon`, () => {
    const shown = [0xf0, 0x9f, 0x91, 0x8b].map((byte) => bytes[byte]!), wave = new TextStream(tokenizer);
    assert.equal(shown.map((id) => wave.push(id)), ["", "", "", "👋"]);
    const invalid = new TextStream(tokenizer);
    for (let i = 0, length = 0; i < 100; i++) {
      length += invalid.push(bytes[0x80]!).length;
      assert.ok(length >= i - 3, `${length} characters after ${i + 1} bytes`);
    }
  });
}

test("what a push decodes does not grow with the stream", () => {
  const repeat = (...bytes: number[]): number[] =>
    Array.from({ length: 2000 }, (_, i) => byteIds["byte-level"]!(bytes[i % bytes.length]!));
  for (const ids of [
    integers("long", 2000, 4096), repeat(0x80), repeat(0xe2, 0x82), repeat(0xf0, 0x9f, 0x98), repeat(0x61),
    Array<number>(2000).fill(0),
  ]) {
    let decoded = 0, most = 0;
    const counting: Tokenizer = { ...books, decode: (part, options) => {
      decoded += part.length;
      most = Math.max(most, part.length);
      return books.decode(part, options);
    } };
    stream(counting, ids);
    assert.ok(most <= 32, `${most} ids at once`);
    assert.ok(decoded <= 32 * ids.length, `${decoded} ids for ${ids.length}`);
  }
});

test("spaces between words survive, the first one goes as in decode", () => {
  const ids = pieces.encode("the owl  the  low");
  assert.is(stream(pieces, ids).shown.join(""), "the owl  the  low");
  assert.is(new TextStream(pieces).push(pieces.idOf("▁the")!), "the");
});

test("WordPiece, whose first token reads differently", () => {
  const vocab = Object.fromEntries(
    ["[UNK]", "un", "##want", "##ed", "run", "##ning", ",", "."].map((token, id) => [token, id]),
  );
  const tokenizer = tokenizerFrom({
    model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab },
    pre_tokenizer: { type: "BertPreTokenizer" }, decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  });
  assert.is(tokenizer.decode(tokenizer.encode("unwanted, running.")), "unwanted, running.");
  for (let seed = 0; seed < 50; seed++) assertExact(tokenizer, integers(`pieces ${seed}`, 40, 8), `seed ${seed}`);
});

/** Ids of single characters. */
const letters = (text: string): number[] => [...text].map((c) => books.idOf(c === " " ? "Ġ" : c)!);

test("a stop string across tokens cuts the text before it", () => {
  for (const ids of [letters("the end. More"), [...books.encode("the end. More")]]) {
    for (const [stop, want] of [
      ["end", "the "], ["d. M", "the en"], ["the", ""], ["t", ""], ["More", "the end. "], ["e", "th"],
    ] as const) {
      const { shown, stream: made } = stream(books, ids, [stop]);
      assert.is(shown.join(""), want, stop);
      assert.is(made.stopped, true);
      assert.is(made.push(65), "");
      assert.is(made.end(), "");
    }
  }
});

test("text that may begin a stop string is held back until it is decided", () => {
  const made = new TextStream(books, new StopFinder(["abac"]));
  assert.equal(letters("xabab").map((id) => made.push(id)), ["x", "", "", "", "ab"]);
  assert.equal(letters("a-").map((id) => made.push(id)), ["", "aba-"]);
  assert.equal(letters("aba").map((id) => made.push(id)), ["", "", ""]);
  assert.is(made.end(), "aba");
  assert.is(made.end(), "");
  assert.is(made.stopped, false);
});

test("of overlapping stop strings the one complete first counts, of several at once the longest", () => {
  const cut = (text: string, stop: string[]): string[] =>
    [letters(text), [...books.encode(text)]].map((ids) => stream(books, ids, stop).shown.join(""));
  assert.equal(cut("xabcd", ["abcd", "bc"]), ["xa", "xa"]);
  assert.equal(cut("xabcd", ["cd", "bcd", "d"]), ["xa", "xa"]);
  assert.equal(cut("aaab", ["aab"]), ["a", "a"]);
  assert.equal(cut("one two", ["three", "two", "four"]), ["one ", "one "]);
  assert.equal(cut("ababab", ["abc", "bb"]), ["ababab", "ababab"]);
});

test("stop strings agree with a search of the whole text", () => {
  for (let seed = 0; seed < 300; seed++) {
    const text = integers(`text ${seed}`, 40, 2).map((i) => "ab"[i]).join("");
    const stop = [0, 1, 2].map((n) => integers(`stop ${seed} ${n}`, 4 + 2 * n, 2).map((i) => "ab"[i]).join(""));
    let want = text;
    search: for (let end = 1; end <= text.length; end++) {
      const complete = stop.filter((s) => text.slice(0, end).endsWith(s));
      if (complete.length === 0) continue;
      want = text.slice(0, end - Math.max(...complete.map((s) => s.length)));
      break search;
    }
    for (const ids of [letters(text), [...books.encode(text)]])
      assert.is(stream(books, ids, stop).shown.join(""), want, `${text} until ${stop}`);
  }
});

test("a stop string of characters of several bytes, and one that ends in held back bytes", () => {
  const ids = [...new TextEncoder().encode("hi 👋🏽!")].map((byte) => byteIds["byte-level"]!(byte));
  assert.is(stream(books, ids, ["👋🏽"]).shown.join(""), "hi ");
  assert.is(stream(books, ids, ["👋x"]).shown.join(""), "hi 👋🏽!");
  const unfinished = stream(books, ids.slice(0, 5), ["\ufffd"]);
  assert.is(unfinished.shown.join(""), "hi ");
  assert.is(unfinished.stream.stopped, true);
});

test("special tokens are no text, even inside a stop string", () => {
  const [a, b] = letters("ab");
  assert.equal(stream(books, [0, a!, 0, 0, b!, 0]).shown, ["", "a", "", "", "b", "", ""]);
  assert.is(stream(books, [a!, 0, b!], ["ab"]).shown.join(""), "");
});

test("an unknown id is refused and changes nothing", () => {
  const made = new TextStream(books);
  assert.is(made.push(65), "a");
  assert.throws(() => made.push(4096), (error: Error) => error instanceof RangeError && /4096/.test(error.message));
  assert.is(made.push(66), "b");
});

test("wrong arguments", () => {
  const refused = (stop: unknown, Kind: Function, message: RegExp): void => {
    const good = (error: Error): boolean => error instanceof Kind && message.test(error.message);
    assert.throws(() => new StopFinder(stop as string[]), good);
  };
  refused("x", TypeError, /^stop is string, expected a list of strings: write \["x"\]$/);
  refused([5], TypeError, /^stop\[0\] is number/);
  refused(["a", ""], RangeError, /^stop\[1\] is empty/);
  refused(null, TypeError, /^stop is object/);
  const ended = new TextStream(books);
  ended.end();
  assert.throws(() => ended.push(1), /make a new TextStream/);
});

test.run();
