import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { runScript, samples } from "./command.ts";

test("convert writes a folder that classify reads, once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-convert-")), out = join(folder, "packed");
  try {
    const converted = await runScript("slab.js", ["convert", "slab-deit-cifar10", out, "--dtype", "int4", "--json"]);
    assert.is(converted.code, 0, converted.stderr);
    const { dtype, files, bytes } = JSON.parse(converted.stdout);
    assert.equal([dtype, files], ["int4", ["model.safetensors", "config.json"]]);
    assert.ok(bytes < 5e6 && !existsSync(join(out, "model.safetensors.tmp")));
    const seen = await runScript("slab.js", ["classify", join(samples, "cat.png"), "--model", out, "--top", "1", "--json"]);
    assert.is(seen.code, 0, seen.stderr);
    assert.match(seen.stdout, /"label": "cat"/);
    const again = await runScript("slab.js", ["convert", "slab-deit-cifar10", out]);
    assert.equal([again.code, again.stdout], [1, ""]);
    assert.match(again.stderr, /^slab: .*model\.safetensors exists already: give a new folder, or remove it\n$/);
    const asked = await runScript("slab.js", ["classify", join(samples, "cat.png"), "--model", out, "--dtype", "f32"]);
    assert.is(asked.code, 1);
    assert.match(asked.stderr, /is packed as int4, asked for was f32/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("convert says what it needs", async () => {
  for (const [args, message] of [[[], /two folders/], [["a"], /two folders/], [["slab-deit-cifar10", "x", "--layout", "tall"], /expected relaxed or plain/], [["nowhere", "x"], /nowhere/]] as const) {
    const { code, stderr } = await runScript("slab.js", ["convert", ...args]);
    assert.is(code, 1);
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split("\n").length, 1);
  }
});

test.run();
