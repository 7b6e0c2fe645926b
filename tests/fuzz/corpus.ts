// Inputs that were finds, a folder a target, each named by its bytes: they are run again by every test.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";

const place = (path: string): URL => new URL(`./corpus/${path}`, import.meta.url);

export const past = (target: string): { name: string; bytes: Uint8Array }[] =>
  existsSync(place(target))
    ? readdirSync(place(target)).sort().map((file) => {
      const name = `${target}/${file}`;
      return { name, bytes: Uint8Array.from(readFileSync(place(name))) };
    })
    : [];

/** Keeps a find; its name. */
export function keep(target: string, bytes: Uint8Array): string {
  const name = `${target}/${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}`;
  mkdirSync(place(target), { recursive: true });
  writeFileSync(place(name), bytes);
  return name;
}
