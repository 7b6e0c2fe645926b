// Files that are cut off, damaged, of another version, or made by someone who means harm: one line on stderr and exit code 1, never a trap.
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as format from "../../assembly/slab-file.ts";
import { OP_BYTES } from "../../assembly/opcodes.ts";
import type { LoadOptions, ModelParts } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import { foldersIn, GOLDEN, readGolden } from "../golden/folders.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { uniform } from "../harness.ts";
import { checksum } from "../naive-language.ts";
import { runInShim } from "./hosts.ts";
import type { Ran } from "./hosts.ts";

async function standalone(source: ModelParts, options: LoadOptions = {}): Promise<Uint8Array> {
  using model = await load(source, { threads: 1, build: "simd", ...options });
  return await model.standalone();
}

async function grows(source: ModelParts): Promise<boolean> {
  using model = await load(source, { threads: 1, sessions: 1 });
  return model.session().context < Infinity;
}

const prompt = Array.from({ length: 36 }, (_, i) => String(i));

/** Sizes at which layers are quantised. */
const wide = { hidden_size: 72, intermediate_size: 80, num_attention_heads: 3 };
const files: Record<string, { readonly bytes: Uint8Array; readonly side?: number }> = {
  "int8 language model": { bytes: await standalone(tinyLm(wide), { dtype: "int8", sessions: 2 }) },
  "int4 language model": { bytes: await standalone(tinyLm(wide), { dtype: "int4", sessions: 2 }) },
};
// a small network of every architecture, with weights that need no files
for (const name of foldersIn(GOLDEN)) {
  const golden = await readGolden(name);
  if ("absent" in golden || golden.like !== undefined || "features" in golden.task) continue;
  const source = golden.source(golden.small);
  if (typeof source === "string") continue;
  const { image_size: side } = source.config as { image_size?: number };
  files[name] = side
    ? { bytes: await standalone(source), side }
    : { bytes: await standalone(source, { sessions: 2, ...((await grows(source)) ? { context: 40 } : {}) }) };
}

/** Runs the model on a picture of this side, or on a prompt. */
const run = (bytes: Uint8Array, side?: number): Ran =>
  side ? runInShim(["classify", "m.slab"], { "m.slab": bytes }, new Uint8Array(3 * side * side).fill(99)) : runInShim(["generate", "m.slab", ...prompt, "--max", "3"], { "m.slab": bytes });

function assertRefused({ code, stdout, stderr }: Ran, message: RegExp): void {
  assert.equal([code, stdout.toString()], [1, ""], stderr);
  assert.match(stderr, message);
  assert.match(stderr, /^slab-wasi: [^\n]*\n$/);
}

