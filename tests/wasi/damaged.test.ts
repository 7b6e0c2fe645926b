// Files that are cut off, damaged, of another version, or made by someone who means harm: one line on stderr and exit code 1, never a trap.
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as format from "../../assembly/slab-file.ts";
import { seeded } from "../bindings/checkpoint/fixtures.ts";
import { changesOf, forged, runSlab as run, slabFiles } from "./files.ts";
import type { Ran } from "./hosts.ts";

const files = await slabFiles();

function assertRefused({ code, stdout, stderr }: Ran, message: RegExp): void {
  assert.equal([code, stdout.toString()], [1, ""], stderr);
  assert.match(stderr, message);
  assert.match(stderr, /^slab-wasi: [^\n]*\n$/);
}

for (const [name, { bytes, side }] of Object.entries(files)) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), field = (offset: number): number => view.getUint32(offset, true);

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
    const random = seeded(name.length + bytes.length);
    let refused = 0, ran = 0;
    for (let round = 0; round < 100; round++) {
      const changes = changesOf(bytes, random), words = changes.map(([place, value]) => `${place}=${value}`).join(" ");
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
