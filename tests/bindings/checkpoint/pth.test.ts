import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Checkpoint, bytesSource, toFloat64 } from "../../../bindings/checkpoint/index.ts";
import type { FloatDType } from "../../../bindings/checkpoint/index.ts";
import { f32Bytes, rejects, watched } from "./fixtures.ts";
import { Call, Id, Raw, legacyPth, orderedDict, pickle, pthOf, tensorCall, zip, zipPth } from "./pth-writer.ts";

interface Expected {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly values: readonly (number | boolean)[];
}
const golden = new URL("pth/", import.meta.url);
const expected = JSON.parse(readFileSync(new URL("expected.json", golden), "utf8")) as Readonly<
  Record<string, Readonly<Record<string, Expected>>>
>;
const open = (bytes: Uint8Array, options = {}): Promise<Checkpoint> =>
  Checkpoint.open(bytesSource("m.pth", bytes), options);

/** The values of a tensor of any kind. */
function decode(bytes: Uint8Array, dtype: string): number[] {
  const { buffer } = Uint8Array.from(bytes);
  if (["F32", "F64", "F16", "BF16"].includes(dtype)) return [...toFloat64(bytes, dtype as FloatDType)];
  if (dtype === "I64") return [...new BigInt64Array(buffer)].map(Number);
  const kinds = { I32: Int32Array, I16: Int16Array, U16: Uint16Array, I8: Int8Array, U8: Uint8Array, BOOL: Uint8Array };
  return [...new kinds[dtype as keyof typeof kinds](buffer)];
}
const dtypes: Readonly<Record<string, string>> = {
  float32: "F32", float64: "F64", float16: "F16", bfloat16: "BF16", int64: "I64", int32: "I32", int16: "I16",
  uint16: "U16", int8: "I8", uint8: "U8", bool: "BOOL",
};

for (const [file, content] of [
  ["training-zip", "training"], ["training-legacy", "training"], ["mixed-zip", "mixed"], ["mixed-legacy", "mixed"],
  ["mixed-protocol4", "mixed"],
] as const) {
  test(`${file}.pth: every tensor as it was saved`, async () => {
    const ckpt = await open(readFileSync(new URL(`${file}.pth`, golden)));
    assert.equal(ckpt.names(), Object.keys(expected[content]!));
    for (const [name, { dtype, shape, values }] of Object.entries(expected[content]!)) {
      const info = ckpt.info(name)!, { read } = ckpt.raw(name);
      assert.equal([name, info.dtype, info.shape], [name, dtypes[dtype], shape]);
      if (name === "expanded") {
        await rejects(
          () => read(), /^"expanded" in m\.pth is an expanded tensor: save it again after \.contiguous\(\)$/,
          RangeError,
        );
        continue;
      }
      const bytes = await read();
      assert.is(bytes.length, info.byteLength);
      assert.equal(decode(bytes, info.dtype), values.map(Number), name);
      // any part of it, also one that begins within an element
      for (let from = 0; from < bytes.length; from += 5) {
        const part = await read(new Uint8Array(Math.min(7, bytes.length - from)), from);
        assert.equal([...part], [...bytes.subarray(from, from + 7)], `${name} from ${from}`);
      }
      if (bytes.length > 0)
        await rejects(() => read(new Uint8Array(2), bytes.length - 1), /past the end of/, RangeError);
    }
    await ckpt.close();
  });
}

test("which dict was taken, and which there are", async () => {
  const bytes = readFileSync(new URL("training-zip.pth", golden));
  const ckpt = await open(bytes);
  assert.equal(
    [...ckpt.metadata],
    [
      ["pth.format", "zip"], ["pth.dict", "model"], ["pth.dicts", "model, state_dict_ema"],
    ],
  );
  const ema = await open(bytes, { dict: "state_dict_ema" });
  assert.is(ema.metadata.get("pth.dict"), "state_dict_ema");
  assert.not.equal([...(await ema.raw("0.bias").read())], [...(await ckpt.raw("0.bias").read())]);
  await rejects(
    () => open(bytes, { dict: "modle" }), /^m\.pth has no dict of tensors "modle": it has "model", "state_dict_ema"$/,
    RangeError,
  );
  assert.is((await open(readFileSync(new URL("mixed-legacy.pth", golden)))).metadata.get("pth.dict"), "");
});

