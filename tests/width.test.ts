// Lines have at most 120 characters, outside kernels that are unrolled by hand.
import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = new URL("../", import.meta.url);
const MOST = 120;
const FOLDERS = ["assembly", "bench", "bindings", "cli", "examples", "models", "scripts", "tests"];
const isCode = (path: string): boolean => /\.(ts|mjs|js)$/.test(path) && !/node_modules|\/(wasm|dist|\.wrangler)\//.test(path);
/** A regular expression or a string that has a line to itself cannot be broken without being changed. */
const unbreakable = (line: string): boolean => /^\s*\/(?![/*]).*\/[a-z]*(\.test\()?[,;]?$/.test(line) || /^\s*'[^']*'[,;]?$/.test(line);

for (const folder of FOLDERS) {
  test(`lines of ${folder}/ have at most ${MOST} characters`, () => {
    const files = (readdirSync(new URL(folder, root), { recursive: true }) as string[]).filter(isCode);
    assert.ok(files.length > 0);
    const long = files.flatMap((file) => readFileSync(new URL(`${folder}/${file}`, root), "utf8").split("\n")
      .flatMap((line, i) => ([...line].length > MOST && !unbreakable(line) ? [`${folder}/${file}:${i + 1}`] : [])));
    assert.equal(long, []);
  });
}

test.run();
