import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fileSource } from "../../bindings/checkpoint/file.ts";
import { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { Call, pthOf } from "../bindings/checkpoint/pth-writer.ts";
import { tinyEntries, writeEntries } from "../bindings/tiny.ts";
import { inFolder, runScript, samples, slab } from "./command.ts";

test("convert writes a folder that classify reads, once", async () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-convert-")), out = join(folder, "packed");
  try {
    const converted = await runScript("slab.js", ["convert", "slab-deit-cifar10", out, "--dtype", "int4", "--json"]);
    assert.is(converted.code, 0, converted.stderr);
    const { dtype, files, bytes } = JSON.parse(converted.stdout);
    assert.equal([dtype, files], ["int4", ["model.safetensors", "config.json"]]);
    assert.ok(bytes < 5e6 && !existsSync(join(out, "model.safetensors.tmp")));
    const seen = await runScript("slab.js", [
      "classify", join(samples, "cat.png"), "--model", out, "--top", "1", "--json",
    ]);
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
  for (const [args, message] of [
    [[], /two names/],
    [["a"], /two names/],
    [
      ["slab-deit-cifar10", "x", "--unpacked", "--dtype", "int4"],
      /--unpacked keeps tensors as they are, or rounds them with --dtype int8: leave out/,
    ],
    [["slab-deit-cifar10", "x", "--layout", "tall"], /expected relaxed or plain/],
    [["nowhere", "x"], /nowhere/],
  ] as const) {
    const { code, stderr } = await runScript("slab.js", ["convert", ...args]);
    assert.is(code, 1);
    assert.match(stderr, message);
    assert.is(stderr.trimEnd().split("\n").length, 1);
  }
});

test("convert --unpacked --dtype int8: half the file, any dtype later, nearly the same scores", async () => {
  await inFolder(async (folder) => {
    const convert = ["convert", "slab-deit-cifar10", "rounded", "--unpacked", "--dtype", "int8"];
    const { code, stdout, stderr } = await slab(convert, { cwd: folder });
    assert.equal([code, stderr], [0, ""]);
    assert.match(stdout, /^rounded: model\.safetensors, config\.json; tensors rounded to int8, 5\.6 MiB\n$/);
    const quality = ["quality", "slab-deit-cifar10", "--dtype", "int8", "--json"];
    const original = JSON.parse((await slab(quality)).stdout);
    const again = JSON.parse((await slab(["quality", "rounded", ...quality.slice(2)], { cwd: folder })).stdout);
    assert.equal([again.same, again.weightBytes], [original.pictures, original.weightBytes]);
    const best = async (model: string) => {
      const { stdout } = await slab(["classify", cat, "--model", model, "--json", "--deterministic"], { cwd: folder });
      return JSON.parse(stdout).pictures[0].labels[0] as { label: string; score: number };
    };
    const [one, other] = [await best("slab-deit-cifar10"), await best("rounded")];
    assert.is(other.label, one.label);
    assert.ok(Math.abs(other.score - one.score) < 0.05, `${other.score}, expected about ${one.score}`);
  });
});

const entries = writeEntries(tinyEntries), cat = join(samples, "cat.png");
const trained = (dict: unknown): unknown => ({
  epoch: 299, model: dict, state_dict_ema: dict, config: new Call("yacs.config.CfgNode", [], { TAG: "tiny" }),
});
const scores = async (model: string): Promise<unknown> =>
  JSON.parse((await slab(["classify", cat, "--model", model, "--json"])).stdout).pictures[0].labels;

test("a .pth file: recognised, folded, packed; the same labels as the file itself", async () => {
  await inFolder(async (folder) => {
    writeFileSync(join(folder, "tiny.pth"), pthOf(entries, { wrap: trained }));
    writeFileSync(join(folder, "names.txt"), "ant\nbee\ncow\ndog\nelk\n");
    const converted = await slab(["convert", "tiny.pth", "out"], { cwd: folder });
    assert.equal([converted.code, converted.stderr], [0, ""]);
    assert.match(
      converted.stdout,
      /^tiny\.pth: slab_deit, 32×32, 24 channels, 2 blocks, tensors of "model" \(it has state_dict_ema too\)\nout: model\.safetensors, config\.json; weights f32, .* 5 norms folded in\n$/,
    );
    const file = await scores(join(folder, "tiny.pth"));
    assert.equal(await scores(join(folder, "out")), file);
    const unpacked = await slab(
      ["convert", "tiny.pth", "plain", "--unpacked", "--labels", "names.txt", "--dict", "state_dict_ema", "--json"],
      { cwd: folder },
    );
    assert.is(unpacked.code, 0, unpacked.stderr);
    const { recognised, dict, warnings, dtype } = JSON.parse(unpacked.stdout);
    assert.equal(
      [recognised.preset, recognised.config.model_type, dict, warnings, dtype],
      [null, "slab_deit", "state_dict_ema", [], null],
    );
    const named = (await scores(join(folder, "plain"))) as { label: string; score: number; index: number }[];
    assert.equal(
      named.map(({ index, score }) => ({ index, score })),
      (file as typeof named).map(({ index, score }) => ({ index, score })),
    );
    assert.ok(named.every(({ label, index }) => label === ["ant", "bee", "cow", "dog", "elk"][index]));
    // what only training needs is left behind, and the rest may be packed in any way
    const quantised = await slab(["convert", "plain", "int8", "--dtype", "int8"], { cwd: folder });
    assert.is(quantised.code, 0, quantised.stderr);
    const tensors = (await Checkpoint.open(await fileSource(join(folder, "plain", "model.safetensors")))).names();
    assert.not(tensors.some((name) => /cls_token|norm1\.norm1|iter|num_batches/.test(name)));
    const info = await slab(["info", "tiny.pth"], { cwd: folder });
    assert.is(info.code, 0, info.stderr);
    assert.match(info.stdout, /5 norms folded, 0 left/);
  });
});

test("warns of a snapshot from the middle of training, and of tensors that nobody reads", async () => {
  const more = entries.map((entry) =>
    entry.name === "blocks.1.norm2.iter" ? { ...entry, data: Uint8Array.of(0x39, 0x30, 0, 0, 0, 0, 0, 0) } : entry,
  );
  await inFolder(async (folder) => {
    writeFileSync(
      join(folder, "tiny.pth"),
      pthOf([...more, { name: "gate.weight", dtype: "F32", shape: [1], data: new Uint8Array(4) }]),
    );
    const { code, stderr } = await slab(["convert", "tiny.pth", "out"], { cwd: folder });
    assert.is(code, 0);
    assert.match(
      stderr,
      /^slab: warning: tiny\.pth has 1 tensor that this network does not read, such as gate\.weight: is it of another kind\?\nslab: warning: tiny\.pth is from the middle of training: blocks\.1\.norm2 has 12345 steps left .* its accuracy is poor\n$/,
    );
  });
});

test("refuses what it cannot convert in one line, and leaves nothing behind", async () => {
  await inFolder(async (folder) => {
    writeFileSync(
      join(folder, "strange.pth"), pthOf([{ name: "conv1.weight", dtype: "F32", shape: [1], data: new Uint8Array(4) }]),
    );
    writeFileSync(join(folder, "cut.pth"), pthOf(entries).subarray(0, 9000));
    writeFileSync(join(folder, "few.txt"), "ant\nbee\n");
    writeFileSync(join(folder, "tiny.pth"), pthOf(entries, { legacy: true }));
    for (const [args, message] of [
      [["strange.pth"], /has 1 tensors, such as "conv1\.weight": of no network known here/],
      [["cut.pth"], /its directory, at the end, is missing/],
      [["tiny.pth", "--labels", "few.txt"], /few\.txt has 2 names on 2 lines, expected 5/],
      [["tiny.pth", "--dict", "ema"], /has no dict of tensors "ema": it has the file itself/],
      [["tiny.pth", "--config", "slab_deit_t"], /"pos_embed" has shape/],
    ] as const) {
      const { code, stdout, stderr } = await slab(["convert", args[0]!, "out", ...args.slice(1)], { cwd: folder });
      assert.equal([code, stdout], [1, ""], args.join(" "));
      assert.match(stderr, message);
      assert.is(stderr.trimEnd().split("\n").length, 1);
      assert.not(existsSync(join(folder, "out")), args.join(" "));
    }
  });
});

test.run();
