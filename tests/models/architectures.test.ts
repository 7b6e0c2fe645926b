// What adding an architecture takes: one object. Two made-up ones are loaded, recognised, refused and described.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Plugin } from "esbuild";
import { build } from "esbuild";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Architecture } from "../../bindings/tasks/architecture.ts";
import { memoryCheckpoint, safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import type { Checkpoint, MemoryEntry } from "../../bindings/checkpoint/index.ts";
import { loader } from "../../bindings/core.ts";
import { load } from "../../bindings/index.ts";
import { loadOf } from "../../bindings/load/load.ts";
import { shapeOf, sizesOf } from "../../cli/sizes.ts";
import { syntheticValues } from "../../cli/synthetic.ts";
import { ARCHITECTURES } from "../../models/all.ts";
import { OWN } from "../../models/own.ts";
import { recognise } from "../../models/recognise.ts";
import { rejects } from "../bindings/checkpoint/fixtures.ts";
import { tinyConfig, tinyFile, tinyPixels } from "../bindings/tiny.ts";
import { binaries } from "../harness.ts";
import { bigram, patchMean } from "./made-up.ts";

function weightsOf(shapes: Readonly<Record<string, readonly number[]>>): Checkpoint {
  const entries: Record<string, MemoryEntry> = {};
  for (const [name, shape] of Object.entries(shapes)) entries[name] = { shape, data: syntheticValues(name, shape) };
  return memoryCheckpoint(entries);
}
const patchWeights = weightsOf({
  "patches.proj.weight": [4, 3, 4, 4], "patches.proj.bias": [4], "head.weight": [3, 4], "head.bias": [3],
});
const pixels = Float32Array.from({ length: 3 * 8 * 8 }, (_, i) => Math.sin(i));
const one = loader([patchMean]);

/** The mean commutes with both layers. */
function naivePatchMean(): number[] {
  const proj = syntheticValues("patches.proj.weight", [4, 3, 4, 4]), bias = syntheticValues("patches.proj.bias", [4]);
  const mean = Array.from(bias, (b, o) => {
    let sum = 0;
    for (let c = 0; c < 3; c++) {
      for (let y = 0; y < 8; y++) {
        for (let x = 0; x < 8; x++) {
          sum += proj[((o * 3 + c) * 4 + (y % 4)) * 4 + (x % 4)]! * pixels[(c * 8 + y) * 8 + x]!;
        }
      }
    }
    return sum / 4 + b;
  });
  const head = syntheticValues("head.weight", [3, 4]), headBias = syntheticValues("head.bias", [3]);
  return Array.from(headBias, (b, o) => mean.reduce((sum, v, i) => sum + head[o * 4 + i]! * v, b));
}

test("an architecture of one object loads by its types, by its preset and by its tensors", async () => {
  for (const config of [{ model_type: "patch_mean" }, { model_type: "mean_of_patches" }, "patch_mean_xs", undefined]) {
    using model = await one({ ...(config ? { config } : {}), weights: patchWeights }, { threads: 1 });
    const { task, architecture, name } = model.config;
    assert.equal([task, architecture], ["images", "patch_mean"]);
    const words = typeof config === "object" ? `${config.model_type}, 8×8, 4 channels, 1 blocks` : "patch_mean_xs";
    assert.is(name, words);
    const logits = await model.forward(pixels);
    naivePatchMean().forEach((want, i) => assert.ok(Math.abs(logits[i]! - want) < 1e-5, `${logits[i]} for ${want}`));
  }
});

test("its checks, its presets and its types are what errors say", async () => {
  const refused = (config: unknown, message: RegExp, weights = patchWeights): Promise<void> =>
    rejects(() => one({ config, weights }), message, RangeError);
  await refused({ model_type: "slab_deit" }, /"slab_deit", expected one of patch_mean, mean_of_patches: for/);
  await refused("slab_deit_t", /no preset is called "slab_deit_t": use one of patch_mean_xs, or a config\.json: for/);
  await refused({ model_type: "patch_mean", num_labels: 11 }, /"num_labels" is 11, expected a whole number from 1/);
  await refused({ model_type: "patch_mean", num_channels: 1 }, /"num_channels" is 1, expected 3: pictures are RGB$/);
  const none = /of no network known here \(patch_mean, mean_of_patches\); .*: for/;
  await refused(undefined, none, weightsOf({ "x.weight": [1] }));
});

test("it is described as slab info and slab list do", () => {
  const config = patchMean.read({ model_type: "patch_mean" }, "config"), sizes = sizesOf(config, patchMean);
  const shape = { dim: "4", depth: "1", heads: "", mixer: "mean", patchSize: 4, memory: undefined };
  assert.equal(shapeOf(config, patchMean), shape);
  assert.equal([sizes.parameters, sizes.norms], [4 * 48 + 4 + 3 * 4 + 3, []]);
  const text = bigram.read({ model_type: "bigram" }, "config");
  assert.is(text.name, "bigram, 8 channels, 2 layers, 11 tokens");
  assert.is(shapeOf(text, bigram).memory, "one token");
  assert.equal(sizesOf(text, bigram).programs.map(({ name }) => name), ["prefill", "decode", "head"]);
});

const layer = (i: number) => ({
  [`layers.${i}.norm.alpha`]: [1], [`layers.${i}.norm.bn.weight`]: [8], [`layers.${i}.norm.bn.bias`]: [8],
  [`layers.${i}.norm.bn.running_mean`]: [8], [`layers.${i}.norm.bn.running_var`]: [8],
  [`layers.${i}.mlp.gate_proj.weight`]: [16, 8], [`layers.${i}.mlp.up_proj.weight`]: [16, 8],
  [`layers.${i}.mlp.down_proj.weight`]: [8, 16],
});
const bigramShapes = { "embed.weight": [11, 8], "head.weight": [11, 8], ...layer(0), ...layer(1) };

test("a language model of one object has sessions", async () => {
  const parts = { config: { model_type: "bigram" }, weights: weightsOf(bigramShapes) };
  using model = await loader([patchMean, bigram])(parts, { threads: 1 });
  const all = await model.session().logits([1, 2, 3, 2]), decoded = await model.session().decode(2);
  assert.equal(all.slice(11, 22), all.slice(33, 44));
  assert.not.equal(all.slice(0, 11), all.slice(11, 22));
  decoded.forEach((logit, i) => assert.ok(Math.abs(logit - all[11 + i]!) < 1e-5));
});

/** load() that has SLAB's own at hand and others later, as that of slab-wasm. */
function later(others: readonly Architecture[]) {
  const asked = { times: 0 };
  const list = (fits: (one: Architecture) => boolean) => {
    if (OWN.some(fits)) return OWN;
    asked.times++;
    return Promise.resolve([...OWN, ...others]);
  };
  return { load: loadOf({ list }), asked };
}

test("others are loaded only where a model is none of SLAB's", async () => {
  const { load, asked } = later([patchMean]);
  for (const config of [tinyConfig, undefined]) {
    using model = await load({ ...(config ? { config } : {}), weights: tinyFile }, { threads: 1 });
    await model.forward(tinyPixels);
  }
  assert.is(asked.times, 0);
  for (const config of [{ model_type: "patch_mean" }, "patch_mean_xs", undefined]) {
    const before = asked.times;
    using model = await load({ ...(config ? { config } : {}), weights: patchWeights }, { threads: 1 });
    assert.is(model.config.architecture, "patch_mean");
    assert.ok(asked.times > before);
  }
  const types = OWN.flatMap((own) => own.types).join(", ");
  const message = new RegExp(`expected one of ${types}, patch_mean, mean_of_patches$`);
  await rejects(() => load({ config: { model_type: "vit" }, weights: tinyFile }), message, RangeError);
});

const root = fileURLToPath(new URL("../../", import.meta.url));

test("built, others are a small piece that shares sessions and threads with what loads it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "slab-later-"));
  const options = { absWorkingDir: root, bundle: true, format: "esm", platform: "node", logLevel: "error" } as const;
  const apart: Plugin = {
    name: "apart",
    setup: ({ onResolve }) => onResolve({ filter: /^\./ }, ({ path, kind, resolveDir }) => {
      if (kind !== "dynamic-import") return undefined;
      const later = path === "../models/index.ts", file = pathToFileURL(join(resolveDir, path)).href;
      return { path: later ? "./later.mjs" : file, external: true };
    }),
  };
  try {
    const pieces = { later: "tests/models/made-up.ts", all: "models/index.ts" }, conditions = ["slab-later"];
    const { metafile: { inputs } } = await build({
      ...options, conditions, entryPoints: pieces, outdir: folder, outExtension: { ".js": ".mjs" }, metafile: true,
    });
    const runtime = /^bindings\/(run|load|platform|image|tokenizer|tasks\/(?!later|programs))/;
    assert.equal(Object.keys(inputs).filter((path) => runtime.test(path)), []);
    const index = { entryPoints: ["bindings/index.ts"], outfile: join(folder, "index.mjs"), plugins: [apart] };
    await build({ ...options, ...index });
    const app = await import(pathToFileURL(join(folder, "index.mjs")).href) as typeof import("../../bindings/index.ts");
    const given = { threads: 1, wasm: binaries.get("simd")! };
    const weights = safetensorsBytes(Object.entries(bigramShapes).map(([name, shape]) => (
      { name, dtype: "F32" as const, shape, data: new Uint8Array(syntheticValues(name, shape).buffer) }
    )));
    using model = await app.load({ config: { model_type: "bigram" }, weights }, given);
    const session = model.session();
    assert.ok(session instanceof app.Session);
    using here = await loader([bigram])({ config: { model_type: "bigram" }, weights }, given);
    assert.equal(await session.decode(7), await here.session().decode(7));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a network that only looks like one of SLAB's is left to those who know it", async () => {
  const header = weightsOf({
    "blocks.0.attn.qkv.weight": [12, 4], "patch_embed.proj.weight": [4, 3, 4, 4], "pos_embed": [1, 4, 4],
  });
  const plain: Architecture = { ...patchMean, about: { recognise: () => ({ model_type: "patch_mean" }) } };
  assert.is((await recognise(header, { list: () => [...OWN, plain] })).config.model_type, "patch_mean");
  // nobody else does: the first that took it for its own says what is missing
  const message = /has no norm for "blocks\.0\.norm1", expected PRepBN/;
  await rejects(() => recognise(header, { list: () => OWN }), message, RangeError);
});

test("every file of models/vision and models/language is listed once", () => {
  const folder = new URL("../../models/", import.meta.url);
  const listed = ["own.ts", "index.ts"].flatMap((list) => {
    const lines = readFileSync(new URL(list, folder), "utf8").split("\n").filter((line) => !line.startsWith("//"));
    return lines.flatMap((line) => /from "\.\/((?:vision|language)\/[\w-]+\.ts)"/.exec(line)?.[1] ?? []);
  });
  const filesOf = (task: string): string[] => readdirSync(new URL(task, folder)).map((file) => `${task}/${file}`);
  assert.equal(listed.sort(), [...filesOf("language"), ...filesOf("vision")].sort());
});

test("types and presets are of one architecture each", () => {
  const types = ARCHITECTURES.flatMap((one) => one.types);
  const presets = ARCHITECTURES.flatMap((one) => Object.keys(one.presets));
  assert.equal([new Set(types).size, new Set(presets).size], [types.length, presets.length]);
  for (const { types, presets, read } of ARCHITECTURES) {
    for (const [name, json] of Object.entries(presets)) {
      assert.ok(types.includes(json.model_type as string), name);
      assert.equal([read(json, name, name).name, read(json, name, name).architecture], [name, types[0]]);
    }
  }
});

test("load() of slab-wasm says all that it knows", async () => {
  const types = ARCHITECTURES.flatMap((one) => one.types).join(", "), message = new RegExp(`expected one of ${types}$`);
  await rejects(() => load({ config: { model_type: "vit" }, weights: tinyFile }), message, RangeError);
});

test.run();
