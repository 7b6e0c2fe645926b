import { test } from "uvu";
import * as assert from "uvu/assert";
import { DECAY_KEY, DECAY_NONE, DECAY_SCALAR, DECAY_VALUE, NORMALISE, READ_BEFORE } from "../../assembly/opcodes.ts";
import { recurrence } from "../../bindings/plan/ops/language.ts";
import { StateLayout } from "../../bindings/plan/state.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { alignUp, assertClose, assertSameBits, assertSplits, builds, loadKernels, TILES, uniform } from "../harness.ts";
import type { Loaded } from "../harness.ts";
import { emptyMemory, languageKernels, recurrentStep, recurrentTokens } from "../naive-language.ts";
import type { Memory, Recurrence } from "../naive-language.ts";

const KINDS = { none: DECAY_NONE, scalar: DECAY_SCALAR, key: DECAY_KEY, value: DECAY_VALUE };
const EPS = 1e-6;
/** Bytes of a timeline's state before this layer's part: another's, not to be touched. */
const OFFSET = 64;

const strideOf = (keyDim: number): number => alignUp(keyDim, 4);

/** A timeline as the kernels keep it: per head S as [valueDim][stride], then z [stride] if there is a normaliser. */
function packMemory({ s, z }: Memory, { heads, keyDim, valueDim, eps }: Recurrence): Float32Array {
  const stride = strideOf(keyDim);
  const rows = valueDim + (eps === undefined ? 0 : 1);
  const out = new Float32Array(heads * rows * stride);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < keyDim; i++) {
      for (let j = 0; j < valueDim; j++) out[(h * rows + j) * stride + i] = s[(h * keyDim + i) * valueDim + j]!;
      if (eps !== undefined) out[(h * rows + valueDim) * stride + i] = z[h * keyDim + i]!;
    }
  }
  return out;
}

/** A state with a past, the same for the same key. */
function someMemory(key: string, recurrence: Recurrence): Memory {
  const { s, z } = emptyMemory(recurrence);
  s.set(uniform(`${key} S`, s.length));
  if (recurrence.eps !== undefined) z.set(uniform(`${key} z`, z.length, 0, 1));
  return { s, z };
}

/** A state slot with OFFSET bytes before it, which stay poison. */
function putMemory(
  { reserveBytes, memory }: Loaded, values: Float32Array,
): { address: number; read(): Float32Array; write(values: Float32Array): void } {
  const address = reserveBytes(OFFSET + values.length * 4);
  const view = (): Float32Array => new Float32Array(memory.buffer, address + OFFSET, values.length);
  view().set(values);
  return { address, read: () => view().slice(), write: (next) => view().set(next) };
}

const putInts = ({ putBytes }: Loaded, values: number[]): number =>
  putBytes(new Uint8Array(Int32Array.from(values).buffer));
const joined = (parts: Float32Array[]): Float32Array => Float32Array.from(parts.flatMap((part) => [...part]));

// one token at a time

const TOKENS = 3;
const dims = [1, 3, 4, 5, 6, 8, 13, 64];
const reads = [{}, { readBefore: true }, { readBefore: true, bonus: true }];
const stepCases = dims
  .flatMap((keyDim, a) =>
    dims.flatMap((valueDim, b) =>
      (Object.keys(KINDS) as Recurrence["decayKind"][]).flatMap((decayKind, c) =>
        [false, true].flatMap((normalise) =>
          reads.map(({ readBefore = false, bonus = false }, d) => {
            const turn = a + b + c + d + (normalise ? 1 : 0);
            const heads = 1 + (turn % 3);
            const rows = [1, 2, 3, 5][(a + 2 * b + d) % 4]!;
            const perToken = turn % 2 === 0;
            const name =
              `recurrentStep keyDim=${keyDim} valueDim=${valueDim} `
              + `decay=${decayKind}${perToken ? " per token" : ""}${readBefore ? " read before" : ""}`
              + `${bonus ? " with bonus" : ""}${normalise ? " normalised" : ""} `
              + `rows=${rows} heads=${heads}`;
            const recurrence: Recurrence = {
              heads, keyDim, valueDim, decayKind, readBefore,
              ...(bonus ? { bonus: uniform("bonus", heads * keyDim) } : {}), ...(normalise ? { eps: EPS } : {}),
            };
            return { name, recurrence, rows, perToken };
          }),
        ),
      ),
    ),
  )
  .filter(({ recurrence: { decayKind, eps } }) => !(decayKind === "value" && eps !== undefined));

type StepCase = (typeof stepCases)[number];

