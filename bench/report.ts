// Tables for the terminal and for RESULTS.md, whose notes below the marker are kept.
import { existsSync, readFileSync, writeFileSync } from "node:fs";

export const percent = (fraction: number): string => `${(fraction * 100).toFixed(0)} %`;
export const ms = (time: number): string =>
  (time < 1 ? `${(time * 1000).toPrecision(time < 0.01 ? 2 : 3)} µs` : `${time.toFixed(2)} ms`);
export const times = (ratio: number | undefined): string => (ratio === undefined ? "–" : `${ratio.toFixed(2)}×`);
export const kib = (bytes: number): string => (bytes ? `${(bytes / 1024).toFixed(1)} KiB` : "–");

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
}

/** What follows this line is written by people. */
export const MARKER = "# What was tried";

/** Sections are printed as they come (unless silent), and written all together at the end. */
export function openReport(silent: boolean) {
  const sections: string[] = [], results: Record<string, unknown> = {};
  return {
    results,
    section(title: string, text: string, data: unknown, { first = false } = {}): void {
      sections[first ? "unshift" : "push"](`## ${title}\n\n${text}`);
      results[title] = data;
      if (!silent) console.log(`\n## ${title}\n\n${text}`);
    },
    write(path: string, head: string): void {
      const notes = existsSync(path) ? (readFileSync(path, "utf8").split(`\n${MARKER}`)[1] ?? "") : "";
      writeFileSync(path, `${head}\n\n${sections.join("\n\n")}\n\n${MARKER}${notes || "\n"}`);
    },
  };
}