const weight = { name: "a.weight", dtype: "F32", shape: [2, 2], data: f32Bytes(1, 2, 3, 4) } as const;

test("a whole module is none", async () => {
  await rejects(
    () => open(readFileSync(new URL("module.pth", golden))),
    /^m\.pth holds an object of "torch\.nn\.modules\.container\.Sequential", expected a dict of tensors/, TypeError,
  );
});

test("state dicts where others put them", async () => {
  const wraps: [string, (dict: unknown) => unknown][] = [
    ["state_dict", (dict) => ({ epoch: 3, state_dict: dict })],
    ["model/state_dict", (dict) => ({ model: { state_dict: dict, name: "x" } })],
    [
      "model",
      (dict) => ({
        state_dict_ema: dict, model: orderedDict({ "a.weight": tensorCall("0", "F32", { shape: [4], length: 4 }) }),
      }),
    ],
    ["student", (dict) => ({ epoch: 3, student: dict })],
    ["", (dict) => dict],
  ];
  for (const [name, wrap] of wraps) {
    const ckpt = await open(pthOf([weight], { wrap }));
    assert.is(ckpt.metadata.get("pth.dict"), name);
    assert.equal(ckpt.names(), ["a.weight"]);
  }
  await rejects(
    () =>
      open(
        pthOf([weight], {
          wrap: (dict) => ({ a: dict, b: orderedDict({ x: tensorCall("0", "F32", { shape: [4], length: 4 }) }) }),
        }),
      ),
    /no state dict under a usual name \(model, state_dict, model_state_dict, …\): it holds "a", "b"; dicts of tensors: "a", "b"; name the one to take$/,
    RangeError,
  );
  await rejects(
    () => open(zipPth({ epoch: 3, lr: 1 })), /no state dict .* it holds "epoch", "lr"; dicts of tensors: none$/,
    RangeError,
  );
});

test("names without what DataParallel and torch.compile put before them", async () => {
  for (const [prefix, expected] of [
    ["module.", "a.weight"], ["_orig_mod.", "a.weight"], ["module._orig_mod.", "a.weight"],
    ["model.", "model.a.weight"],
  ]) {
    assert.equal((await open(pthOf([{ ...weight, name: `${prefix}a.weight` }]))).names(), [expected]);
  }
  // one that has no such name keeps all
  assert.equal(
    (
      await open(
        pthOf([
          { ...weight, name: "module.a" }, { ...weight, name: "b" },
        ]),
      )
    ).names(),
    ["module.a", "b"],
  );
});

test("a dict that holds itself, and dicts of dicts without end", async () => {
  // d = {}; d["a"] = d["b"] = d
  const circle = new Raw(
    0x7d, 0x71, 0, 0x28, ...[..."ab"].flatMap((c) => [0x58, 1, 0, 0, 0, c.charCodeAt(0), 0x68, 0]), 0x75,
  );
  await rejects(() => open(zipPth(circle)), /it holds "a", "b"; dicts of tensors: none$/, RangeError);
});

test("ZIP64 fields are read", async () => {
  const dict = orderedDict({ a: tensorCall("0", "F32", { shape: [2] }) });
  const ckpt = await open(zipPth(dict, { 0: f32Bytes(5, 6) }, { wide: true }));
  assert.equal([...toFloat64(await ckpt.raw("a").read(), "F32")], [5, 6]);
});

test("nothing is run, and what is unknown is left out", async () => {
  const dict = {
    a: tensorCall("0", "F32", { shape: [2] }), evil: new Call("os.system", ["echo"]),
    sparse: new Call("torch._utils._rebuild_sparse_tensor", [0]),
    quantised: tensorCall("1", "F32", { shape: [1], type: "torch.QInt8Storage" }),
  };
  const ckpt = await open(zipPth(orderedDict(dict), { 0: f32Bytes(5, 6), 1: new Uint8Array(1) }));
  assert.equal(ckpt.names(), ["a"]);
});

