import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { node } from "../wasi/hosts.ts";
import { inFolder, slab } from "./command.ts";

test("pack writes a file that slab-wasi runs, once", () => inFolder(async (folder) => {
  const out = join(folder, "cifar.slab");
  const { code, stdout, stderr } = await slab(["pack", "slab-deit-cifar10", out, "--dtype", "int8", "--json"]);
  assert.equal([code, stderr], [0, ""]);
  const { task, dtype, bytes, module } = JSON.parse(stdout);
  assert.equal([task, dtype, bytes, module], ["classify", "int8", statSync(out).size, "slab-wasi.wasm"]);
  assert.equal(readdirSync(folder), ["cifar.slab"]);
  writeFileSync(join(folder, "grey.rgb"), new Uint8Array(3072).fill(128));
  const ran = node.run(["classify", "cifar.slab", "grey.rgb", "--top", "1"], { folder });
  assert.equal([ran.code, ran.stderr], [0, ""]);
  assert.match(ran.stdout.toString(), /^[a-z]+ [01]\.\d{4}\n$/);
  const again = await slab(["pack", "slab-deit-cifar10", out]);
  assert.equal([again.code, again.stdout], [1, ""]);
  assert.match(again.stderr, /^slab: .*cifar\.slab exists already: give a new file, or remove it\n$/);
}));

test("pack says what it needs", () => inFolder(async (folder) => {
  const file = join(folder, "x.slab");
  for (const [args, message] of [
    [[], /a model and a new file/],
    [["a"], /a model and a new file/],
    [["slab-deit-cifar10", file, "--layout", "tall"], /--layout is "tall", expected plain or relaxed/],
    [["slab-deit-cifar10", file, "--threads", "2"], /pack has no option/],
    [["nowhere", file], /nowhere/],
    [["slab-deit-cifar10", join(folder, "none", "x.slab")], /no such file/],
  ] as const) {
    const { code, stdout, stderr } = await slab(["pack", ...args]);
    assert.equal([code, stdout], [1, ""], args.join(" "));
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split("\n").length, 1);
  }
  assert.ok(!existsSync(file));
  assert.match((await slab(["pack", "--help"])).stdout, /slab pack MODEL OUT/);
}));

test.run();
