import { createServer } from "node:http";
import { readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  blobSource, bytesSource, Checkpoint, memoryCheckpoint, safetensorsBytes,
} from "../../bindings/checkpoint/index.ts";
import type { WriteEntry } from "../../bindings/checkpoint/index.ts";
import { readHeader } from "../../bindings/checkpoint/safetensors.ts";
import { load } from "../../bindings/index.ts";
import type { LoadOptions, ModelParts, Progress } from "../../bindings/index.ts";
import { syntheticInput } from "../golden/synthetic.ts";
import { lmEntries, tinyLmConfig } from "../golden/tiny-lm.ts";
import { rejects } from "./checkpoint/fixtures.ts";
import { booksJson } from "./tokenizer/tokenizers.ts";
import {
  fileWith, openFiles, runScript, tinyConfig, tinyEntries, tinyFile, tinyFolder, tinyPixels, withFolder, writeEntries,
} from "./tiny.ts";

type Source = string | URL | ModelParts;

async function logitsOf(source: Source, options: LoadOptions = {}, pixels = tinyPixels): Promise<Float32Array> {
  const model = await load(source, { threads: 1, ...options });
  try {
    return await model.forward(pixels);
  } finally {
    model.dispose();
  }
}

const parts = (weights: unknown, config: unknown = tinyConfig): ModelParts => ({ config, weights }) as ModelParts;
const expected = await logitsOf(parts(tinyFile));

/** Loading this folder fails with one clear error, leaves no file open, and does not disturb the next load. */
async function refuses(
  files: Readonly<Record<string, string | Uint8Array>>, message: RegExp, Kind: Function, options: LoadOptions = {},
): Promise<void> {
  await withFolder(files, async (folder) => {
    await rejects(() => load(folder, { threads: 1, ...options }), message, Kind);
    assert.equal(openFiles(folder), []);
  });
  assert.equal(await withFolder(tinyFolder, (folder) => logitsOf(folder)), expected);
}

// what loads

test("a folder, by path, with and without a slash, and by file: URL", () =>
  withFolder(tinyFolder, async (folder) => {
    for (const source of [folder, `${folder}/`, pathToFileURL(folder), pathToFileURL(folder).href])
      assert.equal(await logitsOf(source), expected);
    assert.equal(openFiles(folder), []);
  }));

test("parts: bytes, buffer, Blob, stream, source, checkpoint; config as object and as text", async () => {
  const blob = (): Blob => new Blob([tinyFile]);
  const kinds = [
    tinyFile, tinyFile.buffer, blob(), blob().stream(), bytesSource("bytes", tinyFile), blobSource("blob", blob()),
    await Checkpoint.open(bytesSource("bytes", tinyFile)), memoryCheckpoint(tinyEntries),
  ];
  for (const weights of kinds) assert.equal(await logitsOf(parts(weights)), expected, weights.constructor.name);
  assert.equal(await logitsOf(parts(tinyFile, JSON.stringify(tinyConfig))), expected);
  assert.equal(await logitsOf(parts(tinyFile, "slab_deit_t"), { config: tinyConfig }), expected);
});

test("the same weights as F32, F16, BF16 and F64 give the same bits", async () => {
  // multiples of 1/128 below 2 fit in each of them
  const coarse = Object.fromEntries(
    Object.entries(tinyEntries).map(([name, entry]) => [
      name,
      "dtype" in entry
        ? entry
        : { shape: entry.shape, data: Float32Array.from(entry.data, (v) => Math.round(v * 128) / 128) },
    ]),
  );
  const logits = await logitsOf(parts(safetensorsBytes(writeEntries(coarse))));
  for (const dtype of ["F16", "BF16", "F64"] as const)
    assert.equal(await logitsOf(parts(safetensorsBytes(writeEntries(coarse, dtype)))), logits, dtype);
});