/** The file with some words changed and its checksum right again. */
function forged(bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Uint8Array {
  const copy = bytes.slice(), view = new DataView(copy.buffer);
  for (const [at, value] of changes) view.setUint32(at, value, true);
  view.setUint32(format.CHECKSUM, checksum(new Uint32Array(copy.buffer, format.CHECKED_FROM)), true);
  return copy;
}

for (const [name, { bytes, side }] of Object.entries(files)) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), field = (offset: number): number => view.getUint32(offset, true);
  /** Where in the file an address is. */
  const at = (offset: number): number => field(offset) - format.FILE_BASE;

  test(`${name}: as it is, it runs`, () => {
    const { code, stderr } = run(forged(bytes, []), side);
    assert.equal([code, stderr], [0, ""]);
  });

  test(`${name}: cut off anywhere`, () => {
    for (const length of [0, 1, 4, 8, 16, 64, 255, 256, 257, 1024, bytes.length >> 1, bytes.length - 64, bytes.length - 1]) {
      assertRefused(run(bytes.subarray(0, length), side), length < 256 ? /too short for a model's file/ : /cut off or damaged, copy it again/);
    }
    assertRefused(run(Buffer.concat([bytes, Buffer.alloc(64)]), side), /cut off or damaged/);
  });

  test(`${name}: any flipped bit`, () => {
    const places = [...Array(32).keys(), ...Array.from({ length: 20 }, (_, i) => 32 + Math.floor((i * (bytes.length - 32)) / 20))];
    for (const [i, place] of places.entries()) {
      const damaged = bytes.slice();
      damaged[place]! ^= 1 << (i % 8);
      assertRefused(run(damaged, side), place < 8 ? /is no model's file/ : place < 12 ? /has version \d+, this program reads / : /damaged/);
    }
  });

  test(`${name}: another version`, () =>
    assertRefused(run(forged(bytes, [[format.VERSION, format.FILE_VERSION - 1]]), side), /has version 2, this program reads 3: use the slab-wasi\.wasm of the same release/));

  test(`${name}: more memory than there is, or than there is reason for`, () => {
    const own = field(format.PRIVATE_SCRATCH_BYTES), more = (n: number): Uint8Array =>
      forged(bytes, [[format.PRIVATE_SCRATCH_BYTES, own + n], [format.MEMORY_END, field(format.MEMORY_END) + n]]);
    for (const n of [2 ** 31, 2 ** 27 + bytes.length * format.MEMORY_PER_BYTE]) {
      assertRefused(run(more(n), side), /asks for more memory than a file of its size has a use for: make it again/);
    }
    assert.is(run(more(2 ** 20), side).code, 0);
    // nothing lies behind the scratch memory
    for (const end of [2 ** 32 - 1, field(format.MEMORY_END) + 64, field(format.SCRATCH)]) {
      assertRefused(run(forged(bytes, [[format.MEMORY_END, end]]), side), /does not fit together/);
    }
  });

  test(`${name}: forged words with a right checksum never trap`, () => {
    const random = uniform(`forged ${name}`, 1 << 14);
    let next = 0;
    const upTo = (n: number): number => Math.floor(((random[next++ % random.length]! + 1) / 2) * n) % n;
    const plan = at(format.PLAN), planEnd = plan + field(format.OPS) * OP_BYTES;
    let refused = 0, ran = 0;
    for (let round = 0; round < 100; round++) {
      const changes: (readonly [number, number])[] = [];
      for (let n = 1 + upTo(2); n > 0; n--) {
        // mostly ops and header, now and then the tables
        const kind = upTo(8), place = 4 * (kind < 5 ? plan / 4 + upTo((planEnd - plan) / 4) : kind < 7 ? 4 + upTo(format.FILE_HEADER_BYTES / 4 - 4) : 64 + upTo(Math.max(plan / 4 - 64, 1)));
        if (place === format.FILE_BYTES) continue;
        const old = field(place), other = field(4 * (plan / 4 + upTo((planEnd - plan) / 4)));
        const value = [0, 1, old + 1, old - 1, old * 2, old >>> 1, old + 64, old - 64, other, 2 ** 31, 2 ** 32 - 1, 2 ** 24, 1 + upTo(64), field(format.MEMORY_END), field(format.SCRATCH), upTo(2 ** 31)][upTo(16)]! >>> 0;
        changes.push([place, value]);
      }
      const words = changes.map(([place, value]) => `${place}=${value}`).join(" ");
      let result: Ran;
      try {
        result = run(forged(bytes, changes), side);
      } catch (error) {
        throw new Error(`it trapped with ${words}: ${(error as Error).message}`);
      }
      const { code, stderr } = result;
      if (code === 0) {
        assert.is(stderr, "", words);
        ran++;
      } else {
        assert.is(code, 1, words);
        assert.match(stderr, /^slab-wasi: [^\n]*\n$/, words);
        refused++;
      }
    }
    // what is refused is not everything, and not nothing: a stride or a factor may change without harm
    assert.ok(refused > 25 && ran > 2, `${refused} refused, ${ran} ran`);
  });
}

test.run();
