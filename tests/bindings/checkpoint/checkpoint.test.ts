import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  Checkpoint, bytesSource, memoryCheckpoint, safetensorsBytes, toFloat32,
} from "../../../bindings/checkpoint/index.ts";
import type { DType, MemoryEntry, Tensors, WriteEntry } from "../../../bindings/checkpoint/index.ts";
import { growth } from "../../growth.ts";
import { f32Bytes, rejects, smallFile, watched } from "./fixtures.ts";

const open = (): Promise<Checkpoint> => Checkpoint.open(bytesSource("m.safetensors", smallFile()));

test("round trip: names, shapes, types, bytes, metadata", async () => {
  const dtypes: DType[] = ["F32", "F16", "BF16", "F64", "I64", "U8", "BOOL", "F8_E4M3", "C64"];
  const widths = [4, 2, 2, 8, 8, 1, 1, 1, 8];
  const entries: WriteEntry[] = dtypes.map((dtype, i) => ({
    name: `t.${i} "é\n`, dtype, shape: [3, i % 3],
    data: Uint8Array.from({ length: 3 * (i % 3) * widths[i] }, (_, j) => j + i),
  }));
  const file = safetensorsBytes(entries, { format: "pt", note: "a\u2028b" });
  const ckpt = await Checkpoint.open(bytesSource("m.safetensors", file.buffer));
  assert.is(ckpt.names().length, entries.length);
  assert.equal([...ckpt.metadata], [["format", "pt"], ["note", "a\u2028b"]]);
  for (const { name, dtype, shape, data } of entries) {
    assert.equal(ckpt.info(name), { name, dtype, shape, byteLength: data.byteLength });
    if (["F32", "F16", "BF16", "F64"].includes(dtype)) assert.equal(await ckpt.tensor(name, shape).read(), data);
  }
});

test("the writer: widest first, then by name, aligned, exact bytes", () => {
  const file = safetensorsBytes([
    { name: "b", dtype: "F16", shape: [1], data: new Uint8Array([1, 2]) },
    { name: "c", dtype: "F32", shape: [1], data: new Uint8Array([3, 4, 5, 6]) },
    { name: "a", dtype: "F32", shape: [], data: new Uint8Array([7, 8, 9, 10]) },
    { name: "d", dtype: "I64", shape: [1], data: new Uint8Array(8) },
    { name: "e", dtype: "U8", shape: [1], data: new Uint8Array([11]) },
  ], { format: "pt" });
  const json =
    '{"__metadata__":{"format":"pt"},"d":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[],"data_offsets":[8,12]},'
    + '"c":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},"b":{"dtype":"F16","shape":[1],"data_offsets":[16,18]},"e":{"dtype":"U8","shape":[1],"data_offsets":[18,19]}}';
  const padded = json.padEnd(Math.ceil(json.length / 8) * 8);
  assert.is(new DataView(file.buffer).getBigUint64(0, true), BigInt(padded.length));
  assert.is(new TextDecoder().decode(file.subarray(8, 8 + padded.length)), padded);
  assert.equal([...file.subarray(8 + padded.length)], [0, 0, 0, 0, 0, 0, 0, 0, 7, 8, 9, 10, 3, 4, 5, 6, 1, 2, 11]);
});

test("the writer keeps any name and refuses what it could not read back", async () => {
  const names = ["__proto__", "10", "2", "constructor", ""];
  const ckpt = await Checkpoint.open(
    bytesSource(
      "m", safetensorsBytes(names.map((name) => ({ name, dtype: "F32" as const, shape: [1], data: f32Bytes(1) }))),
    ),
  );
  assert.equal(ckpt.names(), [...names].sort());
  const x: WriteEntry = { name: "x", dtype: "F32", shape: [1], data: f32Bytes(1) };
  assert.throws(() => safetensorsBytes([x, x]), /two tensors are named "x"/);
  assert.throws(() => safetensorsBytes([{ ...x, name: "__metadata__" }]), /rename it/);
  assert.throws(() => safetensorsBytes([{ ...x, shape: [2] }]), /"x" has 4 bytes of data, expected 8 for F32 \[2\]/);
  assert.throws(() => safetensorsBytes([{ ...x, shape: [-1] }]), /no whole number, -1/);
  assert.throws(() => safetensorsBytes([{ ...x, dtype: "F33" as DType }]), /dtype "F33"/);
  assert.throws(() => safetensorsBytes([x], { step: 1 as unknown as string }), /metadata "step" is a number/);
});

