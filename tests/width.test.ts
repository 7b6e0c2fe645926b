// No line is longer than 120 characters, so that two files fit beside each other.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

const FOLDERS = ["assembly", "bench", "bindings", "cli", "examples", "models", "scripts", "tests"];
const LIMIT = 120;

const root = new URL("..", import.meta.url);
const files = execFileSync("git", ["ls-files", "-z", ...FOLDERS], { cwd: fileURLToPath(root), encoding: "utf8" })
  .split("\0").filter((file) => /\.(ts|js|mjs)$/.test(file));

/** A function whose comment ends with @unrolled: in its body a line is one step of an unrolled loop, however long. */
const UNROLLED = /@unrolled\n \*\/\n[^{]*function [^{]*\{\n([^]*?)^\}/gm;

/** The text without the statements of such bodies; other lines stay where they are. */
const withoutSteps = (text: string): string =>
  text.replace(UNROLLED, (all, body: string) => all.replace(body, () => body.replace(/.*;.*/g, "")));

/** A regular expression or a string with a line to itself: it cannot be broken and stay what it is. */
const WHOLE = /^\s*(\/(?![/*]).*\/[a-z]*(\.test\()?|'[^']*')[,;]?$/;

test(`lines of ${FOLDERS.join(", ")} have at most ${LIMIT} characters`, () => {
  assert.ok(files.length > 0, "git lists no file: run this in a clone");
  for (const file of files) {
    const text = readFileSync(new URL(file, root), "utf8");
    for (const [i, line] of withoutSteps(text).split("\n").entries()) {
      const { length } = WHOLE.test(line) ? [] : [...line];
      assert.ok(length <= LIMIT, `${file}:${i + 1} has ${length} characters, expected at most ${LIMIT}: break it`);
    }
  }
});

test.run();
