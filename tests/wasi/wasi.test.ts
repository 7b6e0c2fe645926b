// slab-wasi in every WASI host gives what the JavaScript API gives, to the last bit.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { preprocess } from "../../bindings/image/index.ts";
import type { GenerateOptions, ImageModelConfig, LoadOptions, Model, ModelParts } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import { rejects } from "../bindings/checkpoint/fixtures.ts";
import { inFolder } from "../cli/command.ts";
import { builds } from "../harness.ts";
import { tinyLlama } from "../golden/tiny-llama.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { hosts, node, runInShim } from "./hosts.ts";

const pretrained = (name: string): string => fileURLToPath(new URL(`../../models/pretrained/${name}`, import.meta.url));
const cifar = pretrained("slab-deit-cifar10"), books = pretrained("slab-lm-books");
const PIXELS = 32 * 32;
/** Two pictures, RGB. */
const pictures = Uint8Array.from({ length: 2 * 3 * PIXELS }, (_, i) => (i * 7919 + (i >> 5) * 31) % 256);
const prompt = [5, 17, 99, 4];

/** Writes the model to `model.slab` of a folder, beside two pictures, for as long as `use` takes. */
async function packed(
  source: string | ModelParts, options: LoadOptions, use: (folder: string, model: Model) => Promise<void>,
): Promise<void> {
  using model = await load(source, { threads: 1, build: "simd", ...options });
  await inFolder(async (folder) => {
    writeFileSync(join(folder, "model.slab"), await model.standalone());
    for (const i of [0, 1])
      writeFileSync(join(folder, `${i}.rgb`), pictures.subarray(i * 3 * PIXELS, (i + 1) * 3 * PIXELS));
    await use(folder, model);
  });
}

async function logitsOf(model: Model): Promise<Float32Array[]> {
  const { preprocessing } = (model.config as ImageModelConfig).image;
  return Promise.all(
    [0, 1].map((i) =>
      model.forward(
        preprocess(
          { data: pictures.subarray(i * 3 * PIXELS, (i + 1) * 3 * PIXELS), width: 32, height: 32 },
          preprocessing,
        ),
      ),
    ),
  );
}

const floats = (bytes: Buffer): Float32Array => new Float32Array(Uint8Array.from(bytes).buffer);

async function idsOf(model: Model, ids: readonly number[], options: GenerateOptions): Promise<number[]> {
  const out: number[] = [];
  for await (const { id } of model.session().generate(ids, options)) out.push(id);
  return out;
}

const numbers = (stdout: Buffer): number[] => stdout.toString().split("\n").slice(0, -1).map(Number);

