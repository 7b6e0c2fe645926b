import { test } from "uvu";
import * as assert from "uvu/assert";
import { Checkpoint, bytesSource } from "../../../bindings/checkpoint/index.ts";
import { rawFile, rejects, smallFile, watched } from "./fixtures.ts";

const open = (bytes: Uint8Array): Promise<Checkpoint> => Checkpoint.open(bytesSource("m.safetensors", bytes));
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const one = (entry: unknown): unknown => ({ x: entry });
const entry = (dtype: unknown, shape: unknown, offsets: unknown): unknown =>
  one({ dtype, shape, data_offsets: offsets });

const bad: [what: string, file: Uint8Array, expected: RegExp, Kind: Function][] = [
  ["an empty file", new Uint8Array(0), /has 0 bytes, too few/, RangeError],
  ["seven bytes", new Uint8Array(7), /has 7 bytes, too few/, RangeError],
  ["a header of 0 bytes", rawFile("{}", 0, 0), /is not a safetensors file, its header would have 0 bytes/, RangeError],
  [
    "a header beyond the file", rawFile("{}", 0, 4000),
    /is cut off: its header ends at byte 4008 but the file has 10 bytes, 3998 missing/, RangeError,
  ],
  ["a header above 100 MB", rawFile("{}", 0, 100_000_001), /its header would have 100000001 bytes/, RangeError],
  ["a header of 2^64 - 1 bytes", rawFile("{}", 0, 2n ** 64n - 1n), /is not a safetensors file/, RangeError],
  [
    "a Git LFS pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    /git lfs pull/, RangeError,
  ],
  ["a web page", utf8("<!doctype html><title>404</title>"), /^m\.safetensors is a web page: check the/, RangeError],
  [
    "what is left of a .pth file", new TextEncoder().encode("PK\x03\x04 archive/data.pkl"),
    /begins as a zip archive but its directory, at the end, is missing/, RangeError,
  ],
  ["invalid UTF-8", rawFile('{"\u00ff":1}').map((b) => (b === 0xbf ? 0xff : b)), /its header is no UTF-8/, TypeError],
  ["invalid JSON", rawFile('{"x":'), /its header is no JSON/, TypeError],
  ["a byte order mark", rawFile("\ufeff{}"), /its header is no JSON/, TypeError],
  ["deep nesting", rawFile("[".repeat(100_000)), /its header is no JSON|UTF-8/, TypeError],
  ["an array", rawFile("[]"), /its header is an array, expected an object/, TypeError],
  ["null", rawFile("null"), /its header is null/, TypeError],
  ["a number", rawFile("12"), /its header is a number/, TypeError],
  ["a null entry", rawFile(one(null)), /"x" has null for an entry/, TypeError],
  ["an array entry", rawFile(one([])), /"x" has an array for an entry/, TypeError],
  ["no dtype", rawFile(one({ shape: [], data_offsets: [0, 4] }), 4), /nothing for a dtype/, TypeError],
  ["a numeric dtype", rawFile(entry(4, [], [0, 4]), 4), /a number for a dtype/, TypeError],
  ["no shape", rawFile(one({ dtype: "F32", data_offsets: [0, 4] }), 4), /nothing for a shape/, TypeError],
  ["a shape that is an object", rawFile(entry("F32", { length: 1 }, [0, 4]), 4), /an object for a shape/, TypeError],
  [
    "a negative dimension", rawFile(entry("F32", [-1, -1], [0, 4]), 4), /a dimension that is no whole number, -1/,
    RangeError,
  ],
  ["a fractional dimension", rawFile(entry("F32", [0.5, 2], [0, 4]), 4), /no whole number, 0\.5/, RangeError],
  ["a dimension of text", rawFile(entry("F32", ["1"], [0, 4]), 4), /no whole number, "1"/, RangeError],
  ["a dimension of 2^53", rawFile(entry("F32", [2 ** 53], [0, 4]), 4), /no whole number, 9007199254740992/, RangeError],
  [
    "a dimension of 1e400", rawFile('{"x":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}}', 4), /no whole number/,
    RangeError,
  ],
  ["a product above 2^53", rawFile(entry("F32", [2 ** 32, 2 ** 32], [0, 0])), /more than 2\^53 elements/, RangeError],
  [
    "a product that wraps to 0 in 64 bits", rawFile(entry("U8", [2 ** 32, 2 ** 32, 1], [0, 0])),
    /more than 2\^53 elements/, RangeError,
  ],
  [
    "bytes above 2^53", rawFile(entry("F64", [2 ** 52], [0, 0])), /expected a whole number below 2\^53 for F64/,
    RangeError,
  ],
  ["half a byte", rawFile(entry("F4", [3], [0, 1]), 1), /expected a whole number/, RangeError],
  ["33 dimensions", rawFile(entry("F32", Array(33).fill(1), [0, 4]), 4), /33 dimensions/, RangeError],
  ["no offsets", rawFile(one({ dtype: "F32", shape: [] }), 4), /no data_offsets of two numbers/, TypeError],
  ["three offsets", rawFile(entry("F32", [], [0, 4, 8]), 8), /no data_offsets of two numbers/, TypeError],
  ["text for offsets", rawFile(entry("F32", [], ["0", "4"]), 4), /data_offsets that are no whole numbers/, RangeError],
  ["negative offsets", rawFile(entry("F32", [], [-4, 0]), 4), /data_offsets that are no whole numbers/, RangeError],
  [
    "fractional offsets", rawFile(entry("F32", [], [0.5, 4.5]), 8), /data_offsets that are no whole numbers/,
    RangeError,
  ],
  [
    "offsets of 2^53 - 1", rawFile(entry("U8", [0], [2 ** 53 - 1, 2 ** 53 - 1])),
    /data_offsets that are no whole numbers/, RangeError,
  ],
  ["an end before the begin", rawFile(entry("F32", [], [4, 0]), 4), /end before they begin/, RangeError],
  [
    "bytes that do not match the shape", rawFile(entry("F32", [2, 3], [0, 20]), 20),
    /"x" has 20 bytes, expected 24 for F32 \[2, 3\]/, RangeError,
  ],
  [
    "an unknown dtype beyond the file", rawFile(entry("F3", [1], [0, 99]), 4), /is cut off: tensor "x" ends at byte/,
    RangeError,
  ],
  ["an empty tensor beyond the file", rawFile(entry("F32", [0], [64, 64]), 4), /60 missing/, RangeError],
  [
    "overlapping tensors",
    rawFile(
      { a: { dtype: "F32", shape: [2], data_offsets: [0, 8] }, b: { dtype: "F32", shape: [1], data_offsets: [4, 8] } },
      8,
    ),
    /tensors "a" and "b" overlap/,
    RangeError,
  ],
  [
    "the same bytes twice, under an unknown dtype",
    rawFile(
      { a: { dtype: "F32", shape: [1], data_offsets: [0, 4] }, b: { dtype: "?", shape: [1], data_offsets: [0, 4] } },
      4,
    ),
    /overlap at byte/,
    RangeError,
  ],
  [
    "metadata that is a list", rawFile({ __metadata__: ["pt"] }),
    /"__metadata__" is an array, expected an object of strings/, TypeError,
  ],
  ["metadata that is null", rawFile({ __metadata__: null }), /"__metadata__" is null/, TypeError],
  [
    "metadata with a number", rawFile({ __metadata__: { step: 3 } }), /a number for "step", expected a string/,
    TypeError,
  ],
  [
    "bytes behind the last tensor", rawFile(entry("F32", [1], [0, 4]), 9),
    /^m\.safetensors has 71 bytes but its tensors end at byte 66, 5 too many: the file is damaged/, RangeError,
  ],
  ["bytes behind no tensor", rawFile("{}", 1), /has 11 bytes but its tensors end at byte 10, 1 too many/, RangeError],
  ["a GGUF file", utf8("GGUF\x03\0\0\0\x01\0\0\0"), /^m\.safetensors is a GGUF file, which is not read/, RangeError],
  ["HDF5", Uint8Array.of(0x89, 0x48, 0x44, 0x46, 13, 10, 26, 10), /is an HDF5 file, such as Keras writes/, RangeError],
  ["ONNX", utf8("\x08\x08\x12\x07pytorch"), /is an ONNX file, which is not read here/, RangeError],
  ["MindSpore", utf8("\x0a\x42\x0a\x10conv1.weight"), /is a MindSpore checkpoint, which is not/, RangeError],
  ["millions of parts", rawFile(`{"x":[${"0,".repeat(1_100_000)}0]}`), /split it into shards/, RangeError],
];

