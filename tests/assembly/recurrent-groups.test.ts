// Query heads that share keys, values and decays: the same bits as when each has a copy of its own.
import { test } from "uvu";
import { DECAY_KEY, DECAY_NONE, DECAY_SCALAR, DECAY_VALUE, NORMALISE, READ_BEFORE } from "../../assembly/opcodes.ts";
import type { Loaded } from "../harness.ts";
import { assertSameBits, builds, loadKernels, uniform } from "../harness.ts";

type Kernel = (...args: number[]) => void;
type Kernels = Record<"recurrentStep" | "recurrentChunks" | "recurrentChunksByChannel", Kernel>;

const HEADS = 6, KEY = 8, VALUE = 16, TOKENS = 35;
const DECAYS = {
  none: [DECAY_NONE, 0], head: [DECAY_SCALAR, 1], key: [DECAY_KEY, KEY], value: [DECAY_VALUE, VALUE],
} as const;

/** Rows whose heads are repeated for a group each. */
function repeated(values: Float32Array, heads: number, sharing: number): Float32Array {
  const width = values.length / TOKENS / heads || 0;
  return Float32Array.from({ length: values.length * sharing }, (_, i) => {
    const row = Math.floor(i / (heads * sharing * width)), at = i % (heads * sharing * width);
    return values[row * heads * width + Math.floor(at / width / sharing) * width + (at % width)]!;
  });
}

/** Outputs and state after all tokens. */
function run(
  loaded: Loaded, kernel: keyof Kernels, decay: keyof typeof DECAYS, flags: number, sharing: number, copies: boolean,
): Float32Array {
  const keyHeads = HEADS / sharing;
  const [kind, width] = DECAYS[decay];
  const { kernels } = loaded as { kernels: unknown } as { kernels: Kernels };
  const own = (key: string, size: number, low: number): Float32Array => {
    const values = uniform(key, TOKENS * keyHeads * size, low, 1);
    return copies ? repeated(values, keyHeads, sharing) : values;
  };
  const q = loaded.put(uniform("q", TOKENS * HEADS * KEY, 0, 1));
  const k = loaded.put(own("k", KEY, 0));
  const v = loaded.put(own("v", VALUE, -1));
  const factors = width ? loaded.put(own("decay", width, 0.5)) : 0, bonus = loaded.put(uniform("bonus", HEADS * KEY));
  const stateFloats = HEADS * KEY * (VALUE + (flags & NORMALISE ? 1 : 0));
  const slot = loaded.put(new Float32Array(stateFloats));
  const out = loaded.reserve(TOKENS * HEADS * VALUE);
  const states = loaded.putInts([slot]);
  const scratch = loaded.reserve(KEY * VALUE + 64 * (KEY + VALUE) + 416);
  const held = copies ? 1 : sharing;
  const heads = copies ? HEADS : keyHeads;
  const rows = { q: HEADS * KEY * 4, k: heads * KEY * 4, v: heads * VALUE * 4, out: HEADS * VALUE * 4 };
  const decayRow = heads * width * 4, u = flags & READ_BEFORE ? bonus : 0;
  const inputs = [out, rows.out, q, rows.q, k, rows.k, v, rows.v];
  if (kernel === "recurrentStep") {
    for (let t = 0; t < TOKENS; t++) {
      const at = inputs.map((address, i) => (i % 2 ? 0 : address + t * inputs[i + 1]!));
      kernels.recurrentStep(
        0, HEADS, ...at, states, 0, HEADS, KEY, VALUE, kind, factors + t * decayRow, 0, u, flags, 1e-6, held, scratch,
      );
    }
  } else if (kernel === "recurrentChunks") {
    kernels.recurrentChunks(
      0, HEADS, ...inputs, TOKENS, states, 0, KEY, VALUE, factors, decayRow, flags, 1e-6, held, scratch,
    );
  } else {
    kernels.recurrentChunksByChannel(
      0, HEADS, ...inputs, TOKENS, states, 0, KEY, VALUE, kind, factors, decayRow, u, flags, 1e-6, held, scratch,
    );
  }
  loaded.checkGuards();
  return Float32Array.from([...loaded.get(out), ...loaded.get(slot)]);
}

for (const build of builds) {
  test(`heads in groups: ${build}`, () => {
    for (const kernel of ["recurrentStep", "recurrentChunks", "recurrentChunksByChannel"] as const) {
      for (const decay of Object.keys(DECAYS) as (keyof typeof DECAYS)[]) {
        const chunks = kernel === "recurrentChunks";
        if (chunks && decay !== "none" && decay !== "head") continue;
        for (const flags of [0, NORMALISE, READ_BEFORE]) {
          if ((chunks && flags === READ_BEFORE) || (decay === "value" && flags === NORMALISE)) continue;
          for (const sharing of [2, 3, 6]) {
            const [grouped, copied] = [false, true].map((copies) =>
              run(loadKernels(build), kernel, decay, flags, sharing, copies),
            );
            assertSameBits(`${kernel}, decay by ${decay}, flags ${flags}, groups of ${sharing}`, grouped!, copied!);
          }
        }
      }
    }
  });
}

test.run();
