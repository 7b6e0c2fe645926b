import { test } from "uvu";
import { RAW_BF16, RAW_F16, RAW_F32, RAW_F64 } from "../../assembly/opcodes.ts";
import { assertSameBits, assertSplits, builds, loadKernels, uniform } from "../harness.ts";
import * as naive from "../naive.ts";
import { languageKernels } from "../naive-language.ts";

const FORMATS = { F32: [RAW_F32, 4], F16: [RAW_F16, 2], BF16: [RAW_BF16, 2], F64: [RAW_F64, 8] } as const;
const VOCABULARY = 11;
const IDS = [3, 0, 10, 3, 3, 7, 1, 10, 0];

/** A table of numbers of every size that the format has, subnormal ones too, as bytes and as f32. */
function tableOf(format: keyof typeof FORMATS, dim: number): { bytes: Uint8Array; values: Float32Array } {
  const count = VOCABULARY * dim;
  let bytes: Uint8Array;
  if (format === "F64") bytes = new Uint8Array(Float64Array.from(uniform(`table ${dim}`, count), (u) => u / 3).buffer);
  else {
    const bits = uniform(`table ${format} ${dim}`, count, 0, 1);
    const most = format === "F32" ? 0x7f800000 : format === "F16" ? 0x7c00 : 0x7f80;
    // every other number is negative; exponents of all ones, infinity and NaN, are left out
    const words = Array.from(
      bits, (u, i) => Math.floor(u * most) + (i % 2 ? (format === "F32" ? 0x80000000 : 0x8000) : 0),
    );
    bytes = new Uint8Array(format === "F32" ? Uint32Array.from(words).buffer : Uint16Array.from(words).buffer);
  }
  return { bytes, values: Float32Array.from({ length: count }, (_, i) => naive.decode(bytes, format, i)) };
}

for (const build of builds) {
  test(`embed copies rows of the table exactly, in parts too: ${build}`, () => {
    for (const format of Object.keys(FORMATS) as (keyof typeof FORMATS)[]) {
      for (const dim of [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 320]) {
        const { bytes, values } = tableOf(format, dim);
        const loaded = loadKernels(build);
        const { reserve, putBytes, get, getRows, poison, checkPadding, checkGuards } = loaded;
        const stride = dim + 3;
        const out = reserve(IDS.length * stride);
        const table = putBytes(bytes);
        const ids = putBytes(new Uint8Array(Int32Array.from(IDS).buffer));
        const name = `embed ${format} dim=${dim}`, kernels = languageKernels(loaded.kernels);
        assertSplits(
          name, IDS.length,
          (begin, end) => kernels.embed(begin, end, out, stride * 4, ids, table, FORMATS[format][0], dim),
          () => poison(out), () => get(out),
        );
        checkGuards();
        checkPadding(name, out, dim, stride);
        assertSameBits(
          name, getRows(out, dim, stride),
          Float32Array.from(IDS.flatMap((id) => [...values.subarray(id * dim, (id + 1) * dim)])),
        );
      }
    }
  });
}

test.run();