test("a folder of shards is the same model as the single file", async () => {
  const pretrained = fileURLToPath(new URL("../../models/pretrained/slab-deit-cifar10/", import.meta.url));
  const bytes = readFileSync(join(pretrained, "model.safetensors"));
  const { entries } = await readHeader(bytesSource("model.safetensors", bytes));
  const shards: WriteEntry[][] = [[], []];
  const weightMap: Record<string, string> = {};
  const fileName = (shard: number): string => `model-0000${shard + 1}-of-00002.safetensors`;
  [...entries.values()].forEach(({ name, dtype, shape, begin, end }, i) => {
    shards[i % 2]!.push({ name, dtype: dtype as WriteEntry["dtype"], shape, data: bytes.subarray(begin, end) });
    weightMap[name] = fileName(i % 2);
  });
  const files = {
    "config.json": readFileSync(join(pretrained, "config.json"), "utf8"),
    "model.safetensors.index.json": JSON.stringify({ weight_map: weightMap }),
    [fileName(0)]: safetensorsBytes(shards[0]!), [fileName(1)]: safetensorsBytes(shards[1]!),
  };
  const pixels = syntheticInput("input", 3 * 32 * 32);
  await withFolder(files, async (folder) => {
    assert.equal(await logitsOf(folder, {}, pixels), await logitsOf(pretrained, {}, pixels));
    assert.equal(openFiles(folder), []);
  });
  const { [fileName(1)]: _, ...incomplete } = files;
  await refuses(incomplete, /there is no file .*model-00002-of-00002\.safetensors/, Error);
  await refuses({ ...files, "model.safetensors.index.json": "{}" }, /no "weight_map"/, TypeError);
  await refuses(
    { ...files, "model.safetensors.index.json": "{" }, /model\.safetensors\.index\.json is not JSON/, TypeError,
  );
  const escaping = JSON.stringify({ weight_map: { head: "../model.safetensors" } });
  await refuses(
    { ...files, "model.safetensors.index.json": escaping }, /expected a plain \*\.safetensors name/, RangeError,
  );
});

for (const ranges of [true, false]) {
  test(`a folder behind http, from a server ${ranges ? "with" : "without"} ranges`, async () => {
    const server = createServer((request, response) => {
      const page = request.url!.includes("/page/"), name = request.url!.replace("/page", "").slice("/model/".length);
      if (name === "broken/config.json") return void response.writeHead(500).end("no");
      if (!Object.hasOwn(tinyFolder, name)) {
        // as servers of single-page applications do
        if (page) return void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
        return void response.writeHead(404).end("no such file");
      }
      const body = Buffer.from(tinyFolder[name as keyof typeof tinyFolder]);
      const [, first, last] = (ranges && /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "")) || [];
      if (first === undefined) return void response.end(body);
      const end = Math.min(Number(last) + 1, body.length);
      response
        .writeHead(206, { "content-range": `bytes ${first}-${end - 1}/${body.length}` })
        .end(body.subarray(Number(first), end));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      for (const source of [`${origin}/model/`, `${origin}/model`, new URL(`${origin}/model/`)])
        assert.equal(await logitsOf(source), expected);
      assert.equal(await logitsOf(`${origin}/model/page/`), expected);
      await rejects(() => load(`${origin}/page/nothing/`), /nothing\/ has no config\.json: add it/, RangeError);
      await rejects(
        () => load(`${origin}/nothing/`), /nothing\/ has no config\.json: add it, or name the network/, RangeError,
      );
      await rejects(
        () => load(`${origin}/nothing/`, { config: tinyConfig }),
        /nothing\/model\.safetensors: the server answered 404/,
      );
      await rejects(() => load(`${origin}/model/broken/`), /config\.json: the server answered 500/);
    } finally {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    }
  });
}

