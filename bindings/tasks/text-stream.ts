// Token ids, as a model makes them, to pieces of text that can be shown at once: whole characters only, and nothing of
// a stop string.
import type { StopFinder } from "./stop-finder.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

// How a token reads depends on those before it: the first loses its space, and a character may be spread over several.
// A few tokens of context settle both, so a window of the last ids is decoded, and what it has gained since the last
// time is new. An unfinished character has at most three bytes, so three tokens that are text put a UTF-8 decoder into
// the same state as all of them do.
const CONTEXT = 4;
// the same while the text ends in bytes that are no character: the held U+FFFD must lie inside, three of at most three
// bytes each
const UNSETTLED_CONTEXT = 16;
// a decoder shows an unfinished character as one U+FFFD, or as one for each of its bytes
const UNFINISHED = /\ufffd{1,3}$/;

/**
 * Ids in, pieces of text out. Without a stop string, the pieces and `end()` together are exactly `tokenizer.decode(all
 * ids)`, for decoders that only look at neighbouring tokens (byte-level BPE, SentencePiece, WordPiece). A piece may be
 * empty: its text comes later. Each push decodes a few tokens, however long the stream is. Bytes that are no UTF-8 come
 * as U+FFFD, held back by one to three tokens.
 */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  readonly #stops: StopFinder | undefined;
  /** The last ids, no special ones, and their text. */
  #window: number[] = [];
  #windowText = "";
  /** How much of the window's text was passed on. */
  #passed = 0;
  #ended = false;

  constructor(tokenizer: Tokenizer, stops?: StopFinder) {
    this.#tokenizer = tokenizer;
    this.#stops = stops;
  }

  /** Whether a stop string was met. */
  get stopped(): boolean {
    return this.#stops?.found ?? false;
  }

  /** The text that this token settles; "" once stopped. RangeError, and no change, for an id that no token has. */
  push(id: number): string {
    if (this.#ended) throw new Error("the text has ended, expected no more ids: make a new TextStream");
    if (this.stopped) return "";
    const window = [...this.#window, id], text = this.#tokenizer.decode(window);
    if (text === this.#windowText && this.#isSpecial(id)) return "";
    this.#window = window;
    this.#windowText = text;
    const settled = text.length - (UNFINISHED.exec(text)?.[0].length ?? 0), from = this.#passed;
    this.#passed = Math.max(from, settled);
    this.#shorten();
    return this.#feed(text.slice(from, settled));
  }

  /** What was held back; "" after a stop string, and the second time. No push may follow. */
  end(): string {
    if (this.#ended || this.stopped) return "";
    this.#ended = true;
    const shown = this.#feed(this.#windowText.slice(this.#passed));
    return shown + (this.#stops?.end() ?? "");
  }

  #feed(text: string): string {
    return this.#stops ? this.#stops.feed(text) : text;
  }

  /** Special tokens are not part of the text, and neither of the context. */
  #isSpecial(id: number): boolean {
    return this.#tokenizer.decode([id]) === "" && this.#tokenizer.decode([id], { special: true }) !== "";
  }

  /** Drops the older half of a full window. */
  #shorten(): void {
    const held = this.#windowText.slice(this.#passed), keep = held === "" ? CONTEXT : UNSETTLED_CONTEXT;
    if (this.#window.length < 2 * keep) return;
    const window = this.#window.slice(-keep), text = this.#tokenizer.decode(window);
    // without any text it would be no context: the next token would read like a first one
    if (text.length <= held.length || !text.endsWith(held)) return;
    this.#window = window;
    this.#windowText = text;
    this.#passed = text.length - held.length;
  }
}
