// The checksum of a snapshot's state.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { builds, loadKernels, uniform } from "../harness.ts";
import * as naive from "../naive-language.ts";

const BYTES = 4096;

for (const build of builds) {
  const block = uniform("block", BYTES / 4);

  test(`checksum matches naive for every length, and for zeros: ${build}`, () => {
    const { kernels, put } = loadKernels(build), at = put(block), words = new Uint32Array(block.buffer);
    const seen = new Set<number>();
    for (let bytes = 0; bytes <= BYTES; bytes += 16) {
      const sum = kernels.checksum(at, bytes) >>> 0;
      assert.is(sum, naive.checksum(words.subarray(0, bytes / 4)));
      seen.add(sum);
    }
    assert.is(seen.size, BYTES / 16 + 1);
    const zeros = put(new Float32Array(BYTES / 4));
    const sums = new Set(Array.from({ length: 257 }, (_, i) => kernels.checksum(zeros, 16 * i) >>> 0));
    // a state of nothing but zeros is told from a longer one, too
    assert.is(sums.size, 257);
  });

  test(`checksum: every flipped bit changes it: ${build}`, () => {
    const { kernels, memory, put } = loadKernels(build);
    const at = put(block);
    const words = new Uint32Array(memory.buffer, at, BYTES / 4);
    const sum = kernels.checksum(at, BYTES);
    for (let i = 0; i < words.length; i++) {
      for (let bit = 0; bit < 32; bit++) {
        words[i]! ^= 1 << bit;
        if (kernels.checksum(at, BYTES) === sum) assert.unreachable(`bit ${bit} of word ${i} does not count`);
        words[i]! ^= 1 << bit;
      }
    }
    assert.is(kernels.checksum(at, BYTES), sum);
  });

  test(`checksum: the order counts: ${build}`, () => {
    const { kernels, memory, put } = loadKernels(build);
    const at = put(block);
    const words = new Uint32Array(memory.buffer, at, BYTES / 4);
    const sum = kernels.checksum(at, BYTES);
    const swapped = (a: number, b: number): void => { [words[a], words[b]] = [words[b]!, words[a]!]; };
    for (let i = 0; i < words.length; i++) {
      // beside each other, in the next vector, far away
      for (const j of [i + 1, i + 4, i + 512].filter((j) => j < words.length)) {
        swapped(i, j);
        if (kernels.checksum(at, BYTES) === sum) assert.unreachable(`words ${i} and ${j} may be exchanged`);
        swapped(i, j);
      }
    }
    assert.is(kernels.checksum(at, BYTES), sum);
    words.reverse();
    assert.is.not(kernels.checksum(at, BYTES), sum);
  });
}

test.run();