test("parts at addresses: files on disk and behind http, weights and tokenizer each where it likes", () =>
  withFolder({ ...tinyFolder, "hashed-1.json": booksJson, "none.txt": "x" }, async (folder) => {
    const disk = pathToFileURL(`${folder}/`), weights = new URL("model.safetensors", disk);
    assert.equal(await logitsOf({ config: tinyConfig, weights }), expected);
    await rejects(
      () => load({ config: tinyConfig, weights: disk }), /^weights is the address of a folder, .*: give load\(\) that/,
    );
    const config = { ...tinyLmConfig, vocab_size: 4096 }, words = safetensorsBytes(writeEntries(lmEntries(config)));
    const answer = (request: IncomingMessage, response: ServerResponse): void =>
      void response.end(request.url === "/w.safetensors?v=2" ? words : undefined);
    await served(answer, async (origin) => {
      const language = { config, weights: new URL(`${origin}/w.safetensors?v=2`) };
      const model = await load({ ...language, tokenizer: new URL("hashed-1.json", disk) });
      assert.is(model.tokenizer?.vocabSize, 4096);
      model.dispose();
      const tokenizer = new URL("nowhere.json", disk);
      await rejects(() => load({ ...language, tokenizer }), / has no nowhere\.json, the tokenizer: check its address$/);
    });
    assert.equal(openFiles(folder), []);
  }));

test("a folder behind http, from a server that is not there", async () => {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  const address = new RegExp(
    `^cannot read http://127\\.0\\.0\\.1:${port}/model/config\\.json: .*ECONNREFUSED.*: check the address`,
  );
  await rejects(() => load(`http://127.0.0.1:${port}/model/`), address);
});