for (const [what, file, expected, Kind] of bad) {
  test(`refuses ${what}, closes the source`, async () => {
    const source = watched("m.safetensors", file);
    await rejects(() => Checkpoint.open(source), expected, Kind);
    await rejects(() => Checkpoint.open(bytesSource("m.safetensors", file)), /^m\.safetensors[ :]/, Kind);
    assert.ok(source.closed);
  });
}

test("says how much of a cut off file is missing", async () => {
  const file = smallFile();
  await rejects(
    () => open(file.subarray(0, file.byteLength - 5)),
    new RegExp(
      `^m\\.safetensors is cut off: tensor "head.scale" ends at byte ${file.byteLength} but the file has `
        + `${file.byteLength - 5} bytes, 5 missing: download it again$`,
    ),
    RangeError,
  );
});

test("refuses every shorter version of a file", async () => {
  const file = smallFile();
  for (let size = 0; size < file.byteLength; size++)
    await rejects(() => open(file.subarray(0, size)), /^m\.safetensors (is cut off|has \d bytes)/, RangeError);
});

test("takes an unknown dtype until that tensor is asked for", async () => {
  const ckpt = await open(
    rawFile(
      { x: { dtype: "F3", shape: [4], data_offsets: [0, 4] }, y: { dtype: "F32", shape: [], data_offsets: [4, 8] } },
      8,
    ),
  );
  assert.equal(ckpt.info("x"), { name: "x", dtype: "F3", shape: [4], byteLength: 4 });
  assert.equal(ckpt.tensor("y", []).byteLength, 4);
  await rejects(
    () => ckpt.tensor("x", [4]), /"x" has an unknown dtype, "F3", expected F32, F16, BF16 or F64/, TypeError,
  );
});

