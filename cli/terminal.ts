// What a terminal can: colours and a width. Neither goes into pipes, files or JSON.

interface Stream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  hasColors?(): boolean;
}

const STYLES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

/** Whether a stream takes colours: a terminal that has them, unless NO_COLOR is set; FORCE_COLOR decides for all. */
export function coloured(stream: Stream, { FORCE_COLOR, NO_COLOR }: NodeJS.ProcessEnv = process.env): boolean {
  if (FORCE_COLOR !== undefined) return !["0", "false"].includes(FORCE_COLOR);
  return !NO_COLOR && stream.isTTY === true && stream.hasColors?.() === true;
}

/** The text in a style, where the stream takes it. */
export function styled(style: keyof typeof STYLES, text: string, stream: Stream = process.stdout): string {
  return coloured(stream) ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text;
}

/** Columns of a stream; without an end where it is no terminal, or one that does not know. */
export const widthOf = (stream: Stream = process.stdout): number => (stream.isTTY && stream.columns) || Infinity;

const NONE = /[\p{M}\p{Cf}]/u;
const EMOJI = /\p{Emoji_Presentation}/u;
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/;

function columnsOfOne(character: string): number {
  if (NONE.test(character)) return 0;
  return WIDE.test(character) || EMOJI.test(character) ? 2 : 1;
}

/** Columns that a text takes on a terminal. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += columnsOfOne(character);
  return columns;
}

/** At most so many columns of a text, … for the rest. */
export function cut(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  let room = columns - 1, kept = "";
  for (const character of text) if ((room -= columnsOfOne(character)) >= 0) kept += character; else break;
  return `${kept}…`;
}

/** The same for a path, whose end tells more. */
export function cutStart(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  const characters = [...text];
  for (let room = columns - 1, i = characters.length - 1; ; i--) {
    if ((room -= columnsOfOne(characters[i]!)) < 0) return `…${characters.slice(i + 1).join("")}`;
  }
}

/** A text filled up to so many columns. */
export function padded(text: string, columns: number, right = false): string {
  const space = " ".repeat(Math.max(columns - columnsOf(text), 0));
  return right ? space + text : text + space;
}

/** A text in lines of at most so many columns, broken between words. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.pop();
    if (last === undefined) lines.push(word);
    else if (columnsOf(last) + 1 + columnsOf(word) <= columns) lines.push(`${last} ${word}`);
    else lines.push(last, word);
  }
  return lines;
}
