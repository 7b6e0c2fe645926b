// Prefill of the recurrence with every kind of decay, by token too: against naive, and against decode token by token.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { DECAY_KEY, DECAY_NONE, DECAY_SCALAR, DECAY_VALUE, NORMALISE, READ_BEFORE } from "../../assembly/opcodes.ts";
import { assertClose, assertSameBits, assertSplits, builds, loadKernels, TILES, uniform } from "../harness.ts";
import type { Loaded } from "../harness.ts";
import { emptyMemory, languageKernels, recurrentStep } from "../naive-language.ts";
import type { LanguageKernels, Memory, Recurrence } from "../naive-language.ts";

interface PrefillKernels extends LanguageKernels {
  recurrentChunksByChannel: (...args: number[]) => void;
}

const KINDS = { none: DECAY_NONE, scalar: DECAY_SCALAR, key: DECAY_KEY, value: DECAY_VALUE };
const HEADS = 3;
const EPS = 1e-6;
/** Bytes of a timeline's state before this layer's part: another's, not to be touched. */
const OFFSET = 64;
/** Scratch as the kernels' comments say. */
const SCRATCH = {
  recurrentChunksByChannel: (keyDim: number, valueDim: number): number =>
    4 * (keyDim * valueDim + 33 * keyDim + 33 * valueDim) + 1152,
  recurrentChunks: (keyDim: number, valueDim: number): number => 4 * (keyDim * valueDim + 64 * keyDim) + 1664,
};
/** Tokens of one chunk. */
const CHUNK = { recurrentChunksByChannel: 16, recurrentChunks: 32 };

// cases

interface Variant {
  readonly kernel: keyof typeof SCRATCH;
  readonly decayKind: Recurrence["decayKind"];
  readonly perToken: boolean;
  readonly normalise: boolean;
  readonly read: "after" | "before" | "before, with bonus";
}

interface Case extends Variant {
  readonly name: string;
  readonly tokens: number;
  readonly recurrence: Recurrence;
  readonly factors: keyof typeof FACTORS;
}

/** From keeping all to forgetting at once: zero, and factors whose products underflow. */
const STRONG = [1, 0.999, 0.5, 1e-3, 1e-6, 1e-20, 1e-38, 1e-45, 0];
const FACTORS = {
  // a 1 now and then
  slow: (key: string, count: number) => uniform(key, count, 0.5, 1).map((factor, i) => (i % 5 ? factor : 1)),
  strong: (key: string, count: number) =>
    uniform(key, count, 0, 1).map((u) => STRONG[Math.trunc(u * 1000) % STRONG.length]!),
  one: (_: string, count: number) => new Float32Array(count).fill(1),
};

const kinds = Object.keys(KINDS) as Recurrence["decayKind"][];
const variants: Variant[] = kinds.flatMap((decayKind) =>
  (decayKind === "none" ? [false] : [false, true]).flatMap((perToken) =>
    (decayKind === "value" ? [false] : [false, true]).flatMap((normalise) =>
      (["after", "before", "before, with bonus"] as const).map(
        (read) => ({ kernel: "recurrentChunksByChannel", decayKind, perToken, normalise, read }) as const,
      ),
    ),
  ),
);
const scalarVariants: Variant[] = [false, true].flatMap((perToken) => [false, true].map((normalise) =>
  ({ kernel: "recurrentChunks", decayKind: "scalar", perToken, normalise, read: "after" })));

function caseOf(
  variant: Variant, tokens: number, keyDim: number, valueDim: number, factors: Case["factors"] = "slow",
): Case {
  const { kernel, decayKind, perToken, normalise, read } = variant;
  const decay = `${decayKind}${decayKind === "none" ? "" : ` ${factors}`}${perToken ? " by token" : ""}`;
  const name =
    `${kernel} tokens=${tokens} keyDim=${keyDim} valueDim=${valueDim} `
    + `decay=${decay}${normalise ? " normalised" : ""} reading ${read}`;
  const bonus = read === "before, with bonus" ? { bonus: uniform("bonus", HEADS * keyDim, 0, 1) } : {};
  return {
    ...variant,
    name,
    tokens,
    factors,
    recurrence: {
      heads: HEADS, keyDim, valueDim, decayKind, readBefore: read !== "after", ...bonus,
      ...(normalise ? { eps: EPS } : {}),
    },
  };
}