test("tolerates holes, empty tensors, padding", async () => {
  const [a, b, e] = [
    '"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}', '"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}',
    '"e":{"dtype":"F64","shape":[3,0],"data_offsets":[2,2]}',
  ];
  const ckpt = await open(rawFile(` {${b},${a},${e}}   `, 12));
  assert.equal(ckpt.names(), ["a", "e", "b"]);
  assert.equal([...(await ckpt.tensor("b", [1]).read())], [8, 9, 10, 11]);
  assert.equal((await ckpt.tensor("e", [3, 0]).read()).byteLength, 0);
});

test("names of Object.prototype are names like any other", async () => {
  const spec = (at: number): string => `{"dtype":"F32","shape":[1],"data_offsets":[${at},${at + 4}]}`;
  const ckpt = await open(
    rawFile(`{"__proto__":${spec(0)},"constructor":${spec(4)},"0":${spec(8)},"__metadata__":{"__proto__":"p"}}`, 12),
  );
  assert.equal(ckpt.names(), ["__proto__", "constructor", "0"]);
  assert.equal(ckpt.metadata.get("__proto__"), "p");
  assert.not(ckpt.has("toString"));
  assert.is(ckpt.info("hasOwnProperty"), undefined);
  assert.equal([...(await ckpt.tensor("__proto__", [1]).read())], [0, 1, 2, 3]);
  assert.is(({} as Record<string, unknown>).dtype, undefined);
});

test("an entry inherits nothing", async () => {
  await rejects(
    () => open(rawFile('{"x":{"__proto__":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}}', 4)),
    /nothing for a dtype/,
    TypeError,
  );
});

test("refuses a name that is there twice, however it is written: a tensor, a field, a note", async () => {
  const spec = (at: number, more = ""): string => `{"dtype":"F32","shape":[1],"data_offsets":[${at},${at + 4}]${more}}`;
  const twice: [json: string, name: string][] = [
    [`{"x":${spec(0)},"x":${spec(4)}}`, "x"],
    [`{"x":${spec(0)},"\\u0078" : ${spec(4)}}`, "x"],
    [`{"a:\\"b":${spec(0)},"a:\\u0022b":${spec(4)}}`, 'a:\\"b'],
    [`{"x":${spec(4, ',"dtype":"F32"')}}`, "dtype"],
    [`{"x":${spec(4, ',"y":[{"z":1},{"z":2,"z":{}}]')}}`, "z"],
    [`{"__metadata__":{"format":"pt","format":"np"},"x":${spec(4)}}`, "format"],
    [`{"__proto__":${spec(0)},"__proto__":${spec(4)}}`, "__proto__"],
  ];
  for (const [json, name] of twice) {
    const expected = `m.safetensors has "${name}" twice in its header: the file is damaged`;
    await rejects(() => open(rawFile(json, 8)), new RegExp(`^${expected.replace(/[\\.]/g, "\\$&")}`), RangeError);
  }
  const nested = spec(4, ',"y":[{"z":1},{"z":":"}]');
  const ckpt = await open(rawFile(`{"a:b":${spec(0)},"\\"a:b":${nested},"__metadata__":{"a:b":"::"}}`, 8));
  assert.equal(ckpt.names(), ["a:b", '"a:b']);
});

test("errors do not repeat long names or control characters", async () => {
  const name = `\u001b[31m\u202e${"x".repeat(100_000)}`;
  try {
    await open(rawFile({ [name]: null }));
    assert.unreachable();
  } catch (error) {
    const { message } = error as Error;
    assert.ok(message.length < 400);
    assert.not.match(message, /[\u001b\u202e]/);
  }
});

test("does not believe a source that reads short", async () => {
  const file = smallFile();
  const short = {
    ...watched("m.safetensors", file),
    read: async (begin: number, end: number) => file.subarray(begin, Math.max(begin, end - 1)),
  };
  await rejects(() => Checkpoint.open(short), /gave 7 bytes from byte 0, expected 8/, RangeError);
});

test.run();
