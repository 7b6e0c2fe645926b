// Files of weights: opened, read from end to end, recognised; packed ones loaded and run.
import { readFileSync } from "node:fs";
import { bytesSource, Checkpoint, safetensorsBytes, toFloat32 } from "../../../bindings/checkpoint/index.ts";
import type { FloatDType } from "../../../bindings/checkpoint/index.ts";
import { load } from "../../../bindings/index.ts";
import type { Model } from "../../../bindings/index.ts";
import { isLanguageModel } from "../../../bindings/config/config.ts";
import { parseJson } from "../../../bindings/load/folder.ts";
import { KNOWN } from "../../../models/all.ts";
import { recognise } from "../../../models/recognise.ts";
import { unfinished } from "../../../models/training-state.ts";
import { rawFile, smallFile } from "../../bindings/checkpoint/fixtures.ts";
import { Call, legacyPth, orderedDict, pickle, pthOf, tensorCall, zip } from "../../bindings/checkpoint/pth-writer.ts";
import { tinyConfig, tinyEntries, tinyPixels, writeEntries } from "../../bindings/tiny.ts";
import { deitEntries } from "../../golden/synthetic.ts";
import { tinyLm } from "../../golden/tiny-lm.ts";
import type { Random } from "../mutate.ts";
import { joined, mutate, mutateJson, pick, utf8 } from "../mutate.ts";
import type { Target } from "../target.ts";

const text = new TextDecoder();

/** Reads all of a checkpoint. */
async function readAll(ckpt: Checkpoint, bytes: number): Promise<void> {
  let total = 0;
  for (const name of ckpt.names()) {
    const info = ckpt.info(name)!, read = await ckpt.raw(name).read();
    if (read.length !== info.byteLength) throw new Error(`unexpected: ${read.length} of ${info.byteLength} bytes`);
    total += read.length;
    if (!["F32", "F16", "BF16", "F64"].includes(info.dtype)) continue;
    const values = toFloat32(await ckpt.tensor(name, info.shape).read(), info.dtype as FloatDType);
    const expected = info.shape.reduce((a, b) => a * b, 1);
    if (values.length !== expected) throw new Error(`unexpected: ${values.length} of ${expected} values`);
  }
  if (total > 2 * bytes + (64 << 20)) throw new Error(`unexpected: ${total} bytes out of ${bytes}`);
}

async function recogniseAll(ckpt: Checkpoint, bytes: number): Promise<void> {
  await readAll(ckpt, bytes);
  await unfinished(ckpt);
  await recognise(ckpt, KNOWN);
}

const sizes = { dim: 8, heads: 1, mixer: "linear", depth: 1, tokens: 4, patch: 2, classes: 3 } as const;
const small = writeEntries(deitEntries(sizes));

/** The file around another header, whose length is right. */
function withHeader(file: Uint8Array, change: (header: string) => string): Uint8Array {
  const length = new DataView(file.buffer, file.byteOffset).getUint32(0, true);
  const header = utf8.encode(change(text.decode(file.subarray(8, 8 + length)))), size = new Uint8Array(8);
  new DataView(size.buffer).setUint32(0, header.length, true);
  return joined(size, header, file.subarray(8 + length));
}

const fields = ['"F32"', '"BF16"', '"F4"', '"F8_E4M3"', '"I64"', "[0,0]", "[0,8]", "[4,4]", "[1,1,1,1,1,1,1,1]",
  "[4294967296,4294967296]", '{"dtype":"F32","shape":[],"data_offsets":[0,4]}'];
const tokens = ['"', "{", "}", "[", "]", ",", ":", "-", "e99", "null", "1e999", "9007199254740993", "\\u0000",
  "__proto__", '"__metadata__"', "\u00ff"].map((token) => utf8.encode(token));