for (const host of hosts) {
  const check = (name: string, run: () => Promise<void>): void => test(`${name}: ${host.name}`, run);

  for (const dtype of ["f32", "int8"] as const) {
    check(`classify: the same bits, ${dtype}`, () => packed(cifar, { dtype }, async (folder, model) => {
      const raw = host.run(["classify", "model.slab", "--logits"], { folder, stdin: pictures });
      assert.equal([raw.code, raw.stderr], [0, ""]);
      const [first, second] = await logitsOf(model) as [Float32Array, Float32Array];
      assert.equal(floats(raw.stdout), Float32Array.of(...first, ...second));
      // labels of files, and of the same bytes one after another
      const named = host.run(["classify", "model.slab", "0.rgb", "./1.rgb", "--top", "3"], { folder });
      const piped = host.run(["classify", "model.slab", "--top", "3"], { folder, stdin: pictures });
      assert.equal([named.code, named.stderr], [0, ""]);
      assert.is(piped.stdout.toString(), named.stdout.toString());
      const lines = named.stdout.toString().trimEnd().split("\n");
      assert.is(lines.length, 2);
      for (const i of [0, 1]) {
        const labels = await model.classify(
          { data: pictures.subarray(i * 3 * PIXELS, (i + 1) * 3 * PIXELS), width: 32, height: 32 },
          { topK: 3 },
        );
        assert.is(lines[i], labels.map(({ label, score }) => `${label} ${score.toFixed(4)}`).join("\t"));
      }
    }));
  }

  for (const dtype of ["f32", "int4"] as const) {
    check(`generate: the same ids, ${dtype}`, () => packed(books, { dtype, sessions: 1 }, async (folder, model) => {
      const greedy = host.run(["generate", "model.slab", ...prompt.map(String), "--max", "40"], { folder });
      assert.equal([greedy.code, greedy.stderr], [0, ""]);
      assert.equal(numbers(greedy.stdout), await idsOf(model, prompt, { maxTokens: 40, temperature: 0 }));
      // more tokens than one run reads, from standard input, and every step of the sampler
      const long = Array.from({ length: 300 }, (_, i) => (i * 37 + 11) % 4096);
      const drawn = host.run(
        [
          "generate", "model.slab", "-", "--max", "40", "--temperature", "0.85", "--top-k", "50", "--top-p", "0.9",
          "--repetition-penalty", "1.15", "--seed", "4294967311",
        ],
        { folder, stdin: `${long.join(" \n")}\n` },
      );
      assert.equal([drawn.code, drawn.stderr], [0, ""]);
      assert.equal(
        numbers(drawn.stdout),
        await idsOf(model, long, {
          maxTokens: 40, temperature: 0.85, topK: 50, topP: 0.9, repetitionPenalty: 1.15, seed: 4294967311,
        }),
      );
    }));
  }

  check("info and help", () => packed(tinyLm(), { sessions: 3 }, async (folder) => {
    const info = host.run(["info", "model.slab"], { folder });
    assert.equal([info.code, info.stderr], [0, ""]);
    assert.match(
      info.stdout.toString(),
      /^model +slab_lm, 24 channels, 2 layers, 61 tokens\ntakes +token ids\nvocabulary +61\nweights +f32\n/,
    );
    const help = host.run(["--help"], { folder });
    assert.is(help.code, 0);
    assert.match(help.stdout.toString(), /slab-wasi classify FILE/);
  }));

  check("what is wrong is said in one line", () => packed(tinyLm(), {}, async (folder) => {
    for (const [args, message, stdin] of [
      [[], /which command\?/],
      [["sing"], /no command sing: see --help/],
      [["generate"], /which model\?/],
      [["generate", "gone.slab"], /cannot open gone\.slab: no such file/],
      [["generate", "0.rgb"], /0\.rgb is no model's file: make one with slab pack/],
      [["classify", "model.slab"], /this is a language model: use generate/],
      [["generate", "model.slab", "61"], /a token id is "61", expected a whole number from 0 to 60/],
      [["generate", "model.slab", "1e3"], /a token id is "1e3"/],
      [["generate", "model.slab", "1", "--max"], /--max needs a value/],
      [["generate", "model.slab", "--top-p", "1.5"], /--top-p is "1\.5", expected a number above 0, up to 1/],
      [["generate", "model.slab", "--temperature", "-1"], /--temperature is "-1"/],
      [["generate", "model.slab", "--tall", "1"], /no option --tall/],
      [["generate", "model.slab", "-"], /a token id is "five"/, "1 2 five"],
      [
        ["generate", "/nowhere/model.slab"],
        /cannot open \/nowhere\/model\.slab: it is in no folder that the host has opened/,
      ],
      [["generate", "\u001b[31m\u009b.slab"], /cannot open \?\[31m\?\.slab/],
    ] as const) {
      const { code, stdout, stderr } = host.run(args, { folder, stdin: stdin ?? "" });
      assert.equal([code, stdout.toString()], [1, ""], args.join(" "));
      assert.match(stderr, message);
      assert.match(stderr, /^slab-wasi: [^\n]*\n$/);
    }
  }));

  check("a picture of the wrong size", () => packed(cifar, {}, async (folder) => {
    const cut = host.run(["classify", "model.slab", "--top", "1"], {
      folder, stdin: pictures.subarray(0, 3 * PIXELS + 7),
    });
    assert.is(cut.code, 1);
    assert.is(cut.stdout.toString().split("\n").length, 2);
    assert.match(
      cut.stderr, /picture 2 on standard input has 7 bytes, expected 3072: RGB of 32 x 32 pixels, no header/,
    );
    assert.match(
      host.run(["classify", "model.slab", "model.slab"], { folder }).stderr, /model\.slab has \d+ bytes, expected 3072/,
    );
    assert.match(host.run(["classify", "model.slab"], { folder }).stderr, /picture 1 on standard input has 0 bytes/);
  }));
}

test("a full context ends the text; a prompt without room beside it is refused", async () => {
  using model = await load(tinyLlama(), { threads: 1, build: "simd", context: 40 });
  const file = { "m.slab": await model.standalone() }, ids = Array.from({ length: 38 }, (_, i) => String(i));
  const ran = runInShim(["generate", "m.slab", ...ids, "--max", "9"], file);
  const given = await idsOf(model, ids.map(Number), { maxTokens: 9, temperature: 0 });
  assert.equal([ran.code, numbers(ran.stdout), given.length], [0, given, 2]);
  for (const more of [["1", "2"], ["1", "2", "3"]]) {
    const { code, stdout, stderr } = runInShim(["generate", "m.slab", ...ids, ...more], file);
    assert.equal([code, stdout.toString()], [1, ""]);
    assert.match(stderr, /^slab-wasi: the context of 40 ids is full: [^\n]*\n$/);
  }
});

test(
  "an empty prompt begins with bos_token_id, an end token ends it, whatever number of sessions the file has room "
    + "for",
  async () => {
    for (const sessions of [1, 4]) {
      await packed(tinyLm(), { sessions }, async (folder, model) => {
        const ids = await idsOf(model, [], { maxTokens: 12, temperature: 0 });
        assert.equal(numbers(node.run(["generate", "model.slab", "--max", "12"], { folder }).stdout), ids);
        await packed(tinyLm({ eos_token_id: ids[3]! }), { sessions }, async (other) => {
          assert.equal(
            numbers(node.run(["generate", "model.slab", "--max", "12"], { folder: other }).stdout),
            ids.slice(0, ids.indexOf(ids[3]!)),
          );
        });
        assert.equal(numbers(node.run(["generate", "model.slab", "--max", "0"], { folder }).stdout), []);
      });
    }
  },
);

test("a file taken from a model that has run is the same", async () => {
  using model = await load(tinyLm(), { threads: 2, sessions: 2 });
  const before = await model.standalone();
  await model.session().prefill([1, 2, 3]);
  assert.equal(await model.standalone(), before);
});

test("a file is not made that slab-wasi would not give its memory", async () => {
  using model = await load(tinyLlama(), { threads: 1, sessions: 400, context: 512 });
  const message = /^the model needs \d+ MiB beside its file of \d+ bytes, more than slab-wasi gives it: load it/;
  await rejects(() => model.standalone(), message, RangeError);
});

test("quantised files and builds of the other kind", async () => {
  await packed(cifar, { dtype: "int8" }, async (folder) => {
    if (!builds.includes("relaxed")) return;
    const { code, stderr } = node.run(["info", "model.slab"], { folder, module: "slab-wasi-relaxed" });
    assert.is(code, 1);
    assert.match(stderr, /is quantised for the plain build: run it with slab-wasi\.wasm/);
  });
  if (!builds.includes("relaxed")) return;
  for (const dtype of ["f32", "int8", "int4"] as const) {
    await packed(cifar, { dtype, build: "relaxed" }, async (folder, model) => {
      const { stdout } = node.run(["classify", "model.slab", "--logits"], {
        folder, stdin: pictures, module: "slab-wasi-relaxed",
      });
      const [first, second] = await logitsOf(model) as [Float32Array, Float32Array];
      assert.equal(floats(stdout), Float32Array.of(...first, ...second));
      if (dtype === "f32") assert.is(node.run(["info", "model.slab"], { folder }).code, 0);
      else
        assert.match(
          node.run(["info", "model.slab"], { folder }).stderr,
          /is quantised for the relaxed build: run it with slab-wasi-relaxed\.wasm/,
        );
    });
  }
});

test.run();
