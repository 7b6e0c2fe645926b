// Files of slab pack, run by slab-wasi in this process: it ends with code 0, or with code 1 and one line.
import type { SlabFile } from "../../wasi/files.ts";
import { changesOf, forged, runSlab, slabFiles } from "../../wasi/files.ts";
import { mutate, pick } from "../mutate.ts";
import type { Target } from "../target.ts";

/** Of a picture's side, by what goes before the file; 0: a language model. */
const tagged = ({ bytes, side = 0 }: SlabFile): Uint8Array => {
  const out = new Uint8Array(bytes.length + 4);
  new DataView(out.buffer).setUint32(0, side, true);
  out.set(bytes, 4);
  return out;
};

const slab: Target = {
  name: "slab",
  share: 1,
  ours: /^slab-wasi: /,
  // what the program allows any file, and what a host needs around it
  memory: 256 << 20,
  // a forged plan may be a valid one of more work: within the bounds of its memory it takes the time that it needs
  cpuMs: 10_000,
  seeds: async () => Object.values(await slabFiles()).map(tagged),
  mutate(seeds, random) {
    const seed = pick(seeds, random), head = seed.subarray(0, 4), file = seed.slice(4);
    const changed = random(8) ? forged(file, changesOf(file, random)) : mutate(file, random, [], [file]);
    return Uint8Array.from(Buffer.concat([head, changed]));
  },
  async read(bytes) {
    const side = bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) % 513;
    const { code, stderr } = runSlab(bytes.slice(4), side);
    if (code === 0 && stderr === "") return;
    if (code !== 1 || !/^slab-wasi: [^\n]*\n$/.test(stderr)) throw new Error(`unexpected: code ${code}, ${stderr}`);
    throw new RangeError(stderr.trimEnd());
  },
};

export const standalones: readonly Target[] = [slab];
