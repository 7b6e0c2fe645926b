// Twelve thousand mutated files, from fixed seeds: each is read, or refused by an error of ours, in little time.
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bytesSource, Checkpoint, safetensorsBytes, toFloat32 } from "../../bindings/checkpoint/index.ts";
import type { FloatDType } from "../../bindings/checkpoint/index.ts";
import { parseJson } from "../../bindings/load/folder.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { openTokenizer } from "../../bindings/tokenizer/index.ts";
import { build, KNOWN, parseConfig, PRESETS } from "../../models/all.ts";
import { isBackbone } from "../../bindings/config/config.ts";
import { recognise } from "../../models/recognise.ts";
import { unfinished } from "../../models/training-state.ts";
import { deitEntries } from "../golden/synthetic.ts";
import { rawFile, seeded, smallFile } from "./checkpoint/fixtures.ts";
import { Call, legacyPth, orderedDict, pickle, pthOf, tensorCall, zip } from "./checkpoint/pth-writer.ts";
import { tinyConfig, tinyEntries, writeEntries } from "./tiny.ts";
import { sentencePieceJson } from "./tokenizer/tokenizers.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;
const used = (): number => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
};

type Random = (below: number) => number;
const utf8 = new TextEncoder();
const joined = (...parts: readonly Uint8Array[]): Uint8Array => Uint8Array.from(Buffer.concat(parts));

/** One or two changes: a bit, a byte, a cut, a piece removed, repeated, or one of `tokens` written over it. */
function mutate(file: Uint8Array, random: Random, tokens: readonly Uint8Array[]): Uint8Array {
  let bytes = Uint8Array.from(file);
  for (let n = 1 + random(2); n > 0 && bytes.length > 0; n--) {
    const at = random(bytes.length), kind = random(6);
    if (kind === 0) bytes[at]! ^= 1 << random(8);
    else if (kind === 1) bytes[at] = random(256);
    else if (kind === 2 && random(4) === 0) bytes = bytes.slice(0, at + 1);
    else if (kind === 3) bytes = joined(bytes.subarray(0, at), bytes.subarray(at + random(16)));
    else if (kind === 4) bytes = joined(bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(64))));
    else {
      const token = tokens[random(tokens.length)]!;
      bytes = joined(bytes.subarray(0, at), token, bytes.subarray(at + (random(2) ? token.length : 1)));
    }
  }
  return bytes;
}

interface Case {
  readonly bytes: Uint8Array;
  read(bytes: Uint8Array): Promise<void>;
}

/** Runs the cases; an error must be one of ours, that names the file. */
async function survive(count: number, caseOf: (i: number) => Case, ours: RegExp): Promise<{ read: number; refused: number }> {
  let [read, refused, slowest, largest] = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) {
    const { bytes, read: open } = caseOf(i);
    if (i % 250 === 0) gc();
    const before = used(), start = process.cpuUsage();
    try {
      await open(bytes);
      read++;
    } catch (error) {
      refused++;
      const { message } = error as Error;
      assert.ok(error instanceof TypeError || error instanceof RangeError, `${i}: ${String(error)}`);
      assert.match(message, ours, `${i}: ${(error as Error).stack}`);
      // what the engine says of a mistake of ours
      assert.not(/Cannot read|is not a function|is not iterable|Invalid (array|typed)|Maximum call|out of bounds|BigInt|Cannot convert/.test(message), `${i}: ${(error as Error).stack}`);
      assert.ok(message.length < 800, message);
    }
    const { user, system } = process.cpuUsage(start);
    slowest = Math.max(slowest, user + system);
    // a collection in between makes less of it, never more
    largest = Math.max(largest, used() - before - 2 * bytes.length);
  }
  assert.ok(slowest < 1e6, `the slowest took ${slowest} µs`);
  assert.ok(largest < 64e6, `the largest took ${largest} bytes beyond twice its size`);
  return { read, refused };
}

/** What a program does with a checkpoint: looks what it is, and reads all of it. */
async function readAll(file: string, bytes: Uint8Array): Promise<void> {
  const ckpt = await Checkpoint.open(bytesSource(file, bytes));
  let total = 0;
  for (const name of ckpt.names()) {
    const info = ckpt.info(name)!;
    const read = await ckpt.raw(name).read();
    assert.is(read.length, info.byteLength);
    total += read.length;
    if (!["F32", "F16", "BF16", "F64"].includes(info.dtype)) continue;
    const values = toFloat32(await ckpt.tensor(name, info.shape).read(), info.dtype as FloatDType);
    assert.is(values.length, info.shape.reduce((a, b) => a * b, 1));
  }
  assert.ok(total <= 2 * bytes.length + (64 << 20));
  await unfinished(ckpt);
  await recognise(ckpt, KNOWN);
}