const safetensors: Target = {
  name: "safetensors",
  share: 22,
  ours: /^m\.safetensors[ :]|^what m\.safetensors was recognised as|^"[^\n]*" in m\.safetensors/,
  async seeds() {
    const a = { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] };
    const raw = rawFile({ a, b: { dtype: "F16", shape: [4], data_offsets: [16, 24] } }, 24);
    return [smallFile(), safetensorsBytes(small), raw];
  },
  mutate(seeds, random) {
    const file = pick(seeds, random);
    if (random(2)) return withHeader(file, (header) => mutateJson(header, random, fields));
    if (random(2)) return mutate(file, random, tokens, seeds);
    return withHeader(file, (header) => text.decode(mutate(utf8.encode(header), random, tokens)));
  },
  read: async (bytes) => recogniseAll(await Checkpoint.open(bytesSource("m.safetensors", bytes)), bytes.length),
};

// opcodes, numbers at an edge, what leads into or out of containers, what might be run
const opcodes = [
  ...[0x28, 0x29, 0x2e, 0x30, 0x31, 0x32, 0x4e, 0x51, 0x52, 0x5d, 0x61, 0x62, 0x65, 0x6c, 0x6f, 0x73, 0x74, 0x75, 0x7d,
    0x81, 0x85, 0x86, 0x87, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x97].map((op) => Uint8Array.of(op)),
  ...[[0x4a, 255, 255, 255, 255], [0x4a, 255, 255, 255, 127], [0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 128],
    [0x8b, 255, 255, 255, 255], [0x58, 255, 255, 255, 127], [0x8d, 255, 255, 255, 255, 255, 255, 255, 255], [0x68, 0],
    [0x71, 0], [0x95, 0, 0, 0, 0, 0, 0, 0, 0]].map((bytes) => Uint8Array.from(bytes)),
  // a memo that holds itself, a tower of tuples
  Uint8Array.of(0x5d, 0x71, 0, 0x68, 0, 0x61), Uint8Array.from({ length: 4096 }, () => 0x85),
  Uint8Array.from({ length: 4096 }, () => 0x28),
  ...["cos\nsystem\n", "ctorch._utils\n_rebuild_tensor_v2\n", "ccollections\nOrderedDict\n", "I99999999999999999999\n",
    "F1e999\n", "PK\x05\x06", "PK\x01\x02", "g7\n", "storage", "torch\nQInt8Storage"].map((token) =>
    utf8.encode(token)),
];
const floats = new Uint8Array(96);
const odd = (legacy: boolean) => ({
  model: orderedDict({
    a: tensorCall("0", "F32", { shape: [4, 6], strides: [1, 4] }, legacy),
    b: tensorCall("0", "F32", { shape: [2], offset: 3, length: 24 }, legacy),
  }),
  config: new Call("yacs.config.CfgNode", [], { TAG: "x", LIST: [1, -2, 3n] }),
});

const archive = (pickled: Uint8Array, options: { wide: boolean; method?: number }): Uint8Array =>
  zip([["a/data.pkl", pickled], ["a/data/0", floats]], options);

/** A tensor whose numbers are extreme, in an archive that is sound. */
function strangeTensor(random: Random): Uint8Array {
  const size = (): number => pick([0, 1, 2, 3, 24, 25, -1, 2 ** 16, 2 ** 31, 2 ** 32, 2 ** 53, 1e300], random);
  const list = (): number[] => Array.from({ length: random(5) }, size).map((n) => (Number.isSafeInteger(n) ? n : 7));
  const offset = random(2) ? 0 : list()[0] ?? 0, length = random(2) ? 24 : list()[0] ?? 24;
  const tensor = tensorCall(pick(["0", "1", "../0", "__proto__"], random), pick(["F32", "F64", "U8"], random),
    { shape: list(), strides: list(), offset, length });
  const dict = orderedDict({ [pick(["a", "", "__proto__", "a\u0000"], random)]: tensor });
  return archive(pickle(dict), { wide: random(4) === 0, method: random(9) ? 0 : 8 });
}

