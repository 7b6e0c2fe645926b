// The package as npm gets it: what its package.json has and has not, and that there is all that it names.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { load } from "../../bindings/index.ts";
import type { ModelParts } from "../../bindings/index.ts";
import { PACKAGED } from "../../models/releases.ts";
import { pack, packModels } from "../../scripts/tarballs.mjs";

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

/** A project in `folder` with both packages, as npm installs them. */
function project(folder: string): string {
  const modules = join(folder, "node_modules"), models = join(modules, "slab-wasm-models");
  mkdirSync(models, { recursive: true });
  symlinkSync(root, join(modules, "slab-wasm"), "junction");
  assert.is(spawnSync("tar", ["-xzf", packModels(folder), "-C", models, "--strip-components=1"]).status, 0);
  return models;
}

once("the tarball of models: under 12 MB, found by name, in every build, also by the command line", async () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-models-")), { SLAB_CACHE } = process.env;
  const slab = (...args: string[]) => spawnSync(process.execPath, [join(root, "dist/js/node/slab.js"), ...args], {
    cwd: folder, encoding: "utf8", env: { ...process.env, SLAB_CACHE: join(folder, "cache") },
  });
  try {
    const models = project(folder);
    assert.ok(statSync(join(folder, "slab-wasm-models-0.1.0.tgz")).size < 12e6);
    const manifest = JSON.parse(readFileSync(join(models, "package.json"), "utf8"));
    assert.equal(["private", "scripts"].filter((name) => name in manifest), []);
    assert.is(manifest.version, JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version);
    const { default: index } = (await import(pathToFileURL(join(models, "index.js")).href)) as {
      default: Record<string, ModelParts>;
    };
    assert.equal(Object.keys(index), [...PACKAGED]);
    const files = readdirSync(models, { recursive: true }).map(String);
    for (const name of PACKAGED) {
      for (const file of ["README.md", "config.json", "model.safetensors"])
        assert.ok(files.includes(join(name, file)), file);
    }
    assert.equal(files.filter((file) => /probe/.test(file)), []);

    process.env.SLAB_CACHE = join(folder, "cache");
    for (const build of ["simd", "simd-threads"] as const) {
      const model = await load(index["slab-lm-stories"]!, { build });
      assert.ok(model.tokenizer && model.caps.build === build);
      model.dispose();
    }
    const program = `
      const { load } = await import("slab-wasm"), model = await load("slab-deit-cifar10");
      const cat = require("node:fs").readFileSync("node_modules/slab-wasm-models/samples/cat.png");
      const [best] = await model.classify(cat);
      console.log(best.label);`;
    const ran = spawnSync(process.execPath, ["--input-type=commonjs", "-e", `(async () => {${program}})()`], {
      cwd: folder, encoding: "utf8",
    });
    assert.equal([ran.stderr, ran.stdout], ["", "cat\n"]);
    // what was pulled goes before, and what is here before that
    for (const place of [join("cache", "models", "slab-lm-stories"), "slab-lm-stories"]) {
      mkdirSync(join(folder, place), { recursive: true });
      writeFileSync(join(folder, place, "config.json"), "{");
      const { stderr, status } = spawnSync(
        process.execPath,
        [
          "--input-type=module",
          "-e",
          'import { load } from "slab-wasm"; await load("slab-lm-stories").catch((error) => '
            + "console.error(error.message))",
        ],
        { cwd: folder, encoding: "utf8" },
      );
      assert.is(status, 0);
      assert.ok(stderr.startsWith(place === "slab-lm-stories" ? place : join(folder, place)), stderr);
    }
    assert.match(slab("list").stdout, /^slab-deit-cifar10 +192 .* node_modules.slab-wasm-models.slab-deit-cifar10$/m);
  } finally {
    if (SLAB_CACHE === undefined) delete process.env.SLAB_CACHE;
    else process.env.SLAB_CACHE = SLAB_CACHE;
    rmSync(folder, { recursive: true, force: true });
  }
});

once("npm run tarballs writes both", () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-tarballs-"));
  try {
    const { status, stderr } = spawnSync("npm", ["run", "tarballs", "--", folder], { cwd: root, encoding: "utf8" });
    assert.is(status, 0, stderr);
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    assert.equal(readdirSync(folder).sort(), [`slab-wasm-${version}.tgz`, `slab-wasm-models-${version}.tgz`]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

once("npm does not pack or publish the clone", () => {
  for (const args of [["pack", "--dry-run"], ["publish", "--dry-run"]]) {
    const { status, stderr } = spawnSync("npm", args, { cwd: root, encoding: "utf8" });
    assert.not.equal(status, 0);
    assert.match(stderr, args[0] === "pack" ? /npm run tarballs writes two/ : /private|npm run tarballs/i);
  }
});

test.run();
