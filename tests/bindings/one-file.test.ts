// Models from a single file of weights, with no config.json: the network is recognised.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bytesSource, Checkpoint, safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import { load } from "../../bindings/index.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { Call, orderedDict, pthOf } from "./checkpoint/pth-writer.ts";
import { llamaEntries, tinyLlamaConfig } from "../golden/tiny-llama.ts";
import { sentencePieceJson } from "./tokenizer/tokenizers.ts";
import { openFiles, tinyConfig, tinyEntries, tinyFile, tinyPixels, withFolder, writeEntries } from "./tiny.ts";

/** What a trainer saves around its state dict, a foreign class included. */
const nested = (dict: unknown): unknown => ({ epoch: 299, config: new Call("yacs.config.CfgNode", [], { TAG: "tiny" }), optimizer: { state: {} }, model: dict });
const parallel = (dict: unknown): unknown => orderedDict(Object.fromEntries(Object.entries((dict as Call).items).map(([key, value]) => [`module.${key}`, value])));
const entries = writeEntries(tinyEntries), halves = writeEntries(tinyEntries, "F16");

async function logitsOf(source: Parameters<typeof load>[0]): Promise<Float32Array> {
  using model = await load(source, { threads: 1 });
  assert.is(model.config.architecture, "slab_deit");
  return await model.forward(tinyPixels);
}

test("a .pth file is the network that it was saved from, whatever lies around it", async () => {
  const expected = await logitsOf({ config: tinyConfig, weights: tinyFile });
  const files = {
    "zip.pth": pthOf(entries, { wrap: nested }), "legacy.pth": pthOf(entries, { wrap: nested, legacy: true }), "parallel.pt": pthOf(entries, { wrap: parallel }), "alone.safetensors": tinyFile,
  };
  await withFolder(files, async (folder) => {
    for (const name of Object.keys(files)) {
      assert.equal(await logitsOf(join(folder, name)), expected, name);
      assert.equal(openFiles(folder), []);
    }
  });
  for (const bytes of Object.values(files)) assert.equal(await logitsOf({ weights: bytes }), expected);
});

test("what PyTorch saved gives what PyTorch computes", async () => {
  const golden = new URL("checkpoint/pth/", import.meta.url);
  const expected = JSON.parse(readFileSync(new URL("expected.json", golden), "utf8")).deit as number[];
  const pixels = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => ((i * 37) % 101) / 50 - 1), largest = Math.max(...expected.map(Math.abs));
  for (const name of ["deit-zip.pth", "deit-legacy.pth"]) {
    for (const deterministic of [false, true]) {
      using model = await load(new URL(name, golden), { deterministic });
      const error = Math.max(...(await model.forward(pixels)).map((logit, i) => Math.abs(logit - expected[i]!)));
      assert.ok(error < 5e-6 * largest, `${name}: ${error / largest} of the largest logit`);
    }
  }
});

test("halves in a .pth file give the same as halves in safetensors", async () => {
  assert.equal(await logitsOf({ weights: pthOf(halves, { legacy: true }) }), await logitsOf({ config: tinyConfig, weights: safetensorsBytes(halves) }));
});

test("a config that is given goes first", async () => {
  using model = await load({ weights: pthOf(entries), config: tinyConfig });
  assert.equal(model.config.task === "images" && model.config.image.labels, Object.values(tinyConfig.id2label));
  await withFolder({ "x.pth": pthOf(entries) }, async (folder) => {
    await rejects(() => load(join(folder, "x.pth"), { config: "slab_deit_t" }), /"pos_embed" has shape \[1, 16, 24\], expected \[1, 196, 192\]/, RangeError);
    assert.equal(openFiles(folder), []);
  });
});

test("a language model as PyTorch's trainers leave it: pytorch_model.bin, with or without config.json, the tokenizer beside it", async () => {
  const config = { ...tinyLlamaConfig, vocab_size: 400 }, weights = writeEntries(llamaEntries(config)), ids = [5, 7, 200];
  using expected = await load({ config, weights: safetensorsBytes(weights) });
  const logits = await expected.session().prefill(ids);
  await withFolder({ "pytorch_model.bin": pthOf(weights), "config.json": JSON.stringify({ ...config, model_type: "llama" }), "tokenizer.json": JSON.stringify(sentencePieceJson("replace")) }, async (folder) => {
    for (const source of [folder, join(folder, "pytorch_model.bin")]) {
      using model = await load(source);
      assert.equal(await model.session().prefill(ids), logits);
      assert.ok(model.tokenizer);
    }
    assert.equal(openFiles(folder), []);
  });
});

test("behind a URL", async () => {
  const bytes = pthOf(entries, { wrap: nested });
  const server = createServer((request, response) => {
    const [, begin, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")?.map(Number) ?? [];
    if (begin === undefined) return void response.end(bytes);
    const end = Math.min(last! + 1, bytes.length);
    response.writeHead(206, { "content-range": `bytes ${begin}-${end - 1}/${bytes.length}` }).end(bytes.subarray(begin, end));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/tiny.pth?token=1`;
    assert.equal(await logitsOf(address), await logitsOf({ weights: tinyFile }));
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

test("what no one knows is refused, and the file closed; a checkpoint that was given stays open", async () => {
  const strange = pthOf([{ name: "conv1.weight", dtype: "F32", shape: [1], data: new Uint8Array(4) }]);
  await withFolder({ "x.pth": strange }, async (folder) => {
    await rejects(() => load(join(folder, "x.pth")), /x\.pth has 1 tensors, such as "conv1\.weight": of no network known here/, RangeError);
    assert.equal(openFiles(folder), []);
  });
  const checkpoint = await Checkpoint.open(bytesSource("x.pth", strange));
  await rejects(() => load({ weights: checkpoint }), /of no network known here/, RangeError);
  assert.is((await checkpoint.raw("conv1.weight").read()).length, 4);
});

test.run();