const pth: Target = {
  name: "pth",
  share: 20,
  ours: /^m\.pth[ :]|^"[^\n]*" in m\.pth|^what m\.pth was recognised as/,
  async seeds() {
    const names = ["training-zip", "training-legacy", "mixed-zip", "mixed-legacy", "mixed-protocol4"];
    const place = new URL("../../bindings/checkpoint/pth/", import.meta.url);
    const golden = names.map((name) => readFileSync(new URL(`${name}.pth`, place)));
    const old = legacyPth(odd(true), { 0: { bytes: floats, length: 24 } });
    return [pickle(odd(false)), old, ...golden, pthOf(small), pthOf(small, { legacy: true })];
  },
  mutate(seeds, random) {
    const kind = random(8), [pickled, ...files] = seeds;
    if (kind === 0) return strangeTensor(random);
    // a sound archive around a mutated pickle
    if (kind < 4) return archive(mutate(pickled!, random, opcodes, [pickled!]), { wide: random(4) === 0 });
    return mutate(kind < 6 ? files[0]! : pick(files, random), random, opcodes, files);
  },
  read: async (bytes) => recogniseAll(await Checkpoint.open(bytesSource("m.pth", bytes)), bytes.length),
};

const shards: Target = {
  name: "shards",
  share: 8,
  ours: /^m[ .:]|^model\.safetensors\.index\.json|^"[^\n]*" /,
  async seeds() {
    const names = ["blocks.0.attn.qkv.weight", "blocks.0.norm1.bias", "head.scale"];
    const weight_map = Object.fromEntries(names.map((name, i) => [name, `model-0000${i % 2}.safetensors`]));
    return [utf8.encode(JSON.stringify({ metadata: { total_size: 30 }, weight_map }))];
  },
  mutate([seed], random) {
    const names = ['"model-00000.safetensors"', '"../model.safetensors"', '"head.scale"', '"/etc/passwd"'];
    return random(4) ? utf8.encode(mutateJson(text.decode(seed), random, names)) : mutate(seed!, random, tokens);
  },
  async read(bytes) {
    const index = parseJson(text.decode(bytes), "model.safetensors.index.json");
    const open = async (file: string) => {
      const there = /^model-0000[01]\.safetensors$/.test(file);
      if (!there) throw new RangeError(`m has no ${JSON.stringify(file).slice(0, 200)}`);
      return bytesSource(file, smallFile());
    };
    await readAll(await Checkpoint.openSharded(index, open, "m"), bytes.length);
  },
};

/** The config that goes with each packed file, by its length. */
const configs = new Map<number, unknown>();
/** Loaded where the engine's fused instructions are left alone: the same on every machine. */
const options = { threads: 1, build: "simd" } as const;

async function use(model: Model): Promise<void> {
  if (isLanguageModel(model.config)) await model.session().prefill([1, 2, 3]);
  else await model.forward(tinyPixels);
}

const packed: Target = {
  name: "packed",
  share: 1,
  ours: /^weights[ :]|^"[^\n]*" (in weights|holds|has (shape|dtype|an unknown dtype))|^config/,
  memory: 64 << 20,
  async seeds() {
    const wide = tinyLm({ hidden_size: 72, intermediate_size: 80 });
    const deit = { config: tinyConfig, weights: safetensorsBytes(writeEntries(tinyEntries)) };
    const files: Uint8Array[] = [];
    for (const [parts, dtype] of [[wide, "int8"], [wide, "int4"], [deit, "f32"]] as const) {
      using model = await load(parts, { ...options, dtype });
      files.push(await model.pack());
      configs.set(files.length - 1, parts.config);
    }
    configs.set(files.push(deit.weights) - 1, tinyConfig);
    // which config goes first
    return files.map((file, i) => joined(Uint8Array.of(i), file));
  },
  mutate(seeds, random) {
    const seed = pick(seeds, random), file = seed.subarray(1);
    const tag = seed.subarray(0, 1);
    if (random(2)) return joined(tag, mutate(file, random, tokens));
    return joined(tag, withHeader(file, (header) => mutateJson(header, random, fields)));
  },
  async read(bytes) {
    using model = await load({ config: configs.get(bytes[0]! % 4), weights: bytes.slice(1) }, options);
    await use(model);
  },
};

export const weights: readonly Target[] = [safetensors, pth, shards, packed];