/** Runs with a server of its own. */
async function served(
  answer: (request: IncomingMessage, response: ServerResponse) => void, run: (origin: string) => Promise<void>,
): Promise<void> {
  const server = createServer(answer);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    await run(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

test("headers and fetch are for every request; a small file's connection is made anew, once", async () => {
  const seen: string[] = [];
  let drop = true;
  await served((request, response) => {
    seen.push(`${request.url} ${request.headers.authorization}`);
    const name = request.url!.slice("/model/".length), body = tinyFolder[name as keyof typeof tinyFolder];
    if (drop && name === "config.json") {
      drop = false;
      return void response.destroy();
    }
    if (request.headers.authorization !== "Bearer x") return void response.writeHead(401).end();
    if (body === undefined) return void response.writeHead(404).end();
    response.end(body);
  }, async (origin) => {
    const asked: string[] = [];
    const fetching: LoadOptions["fetch"] = (address, init) => {
      asked.push(address.pathname);
      return fetch(address, init);
    };
    const model = `${origin}/model`, headers = { authorization: "Bearer x" };
    assert.equal(await logitsOf(model, { headers, fetch: fetching }), expected);
    const files = ["config.json", "config.json", "model.safetensors.index.json", "model.safetensors"];
    assert.equal(seen, files.map((name) => `/model/${name} Bearer x`));
    assert.equal(asked, files.map((name) => `/model/${name}`));
    await rejects(() => load(model), /answered 401: pass an access token in headers\.authorization$/);
    await rejects(() => load(model, { headers: { "a\n": "x" } }), /^headers has a name or a value/, TypeError);
    const secret = model.replace("//", "//user:secret@");
    await rejects(() => load(secret), /^the address of http:\/\/127[^@]*\/model holds a password/, RangeError);
  });
});

test("small files have a size: endless, compressed, on disk", async () => {
  const bomb = gzipSync(new Uint8Array(20 << 20));
  await served((request, response) => {
    if (request.url!.startsWith("/bomb/")) {
      return void response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
    }
    if (request.url!.startsWith("/long/")) {
      return void response.writeHead(200, { "content-length": 1e15 }).write(new Uint8Array(17 << 20));
    }
    const more = (): void => {
      while (!response.destroyed && response.write(new Uint8Array(1 << 20)));
    };
    response.on("drain", more);
    more();
  }, async (origin) => {
    for (const path of ["endless", "bomb", "long"]) {
      const address = `${origin}/${path}/`, beyond = "\\.json sent more than 16 MiB, which no such file has: ";
      await rejects(() => load(address), new RegExp(`/config${beyond}`), RangeError);
      await rejects(() => load(address, { config: tinyConfig }), new RegExp(`/[a-z.]+\\.index${beyond}`), RangeError);
    }
  });
  const { "config.json": _, ...rest } = tinyFolder;
  await withFolder(rest, async (folder) => {
    const config = join(folder, "config.json");
    writeFileSync(config, "{}");
    truncateSync(config, 17 << 20);
    await rejects(() => load(folder), /config\.json has 17825792 bytes, expected at most 16777216/, RangeError);
    assert.equal(openFiles(folder), []);
  });
  if (process.platform !== "win32") {
    await withFolder(rest, async (folder) => {
      symlinkSync("/dev/zero", join(folder, "config.json"));
      await rejects(() => load(folder), /config\.json is not a regular file/, TypeError);
    });
  }
});

test("the option config: for a folder without config.json, and instead of one", async () => {
  await withFolder({ "model.safetensors": tinyFile }, async (folder) => {
    assert.equal(await logitsOf(folder, { config: tinyConfig }), expected);
    await rejects(
      () => load(folder),
      /has no config\.json: add it, or name the network with the option config, e\.g\. "slab_deit_t"/, RangeError,
    );
    await rejects(
      () => load(folder, { config: "slab_deit_t" }), /"pos_embed" has shape \[1, 16, 24\], expected \[1, 196, 192\]/,
      RangeError,
    );
    await rejects(
      () => load(folder, { config: "slab_deit_xl" }), /no preset is called "slab_deit_xl": use one of slab_deit_t, /,
      RangeError,
    );
    assert.equal(openFiles(folder), []);
  });
  await withFolder({ ...tinyFolder, "config.json": "{}" }, async (folder) =>
    assert.equal(await logitsOf(folder, { config: tinyConfig }), expected),
  );
});

test("progress goes up one by one and ends at its total", async () => {
  const seen: Progress[] = [];
  await logitsOf(parts(tinyFile), { onProgress: (progress) => seen.push(progress) });
  assert.ok(seen.length > 10);
  seen.forEach(({ stage, done, total, name }, i) => {
    assert.equal([stage, done, total], ["weights", i + 1, seen.length]);
    assert.ok(name.length > 0);
  });
});

// what does not

test("weights: cut off, lying, not safetensors, empty, absent", async () => {
  const weights = (file: Uint8Array): Record<string, string | Uint8Array> => ({
    ...tinyFolder, "model.safetensors": file,
  });
  await refuses(
    weights(tinyFile.subarray(0, tinyFile.length - 100)),
    /model\.safetensors is cut off: tensor ".*" ends at byte \d+ but the file has \d+ bytes, 100 missing/, RangeError,
  );
  await refuses(weights(tinyFile.subarray(0, 500)), /is cut off: its header ends/, RangeError);
  await refuses(weights(new Uint8Array(0)), /has 0 bytes, too few/, RangeError);
  await refuses(weights(new TextEncoder().encode("version https://git-lfs")), /Git LFS pointer/, RangeError);
  const { "model.safetensors": _, ...absent } = tinyFolder;
  await refuses(absent, /there is no file .*model\.safetensors/, Error);

  const headerBytes = new DataView(tinyFile.buffer).getUint32(0, true);
  const lie = (from: RegExp, to: string): Uint8Array => {
    const json = new TextDecoder().decode(tinyFile.subarray(8, 8 + headerBytes));
    const changed = json.replace(from, to).trimEnd();
    assert.ok(json.trimEnd() !== changed && changed.length <= headerBytes, "the test changes nothing");
    return Uint8Array.from([
      ...tinyFile.subarray(0, 8), ...new TextEncoder().encode(changed.padEnd(headerBytes)),
      ...tinyFile.subarray(8 + headerBytes),
    ]);
  };
  await refuses(
    weights(lie(/("head\.bias":.*?"data_offsets":)\[\d+,\d+\]/, "$1[0,20]")),
    /tensors "head\.bias" and ".*" overlap|tensors ".*" and "head\.bias" overlap/, RangeError,
  );
  await refuses(
    weights(lie(/("head\.bias":.*?"data_offsets":)\[\d+,\d+\]/, "$1[0,4]")),
    /tensor "head\.bias" has 4 bytes, expected 20 for F32 \[5\]/, RangeError,
  );
  await refuses(
    weights(lie(/("head\.bias":.*?"data_offsets":)\[\d+,\d+\]/, "$1[8,4]")), /which end before they begin/, RangeError,
  );
});

test("tensors: missing, of another shape, of integers", async () => {
  const { "blocks.1.mlp.fc1.weight": fc1, ...without } = tinyEntries;
  const refusesEntries = (entries: typeof tinyEntries, message: RegExp, Kind: Function): Promise<void> =>
    refuses({ ...tinyFolder, "model.safetensors": safetensorsBytes(writeEntries(entries)) }, message, Kind);
  await refusesEntries(without, /model\.safetensors has no tensor "blocks\.1\.mlp\.fc1\.weight"/, RangeError);
  await refusesEntries(
    { ...without, "blocks.1.mlp.fc1.weight": { ...fc1!, shape: [24, 96] } },
    /"blocks\.1\.mlp\.fc1\.weight" has shape \[24, 96\], expected \[96, 24\]/,
    RangeError,
  );
  const integers = { shape: [5], data: new Uint8Array(40), dtype: "I64" };
  await refusesEntries(
    { ...tinyEntries, "head.bias": integers }, /"head\.bias" has dtype I64, expected F32, F16, BF16 or F64/, TypeError,
  );
});

const poisoned = [
  ["blocks.0.attn.qkv.weight", /"blocks\.0\.attn\.qkv/],
  ["blocks.1.mlp.fc2.weight", /"blocks\.1\.mlp\.fc2"/],
  ["head.bias", /"head"/],
  ["patch_embed.proj.weight", /"patch_embed\.proj"/],
  ["blocks.1.norm2.norm2.bn.running_var", /"blocks\.1\.norm2\.norm2\.bn\.running_var"/],
  ["norm.norm2.alpha", /"norm\.norm2\.alpha"/],
  ["pos_embed", /"pos_embed"/],
  ["blocks.0.attn.positional_encoding", /"blocks\.0\.attn\.positional_encoding"/],
  ["blocks.0.attn.dwc.weight", /"blocks\.0\.attn\.dwc\.weight"/],
  ["blocks.0.attn.dwc.bias", /"blocks\.0\.attn\.dwc\.bias"/],
] as const;
for (const [dtype, value] of [
  ["F32", NaN], ["F32", -Infinity], ["F16", Infinity], ["F16", NaN], ["BF16", NaN], ["BF16", Infinity], ["F64", NaN],
] as const) {
  test(`weights that are ${value} in ${dtype} are refused by name`, async () => {
    for (const [name, where] of poisoned) {
      const last = tinyEntries[name]!.shape.reduce((a, b) => a * b, 1) - 1;
      for (const index of [0, last]) {
        const message = new RegExp(`^${where.source}.* holds NaN or infinity: `);
        await rejects(() => load(parts(fileWith(name, index, value, dtype)), { threads: 1 }), message, RangeError);
      }
    }
    assert.equal(await logitsOf(parts(tinyFile)), expected);
  });
}

test("what no layer reads may hold anything", async () => {
  const same = await logitsOf(parts(fileWith("cls_token", 0, 0.5)));
  for (const name of ["cls_token", "blocks.0.norm1.norm1.weight"])
    assert.equal(await logitsOf(parts(fileWith(name, 0, NaN))), same);
});

test("configs: not JSON, not an object, an unknown model_type, values that make no sense", async () => {
  const refusesConfig = (config: unknown, message: RegExp, Kind: Function): Promise<void> =>
    refuses(
      { ...tinyFolder, "config.json": typeof config === "string" ? config : JSON.stringify(config) },
      message,
      Kind,
    );
  await refusesConfig("<html>", /config\.json is not JSON/, TypeError);
  await refusesConfig("", /config\.json is not JSON/, TypeError);
  await refusesConfig("[1]", /config\.json is an array, expected the object/, TypeError);
  await refusesConfig("null", /config\.json is null, expected the object/, TypeError);
  await refusesConfig(
    { ...tinyConfig, model_type: "vit" }, /"model_type" is "vit", expected one of slab_deit, deit_prepbn/, RangeError,
  );
  await refusesConfig({ ...tinyConfig, model_type: undefined }, /has no "model_type"/, RangeError);
  await refusesConfig(
    { ...tinyConfig, hidden_size: 25 }, /"hidden_size" 25 is not a multiple of "num_attention_heads" 2/, RangeError,
  );
  await refusesConfig(
    { ...tinyConfig, patch_size: 7 }, /"image_size" 32 is not a multiple of "patch_size" 7/, RangeError,
  );
  await refusesConfig(
    { ...tinyConfig, num_hidden_layers: -1 }, /"num_hidden_layers" is -1, expected a whole number/, RangeError,
  );
  await refusesConfig(
    { ...tinyConfig, num_hidden_layers: "2" }, /"num_hidden_layers" is "2", expected a number/, TypeError,
  );
  await refusesConfig({ ...tinyConfig, num_hidden_layers: 3 }, /has no tensor "blocks\.2\./, RangeError);
  await refusesConfig(
    { ...tinyConfig, id2label: { 9: "fox" } }, /"id2label" has "9": "fox", expected names for 0 to 4/, RangeError,
  );
  await refusesConfig(
    { ...tinyConfig, image_std: [1, 0, 1] }, /"image_std" is \[1,0,1\], expected positive numbers/, RangeError,
  );
  await rejects(() => load(parts(tinyFile, "{")), /^config is not JSON/, TypeError);
  await rejects(() => load({ config: null, weights: tinyFile }), /^config is null, expected/, TypeError);
});

test("a network with other norms than its config says", async () => {
  const norm = /^"blocks\.0\.norm1" is an RMS norm, expected PRepBN as the config's network has: slab list/;
  const { ...entries } = tinyEntries;
  for (const name of Object.keys(entries)) if (name.startsWith("blocks.0.norm1.")) delete entries[name];
  entries["blocks.0.norm1.weight"] = { shape: [24], data: new Float32Array(24) };
  await rejects(() => load(parts(memoryCheckpoint(entries))), norm, RangeError);
  entries["blocks.0.norm1.bias"] = entries["blocks.0.norm1.weight"];
  await rejects(() => load(parts(memoryCheckpoint(entries))), /^"blocks\.0\.norm1" is a layer norm/, RangeError);
});

test("files of other kinds are named for what they are", async () => {
  const files = { "m.gguf": "GGUF\x03\0\0\0", "m.onnx": "\x08\x07\x12\x07pytorch", "m.ckpt": "\x0a\x42\x0a\x10conv1" };
  await withFolder(files, async (folder) => {
    await rejects(() => load(join(folder, "m.gguf")), /m\.gguf is a GGUF file, which is not read/, RangeError);
    await rejects(() => load(join(folder, "m.onnx")), /m\.onnx is an ONNX file, which is not read here/, RangeError);
    await rejects(() => load(join(folder, "m.ckpt")), /m\.ckpt is a MindSpore checkpoint, which is not/, RangeError);
    assert.equal(openFiles(folder), []);
  });
  await served((_, response) => void response.end("GGUF\x03\0\0\0"), async (origin) => {
    await rejects(() => load(`${origin}/m.gguf?download=true`), /\/m\.gguf is a GGUF file/, RangeError);
  });
});

test("sources: no folder, a file, nothing at all", async () => {
  await withFolder(tinyFolder, async (folder) => {
    await rejects(
      () => load(join(folder, "absent")), /there is no folder ".*absent": give the folder that holds config\.json/,
      RangeError,
    );
    await rejects(() => load(join(folder, "a.pth")), /^there is no file ".*a\.pth": check the path$/, RangeError);
    await rejects(() => load(join(folder, "config.json")), /config\.json" is a file: give the folder/, RangeError);
    await rejects(() => load(join(folder, "config.json", "deeper")), /there is no folder/, RangeError);
    assert.equal(openFiles(folder), []);
  });
  await rejects(() => load("org/name"), /or the address https:\/\/huggingface\.co\/org\/name\/resolve\/main\/$/);
  await rejects(() => load("./org/name"), /config\.json and model\.safetensors$/, RangeError);
  const { SLAB_CACHE } = process.env;
  process.env.SLAB_CACHE = "/nowhere";
  await rejects(() => load("slab_deit_s"), /^slab_deit_s is not on this machine: slab pull slab_deit_s downloads/);
  await rejects(
    () => load("slab-lm-stories"), /^slab-lm-stories is not on this machine: npm i slab-wasm-models installs it$/,
  );
  if (SLAB_CACHE === undefined) delete process.env.SLAB_CACHE;
  else process.env.SLAB_CACHE = SLAB_CACHE;
  await rejects(() => load("ftp://127.0.0.1/model"), /is not a file:, http: or https: URL/, RangeError);
  for (const source of [undefined, null, 7, {}])
    await rejects(
      () => load(source as unknown as string), /not one that load\(\) knows: expected a folder's path or URL/,
      TypeError,
    );
  for (const weights of [undefined, null, "bytes", 7])
    await rejects(
      () => load(parts(weights)), /^weights is .*, expected the bytes of a safetensors or PyTorch file/, TypeError,
    );
});

test("threads: a whole number from 1 to 64", async () => {
  for (const threads of [0, -1, 1.5, 65, NaN, "2" as unknown as number]) {
    await rejects(
      () => load(parts(tinyFile), { threads }), /^threads is .*, expected a whole number from 1 to 64$/, RangeError,
    );
  }
});

test("a load can be aborted before it begins and while it runs, and lets go of its files", () =>
  withFolder(tinyFolder, async (folder) => {
    await rejects(() => load(folder, { signal: AbortSignal.abort() }), /abort/i, DOMException);
    const controller = new AbortController(), reason = new RangeError("enough of it");
    let calls = 0;
    const onProgress = ({ done }: Progress): void => {
      calls++;
      if (done === 3) controller.abort(reason);
    };
    await rejects(() => load(folder, { signal: controller.signal, onProgress }), /^enough of it$/, RangeError);
    assert.is(calls, 3);
    const failing = (): never => {
      throw new TypeError("the caller's own");
    };
    await rejects(() => load(folder, { onProgress: failing }), /^the caller's own$/, TypeError);
    assert.equal(openFiles(folder), []);
    // a stream that never ends
    const stuck = new AbortController();
    setTimeout(() => stuck.abort(reason), 20);
    await rejects(() => load(parts(new ReadableStream({})), { signal: stuck.signal }), /^enough of it$/, RangeError);
    assert.equal(await logitsOf(folder), expected);
  }));

test("many failed and finished loads leave no file open", () =>
  withFolder({ ...tinyFolder, "model.safetensors": fileWith("head.weight", 0, NaN) }, async (bad) =>
    withFolder(tinyFolder, async (good) => {
      for (let i = 0; i < 20; i++) {
        await rejects(() => load(bad, { threads: 1 }), /NaN or infinity/, RangeError);
        (await load(good, { threads: 1 })).dispose();
      }
      assert.equal([...openFiles(bad), ...openFiles(good)], []);
    })));

// the process

test("a process that runs on threads and has nothing left to do exits by itself, disposed or not", async () => {
  const folder = fileURLToPath(new URL("../../models/pretrained/slab-deit-cifar10", import.meta.url));
  for (const end of ["", "model.dispose();"]) {
    const output = await runScript(`
      const model = await load(${JSON.stringify(folder)}, { threads: 3 });
      await model.forward(new Float32Array(3072));
      console.log(String(model.caps.threads)); ${end}`);
    assert.equal(output, { code: 0, text: "3" }, end || "not disposed");
  }
});

test.run();
