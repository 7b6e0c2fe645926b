// slab-wasm/core: an app with one architecture runs to the same bits as slab-wasm, and carries nothing of the others.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Metafile, Plugin } from "esbuild";
import { build } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as core from "../../bindings/core.ts";
import type { Load } from "../../bindings/core.ts";
import { load, presets } from "../../bindings/index.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { binaries } from "../harness.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { tinyFile } from "./tiny.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cifar = join(root, "models/pretrained/slab-deit-cifar10"), books = join(root, "models/pretrained/slab-lm-books");
const { loader, serve: _, slabDeit, slabLm, ...others } = core;

/** Files that `entry` downloads at once, and what of them is from where. */
function initial({ outputs }: Metafile, entry: string): { files: string[]; inputs: string[] } {
  const files = [entry], inputs = new Set<string>();
  for (const file of files) {
    for (const { path, kind } of outputs[file]!.imports)
      if (kind === "import-statement" && outputs[path] && !files.includes(path)) files.push(path);
    for (const [input, { bytesInOutput }] of Object.entries(outputs[file]!.inputs))
      if (bytesInOutput > 0) inputs.add(input);
  }
  return { files, inputs: [...inputs].sort() };
}

/** What is loaded later lies apart, as in the package. */
const later: Plugin = {
  name: "later",
  setup: ({ onResolve }) =>
    onResolve({ filter: /./ }, ({ path, kind, resolveDir }) =>
      kind === "dynamic-import" && path.startsWith(".")
        ? { path: pathToFileURL(join(resolveDir, path)).href, external: true }
        : undefined,
    ),
};