// every variant meets every number of tokens, and every pair of dimensions
const keyDims = [4, 8, 12, 64], valueDims = [8, 16, 64];
const crossed = (of: Variant[], counts: number[]): Case[] => of.flatMap((variant, a) => counts.flatMap((tokens, b) =>
  keyDims.map((keyDim, c) => caseOf(variant, tokens, keyDim, valueDims[(a + b + c) % valueDims.length]!))));
const chunkCases = [
  ...crossed(variants, [1, 2, 15, 16, 17, 33, 100]),
  ...crossed(scalarVariants, [1, 2, 15, 16, 17, 33, 63, 64, 65, 100, 130, 200]),
];
const strongCases = [...variants, ...scalarVariants]
  .filter(({ decayKind }) => decayKind !== "none")
  .flatMap((variant, a) =>
    [2, 16, 33, 100, 200].flatMap((tokens, b) =>
      caseOf(variant, tokens, keyDims[(a + b) % keyDims.length]!, valueDims[(a + b) % valueDims.length]!, "strong"),
    ),
  );

// data

/** A timeline as the kernels keep it: per head S as [valueDim][keyDim], then z [keyDim] if there is a normaliser. */
function packMemory({ s, z }: Memory, { heads, keyDim, valueDim, eps }: Recurrence): Float32Array {
  const rows = valueDim + (eps === undefined ? 0 : 1), out = new Float32Array(heads * rows * keyDim);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < keyDim; i++) {
      for (let j = 0; j < valueDim; j++) out[(h * rows + j) * keyDim + i] = s[(h * keyDim + i) * valueDim + j]!;
      if (eps !== undefined) out[(h * rows + valueDim) * keyDim + i] = z[h * keyDim + i]!;
    }
  }
  return out;
}

function dataOf({ tokens, recurrence, perToken, factors }: Case) {
  const { heads, keyDim, valueDim, decayKind, eps } = recurrence, keys = heads * keyDim, values = heads * valueDim;
  // with strong decays no sum cancels, so that every number can be held to its own size
  const low = factors === "strong" ? 0 : -1, width = { none: 0, scalar: heads, key: keys, value: values }[decayKind];
  const memory = emptyMemory(recurrence);
  memory.s.set(uniform("S", memory.s.length, low));
  if (eps !== undefined) memory.z.set(uniform("z", memory.z.length, 0, 1));
  return {
    keys, values, width, memory, decay: FACTORS[factors]("decay", (perToken ? tokens : 1) * width),
    q: uniform("q", tokens * keys, 0, 1), k: uniform("k", tokens * keys, 0, 1), v: uniform("v", tokens * values, low),
  };
}

const wanted = new Map<Case, { out: Float64Array; state: Float32Array }>();

/** What the float64 reference says, token by token; made once for all builds. */
function wantedOf(given: Case): { out: Float64Array; state: Float32Array } {
  const known = wanted.get(given);
  if (known) return known;
  const { tokens, recurrence, perToken } = given;
  const { keys, values, width, memory, decay, q, k, v } = dataOf(given);
  const out = new Float64Array(tokens * values);
  const part = (of: Float32Array, t: number, size: number): Float32Array => of.subarray(t * size, (t + 1) * size);
  for (let t = 0; t < tokens; t++) {
    out.set(
      recurrentStep(
        memory, part(q, t, keys), part(k, t, keys), part(v, t, values), perToken ? part(decay, t, width) : decay,
        recurrence,
      ),
      t * values,
    );
  }
  const result = { out, state: packMemory(memory, recurrence) };
  wanted.set(given, result);
  return result;
}

