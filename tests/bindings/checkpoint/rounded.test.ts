// Weights in int8 with a scale for each row: what is written is read back as the nearest multiples, from any byte on.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bytesSource, Checkpoint, safetensorsBytes, toFloat32 } from "../../../bindings/checkpoint/index.ts";
import type { WriteEntry } from "../../../bindings/checkpoint/index.ts";
import { isRoundable, rounded } from "../../../bindings/checkpoint/rounded.ts";
import { uniform } from "../../harness.ts";
import { f32Bytes } from "./fixtures.ts";

const ROWS = 5, COLUMNS = 64;
const bytesOf = (numbers: Int8Array | Float32Array): Uint8Array => new Uint8Array(numbers.buffer);

function file(ints: Int8Array, scale: Partial<WriteEntry>): Uint8Array {
  return safetensorsBytes([
    { name: "a.weight", dtype: "I8", shape: [ROWS, COLUMNS], data: bytesOf(ints) },
    { name: "a.weight_scale", dtype: "F32", shape: [ROWS, 1], data: new Uint8Array(4 * ROWS), ...scale },
    { name: "a.bias", dtype: "F32", shape: [2], data: f32Bytes(1, 2) },
    { name: "steps", dtype: "I8", shape: [2], data: Uint8Array.of(1, 2) },
  ]);
}

// a row of nothing among them
const values = uniform("rounded", ROWS * COLUMNS).fill(0, 2 * COLUMNS, 3 * COLUMNS);
const { ints, scales } = rounded(values, ROWS);
const open = (bytes: Uint8Array): Promise<Checkpoint> => Checkpoint.open(bytesSource("file", bytes));

test("every row has whole multiples of its scale, up to 63, none further off than half of it", () => {
  for (const [i, value] of values.entries()) {
    const scale = scales[Math.floor(i / COLUMNS)]!;
    assert.ok(Math.abs(ints[i]! * scale - value) <= scale * 0.5001, `${i}`);
  }
  for (const row of [0, 1, 3, 4]) {
    assert.is(Math.max(...ints.subarray(row * COLUMNS, (row + 1) * COLUMNS).map(Math.abs)), 63);
  }
  assert.is(scales[2], 0);
});

test("they are read as F32, whole or in parts, and the scales are no tensors", async () => {
  const checkpoint = await open(file(ints, { data: bytesOf(scales) }));
  assert.equal(checkpoint.names().sort(), ["a.bias", "a.weight", "steps"]);
  const weight = checkpoint.tensor("a.weight", [ROWS, COLUMNS]);
  assert.equal([weight.dtype, weight.byteLength], ["F32", 4 * ROWS * COLUMNS]);
  const bytes = await weight.read(), expected = Float32Array.from(ints, (q, i) => q * scales[Math.floor(i / COLUMNS)]!);
  assert.equal(toFloat32(bytes, "F32"), expected);
  const pieces = [[0, 4], [4 * COLUMNS, 8 * COLUMNS], [4 * COLUMNS - 12, 40], [3, 7], [1277, 3]] as const;
  for (const [from, length] of pieces) {
    const into = new Uint8Array(length);
    assert.is(await weight.read(into, from), into);
    assert.equal(into, bytes.slice(from, from + length), `${length} from ${from}`);
  }
  try {
    await weight.read(new Uint8Array(8), 4 * ROWS * COLUMNS - 4);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /^cannot read 4 bytes past the end of "a\.weight"$/);
  }
  // without a scale it is a tensor of whole numbers
  assert.is(checkpoint.info("steps")?.dtype, "I8");
});

test("scales of another kind or number are refused", async () => {
  for (const [scale, said] of [
    [{ dtype: "F16", shape: [ROWS, 1], data: new Uint8Array(2 * ROWS) }, "F16 [5, 1]"],
    [{ shape: [1], data: new Uint8Array(4) }, "F32 [1]"],
  ] as const) {
    try {
      await open(file(ints, scale));
      assert.unreachable();
    } catch (error) {
      assert.is((error as Error).message, `"a.weight_scale" is ${said}, expected F32 [5, 1], a scale for each row of `
        + '"a.weight": convert the original checkpoint again');
    }
  }
});

test("matrices are rounded, and what is small or no matrix is not", () => {
  assert.ok(isRoundable({ dtype: "F16", shape: [1, 64] }));
  for (const [dtype, shape] of [["F32", [64]], ["F32", [9, 63]], ["I64", [9, 64]]] as const) {
    const one = { dtype, shape };
    assert.not(isRoundable(one));
  }
});

test.run();
