// The package as npm gets it: what its package.json has and has not, and that there is all that it names.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { pack } from "../../scripts/pack.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url)), { SLAB_AGAIN } = process.env;
// npm is the same on every Node
const once = SLAB_AGAIN === undefined ? test : test.skip;

/** Every text in an object of objects. */
const texts = (value: unknown): string[] =>
  typeof value === "string" ? [value] : Object.values(value ?? {}).flatMap(texts);

once("the tarball: a package.json for users, and every file that it names", () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-packed-"));
  try {
    const tarball = pack(folder), unpacked = join(folder, "package");
    assert.is(spawnSync("tar", ["-xzf", tarball, "-C", folder]).status, 0);
    const manifest = JSON.parse(readFileSync(join(unpacked, "package.json"), "utf8"));
    const ours = ["private", "scripts", "devDependencies", "dependencies", "imports"];
    assert.equal(ours.filter((name) => name in manifest), []);
    for (const name of ["repository", "homepage", "bugs", "license", "engines"]) assert.ok(name in manifest, name);
    const named = [...texts(manifest.exports), ...texts(manifest.bin)].filter((path) => !path.includes("*"));
    assert.ok(named.length > 30);
    for (const path of named) {
      assert.ok(existsSync(join(unpacked, path)), path);
      assert.ok(!/\.ts$/.test(path) || path.endsWith(".d.ts"), path);
    }
    // npx finds the command that is called as the package is
    assert.is(manifest.bin["slab-wasm"], manifest.bin.slab);
    const files = readdirSync(unpacked, { recursive: true }).map(String);
    assert.equal(files.filter((file) => /\.ts$/.test(file) && !file.endsWith(".d.ts")), []);
    assert.equal(files.filter((file) => /types\/(cli|tests)/.test(file)), []);
    const beside = ["README.md", "LICENSE", "CHANGELOG.md", "dist/THIRD-PARTY.md"];
    assert.equal(beside.filter((file) => !files.includes(file)), []);
    const command = [join(unpacked, manifest.bin.slab), "--version"];
    const { stdout } = spawnSync(process.execPath, command, { encoding: "utf8" });
    assert.is(stdout, `${manifest.version}\n`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

once("npm does not pack or publish the clone", () => {
  for (const args of [["pack", "--dry-run"], ["publish", "--dry-run"]]) {
    const { status, stderr } = spawnSync("npm", args, { cwd: root, encoding: "utf8" });
    assert.not.equal(status, 0);
    assert.match(stderr, args[0] === "pack" ? /npm run pack writes the tarball/ : /private|npm run pack/i);
  }
});

test.run();