test("a pickle is read where it lies; tensors when they are asked for", async () => {
  const source = watched(
    "m.pth", pthOf([weight, { name: "b", dtype: "F16", shape: [2], data: new Uint8Array([0, 0x3c, 0, 0xc0]) }]),
  );
  const ckpt = await Checkpoint.open(source);
  const opened = source.reads;
  const b = ckpt.tensor("b", [2]);
  assert.is(source.reads, opened);
  assert.equal([...toFloat64(await b.read(), b.dtype)], [1, -2]);
  await rejects(() => ckpt.tensor("b", [3]), /"b" has shape \[2\], expected \[3\]/, RangeError);
  assert.equal(ckpt.unasked(), ["a.weight"]);
  await ckpt.close();
  assert.ok(source.closed);
});

test("a pickle larger than what is read at first", async () => {
  const entries = Array.from({ length: 4000 }, (_, i) => ({ ...weight, name: `blocks.${i}.${"x".repeat(40)}` }));
  for (const legacy of [false, true]) {
    const ckpt = await open(pthOf(entries, { legacy }));
    assert.is(ckpt.names().length, 4000);
    assert.equal([...toFloat64(await ckpt.raw(entries[3999]!.name).read(), "F32")], [1, 2, 3, 4]);
  }
});

const one = orderedDict({ a: tensorCall("0", "F32", { shape: [2] }) }), two = { 0: f32Bytes(5, 6) };
const tensor = (given: Parameters<typeof tensorCall>[2]): Uint8Array =>
  zipPth(orderedDict({ a: tensorCall("0", "F32", { length: 2, ...given }) }), two);
const legacyOne = orderedDict({ a: tensorCall("0", "F32", { shape: [2] }, true) });
const legacyTwo = { 0: { bytes: f32Bytes(5, 6), length: 2 } };