test("a tensor by name and shape", async () => {
  const ckpt = await open();
  const ref = ckpt.tensor("blocks.0.attn.qkv.weight", [2, 3]);
  assert.equal([ref.name, ref.dtype, ref.shape, ref.byteLength], ["blocks.0.attn.qkv.weight", "F32", [2, 3], 24]);
  assert.equal([...toFloat32(await ref.read(), ref.dtype)], [1, 2, 3, 4, 5, 6]);
  const bias = ckpt.tensor("blocks.0.norm1.bias", [2]);
  assert.equal([...toFloat32(await bias.read(), bias.dtype)], [1, -2]);
  assert.equal([...toFloat32(await ckpt.tensor("head.scale", []).read(), "F16")], [1]);
});

test("what does not fit is named, with what was expected and the remedy", async () => {
  const ckpt = await open();
  await rejects(
    () => ckpt.tensor("blocks.0.attn.qkv.weight", [3, 2]),
    /^"blocks\.0\.attn\.qkv\.weight" has shape \[2, 3\], expected \[3, 2\]: the config says otherwise; check config\.json$/,
    RangeError,
  );
  await rejects(() => ckpt.tensor("blocks.0.norm1.bias", [2, 1]), /has shape \[2\], expected \[2, 1\]/, RangeError);
  await rejects(() => ckpt.tensor("blocks.0.norm1.bias", [NaN]), /expected \[NaN\]/, RangeError);
  await rejects(
    () => ckpt.tensor("steps", [1]), /^"steps" has dtype I64, expected F32, F16, BF16 or F64: convert m\.safetensors/,
    TypeError,
  );
  await rejects(
    () => ckpt.tensor("blocks.0.attn.qkv.wieght", [2, 3]),
    /^m\.safetensors has no tensor "blocks\.0\.attn\.qkv\.wieght": did you mean "blocks\.0\.attn\.qkv\.weight"/,
    RangeError,
  );
  await rejects(() => ckpt.tensor("model.head.scale", []), /did you mean "head\.scale"\?/, RangeError);
  await rejects(() => ckpt.tensor("scale", []), /did you mean "head\.scale"\?/, RangeError);
  await rejects(
    () => ckpt.tensor("entirely.different", []), /has no tensor "entirely\.different": check that config\.json belongs/,
    RangeError,
  );
});

test("a missing name takes the same time among however many", async () => {
  const zero = new Float32Array(1), counts = [10_000, 50_000] as const;
  const checkpoints = new Map(
    counts.map((count) => [
      count as number,
      memoryCheckpoint(
        Object.fromEntries(
          Array.from({ length: count }, (_, i): [string, MemoryEntry] => [
            `model.layers.${i}.weight`, { shape: [1], data: zero },
          ]),
        ),
      ),
    ]),
  );
  const times = await growth(...counts, (count) =>
    rejects(() => checkpoints.get(count)!.tensor(`model.layers.${count}.weight`, [1]), /did you mean/, RangeError),
  );
  assert.ok(times < 4, `five times the names take ${times.toFixed(1)} times as long`);
});

test("scopes", async () => {
  const ckpt: Tensors = await open();
  assert.is(ckpt.prefix, "");
  assert.is(ckpt.scope(""), ckpt);
  const attn = ckpt.scope("blocks.0").scope("attn");
  assert.is(attn.prefix, "blocks.0.attn");
  assert.ok(attn.has("qkv.weight"));
  assert.not(attn.has("weight"));
  assert.is(attn.tensor("qkv.weight", [2, 3]).name, "blocks.0.attn.qkv.weight");
  await rejects(() => attn.tensor("qkv.bias", [2]), /no tensor "blocks\.0\.attn\.qkv\.bias"/, RangeError);
});

test("close() closes the source; later reads fail", async () => {
  const source = watched("m.safetensors", smallFile());
  const ckpt = await Checkpoint.open(source);
  const ref = ckpt.tensor("head.scale", []);
  await ckpt.close();
  await ckpt.close();
  assert.ok(source.closed);
  await rejects(() => ref.read(), /m\.safetensors is closed/);
});

const shards = {
  "model-00001-of-00002.safetensors": safetensorsBytes(
    [
      { name: "a", dtype: "F32", shape: [1], data: f32Bytes(1) },
      { name: "unlisted", dtype: "F32", shape: [1], data: f32Bytes(9) },
    ],
    { format: "pt" },
  ),
  "model-00002-of-00002.safetensors": safetensorsBytes([
    { name: "b", dtype: "F32", shape: [1], data: f32Bytes(2) },
    { name: "__proto__", dtype: "F32", shape: [1], data: f32Bytes(3) },
  ]),
};
const [first, second] = Object.keys(shards) as (keyof typeof shards)[];

function openShards(index: unknown, files: Record<string, Uint8Array> = shards) {
  const opened: ReturnType<typeof watched>[] = [];
  const ckpt = Checkpoint.openSharded(index, async (file) => {
    if (!Object.hasOwn(files, file)) throw new Error(`there is no file ${file}`);
    opened.push(watched(file, files[file]));
    return opened.at(-1)!;
  }, "model.safetensors.index.json");
  return { ckpt, opened };
}