const sizes = { dim: 8, heads: 1, mixer: "linear", depth: 1, tokens: 4, patch: 2, classes: 3 } as const;
const small = writeEntries(deitEntries(sizes));
const floats = new Uint8Array(96);
const strided = { shape: [4, 6], strides: [1, 4] }, pair = { shape: [2], offset: 3, length: 24 };

test("4000 PyTorch files", async () => {
  const random = seeded(20240611);
  const names = ["training-zip", "training-legacy", "mixed-zip", "mixed-legacy", "mixed-protocol4"];
  const golden = names.map((name) => readFileSync(new URL(`checkpoint/pth/${name}.pth`, import.meta.url)));
  const files: Uint8Array[] = [...golden, pthOf(small), pthOf(small, { legacy: true })];
  const odd = (legacy: boolean) => ({ model: orderedDict({ a: tensorCall("0", "F32", strided, legacy), b: tensorCall("0", "F32", pair, legacy) }), config: new Call("yacs.config.CfgNode", [], { TAG: "x", LIST: [1, -2, 3n] }) });
  const pickled = pickle(odd(false)), old = legacyPth(odd(true), { 0: { bytes: floats, length: 24 } });
  // opcodes, numbers that lie at an edge, and what leads into or out of containers
  const tokens = [
    ...[0x28, 0x29, 0x2e, 0x30, 0x31, 0x32, 0x4e, 0x51, 0x52, 0x5d, 0x61, 0x62, 0x65, 0x6c, 0x6f, 0x73, 0x74, 0x75, 0x7d, 0x81, 0x85, 0x86, 0x87, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x94, 0x97].map((op) => Uint8Array.of(op)),
    Uint8Array.of(0x4a, 255, 255, 255, 255), Uint8Array.of(0x4a, 255, 255, 255, 127), Uint8Array.of(0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 128), Uint8Array.of(0x8b, 255, 255, 255, 255), Uint8Array.of(255, 255, 255, 255),
    Uint8Array.of(0x58, 255, 255, 255, 127), Uint8Array.of(0x8d, 255, 255, 255, 255, 255, 255, 255, 255), Uint8Array.of(0x68, 0), Uint8Array.of(0x71, 0), Uint8Array.of(0x95, 0, 0, 0, 0, 0, 0, 0, 0),
    ...["cos\nsystem\n", "ctorch._utils\n_rebuild_tensor_v2\n", "ccollections\nOrderedDict\n", "I99999999999999999999\n", "F1e999\n", "PK\x05\x06", "PK\x01\x02", "g7\n", "storage", "torch\nQInt8Storage"].map((text) => utf8.encode(text)),
  ];
  const { read, refused } = await survive(4000, (i) => {
    // half of them keep a sound archive around a mutated pickle
    const bytes = i % 3 === 0
      ? zip([["a/data.pkl", mutate(pickled, random, tokens)], ["a/data/0", floats]], { wide: random(4) === 0 })
      : i % 3 === 1 ? mutate(old, random, tokens) : mutate(files[random(files.length)]!, random, tokens);
    return { bytes, read: (file) => readAll("m.pth", file) };
  }, /^m\.pth[ :]|^"[^\n]*" in m\.pth is an expanded tensor|^what m\.pth was recognised as/);
  assert.ok(read > 20 && refused > 2000, `read ${read}, refused ${refused}`);
});

test("3000 safetensors files", async () => {
  const random = seeded(20240517), tokens = [
    '"', "{", "}", "[", "]", ",", ":", "-", ".", "e99", "null", "1e999", "99999999999999999999", "9007199254740993", "\\u0000", "__proto__", "F32", "F4", '"__metadata__"', "\u00ff", "[0,0]", "0",
  ].map((text) => utf8.encode(text));
  const files = [smallFile(), safetensorsBytes(small), rawFile({ a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] }, b: { dtype: "F16", shape: [4], data_offsets: [16, 24] } }, 24)];
  const { read, refused } = await survive(3000, (i) => {
    const file = files[i % 3]!, bytes = mutate(file, random, tokens);
    // half of the time with a length that fits, so that the JSON is read
    if (random(2) === 0 && bytes.length > 16) new DataView(bytes.buffer).setUint32(0, Math.max(0, new DataView(file.buffer).getUint32(0, true) + bytes.length - file.length), true);
    return { bytes, read: (changed) => readAll("m.safetensors", changed) };
  }, /^m\.safetensors[ :]|^what m\.safetensors was recognised as/);
  assert.ok(read > 100 && refused > 1000, `read ${read}, refused ${refused}`);
});