function stepData({ recurrence, rows, perToken }: StepCase) {
  const { heads, keyDim, valueDim, decayKind } = recurrence, keys = heads * keyDim, values = heads * valueDim;
  const factors = { none: 0, scalar: heads, key: keys, value: values }[decayKind];
  // queries and keys have been through relu
  const tokens = Array.from({ length: TOKENS }, (_, t) => ({
    q: uniform(`q ${t}`, rows * keys, 0, 1), k: uniform(`k ${t}`, rows * keys, 0, 1),
    v: uniform(`v ${t}`, rows * values),
    decay: uniform(perToken ? `decay ${t}` : "decay", (perToken ? rows : 1) * factors, 0.5, 1),
  }));
  return {
    keys, values, factors, tokens,
    memories: Array.from({ length: rows }, (_, r) => someMemory(`memory ${r}`, recurrence)),
  };
}

const wanted = new Map<StepCase, { out: Float64Array[]; states: Float32Array[] }>();

/** What the float64 reference says; made once for all builds. */
function wantedOf(given: StepCase): { out: Float64Array[]; states: Float32Array[] } {
  const known = wanted.get(given);
  if (known) return known;
  const { recurrence, rows, perToken } = given, { keys, values, factors, tokens, memories } = stepData(given);
  const out = tokens.map(({ q, k, v, decay }) => {
    const all = new Float64Array(rows * values);
    for (let r = 0; r < rows; r++) {
      const factor = perToken ? decay.subarray(r * factors, (r + 1) * factors) : decay;
      all.set(
        recurrentStep(
          memories[r]!, q.subarray(r * keys, (r + 1) * keys), k.subarray(r * keys, (r + 1) * keys),
          v.subarray(r * values, (r + 1) * values), factor, recurrence,
        ),
        r * values,
      );
    }
    return all;
  });
  const result = { out, states: memories.map((memory) => packMemory(memory, recurrence)) };
  wanted.set(given, result);
  return result;
}

/**
 * The case in memory: slots in falling order of address, odd row strides, and a function that runs units [begin, end)
 * of one token.
 */
function stepInMemory(loaded: Loaded, given: StepCase) {
  const { recurrence, rows, perToken } = given;
  const { heads, keyDim, valueDim, decayKind, readBefore, bonus, eps } = recurrence;
  const { keys, values, factors, tokens, memories } = stepData(given), { putRows, put, reserve } = loaded;
  const kernels = languageKernels(loaded.kernels), initial = memories.map((memory) => packMemory(memory, recurrence));
  const slots = [...initial].reverse().map((state) => putMemory(loaded, state)).reverse();
  const states = putInts(loaded, slots.map(({ address }) => address)), outStride = values + 3;
  const inputs = tokens.map(({ q, k, v, decay }) => ({
    q: putRows(q, keys, keys + 1), k: putRows(k, keys, keys + 2), v: putRows(v, values, values + 1),
    decay: factors ? (perToken ? putRows(decay, factors, factors + 1) : put(decay)) : 0, out: reserve(rows * outStride),
  }));
  const bonusAt = bonus ? put(bonus) : 0;
  const scratch = reserve(4 * strideOf(keyDim));
  const flags = (readBefore ? READ_BEFORE : 0) | (eps === undefined ? 0 : NORMALISE);
  const run = (t: number, begin: number, end: number): void => {
    const { q, k, v, decay, out } = inputs[t]!;
    kernels.recurrentStep(
      begin, end, out, outStride * 4, q, (keys + 1) * 4, k, (keys + 2) * 4, v, (values + 1) * 4, states, OFFSET, heads,
      keyDim, valueDim, KINDS[decayKind], decay, perToken ? (factors + 1) * 4 : 0, bonusAt, flags, eps ?? 0, 1, scratch,
    );
  };
  return { slots, initial, inputs, outStride, values, run };
}

