import { test } from "uvu";
import * as assert from "uvu/assert";
import { Checkpoint, bytesSource, toFloat32 } from "../../../bindings/checkpoint/index.ts";
import type { FloatDType } from "../../../bindings/checkpoint/index.ts";
import { rawFile, seeded, smallFile } from "./fixtures.ts";

const tokens = ['"', "{", "}", "[", "]", ",", ":", "-", ".", "e99", "null", "1e999", "99999999999999999999", "9007199254740993", "\\u0000", "__proto__", "F32", "F4", '"__metadata__"', "\u00ff"];

/** Bytes changed, removed, repeated, or JSON tokens written over the header. */
function mutate(file: Uint8Array, random: (below: number) => number): Uint8Array {
  let bytes = Uint8Array.from(file);
  for (let n = 1 + random(2); n > 0; n--) {
    const at = random(bytes.length);
    const kind = random(6);
    if (kind === 0) bytes[at] ^= 1 << random(8);
    else if (kind === 1) bytes[random(8)] = random(256);
    else if (kind === 2) bytes = bytes.slice(0, at + 1);
    else if (kind === 3) bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(at + random(16)));
    else if (kind === 4) bytes = Uint8Array.of(...bytes.subarray(0, at), ...bytes.subarray(Math.max(0, at - 16)));
    else {
      // digits are where lengths, shapes and offsets are
      const digits = [...bytes.keys()].filter((i) => bytes[i] >= 0x30 && bytes[i] <= 0x39);
      const where = digits.length > 0 && random(2) === 0 ? digits[random(digits.length)] : at;
      const token = new TextEncoder().encode(tokens[random(tokens.length)]);
      bytes = Uint8Array.of(...bytes.subarray(0, where), ...token, ...bytes.subarray(where + 1));
      // half of the time with a length that fits, so that the JSON is read
      if (random(2) === 0 && bytes.length > 16) new DataView(bytes.buffer).setUint32(0, new DataView(bytes.buffer).getUint32(0, true) + token.length - 1, true);
    }
  }
  return bytes;
}

test("2000 mutated files: read, or refused by an error of ours, fast and in little memory", async () => {
  const random = seeded(20240517);
  const files = [smallFile(), rawFile({ a: { dtype: "F32", shape: [2, 2], data_offsets: [0, 16] }, b: { dtype: "F16", shape: [4], data_offsets: [16, 24] } }, 24)];
  const before = process.memoryUsage();
  let [opened, refused, slowestMs] = [0, 0, 0];
  for (let i = 0; i < 2000; i++) {
    const bytes = mutate(files[i % 2], random);
    const start = performance.now();
    try {
      const ckpt = await Checkpoint.open(bytesSource("m.safetensors", bytes));
      opened++;
      for (const name of ckpt.names()) {
        const info = ckpt.info(name)!;
        assert.ok(info.byteLength <= bytes.length);
        if (!["F32", "F16", "BF16", "F64"].includes(info.dtype)) continue;
        const ref = ckpt.tensor(name, info.shape);
        const values = toFloat32(await ref.read(), info.dtype as FloatDType);
        assert.is(values.length, info.shape.reduce((a, b) => a * b, 1));
      }
    } catch (error) {
      refused++;
      assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
      assert.match((error as Error).message, /^m\.safetensors[ :]/);
      assert.ok((error as Error).message.length < 600);
    }
    slowestMs = Math.max(slowestMs, performance.now() - start);
  }
  const after = process.memoryUsage();
  assert.ok(opened > 100 && refused > 500, `opened ${opened}, refused ${refused}`);
  assert.ok(slowestMs < 500, `the slowest took ${slowestMs} ms`);
  assert.ok(after.arrayBuffers + after.heapUsed - before.arrayBuffers - before.heapUsed < 200e6);
});

test.run();
