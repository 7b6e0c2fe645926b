// What the commands share on the way out: numbers for people, tables, help, progress, one-line errors.
import type { LoadOptions } from "../bindings/index.ts";
import { columnsOf, cut, padded, styled, widthOf, wrapped } from "./terminal.ts";

/** Control characters of file names and labels, which could drive a terminal. */
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text from outside, safe on a terminal and on one line. */
export const printable = (text: string): string => text.replace(CONTROL, "\u{fffd}");

export const out = (line: string): void => void process.stdout.write(`${line}\n`);

/** One JSON document. */
export const outJson = (value: unknown): void => out(JSON.stringify(value, null, 2));

/** One line on stderr; the stack instead with SLAB_DEBUG=1. */
export function complain(error: unknown, about?: string): void {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const text = process.env.SLAB_DEBUG === "1" ? (stack ?? message) : printable(message.replace(/\s*\n\s*/g, " "));
  const name = styled(about === "warning" ? "yellow" : "red", "slab:", process.stderr);
  process.stderr.write(`${name} ${about === undefined ? "" : `${printable(about)}: `}${text}\n`);
}

/** Says that a command waits for what is typed, where nobody would know: standard input is a terminal. */
export function waitFor(what: string, example: string): void {
  if (process.stdin.isTTY) process.stderr.write(`waiting for ${what} on standard input: ${example}; Ctrl-D ends it\n`);
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** 2794634 → "2.79 M" */
export function count(n: number): string {
  const [unit, scale] = n >= 1e9 ? [" G", 1e9] : n >= 1e6 ? [" M", 1e6] : n >= 1e4 ? [" k", 1e3] : ["", 1];
  return scale === 1 ? String(n) : `${(n / scale).toPrecision(3)}${unit}`;
}

/** Floating-point operations. */
export const work = (flops: number): string =>
  flops >= 1e8 ? `${(flops / 1e9).toFixed(2)} GFLOP` : `${(flops / 1e6).toFixed(1)} MFLOP`;

export function bytes(n: number): string {
  const [unit, scale] = n >= 2 ** 20 ? ["MiB", 2 ** 20] : n >= 2 ** 10 ? ["KiB", 2 ** 10] : ["B", 1];
  return `${scale === 1 ? n : (n / scale).toFixed(1)} ${unit}`;
}

/** "x.pth: 12.0 MiB of 24.0 MiB, 50%, 4.0 MiB/s, 3 s left"; a rate of 0 is not known yet. */
export function transfer(what: string, done: number, total: number | undefined, perSecond: number): string {
  const share = total ? ` of ${bytes(total)}, ${Math.floor((100 * done) / total)}%` : "";
  const left = total ? `, ${duration((total - done) / perSecond)} left` : "";
  return `${what}: ${bytes(done)}${share}${perSecond > 0 ? `, ${bytes(Math.round(perSecond))}/s${left}` : ""}`;
}

/** 75 → "75 s", 600 → "10 min" */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export const milliseconds = (ms: number): string => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

/** The value below which a share `q` of the values lies; NaN of none. */
export function quantile(values: readonly number[], q: number): number {
  return values.toSorted((a, b) => a - b)[Math.min(Math.floor(values.length * q), values.length - 1)] ?? NaN;
}

export const plural = (n: number, word: string): string => `${n} ${word}${n === 1 ? "" : "s"}`;

/** A bar of `share` of `width`, in eighths of a character. */
export function bar(share: number, width: number): string {
  const eighths = Math.round(Math.min(Math.max(share, 0), 1) * width * 8);
  return ("█".repeat(eighths >> 3) + (eighths & 7 ? "▏▎▍▌▋▊▉"[(eighths & 7) - 1]! : "")).padEnd(width);
}

/** Columns under their heads, two spaces apart, numbers to the right; a terminal has long texts but the first cut. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const room = widthOf();
  const widths = head.map((h, i) => Math.max(columnsOf(h), ...rows.map((row) => columnsOf(row[i]!))));
  const right = head.map((_, i) => rows.length > 0 && rows.every((row) => /^[-\d.]/.test(row[i]!)));
  const texts = widths.map((_, i) => i).filter((i) => i > 0 && !right[i]);
  for (let over = widths.reduce((sum, width) => sum + width + 2, -2) - room; over > 0; over--) {
    const widest = texts.sort((a, b) => widths[b]! - widths[a]!)[0];
    if (widest === undefined || widths[widest]! <= NARROW) break;
    widths[widest]!--;
  }
  const [first = "", ...others] = [head, ...rows].map((row) =>
    cut(row.map((cell, i) => padded(cut(cell, widths[i]!), widths[i]!, right[i])).join("  ").trimEnd(), room));
  return [styled("bold", first), ...others];
}

/** What is left of a column. */
const NARROW = 8;

/** Lines, each cut to the terminal's width. */
export const fitted = (lines: string): string => lines.split("\n").map((line) => cut(line, widthOf())).join("\n");

/** A name and what there is to say of it; on a terminal under each other. */
export function line(name: string, text: string, stream = process.stdout): void {
  const [first = "", ...more] = wrapped(text, Math.max(widthOf(stream) - NAME, NAME));
  const begin = name === "" ? " ".repeat(NAME) : styled("bold", name, stream) + " ".repeat(NAME - name.length);
  stream.write([begin + first, ...more.map((part) => " ".repeat(NAME) + part), ""].join("\n"));
}

const NAME = 12;

/** A command's help: its usage, paragraphs, and options in columns, as wide as the terminal up to HELP_WIDTH. */
export function help(text: string): void {
  // a sentence may go on in the next line, and what an option does in one that is indented
  const [usage = "", ...lines] = text.replace(/(?<![.:\n])\n(?=\S)|\n {6,}(?=\S)/g, " ").split("\n"), [call = ""] = usage.split(": ");
  const options = lines.map((text) => /^ {2}(-\S+(?: \S+)*)(?: {2,}(.*))?$/.exec(text));
  const room = Math.min(widthOf(), HELP_WIDTH);
  const column = Math.max(...options.map((option) => option?.[1]!.length ?? 0)) + 4;
  out(wrapped(usage, room).join("\n").replace(call, styled("bold", call)));
  for (const [i, text] of lines.entries()) {
    const [, name, about = ""] = options[i] ?? [];
    if (name === undefined) {
      for (const part of text.startsWith(" ") ? [text] : wrapped(text, room)) out(part);
      continue;
    }
    const [first = "", ...more] = wrapped(about, Math.max(room - column, NARROW));
    out(`  ${styled("cyan", name)}${" ".repeat(column - 2 - name.length)}${first}`.trimEnd());
    for (const part of more) out(" ".repeat(column) + part);
  }
}

/** Beyond, lines are hard to read. */
const HELP_WIDTH = 100;

/** A line on stderr that is drawn over; none unless stderr is a terminal. */
export class Progress {
  private shown = false;
  private drawnAt = -Infinity;
  private readonly enabled: boolean;
  /** Where the bytes of one thing were, twice: a rate is of the last seconds. */
  private marks: { readonly what: string; readonly at: number; readonly done: number }[] = [];

  constructor({ json, quiet }: { readonly json?: unknown; readonly quiet?: unknown }) {
    this.enabled = Boolean(process.stderr.isTTY) && !json && !quiet;
  }

  show(text: string): void {
    const now = performance.now();
    if (!this.enabled || now - this.drawnAt < 80) return;
    this.drawnAt = now;
    this.shown = true;
    // a line that breaks could not be drawn over
    process.stderr.write(`\r\x1b[K${cut(printable(text), widthOf(process.stderr) - 1)}`);
  }

  /** How far something is, in bytes, and how fast it gets there. */
  bytes(what: string, done: number, total: number | undefined): void {
    const at = performance.now();
    if (this.marks[0]?.what !== what || done < this.marks[0].done) this.marks = [{ what, at, done }];
    if (at - this.marks.at(-1)!.at > RATE_MS) this.marks = [this.marks.at(-1)!, { what, at, done }];
    const { at: since, done: before } = this.marks[0]!;
    this.show(transfer(what, done, total, at - since > 500 ? (1000 * (done - before)) / (at - since) : 0));
  }

  /** What load() tells of itself: downloads, then layers. */
  loading(verb = "loading the model"): Pick<LoadOptions, "onProgress" | "onDownload"> {
    let downloading = false;
    return {
      onDownload: ({ name, done, total }) => {
        downloading = done !== total;
        this.bytes(name.split("/").at(-1)!, done, total);
      },
      onProgress: ({ done, total }) => void (downloading || this.show(`${verb}: ${done} of ${total} layers`)),
    };
  }

  /** Makes room for a result or an error. */
  clear(): void {
    if (!this.shown) return;
    this.shown = false;
    this.drawnAt = -Infinity;
    process.stderr.write("\r\x1b[K");
  }
}

/** How far back a rate looks, at least. */
const RATE_MS = 2000;