for (const build of builds) {
  test(`recurrentStep matches naive over ${TOKENS} tokens: ${build}`, () => {
    for (const given of stepCases) {
      const { name, recurrence: { heads }, rows } = given, want = wantedOf(given), loaded = loadKernels(build);
      const { slots, inputs, outStride, values, run } = stepInMemory(loaded, given);
      for (let t = 0; t < TOKENS; t++) run(t, 0, rows * heads);
      loaded.checkGuards();
      inputs.forEach(({ out }, t) => {
        loaded.checkPadding(name, out, values, outStride);
        // a few outputs may all be small beside the terms they sum
        assertClose(`${name}: token ${t}`, loaded.getRows(out, values, outStride), want.out[t]!, 1e-5);
      });
      slots.forEach((slot, r) => {
        assertClose(`${name}: state of row ${r}`, slot.read(), want.states[r]!, 1e-6);
        for (let i = 0; i < OFFSET / 4; i++)
          assert.ok(loaded.untouched(slot.address, i), `${name}: wrote before its part of state ${r}`);
      });
    }
  });

  test(`recurrentStep in parts has the same bits: ${build}`, () => {
    for (const given of stepCases.filter(
      ({ rows, recurrence: { keyDim, valueDim } }, i) => rows > 1 && i % 5 === 0 && keyDim < 64 && valueDim < 64,
    )) {
      const { name, recurrence: { heads }, rows } = given;
      const loaded = loadKernels(build);
      const { slots, initial, inputs, run } = stepInMemory(loaded, given);
      assertSplits(
        name,
        rows * heads,
        (begin, end) => run(0, begin, end),
        () => {
          slots.forEach((slot, r) => slot.write(initial[r]!));
          loaded.poison(inputs[0]!.out);
        },
        () => joined([loaded.get(inputs[0]!.out), ...slots.map((slot) => slot.read())]),
      );
      loaded.checkGuards();
    }
  });

  test(`recurrentStep: a row's result does not depend on the rows beside it: ${build}`, () => {
    const given = {
      name: "", recurrence: { heads: 2, keyDim: 13, valueDim: 6, decayKind: "scalar", eps: EPS }, rows: 5,
      perToken: false,
    } as const;
    const loaded = loadKernels(build), { slots, initial, inputs, outStride, values, run } = stepInMemory(loaded, given);
    run(0, 0, 10);
    const [together, states] = [loaded.getRows(inputs[0]!.out, values, outStride), slots.map((slot) => slot.read())];
    for (let r = 0; r < 5; r++) {
      slots.forEach((slot, i) => slot.write(i === r ? initial[i]! : new Float32Array(initial[i]!.length).fill(NaN)));
      loaded.poison(inputs[0]!.out);
      run(0, 2 * r, 2 * r + 2);
      assertSameBits(
        `row ${r}`, loaded.getRows(inputs[0]!.out, values, outStride).subarray(r * values, (r + 1) * values),
        together.subarray(r * values, (r + 1) * values),
      );
      assertSameBits(`state of row ${r}`, slots[r]!.read(), states[r]!);
    }
  });
}

// many tokens at a time

const DECAYS = [1, 0.9375, 0.5];
const chunkCases = [1, 2, 7, 63, 64, 65, 130, 200].flatMap((tokens) =>
  [4, 8, 12, 64].flatMap((keyDim, a) =>
    [8, 16, 64].flatMap((valueDim, b) =>
      [false, true].map((normalise) => {
        const decays = (a + b + tokens) % 4 ? DECAYS : undefined, heads = DECAYS.length;
        const recurrence: Recurrence = {
          heads, keyDim, valueDim, decayKind: decays ? "scalar" : "none", ...(normalise ? { eps: EPS } : {}),
        };
        return {
          name:
            `recurrentChunks tokens=${tokens} keyDim=${keyDim} `
            + `valueDim=${valueDim}${decays ? " decaying" : ""}${normalise ? " normalised" : ""}`,
          tokens, recurrence, decays,
        };
      }),
    ),
  ),
);
type ChunkCase = (typeof chunkCases)[number];

function chunkData({ tokens, recurrence }: ChunkCase) {
  const { heads, keyDim, valueDim } = recurrence, keys = heads * keyDim, values = heads * valueDim;
  return {
    keys, values, q: uniform("q", tokens * keys, 0, 1), k: uniform("k", tokens * keys, 0, 1),
    v: uniform("v", tokens * values), memory: someMemory("memory", recurrence),
  };
}

const wantedChunks = new Map(chunkCases.map((given) => {
  const { q, k, v, memory } = chunkData(given);
  const out = recurrentTokens(memory, q, k, v, given.decays, given.recurrence);
  return [given, { out, state: packMemory(memory, given.recurrence) }] as const;
}));

/** Bytes of scratch that a plan gives the kernel. */
function chunkScratch({ heads, keyDim, valueDim }: Recurrence): number {
  const plan = new Plan(), rows = (name: string, columns: number) => plan.rows(name, 1, columns);
  const ints = plan.inputRows("states", 1, 1), timelines = { ids: ints, states: ints, positions: ints };
  const pass = { plan, state: new StateLayout(0, 1), timelines, sequence: true };
  recurrence(
    pass,
    {
      heads, q: rows("q", heads * keyDim), k: rows("k", heads * keyDim), v: rows("v", heads * valueDim), normalise: EPS,
    },
    "kv",
  );
  return plan.threadScratch;
}