/** The case in memory, with odd row strides and scratch of exactly its size. */
function inMemory(loaded: Loaded, given: Case) {
  const { kernel, tokens, recurrence, perToken } = given;
  const { heads, keyDim, valueDim, decayKind, readBefore, bonus, eps } = recurrence;
  const { keys, values, width, memory, decay, q, k, v } = dataOf(given);
  const kernels = languageKernels(loaded.kernels) as PrefillKernels;
  const initial = packMemory(memory, recurrence), slot = loaded.reserveBytes(OFFSET + initial.length * 4);
  const stateView = (): Float32Array => new Float32Array(loaded.memory.buffer, slot + OFFSET, initial.length);
  const outStride = values + 3;
  const [qRow, kRow, vRow, outRow] = [(keys + 1) * 4, (keys + 2) * 4, (values + 1) * 4, outStride * 4];
  const [queries, keyRows, valueRows] = [
    loaded.putRows(q, keys, keys + 1), loaded.putRows(k, keys, keys + 2), loaded.putRows(v, values, values + 1),
  ];
  const out = loaded.reserve(tokens * outStride), bonusAt = bonus ? loaded.put(bonus) : 0;
  const states = loaded.putBytes(new Uint8Array(Int32Array.of(slot).buffer));
  const factors = width ? loaded.putRows(decay, width, width + 1) : 0, decayRow = perToken ? (width + 1) * 4 : 0;
  const scratch = loaded.reserveBytes(SCRATCH[kernel](keyDim, valueDim)), stepScratch = loaded.reserve(4 * keyDim);
  const flags = (readBefore ? READ_BEFORE : 0) | (eps === undefined ? 0 : NORMALISE);
  return {
    out, slot, scratch, outStride, values,
    /** The state and the outputs as they were before the first token. */
    reset(): void {
      stateView().set(initial);
      for (const address of [out, scratch]) loaded.poison(address);
    },
    outputs: (): Float32Array => loaded.getRows(out, values, outStride),
    state: (): Float32Array => stateView().slice(),
    /** Tokens [first, first + count) of heads [begin, end). */
    chunks(first: number, count: number, begin = 0, end = heads): void {
      const rows = [
        begin, end, out + first * outRow, outRow, queries + first * qRow, qRow, keyRows + first * kRow, kRow,
        valueRows + first * vRow, vRow, count, states, OFFSET, keyDim, valueDim,
      ];
      const at = factors + first * decayRow;
      if (kernel === "recurrentChunks") kernels.recurrentChunks(...rows, at, decayRow, flags, eps ?? 0, 1, scratch);
      else
        kernels.recurrentChunksByChannel(...rows, KINDS[decayKind], at, decayRow, bonusAt, flags, eps ?? 0, 1, scratch);
    },
    /** All tokens, one by one. */
    steps(): void {
      for (let t = 0; t < tokens; t++) {
        kernels.recurrentStep(
          0, heads, out + t * outRow, 0, queries + t * qRow, 0, keyRows + t * kRow, 0, valueRows + t * vRow, 0, states,
          OFFSET, heads, keyDim, valueDim, KINDS[decayKind], factors + t * decayRow, 0, bonusAt, flags, eps ?? 0, 1,
          stepScratch,
        );
      }
    },
  };
}

/** Every number is right by itself, however small it is beside the others. */
function assertEach(name: string, got: ArrayLike<number>, want: ArrayLike<number>): void {
  assert.is(got.length, want.length, `${name}: ${got.length} numbers, expected ${want.length}`);
  for (let i = 0; i < want.length; i++) {
    // below the second bound f32 itself has few digits left
    if (!(Math.abs(got[i]! - want[i]!) <= 1e-5 * Math.abs(want[i]!) + 1e-42))
      assert.unreachable(`${name}[${i}] is ${got[i]}, expected ${want[i]}`);
  }
}

const joined = (...parts: Float32Array[]): Float32Array => Float32Array.from(parts.flatMap((part) => [...part]));
/** One case of every variant. */
const oneEach = (tokens: number, keyDim: number, valueDim: number): Case[] =>
  [...variants, ...scalarVariants].map((variant) => caseOf(variant, tokens, keyDim, valueDim));