for (const [what, file, message, Kind] of [
  [
    "a storage shorter than said", zipPth(one, { 0: f32Bytes(5) }),
    /^m\.pth: "archive\/data\/0" has 4 bytes, expected 8: download it again$/, RangeError,
  ],
  [
    "a storage that is missing", zipPth(one),
    /^m\.pth has no "archive\/data\/0", which a tensor needs: download it again$/, RangeError,
  ],
  [
    "a tensor beyond its storage", tensor({ shape: [3] }),
    /a tensor of shape \[3\] that ends at element 2 of a storage of 2: the file is damaged/, RangeError,
  ],
  ["an offset beyond it", tensor({ shape: [2], offset: 1 }), /ends at element 2 of a storage of 2/, RangeError],
  ["strides beyond it", tensor({ shape: [2], strides: [2] }), /ends at element 2 of a storage of 2/, RangeError],
  [
    "strides beyond 2^53", tensor({ shape: [2, 2, 2], strides: [2 ** 52, 2 ** 52, 2 ** 52] }), /ends at element/,
    RangeError,
  ],
  ["a negative offset", tensor({ shape: [2], offset: -1 }), /a tensor that begins nowhere/, RangeError],
  ["a negative size", tensor({ shape: [-2] }), /a tensor with a dimension that is no whole number, -2/, RangeError],
  ["a negative stride", tensor({ shape: [2], strides: [-1] }), /without strides that fit/, RangeError],
  ["too few strides", tensor({ shape: [2, 1], strides: [1] }), /without strides that fit/, RangeError],
  [
    "a storage larger than the file", tensor({ shape: [2], length: 2 ** 40 }),
    /is cut off or damaged: a storage of 4398046511104 bytes cannot lie in its \d+ bytes/, RangeError,
  ],
  [
    "a shape of petabytes",
    zipPth(orderedDict({ a: tensorCall("0", "F32", { shape: [2 ** 30, 2 ** 20], strides: [0, 0], length: 1 }) }), {
      0: f32Bytes(1),
    }),
    /its tensors share more than tied weights do/,
    RangeError,
  ],
  [
    "another persistent id", zipPth(orderedDict({ a: new Id(["module", 1]) })), /a persistent id that names no storage/,
    RangeError,
  ],
  [
    "two storages of one key",
    zipPth(orderedDict({ a: tensorCall("0", "F32", { shape: [2] }), b: tensorCall("0", "F16", { shape: [2] }) }), two),
    /two storages of the key "0"/, RangeError,
  ],
  [
    "a whole module", zipPth(new Call("models.SlabDeit", [])),
    /^m\.pth holds an object of "models\.SlabDeit", expected a dict of tensors: save model\.state_dict\(\) in its place$/,
    TypeError,
  ],
  ["one tensor", zipPth(tensorCall("0", "F32", { shape: [2] }), two), /holds one tensor, expected a dict/, TypeError],
  ["a list", zipPth([1, 2]), /holds a list, expected a dict/, TypeError],
  ["big-endian", zipPth(one, two, { order: "big" }), /was written on a big-endian machine/, RangeError],
  [
    "compressed", zipPth(one, two, { method: 8 }), /"archive\/data\.pkl" is compressed, which torch\.save never does/,
    RangeError,
  ],
  [
    "another archive", zip([["word/document.xml", new Uint8Array(5)]]),
    /without one data\.pkl, it holds "word\/document\.xml"/, RangeError,
  ],
  [
    "an empty archive of two",
    zip([
      ["a/data.pkl", pickle({})], ["b/data.pkl", pickle({})],
    ]),
    /without one data\.pkl/,
    RangeError,
  ],
  [
    "a cut archive", zipPth(one, two).slice(0, -30),
    /is cut off: it begins as a zip archive but its directory, at the end, is missing/, RangeError,
  ],
  [
    "legacy, big-endian", legacyPth(legacyOne, legacyTwo, { system: { little_endian: false } }),
    /was written on a big-endian machine/, RangeError,
  ],
  [
    "legacy, another format", legacyPth(legacyOne, legacyTwo, { protocol: 7 }),
    /has the format 7 of torch\.save, expected 1001/, RangeError,
  ],
  [
    "a plain pickle", legacyPth({ a: 1 }, {}, { magic: 5n * 2n ** 64n }), /is a pickle but no file of torch\.save/,
    RangeError,
  ],
  [
    "legacy, cut in a storage", legacyPth(legacyOne, legacyTwo).slice(0, -3),
    /is cut off: its storages end at byte \d+ but the file has \d+ bytes, 3 missing/, RangeError,
  ],
  [
    "legacy, cut in a pickle", legacyPth(legacyOne, legacyTwo).slice(0, 100), /is cut off within its first 100 bytes/,
    RangeError,
  ],
  [
    "legacy, another count", legacyPth(legacyOne, { 0: { ...legacyTwo[0], length: 9 } }),
    /storage "0" has 9 elements, expected 2/, RangeError,
  ],
  [
    "legacy, a storage of no tensor", legacyPth(legacyOne, { ...legacyTwo, 7: legacyTwo[0] }),
    /lists a storage "7" that no tensor uses/, RangeError,
  ],
] as const) {
  test(`refused: ${what}`, async () => {
    await rejects(async () => {
      const ckpt = await open(file);
      for (const name of ckpt.names()) await ckpt.raw(name).read();
    }, message, Kind);
  });
}

test("every cut of a file is refused, or leaves the tensors whole", async () => {
  for (const file of [zipPth(one, two), legacyPth(legacyOne, legacyTwo)]) {
    for (let length = 8; length < file.length; length++) {
      await rejects(async () => {
        const ckpt = await open(file.slice(0, length));
        await ckpt.raw("a").read();
      }, /^m\.pth[: ]/, RangeError);
    }
  }
});

test("a pickle cannot make more of itself", async () => {
  // millions of empty dicts, of marks, of copies of one list
  for (const op of [0x7d, 0x28, 0x32]) {
    const body = new Uint8Array(6 << 20).fill(op);
    body.set([0x80, 2, 0x5d]);
    const file = zip([["archive/data.pkl", body]]), before = process.memoryUsage(), begin = process.cpuUsage();
    await rejects(
      () => open(file), /its pickle (has it would build more than a checkpoint needs|is cut off)/, RangeError,
    );
    const after = process.memoryUsage();
    const grown = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
    // of the processor, as others may use the machine too
    assert.ok(process.cpuUsage(begin).user < 1e6, `${process.cpuUsage(begin).user} µs`);
    assert.ok(grown < 200e6, `${grown} bytes`);
  }
});

test.run();
