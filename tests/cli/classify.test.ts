import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { inFolder, root, runScript, samples, slab } from "./command.ts";

const SAMPLES = { "bird.jpg": "bird", "cat.png": "cat", "deer.jpg": "deer", "horse.webp": "horse", "owl.webp": "bird" };
const paths = Object.keys(SAMPLES).map((name) => join("models", "samples", name));

test("one line a picture: path, then labels with scores", async () => {
  const { code, stdout, stderr } = await slab(["classify", ...paths, "--top", "2"]);
  assert.is(stderr, "");
  assert.is(code, 0);
  const lines = stdout.trimEnd().split("\n").map((line) => line.split("\t"));
  assert.equal(lines.map(([path]) => path), paths);
  assert.equal(lines.map(([, best]) => best!.split(" ")[0]), Object.values(SAMPLES));
  for (const line of lines) {
    assert.is(line.length, 3);
    assert.match(line[1]!, /^\w+ \d+\.\d%$/);
  }
});

test("--json: one document, scores in order", async () => {
  const { code, stdout, stderr } = await slab([
    "classify", ...paths.slice(0, 2), "--json", "--deterministic", "--threads", "1", "--top", "100",
  ]);
  assert.is(stderr, "");
  assert.is(code, 0);
  const { build, threads, deterministic, pictures } = JSON.parse(stdout);
  assert.equal([build, threads, deterministic], ["simd", 1, true]);
  assert.equal(pictures.map(({ path }: { path: string }) => path), paths.slice(0, 2));
  for (const { labels } of pictures) {
    const scores: number[] = labels.map(({ score }: { score: number }) => score);
    assert.is(scores.length, 10);
    assert.ok(Math.abs(scores.reduce((a, b) => a + b) - 1) < 1e-9);
    assert.equal(scores, [...scores].sort((a, b) => b - a));
  }
});

test("a folder, with what is below it, in the order of paths; other files are left out", async () => {
  await inFolder(async (folder) => {
    mkdirSync(join(folder, "b", "deep"), { recursive: true });
    copyFileSync(join(samples, "cat.png"), join(folder, "z.PNG"));
    copyFileSync(join(samples, "horse.webp"), join(folder, "b", "deep", "h.webp"));
    copyFileSync(join(samples, "deer.jpg"), join(folder, "a.jpeg"));
    writeFileSync(join(folder, "notes.txt"), "not a picture");
    const { code, stdout, stderr } = await slab(["classify", folder, "--top", "1"]);
    assert.is(stderr, "");
    assert.is(code, 0);
    assert.equal(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => line.split("\t")[0]),
      ["a.jpeg", join("b", "deep", "h.webp"), "z.PNG"].map((name) => join(folder, name)),
    );
    assert.equal(stdout.match(/\t\w+/g), ["\tdeer", "\thorse", "\tcat"]);
  });
});

test("- is standard input", async () => {
  const { code, stdout, stderr } = await slab(["classify", "-", "--top", "1"], {
    input: readFileSync(join(samples, "cat.png")),
  });
  assert.is(stderr, "");
  assert.is(code, 0);
  assert.match(stdout, /^-\tcat \d+\.\d%\n$/);
  const empty = await slab(["classify", "-"], { input: "" });
  assert.is(empty.code, 1);
  assert.match(empty.stderr, /^slab: -: the picture has no bytes.*\n$/);
});

test("a bad picture among good ones: one line on stderr, the others go on, exit code 1", async () => {
  await inFolder(async (folder) => {
    const bad = join(folder, "bad.png");
    const png = readFileSync(join(samples, "cat.png"));
    writeFileSync(bad, png.subarray(0, png.length >> 1));
    const { code, stdout, stderr } = await slab(["classify", paths[0]!, bad, paths[1]!, "--top", "1"]);
    assert.is(code, 1);
    assert.equal(stdout.match(/\t\w+/g), ["\tbird", "\tcat"]);
    assert.ok(stderr.startsWith(`slab: ${bad}: the PNG data is corrupt or cut off`), stderr);
    assert.is(stderr.split("\n").length, 2);

    const json = await slab(["classify", bad, join(folder, "none.jpg"), paths[1]!, "--json"]);
    assert.is(json.code, 1);
    const { pictures } = JSON.parse(json.stdout);
    assert.match(pictures[0].error, /^the PNG data is corrupt/);
    assert.match(pictures[1].error, "no such file");
    assert.is(pictures[2].labels[0].label, "cat");
    assert.is(json.stderr.trimEnd().split("\n").length, 2);
  });
});

test("a folder without pictures is reported", async () => {
  await inFolder(async (folder) => {
    const { code, stderr } = await slab(["classify", folder, paths[0]!, "--quiet"]);
    assert.is(code, 1);
    assert.match(stderr, /: the folder holds no picture: expected files that end in .*\n$/);
  });
});

test("--model takes a folder or a file: URL; --config stands in for its config.json", async () => {
  const folder = join(root, "models", "pretrained", "slab-deit-cifar10");
  await inFolder(async (bare) => {
    copyFileSync(join(folder, "model.safetensors"), join(bare, "model.safetensors"));
    const args = ["classify", join(samples, "cat.png"), "--top", "1", "--model"];
    const missing = await slab([...args, bare]);
    assert.is(missing.code, 1);
    assert.match(missing.stderr, "config.json");
    const wrong = await slab([...args, bare, "--config", "slab_deit_t"]);
    assert.is(wrong.code, 1);
    assert.match(wrong.stderr, /^slab: "[\w.]+" has shape \[.*\n$/);
    const given = await slab([...args, `file://${bare}`, "--config", join(folder, "config.json")], { cwd: bare });
    assert.is(given.stderr, "");
    assert.match(given.stdout, "\tcat ");
  });
});

test("a language model is refused in one line", async () => {
  const { code, stdout, stderr } = await slab(["classify", ...paths, "--model", "slab-lm-books"]);
  assert.equal([code, stdout], [1, ""]);
  assert.match(stderr, /^slab: .* is a language model: slab classify takes image models; use slab generate\n$/);
});

test("a file name cannot drive the terminal", async () => {
  await inFolder(async (folder) => {
    copyFileSync(join(samples, "cat.png"), join(folder, "a\x1b[31m\n.png"));
    const { code, stdout } = await slab(["classify", folder, "--top", "1"]);
    assert.is(code, 0);
    assert.is(stdout.split("\n").length, 2);
    assert.not.match(stdout, "\x1b");
  });
});

test("the demo shows every sample, what it took and what to try next", async () => {
  const { code, stdout, stderr } = await runScript("demo.js", []);
  assert.is(stderr, "");
  assert.is(code, 0);
  for (const [name, label] of Object.entries(SAMPLES))
    assert.match(stdout, new RegExp(`^${name.replace(".", "\\.")} +${label} +█+.* ms$`, "m"));
  assert.match(stdout, "25 norms folded");
  assert.match(stdout, /loaded in \d+(\.\d)? ms, [\d.]+ MiB of memory/);
  assert.match(stdout, "17 norms folded");
  assert.match(
    stdout,
    /^Once upon a time\S* [^]{100,}\nprefill \d+ tokens\/s .* decode \d+ tokens\/s \([\d.]+ ms a token\), 545\.0 KiB of state/m,
  );
  assert.match(stdout, /npx slab-wasm classify[^\n]*\n[^\n]*npx slab-wasm generate[^\n]*\n[^\n]*README[^\n]*\n$/);
});

test.run();