for (const build of builds) {
  for (const kernel of ["recurrentChunksByChannel", "recurrentChunks"] as const) {
    const mine = (given: Case): boolean => given.kernel === kernel;

    test(`${kernel} matches naive, and recurrentStep token by token: ${build}`, () => {
      for (const given of chunkCases.filter(mine)) {
        const { name, tokens } = given;
        const want = wantedOf(given);
        const loaded = loadKernels(build);
        const { out, slot, outStride, values, reset, outputs, state, chunks, steps } = inMemory(loaded, given);
        reset();
        chunks(0, tokens);
        loaded.checkGuards();
        loaded.checkPadding(name, out, values, outStride);
        for (let i = 0; i < OFFSET / 4; i++)
          assert.ok(loaded.untouched(slot, i), `${name}: wrote before its part of the state`);
        const got = outputs(), after = state();
        assertClose(name, got, want.out, 2e-6, 4e-5);
        assertClose(`${name}: state`, after, want.state, 1e-6, 2e-5);
        reset();
        steps();
        assertClose(`${name}: by steps`, outputs(), got, 2e-6, 4e-5);
        assertClose(`${name}: state by steps`, state(), after, 1e-6, 2e-5);
      }
    });

    test(`${kernel} stays exact where factors are tiny or zero: ${build}`, () => {
      for (const given of strongCases.filter(mine)) {
        const want = wantedOf(given);
        const loaded = loadKernels(build);
        const { reset, outputs, state, chunks } = inMemory(loaded, given);
        reset();
        chunks(0, given.tokens);
        loaded.checkGuards();
        assertEach(given.name, outputs(), want.out);
        assertEach(`${given.name}: state`, state(), want.state);
      }
    });

    test(`${kernel} carries its state over calls, however they are split: ${build}`, () => {
      const tokens = kernel === "recurrentChunks" ? 130 : 50;
      for (const given of oneEach(tokens, 12, 16).filter(mine)) {
        const want = wantedOf(given);
        const loaded = loadKernels(build);
        const { reset, outputs, state, chunks } = inMemory(loaded, given);
        reset();
        chunks(0, tokens);
        const whole = joined(outputs(), state());
        for (let split = 0; split <= tokens; split++) {
          reset();
          chunks(0, split);
          chunks(split, tokens - split);
          assertClose(`${given.name} split at ${split}`, outputs(), want.out, 2e-6, 4e-5);
          assertClose(`${given.name} split at ${split}: state`, state(), want.state, 1e-6, 2e-5);
          // between two chunks nothing is computed in another way
          if (split % CHUNK[kernel] === 0 || split === tokens)
            assertSameBits(`${given.name} split at ${split}`, joined(outputs(), state()), whole);
        }
        loaded.checkGuards();
      }
    });

    test(`${kernel} in parts, and with every register tile, has the same bits: ${build}`, () => {
      for (const given of oneEach(kernel === "recurrentChunks" ? 75 : 27, 12, 16).filter(mine)) {
        const results = TILES.map((tileRows) => {
          const loaded = loadKernels(build, { tileRows });
          const { reset, outputs, state, chunks } = inMemory(loaded, given);
          const read = (): Float32Array => joined(outputs(), state());
          assertSplits(given.name, HEADS, (begin, end) => chunks(0, given.tokens, begin, end), reset, read);
          loaded.checkGuards();
          return read();
        });
        for (const other of results.slice(1)) assertSameBits(`${given.name}, another tile`, other, results[0]!);
      }
    });
  }

  test(`recurrentChunksByChannel: factors of 1 are no decay, and a scalar is equal keys, bit for bit: ${build}`, () => {
    const run = (given: Case): Float32Array => {
      const { reset, outputs, state, chunks } = inMemory(loadKernels(build), given);
      reset();
      chunks(0, given.tokens);
      return joined(outputs(), state());
    };
    for (const normalise of [false, true]) {
      for (const read of ["after", "before"] as const) {
        const [none, ...decaying] = kinds
          .filter((kind) => kind !== "value" || !normalise)
          .map((decayKind) =>
            run(
              caseOf(
                { kernel: "recurrentChunksByChannel", decayKind, perToken: decayKind !== "none", normalise, read },
                33,
                12,
                16,
                "one",
              ),
            ),
          );
        // by value channel the sums run in another order
        for (const [i, other] of decaying.slice(0, 2).entries())
          assertSameBits(`decay=${kinds[i + 1]} of 1, reading ${read}`, other, none!);
        for (const other of decaying.slice(2))
          assertClose(`decay=value of 1, reading ${read}`, other, none!, 2e-6, 4e-5);
      }
    }
  });
}

test.run();
