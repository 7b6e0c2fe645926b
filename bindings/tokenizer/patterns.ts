// Patterns that JavaScript's own engine runs in time linear in the text. It goes back and tries again wherever a
// pattern lets it, for hours where a stranger made it for that: any other pattern goes through linear.ts.

/** Longest pattern; the longest published have some 500 characters. */
export const LONGEST_PATTERN = 2048;

// one character of some; a choice of short words; one of both, or what is there so many times
const HEX = "[\\dA-Fa-f]";
const ESCAPE = String.raw`\\(?:[sSdDwWhHnrtfve]|[^A-Za-z\d]|[pP]\{\w+\}|x\{${HEX}+\}|x${HEX}{2}|u${HEX}{4})`;
const CLASS = String.raw`\[\^?(?:[^\\[\]&]|&(?!&)|${ESCAPE})+\]|\[\^\(\\s\|\[[^\\[\]&]+\]\)\]`;
const ATOM = String.raw`(?:[^\\()[\]{}|*+?^$]|${ESCAPE}|${CLASS})`;
const GROUP = String.raw`\(\?i?:${ATOM}{1,4}(?:\|${ATOM}{1,4})*\)`;
const ITEM = new RegExp(String.raw`(?:(${ATOM})|${GROUP})((?:[+*?]|\{\d{1,3}(?:,\d{0,3})?\})\+?)?|\|`, "uy");

// how GPT-4o's kind begins: a word whose first letters, or all, are capitals; without its contractions; without Chinese
const WORDS = ["", "&&[^\\p{Han}]"].flatMap((but) => ["(?i:'s|'t|'re|'ve|'m|'ll|'d)?", ""].map((after) => {
  const first = `[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}${but}]`, next = `[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}${but}]`;
  const begin = "[^\\r\\n\\p{L}\\p{N}]?";
  return `${but && "[\\p{Han}]+|"}${begin}${first}*${next}+${after}|${begin}${first}+${next}*${after}|`;
}));

// how most end: a run of spaces up to its last line end, all of it but the last, or what is left
const SPACES = /(?:^|\|)(?:\\s\+\+?\$\|)?(?:\\s\*\[\\r\\n\]\+?\|)?\\s\+\(\?!\\S\)(?:\|\\s\+?)?$/;

/** Those of sentencepiece.ts. */
const OWN: readonly string[] = ["\\A | \\z", "\\A(?=[\\s\\S])"];

/**
 * Whether a pattern is of a form that is linear: its alternatives are a few atoms, the first perhaps left out, then one
 * run of an atom, then what may be left out. Each fails within a few steps, or consumes what it has looked at, as WORDS
 * and SPACES do.
 */
export function isLinear(given: string): boolean {
  const pattern = given.replaceAll("\r", "\\r").replaceAll("\n", "\\n");
  const begin = WORDS.find((words) => pattern.startsWith(words)) ?? "";
  const rest = pattern.slice(begin.length).replace(SPACES, "");
  // of this alternative
  let items = 0, ran = false;
  ITEM.lastIndex = 0;
  for (let at = 0; at < rest.length; at = ITEM.lastIndex) {
    const [token, atom, quantifier] = ITEM.exec(rest) ?? [];
    if (token === undefined) return OWN.includes(pattern);
    if (token === "|") {
      if (items === 0) return false;
      [items, ran] = [0, false];
      continue;
    }
    const mayLack = quantifier?.startsWith("?") || (atom !== undefined && quantifier?.startsWith("*"));
    if (!mayLack && (ran || (quantifier && !atom))) return false;
    ran ||= quantifier !== undefined && !(quantifier.startsWith("?") && items === 0);
    items++;
  }
  return items > 0 || rest === "";
}
