// What the commands share on the way out: numbers for people, tables, progress, one-line errors.

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
  process.stderr.write(`slab: ${about === undefined ? "" : `${printable(about)}: `}${text}\n`);
}

export const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;

/** 2794634 → "2.79 M" */
export function count(n: number): string {
  const [unit, scale] = n >= 1e9 ? [" G", 1e9] : n >= 1e6 ? [" M", 1e6] : n >= 1e4 ? [" k", 1e3] : ["", 1];
  return scale === 1 ? String(n) : `${(n / scale).toPrecision(3)}${unit}`;
}

/** Floating-point operations. */
export const work = (flops: number): string => (flops >= 1e8 ? `${(flops / 1e9).toFixed(2)} GFLOP` : `${(flops / 1e6).toFixed(1)} MFLOP`);

export function bytes(n: number): string {
  const [unit, scale] = n >= 2 ** 20 ? ["MiB", 2 ** 20] : n >= 2 ** 10 ? ["KiB", 2 ** 10] : ["B", 1];
  return `${scale === 1 ? n : (n / scale).toFixed(1)} ${unit}`;
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

/** Columns under their heads, two spaces apart; columns of numbers are aligned right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((h, i) => Math.max(h.length, ...rows.map((row) => row[i]!.length)));
  const right = head.map((_, i) => rows.length > 0 && rows.every((row) => /^[-\d.]/.test(row[i]!)));
  return [head, ...rows].map((row) => row.map((cell, i) => (right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))).join("  ").trimEnd());
}

/** A line on stderr that is drawn over; none unless stderr is a terminal. */
export class Progress {
  private shown = false;
  private drawnAt = -Infinity;
  private readonly enabled: boolean;

  constructor({ json, quiet }: { readonly json?: unknown; readonly quiet?: unknown }) {
    this.enabled = Boolean(process.stderr.isTTY) && !json && !quiet;
  }

  show(text: string): void {
    const now = performance.now();
    if (!this.enabled || now - this.drawnAt < 80) return;
    this.drawnAt = now;
    this.shown = true;
    process.stderr.write(`\r\x1b[K${printable(text)}`);
  }

  /** Makes room for a result or an error. */
  clear(): void {
    if (!this.shown) return;
    this.shown = false;
    this.drawnAt = -Infinity;
    process.stderr.write("\r\x1b[K");
  }
}