test("sharded: every shard opened once, each tensor from its own", async () => {
  const { ckpt: promise, opened } = openShards(
    JSON.parse(`{"metadata":{"total_size":12},"weight_map":{"a":"${first}","b":"${second}","__proto__":"${second}"}}`),
  );
  const ckpt = await promise;
  assert.is(opened.length, 2);
  assert.equal(ckpt.names(), ["a", "b", "__proto__"]);
  for (const [i, name] of ckpt.names().entries()) assert.equal(await ckpt.tensor(name, [1]).read(), f32Bytes(i + 1));
  assert.not(ckpt.has("unlisted"));
  assert.is(ckpt.metadata.get("format"), "pt");
  await ckpt.close();
  assert.ok(opened.every((source) => source.closed));
});

test("sharded: a tensor that its shard lacks, a shard that is missing or cut off; all are closed", async () => {
  const index = { weight_map: { a: first, c: second } };
  const lacking = openShards(index);
  await rejects(
    () => lacking.ckpt,
    /^model\.safetensors\.index\.json says that "c" is in model-00002-of-00002\.safetensors, which has no such tensor/,
    RangeError,
  );
  assert.ok(lacking.opened.length === 2 && lacking.opened.every((source) => source.closed));
  const missing = openShards({ weight_map: { a: first, c: "model-3.safetensors" } });
  await rejects(() => missing.ckpt, /there is no file model-3/);
  assert.ok(missing.opened[0].closed);
  const cut = openShards(
    { weight_map: { a: first, b: second } }, { ...shards, [second]: shards[second].subarray(0, -1) },
  );
  await rejects(() => cut.ckpt, /^model-00002-of-00002\.safetensors is cut off/, RangeError);
  assert.ok(cut.opened.every((source) => source.closed));
});

const hostileNames = [
  "", ".", "..", "../x.safetensors", "a/b.safetensors", "a\\b.safetensors", "/etc/passwd", "C:x.safetensors",
  "C:\\x.safetensors", "%2e%2e", "%2e%2e%2fx.safetensors", "x.safetensors?y", "x.safetensors#", "x\0.safetensors",
  "x\n.safetensors", "x.safetensors\n", "x.bin", ".safetensors", "http://h/x.safetensors",
  `${"x".repeat(300)}.safetensors`,
];
for (const file of hostileNames) {
  test(`sharded: refuses the file name ${JSON.stringify(file.slice(0, 40))}`, async () => {
    const { ckpt, opened } = openShards({ weight_map: { a: first, b: file } });
    await rejects(() => ckpt, /"weight_map" names the file .*, expected a plain \*\.safetensors name/, RangeError);
    assert.is(opened.length, 0);
  });
}

test("sharded: refuses what is no index", async () => {
  for (const index of [
    null, 1, "x", [], {}, { weight_map: null }, { weight_map: [first] }, { weight_map: "x" },
    Object.create({ weight_map: {} }),
  ]) {
    await rejects(() => openShards(index).ckpt, /has no "weight_map" object/, TypeError);
  }
  await rejects(() => openShards({ weight_map: {} }).ckpt, /empty "weight_map"/, RangeError);
  for (const file of [null, 1, {}, [first]])
    await rejects(() => openShards({ weight_map: { a: file } }).ckpt, /expected a string/, TypeError);
});

test("memory: floats and raw bytes", async () => {
  const ckpt = memoryCheckpoint({
    w: { shape: [2, 2], data: Float32Array.of(0, 1, 2, 3, 4).subarray(1) },
    h: { shape: [1], data: Uint8Array.of(0, 0x3c), dtype: "F16" },
    d: { shape: [1], data: Float64Array.of(0.1) },
  });
  const w = ckpt.tensor("w", [2, 2]);
  assert.equal([...toFloat32(await w.read(), w.dtype)], [1, 2, 3, 4]);
  assert.is(ckpt.tensor("h", [1]).dtype, "F16");
  assert.is(ckpt.scope("").tensor("d", [1]).dtype, "F64");
  await rejects(() => ckpt.tensor("x", [1]), /^memory has no tensor "x"/, RangeError);
  await ckpt.close();
});

test("memory: refuses data that does not fit", () => {
  const make = (entry: unknown) => () => memoryCheckpoint({ x: entry as MemoryEntry });
  assert.throws(make({ shape: [3], data: new Float32Array(2) }), /"x" has 8 bytes of data, expected 12 for F32 \[3\]/);
  assert.throws(make({ shape: [3], data: new Uint8Array(3) }), /"x" has dtype "undefined"/);
  assert.throws(make({ shape: [3], data: [1, 2, 3] }), /"x" has no data/);
  assert.throws(make({ shape: "3", data: new Float32Array(3) }), /"x" has no shape/);
  assert.throws(make(null), TypeError);
});

test.run();