test("3000 configs, each with a checkpoint that it was meant for", async () => {
  const random = seeded(20240523), tokens = [
    '"', "{", "}", "[", "]", ",", ":", "-1", ".5", "e9", "null", "true", "1e999", "16384", "1048576", "4096", "1024", "0", "[]", "[1]", "{}", '"model_type":"slab_swin"', '"slab_pvt"', '"slab_llama"', '"slab_lm"', '"slab_cswin"', '"slab_swin_backbone"', '"__proto__":',
    '"depths":[1024,1024,1024,1024]', '"hidden_size":16384', '"image_size":4096', '"num_hidden_layers":1024', '"vocab_size":1048576', '"patch_size":1',
  ].map((text) => utf8.encode(text));
  const configs = [tinyConfig, ...Object.values(PRESETS)].map((config) => utf8.encode(JSON.stringify(config))), checkpoint = await Checkpoint.open(bytesSource("m.safetensors", safetensorsBytes(writeEntries(tinyEntries))));
  const { read, refused } = await survive(3000, (i) => ({
    bytes: mutate(configs[i % 2 === 0 ? 0 : random(configs.length)]!, random, tokens),
    async read(bytes) {
      const config = parseConfig(parseJson(new TextDecoder().decode(bytes), "config.json"), "config.json");
      if (!isBackbone(config)) build(new Plan({ type: "f32", relaxed: false }), checkpoint, config);
    },
  }), /^config\.json|^m\.safetensors has no tensor|^"[^\n]*" has (shape|dtype)/);
  assert.ok(read > 100 && refused > 1000, `read ${read}, refused ${refused}`);
});

test("2000 tokenizers, each of which then reads and writes", async () => {
  const random = seeded(20240611), tokens = [
    '"', "{", "}", "[", "]", ",", ":", "-1", "0.5", "1e9", "null", "true", "[]", "{}", "[1]", '""', '"a"', '"Regex"',
    '"String"', '"(a+)+$"', '"a*b|c"', '"type":', '"Sequence"', '"Split"', '"Replace"', '"ByteLevel"', '"Metaspace"',
    '"Unigram"', '"WordPiece"', '"TemplateProcessing"',
    '"__proto__":', '"$&"', '"pattern":{"Regex":"[a"}', '"length":0',
  ].map((text) => utf8.encode(text));
  const vocab = Object.fromEntries([..."abc the<>s[]▁Ġ"].map((token, id) => [token, id]));
  const bpe = { type: "BPE", vocab: { ...vocab, ab: 20 }, merges: ["a b"] };
  const pre_tokenizer = {
    type: "Sequence", pretokenizers: [
      { type: "Split", pattern: { Regex: "\\p{L}+| " }, behavior: "Isolated", invert: false },
      { type: "Digits", individual_digits: true }, { type: "ByteLevel", use_regex: true },
      { type: "FixedLength", length: 3 },
    ],
  };
  const files = [
    sentencePieceJson("replace"), sentencePieceJson("metaspace"),
    { model: bpe, pre_tokenizer, decoder: { type: "ByteLevel" } },
    {
      model: { type: "WordPiece", unk_token: "a", continuing_subword_prefix: "##", vocab },
      decoder: { type: "WordPiece", prefix: "##" },
      normalizer: { type: "BertNormalizer", lowercase: true }, pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: { type: "BertProcessing", sep: ["s", 9], cls: ["a", 0] },
    },
    {
      model: { type: "Unigram", unk_id: 0, vocab: [["a", -1], ["b", -2.5], ["ab", -2]] },
      normalizer: { type: "NFKC" }, pre_tokenizer: { type: "Whitespace" },
    },
  ].map((file) => utf8.encode(JSON.stringify(file)));
  const { read, refused } = await survive(2000, (i) => ({
    bytes: mutate(files[i % files.length]!, random, tokens),
    async read(bytes) {
      const { encode, decode } = await openTokenizer(new TextDecoder().decode(bytes));
      for (const text of ["the cab  12, é漢 👋", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"]) decode(encode(text));
    },
  }), /^tokenizer\.json|^the vocabulary has no token/);
  assert.ok(read > 50 && refused > 1000, `read ${read}, refused ${refused}`);
});

test.run();