/** The case in memory, with odd row strides. */
function chunksInMemory(loaded: Loaded, given: ChunkCase) {
  const { tokens, recurrence, decays } = given;
  const { heads, keyDim, valueDim, eps } = recurrence;
  const { keys, values, q, k, v, memory } = chunkData(given);
  const kernels = languageKernels(loaded.kernels);
  const initial = packMemory(memory, recurrence);
  const slot = putMemory(loaded, initial);
  const outStride = values + 3;
  const [queries, keyRows, valueRows] = [
    loaded.putRows(q, keys, keys + 1), loaded.putRows(k, keys, keys + 2), loaded.putRows(v, values, values + 1),
  ];
  const vRow = (values + 1) * 4, out = loaded.reserve(tokens * outStride), states = putInts(loaded, [slot.address]);
  const decay = decays ? loaded.put(decays) : 0;
  const scratch = loaded.reserveBytes(chunkScratch(recurrence));
  const flags = eps === undefined ? 0 : NORMALISE;
  return {
    slot, initial, out, outStride, values, scratch,
    /** Tokens [first, first + count) of heads [begin, end). */
    chunks(first: number, count: number, begin = 0, end = heads): void {
      kernels.recurrentChunks(
        begin, end, out + first * outStride * 4, outStride * 4, queries + first * (keys + 1) * 4, (keys + 1) * 4,
        keyRows + first * (keys + 2) * 4, (keys + 2) * 4, valueRows + first * vRow, vRow, count, states, OFFSET, keyDim,
        valueDim, decay, 0, flags, eps ?? 0, 1, scratch,
      );
    },
    /** The same token by token. */
    steps(): void {
      for (let t = 0; t < tokens; t++) {
        kernels.recurrentStep(
          0, heads, out + t * outStride * 4, 0, queries + t * (keys + 1) * 4, 0, keyRows + t * (keys + 2) * 4, 0,
          valueRows + t * vRow, 0, states, OFFSET, heads, keyDim, valueDim, decays ? DECAY_SCALAR : DECAY_NONE, decay,
          0, 0, flags, eps ?? 0, 1, scratch,
        );
      }
    },
  };
}

for (const build of builds) {
  test(`recurrentChunks matches naive, and recurrentStep token by token: ${build}`, () => {
    for (const [given, want] of wantedChunks) {
      const { name, tokens } = given;
      const loaded = loadKernels(build);
      const { slot, initial, out, outStride, values, chunks, steps } = chunksInMemory(loaded, given);
      chunks(0, tokens);
      loaded.checkGuards();
      loaded.checkPadding(name, out, values, outStride);
      const [got, state] = [loaded.getRows(out, values, outStride), slot.read()];
      assertClose(name, got, want.out, 2e-6, 4e-5);
      assertClose(`${name}: state`, state, want.state, 1e-6, 2e-5);
      slot.write(initial);
      loaded.poison(out);
      steps();
      assertClose(`${name}: by steps`, loaded.getRows(out, values, outStride), got, 2e-6, 4e-5);
      assertClose(`${name}: state by steps`, slot.read(), state, 1e-6, 2e-5);
    }
  });

  test(`recurrentChunks carries its state over calls, however they are split: ${build}`, () => {
    for (const given of chunkCases.filter(
      ({ tokens, recurrence: { keyDim, valueDim } }) => tokens === 130 && keyDim === 12 && valueDim === 16,
    )) {
      const loaded = loadKernels(build);
      const { slot, initial, out, outStride, values, chunks } = chunksInMemory(loaded, given);
      const want = wantedChunks.get(given)!;
      chunks(0, 130);
      const whole = joined([loaded.getRows(out, values, outStride), slot.read()]);
      for (const split of Array.from({ length: 131 }, (_, i) => i)) {
        slot.write(initial);
        loaded.poison(out);
        chunks(0, split);
        chunks(split, 130 - split);
        const [got, state] = [loaded.getRows(out, values, outStride), slot.read()];
        assertClose(`${given.name} split at ${split}`, got, want.out, 2e-6, 4e-5);
        assertClose(`${given.name} split at ${split}: state`, state, want.state, 1e-6, 2e-5);
        // between two chunks nothing is computed in another way
        if (split % 64 === 0 || split === 130)
          assertSameBits(`${given.name} split at ${split}`, joined([got, state]), whole);
      }
      loaded.checkGuards();
    }
  });

  test(`recurrentChunks in parts, and with every register tile, has the same bits: ${build}`, () => {
    for (const given of chunkCases.filter(({ tokens }, i) => tokens > 60 && tokens < 140 && i % 7 === 0)) {
      const { name, tokens, recurrence: { heads } } = given;
      const results = TILES.map((tileRows) => {
        const loaded = loadKernels(build, { tileRows });
        const { slot, initial, out, chunks, scratch } = chunksInMemory(loaded, given, tokens);
        const read = (): Float32Array => joined([loaded.get(out), slot.read()]);
        assertSplits(
          name,
          heads,
          (begin, end) => chunks(0, tokens, begin, end),
          () => {
            slot.write(initial);
            loaded.poison(out);
            loaded.poison(scratch);
          },
          read,
        );
        loaded.checkGuards();
        // the padding of its rows is poison, whose bits tell where it lies: the same in every memory
        return read();
      });
      for (const other of results.slice(1)) assertSameBits(`${name}, another tile`, other, results[0]!);
    }
  });
}

test.run();
