import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { inFolder, samples, slab } from "./command.ts";

test("quality of an image model: labels, logits and bytes of weights", async () => {
  const { code, stdout, stderr } = await slab(["quality", "slab-deit-cifar10", "--dtype", "int8", "--json"]);
  assert.equal([code, stderr], [0, ""]);
  const { dtype, pictures, same, agreement, largest, rms, weightBytes } = JSON.parse(stdout);
  assert.equal([dtype, pictures, same, agreement], ["int8", 5, 5, 1]);
  assert.ok(rms > 0 && rms < largest && largest < 0.06, `${rms} ${largest}`);
  assert.ok(weightBytes.int8 < 0.3 * weightBytes.f32);
  const text = await slab(["quality", "slab-deit-cifar10", "--dtype", "int4", "--images", samples, "--limit", "2"]);
  assert.equal([text.code, text.stderr], [0, ""]);
  assert.match(text.stdout, /^pictures +2 of /m);
  assert.match(text.stdout, /^weights +[\d.]+ MiB as f32, [\d.]+ MiB as int4: 1\d\.\d%$/m);
  assert.match(text.stdout, /^labels +the same one first for 2 of 2: 100\.0%$/m);
  assert.match(text.stdout, /^logits +at most \d+\.\d\d% apart, \d\.\d\d% RMS/m);
});

test("quality of a language model: perplexity of both, and agreement", async () => {
  await inFolder(async (at) => {
    const file = join(at, "story.txt");
    writeFileSync(file, "It was a dark and stormy night, and the captain had not come back to the house. ".repeat(3));
    const { code, stdout, stderr } = await slab([
      "quality", "slab-lm-books", "--dtype", "int8", "--text", file, "--limit", "40", "--json",
    ]);
    assert.equal([code, stderr], [0, ""]);
    const { tokens, perplexity, difference, agreement, weightBytes } = JSON.parse(stdout);
    assert.is(tokens, 40);
    assert.ok(perplexity.f32 > 1 && perplexity.f32 < 200, String(perplexity.f32));
    assert.ok(
      Math.abs(difference) < 0.05 && Math.abs(perplexity.quantised / perplexity.f32 - 1 - difference) < 1e-12,
      String(difference),
    );
    assert.ok(agreement > 0.8 && agreement <= 1, String(agreement));
    assert.ok(weightBytes.int8 < 0.3 * weightBytes.f32);
  });
  const text = await slab(["quality", "slab-lm-books", "--dtype", "int4", "--limit", "20"]);
  assert.equal([text.code, text.stderr], [0, ""]);
  assert.match(text.stdout, /^text +20 tokens of .*harbour\.txt$/m);
  assert.match(text.stdout, /^perplexity +[\d.]+ with f32, [\d.]+ with int4: [-+]\d+\.\d\d%$/m);
  assert.match(text.stdout, /^next token +the same one first after [\d.]+% of 19 tokens$/m);
});

test("a picture that cannot be read is reported, and the others are compared", async () => {
  await inFolder(async (at) => {
    copyFileSync(join(samples, "cat.png"), join(at, "cat.png"));
    writeFileSync(join(at, "broken.png"), "no picture");
    const { code, stdout, stderr } = await slab([
      "quality", "slab-deit-cifar10", "--dtype", "int8", "--images", at, "--json",
    ]);
    assert.is(code, 1);
    assert.match(stderr, /^slab: .*broken\.png: /);
    assert.is(JSON.parse(stdout).pictures, 1);
  });
});

test("--dtype of the other commands", async () => {
  const info = JSON.parse((await slab(["info", "slab-deit-cifar10", "--dtype", "int4", "--json"])).stdout);
  assert.equal([info.dtype, info.layers], ["int4", { f32: 2, int4: 72 }]);
  assert.match(
    (await slab(["info", "slab-deit-cifar10", "--dtype", "int8"])).stdout,
    /^weights +int8 in 72 linear layers, f32 in 2 with few channels; /m,
  );
  assert.match((await slab(["info", "slab-deit-cifar10"])).stdout, /^weights +f32 in 74 linear layers$/m);
  const classified = await slab(["classify", join(samples, "cat.png"), "--dtype", "int8", "--top", "1", "--json"]);
  assert.equal(
    [JSON.parse(classified.stdout).dtype, JSON.parse(classified.stdout).pictures[0].labels[0].label],
    ["int8", "cat"],
  );
  const generated = JSON.parse(
    (await slab(["generate", "It was", "--dtype", "int4", "--max-tokens", "3", "--json"])).stdout,
  );
  assert.equal([generated.dtype, generated.ids.length], ["int4", 3]);
  const timed = JSON.parse(
    (await slab(["bench", "slab-deit-cifar10", "--dtype", "int8", "--rounds", "1", "--json"])).stdout,
  );
  assert.equal([timed.dtype, timed.timings.length], ["int8", 1]);
});

test("what is wrong: exit code 1 and one line", async () => {
  await inFolder(async (at) => {
    const [short, binary, empty] = [join(at, "short"), join(at, "binary"), join(at, "empty")];
    writeFileSync(short, "a");
    writeFileSync(binary, Uint8Array.of(0x61, 0xff));
    mkdirSync(empty);
    const int8 = (model: string, ...more: string[]): string[] => ["quality", model, "--dtype", "int8", ...more];
    const wrong: [args: string[], line: RegExp][] = [
      [["quality"], /^slab: no model was given: .*slab quality/],
      [["quality", "a", "b"], /^slab: one model at a time: b is one too many$/],
      [
        ["quality", "slab-deit-cifar10"],
        /^slab: no dtype was given: say what to compare with f32, --dtype int8 or --dtype int4$/,
      ],
      [["quality", "slab-deit-cifar10", "--dtype", "f32"], /^slab: --dtype is "f32", expected int8 or int4$/],
      [["info", "slab-deit-cifar10", "--dtype", "fp16"], /^slab: --dtype is "fp16", expected f32, int8 or int4$/],
      [["generate", "x", "--dtype"], /^slab: --dtype needs a value: see slab generate --help$/],
      [int8("slab-lm-books", "--limit", "1"), /^slab: --limit is "1", expected a whole number of at least 2$/],
      [
        int8("slab-lm-books", "--images", samples),
        /^slab: slab_lm, .* is a language model: give --text instead of --images$/,
      ],
      [
        int8("slab-deit-cifar10", "--text", short),
        /^slab: slab_deit, .* is an image model: give --images instead of --text$/,
      ],
      [
        int8("slab-lm-books", "--text", short),
        /^slab: the text ".*short" has 1 token, expected at least 2: give a longer one$/,
      ],
      [int8("slab-lm-books", "--text", binary), /^slab: the text ".*binary" is no UTF-8 text: convert it$/],
      [
        int8("slab-lm-books", "--text", join(at, "none")),
        /^slab: cannot read the text ".*none" \(no such file\): check the path$/,
      ],
      [
        int8("slab-deit-cifar10", "--images", empty),
        /^slab: .*empty: the folder holds no picture: expected files that end in /,
      ],
      [
        int8("slab-deit-cifar10", "--images", join(at, "none")),
        /^slab: .*none: it cannot be read \(no such file\): check the path$/,
      ],
    ];
    for (let i = 0; i < wrong.length; i += 3) {
      await Promise.all(wrong.slice(i, i + 3).map(async ([args, line]) => {
        const { code, stdout, stderr } = await slab(args);
        assert.equal([code, stdout], [1, ""], args.join(" "));
        assert.is(stderr.split("\n").length, 2, stderr);
        assert.match(stderr.trimEnd(), line);
      }));
    }
  });
});

test.run();