/** An app with one architecture, bundled as its user would for Node. */
async function withApp(name: string, use: (load: Load, inputs: string[]) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "slab-core-"));
  try {
    const { metafile } = await build({
      stdin: {
        contents: `import { loader, ${name} } from "./bindings/core.ts"; export const load = loader([${name}]);`,
        resolveDir: root, loader: "ts",
      },
      absWorkingDir: root,
      bundle: true,
      minify: true,
      splitting: true,
      format: "esm",
      platform: "node",
      outdir: folder,
      outExtension: { ".js": ".mjs" },
      metafile: true,
      logLevel: "error",
      plugins: [later],
    });
    const entry = Object.keys(metafile.outputs).find((file) => metafile.outputs[file]!.entryPoint === "<stdin>")!;
    const app = await import(pathToFileURL(join(root, entry)).href) as { load: Load };
    await use(app.load, initial(metafile, entry).inputs);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The kernels are not beside the app. */
const options = { wasm: binaries.get("simd")! };
const modelsOf = (inputs: string[]): string[] =>
  inputs.filter((path) => path.startsWith("models/")).map((path) => path.slice("models/".length, -".ts".length));

test("an app with SLAB-DeiT: the same bits, and nothing of other architectures", () =>
  withApp("slabDeit", async (loadDeit, inputs) => {
    const mixers = ["qkv", "simplified-linear-attention", "softmax-attention"].map((name) => `mixers/${name}`);
    const parts = ["mlp", "patches", "prepbn", "values"].map((name) => `parts/${name}`);
    assert.equal(modelsOf(inputs), [...mixers, ...parts, "vision/slab-deit"]);
    assert.equal(
      inputs.filter((path) =>
        /\/(language|language-model|session|sampler|features|backbone|tokenizer|state|extras|profile|pth|standalone|write)\b/.test(
          path,
        ),
      ),
      [],
    );
    const pixels = syntheticInput("core", 3 * 32 * 32);
    using one = await loadDeit(cifar, options), all = await load(cifar, options);
    assert.equal(await one.forward(pixels), await all.forward(pixels));
    // what is loaded later is found
    assert.equal(await one.pack(), await all.pack());
    assert.equal(await one.activation("embed", pixels), await all.activation("embed", pixels));
  }));

test("an app with SLAB-LM: the same bits, and nothing of other architectures", () =>
  withApp("slabLm", async (loadLm, inputs) => {
    const parts = ["decoder", "mlp", "prepbn", "values"].map((name) => `parts/${name}`);
    assert.equal(modelsOf(inputs), ["language/slab-lm", "mixers/simplified-linear-attention", ...parts]);
    assert.equal(
      inputs.filter((path) =>
        /\/(classifier|features|backbone|image|image-model|ops\/(attention|projected-attention|convolution|rows|map)|extras|profile|pth|standalone|write)\b/.test(
          path,
        ),
      ),
      [],
    );
    using one = await loadLm(books, { ...options, sessions: 1 }), all = await load(books, { ...options, sessions: 1 });
    assert.equal(await one.session().prefill([1, 20, 300]), await all.session().prefill([1, 20, 300]));
    assert.is(one.tokenizer!.vocabSize, all.tokenizer!.vocabSize);
  }));

/** What only one architecture says; "decay" is SLAB-LM's, "repetitionPenalty" every language model's. */
const WORDS = [
  "positional_encoding", "decay", "repetitionPenalty", "stage1_conv_embed", "relative_position_bias_table",
  "rotary angles", "sr_ratios",
];

test("built for browsers, an app starts with one file without the others' words", async () => {
  for (const [name, own] of [
    ["slabDeit", ["positional_encoding"]], ["slabLm", ["decay", "repetitionPenalty"]],
  ] as const) {
    const { outputFiles, metafile } = await build({
      stdin: {
        contents: `import { loader, ${name} } from "./dist/js/browser/core.js"; globalThis.load = loader([${name}]);`,
        resolveDir: root,
      },
      absWorkingDir: root,
      bundle: true,
      minify: true,
      splitting: true,
      format: "esm",
      outdir: "app",
      write: false,
      metafile: true,
      logLevel: "error",
    });
    const { files } = initial(
      metafile, Object.keys(metafile.outputs).find((file) => metafile.outputs[file]!.entryPoint === "<stdin>")!,
    );
    assert.is(files.length, 1);
    const { text } = outputFiles.find(({ path }) => path === join(root, files[0]!))!;
    assert.equal(WORDS.filter((word) => text.includes(word)), own, name);
  }
});

test("a model of another architecture is refused by name, with the remedy", async () => {
  const loadDeit = loader([slabDeit]);
  const remedy = ": for others, give loader\\(\\) their architecture from slab-wasm/core$";
  await rejects(
    () => loadDeit({ config: { model_type: "slab_swin" }, weights: tinyFile }),
    new RegExp(`^config: "model_type" is "slab_swin", expected one of slab_deit, deit_prepbn${remedy}`), RangeError,
  );
  await rejects(
    () => loadDeit({ config: "slab_swin_t", weights: tinyFile }),
    new RegExp(
      `^no preset is called "slab_swin_t": use one of slab_deit_t, slab_deit_s, deit_t_prepbn, deit_s_prepbn, `
        + `or a config.json${remedy}`,
    ),
    RangeError,
  );
  await rejects(
    () => loadDeit(books),
    new RegExp(`slab-lm-books/config.json: "model_type" is "slab_lm", expected one of slab_deit, deit_prepbn${remedy}`),
    RangeError,
  );
  // without a config: recognised, and still of none that is known
  const none =
    "^weights has \\d+ tensors, such as .*: of no network known here \\(slab_lm\\); if it is one, give its config";
  await rejects(() => loader([slabLm])({ weights: tinyFile }), new RegExp(`${none}${remedy}`), RangeError);
});

test("what is no list of architectures is refused", () => {
  const refused: [given: unknown, said: string][] = [
    [undefined, "undefined"], ["slabDeit", '"slabDeit"'], [slabDeit, "Object"], [[], "an empty list"],
    [[slabDeit, undefined], "a list with undefined at 1"], [["slab_deit"], 'a list with "slab_deit" at 0'],
  ];
  for (const [given, said] of refused) {
    const expected = "expected a list of architectures from slab-wasm/core: write loader([slabDeit])";
    const message = `loader() was given ${said}, ${expected}`;
    assert.throws(
      () => loader(given as never), (error: Error) => error instanceof TypeError && error.message === message,
    );
  }
});

test("the architectures together have every preset of slab-wasm", () => {
  const names = [slabDeit, slabLm, ...Object.values(others)].flatMap(({ presets }) => Object.keys(presets));
  assert.equal(names.sort(), Object.keys(presets).sort());
});

test.run();
