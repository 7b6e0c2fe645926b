// Patterns of strangers by RE2: a search takes time linear in the text, and its syntax lacks what could not. Loaded
// when a tokenizer has a pattern that patterns.ts does not know.
import { RE2JS } from "re2js";
import { quote } from "../checkpoint/names.ts";
import { FILE } from "./json.ts";

const SPACE = "\\p{White_Space}", WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}", HEX = "0-9A-Fa-f";
/** Of a word too, but not in brackets: so Oniguruma has it. */
const MORE = "²³¹¼-¾";
/** One of some characters, as it stands in brackets. */
const SETS: Readonly<Record<string, string>> = {
  "\\s": SPACE, "\\S": "\\P{White_Space}", "\\d": "\\p{Nd}", "\\D": "\\P{Nd}", "\\w": WORD, "\\h": HEX,
};
const ESCAPE = String.raw`\\(?:[pP]\{\^?\w+\}|x\{[\dA-Fa-f]+\}|x[\dA-Fa-f]{2}|u[\dA-Fa-f]{4}|.)`;
const IN_CLASS = new RegExp(`${ESCAPE}|&&|.`, "suy");
const TOKEN = new RegExp(String.raw`\\s\+\(\?!\\S\)|${ESCAPE}|\(\?(?::|i:|<\w+>)?|\{,\d+\}|.`, "suy");
/** A run of spaces to the end, or all of one but its last: what is captured, where anything is, is what was found. */
const BEFORE_LAST = `(?:${SPACE}+\\z|(${SPACE}+)${SPACE})`;

/** From Oniguruma's syntax, in which tokenizers are written, to RE2's. Throws for what cannot be said there. */
function translated(source: string): string {
  const without = (what: string): Error => new SyntaxError(`there is no ${what}`);
  const escaped = (token: string): string => {
    if (/^\\(?:[nrtfva]|[pP]\{|x|[!-/:-@[-`{-~ ])/.test(token)) return token;
    if (token.startsWith("\\u")) return `\\x{${token.slice(2)}}`;
    if (token === "\\e") return "\\x1b";
    if (/^\\[A-Za-z0-9]/.test(token)) throw without(token);
    return token.slice(1);
  };
  let out = "", depth = 0, from = -1;
  for (let at = 0; at < source.length;) {
    const lexer = from < 0 ? TOKEN : IN_CLASS;
    lexer.lastIndex = at;
    const token = lexer.exec(source)?.[0] ?? source[at]!, set = SETS[token];
    if (from >= 0) {
      if (token === "[" || token === "&&") throw without("class within a class");
      const isFirst = at === from || (at === from + 1 && source[from] === "^");
      if (token === "]" && !isFirst) from = -1;
      out += set ?? (token === "]" && isFirst ? "\\]" : token.startsWith("\\") ? escaped(token) : token);
    } else if (token === "[") {
      from = at + 1;
      out += token;
    } else if (token.startsWith("(")) {
      if (token === "(?") throw without("look around, or option");
      depth++;
      out += token === "(?i:" ? token : "(?:";
    } else if (token.length > 8 && token.startsWith("\\s+")) {
      // what is found ends before what is looked at, which can only be mended at the end
      const next = source[at + token.length];
      if (depth > 0 || (next !== undefined && next !== "|")) throw without("look ahead");
      out += BEFORE_LAST;
    } else {
      if (token === ")") depth--;
      if (set !== undefined) out += `[${set}${set === WORD ? MORE : ""}]`;
      else if (token === "\\W" || token === "\\H") out += `[^${token === "\\W" ? WORD + MORE : HEX}]`;
      else if (token === "^" || token === "$") out += `(?m:${token})`;
      else if (token === "\\A" || token === "\\z") out += token;
      else if (token.startsWith("{,")) out += `{0${token.slice(1)}`;
      else out += token.startsWith("\\") ? escaped(token) : token;
    }
    at += token.length;
  }
  return out;
}

/** To find all takes many searches, each of which may look far ahead: what they may take together, in milliseconds. */
const mostMs = (characters: number): number => 2000 + characters / 50;

interface Found {
  readonly begin: number;
  readonly end: number;
}

/** What the methods of strings take for a pattern with the flags "gu". `path`: where the file has it. */
export function linearPattern(source: string, path: string): object {
  let pattern: RE2JS;
  try {
    pattern = RE2JS.compile(translated(source));
  } catch (error) {
    const why = `which cannot be run in linear time (${(error as Error).message})`;
    const remedy = "look-around and back references are not supported";
    throw new TypeError(`${FILE}: "${path}" is ${quote(source)}, ${why}: ${remedy}`, { cause: error });
  }
  const groups = pattern.groupCount();

  function all(text: string): Found[] {
    const matcher = pattern.matcher(text), found: Found[] = [], started = performance.now();
    let last = -1;
    for (let at = 0; at <= text.length && matcher.find(at);) {
      const begin = matcher.start();
      let end = matcher.end();
      for (let group = 1; group <= groups; group++) if (matcher.start(group) >= 0) end = matcher.end(group);
      // nothing is not found right after something
      if (end > begin || begin > last) found.push({ begin, end });
      last = end;
      at = end > begin ? end : end + (text.codePointAt(end)! > 0xffff ? 2 : 1);
      if (performance.now() - started > mostMs(text.length)) {
        const long = `takes too long on ${text.length} characters`;
        throw new RangeError(`${FILE}: "${path}" ${long}: give them in parts, or use another tokenizer`);
      }
    }
    return found;
  }
  const put = (text: string, content: string): string => {
    let out = "", last = 0;
    for (const { begin, end } of all(text)) {
      out += text.slice(last, begin) + content;
      last = end;
    }
    return out + text.slice(last);
  };
  return {
    flags: "gu",
    [Symbol.match]: (text: string) => all(text).map(({ begin, end }) => text.slice(begin, end)),
    [Symbol.matchAll]: (text: string) =>
      all(text).map(({ begin, end }) => ({ 0: text.slice(begin, end), index: begin })),
    [Symbol.replace]: (text: string, content: string) => put(text, content.replaceAll("$$", "$")),
    [Symbol.split]: (text: string) => {
      const found = all(text), begins = [...found.map(({ begin }) => begin), text.length];
      return begins.map((begin, i) => text.slice(found[i - 1]?.end ?? 0, begin));
    },
  };
}
