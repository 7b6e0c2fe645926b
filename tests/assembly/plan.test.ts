import { test } from "uvu";
import * as assert from "uvu/assert";
import { THREAD_SCRATCH } from "../../assembly/header.ts";
import { OP_ARGS, OP_BYTES } from "../../assembly/opcodes.ts";
import * as table from "../../bindings/plan/op-table.ts";
import { keyValueState, linearAttention } from "../../bindings/plan/ops/attention.ts";
import { gatherPatches } from "../../bindings/plan/ops/convolution.ts";
import { copyRow, setRow } from "../../bindings/plan/ops/rows.ts";
import type { Tensor } from "../../bindings/plan/plan.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { assertClose, assertSameBits, binaries, builds, TILES } from "../harness.ts";
import { everyOp, install, randomGraph } from "./graphs.ts";

type Installed = Awaited<ReturnType<typeof install>>;
type Op = Plan["ops"][number];

const small = { height: 3, side: 5, heads: 2, headDim: 6 };
const large = { height: 7, side: 7, heads: 3, headDim: 20, blocks: 2 };

type Argument = Op["args"][number];

/** The scratch tensors of an op, its output first. */
const scratchOf = (op: Op): Tensor[] =>
  op.args
    .flatMap((arg) => (typeof arg === "number" ? [] : "region" in arg ? [arg] : "tensor" in arg ? [arg.tensor] : []))
    .filter((t) => t.region === "scratch");

/** An argument as the kernel gets it. */
function valueOf(arg: Argument): number {
  if (typeof arg === "number") return arg;
  if ("f32" in arg) return arg.f32;
  if ("region" in arg) return arg.address;
  if ("tensor" in arg) return arg.tensor.address + arg.offset;
  throw new RangeError("these networks have no live rows");
}

/** Calls one op's kernel from the builder's arguments, as its signature has them. */
function callByHand({ kernels, memory }: Installed, op: Op): void {
  const scratch = new DataView(memory.buffer).getUint32(THREAD_SCRATCH, true), args = op.args.map(valueOf);
  const [name] = Object.entries(table).find(([, kind]) => parseInt(kind, 10) === op.code)!;
  const kernel = (kernels as unknown as Record<string, (...args: number[]) => void>)[name]!;
  kernel(0, op.units as number, ...args, ...(kernel.length > args.length + 2 ? [scratch] : []));
}

for (const build of builds) {
  for (const [name, shape] of [["small", small], ["large", large]] as const) {
    test(`runPlan matches naive, and kernels called by hand bit for bit: ${name} ${build}`, async () => {
      let before: Float32Array | undefined;
      for (const tileRows of TILES) {
        const plan = new Plan();
        const network = everyOp(plan, shape);
        const installed = await install(plan, network, build, { tileRows });
        const { kernels, records, scratch, get, poison, read, checkGuards } = installed;
        for (const op of plan.ops) callByHand(installed, op);
        const byHand = get(scratch);
        poison(scratch);
        kernels.runPlan(records, plan.ops.length);
        checkGuards();
        assertSameBits("scratch", get(scratch), byHand);
        // errors of some twenty layers in a row
        for (const { tensor, values } of network.outputs) assertClose(tensor.name, read(tensor), values, 1e-5);
        const result = read(network.outputs[1]!.tensor);
        assertSameBits(`tile of ${tileRows}`, result, before ?? result);
        before = result;
      }
    });
  }

  test(`a plan can be run in pieces, and twice: ${build}`, async () => {
    const plan = new Plan();
    const network = everyOp(plan, small);
    const { kernels, records, scratch, get, poison } = await install(plan, network, build);
    kernels.runPlan(records, plan.ops.length);
    const whole = get(scratch);
    for (const cut of [0, 1, 7, plan.ops.length - 1, plan.ops.length]) {
      poison(scratch);
      kernels.runPlan(records, cut);
      kernels.runPlan(records + cut * OP_BYTES, plan.ops.length - cut);
      assertSameBits(`cut at ${cut}`, get(scratch), whole);
    }
    // without poison in between: nothing is left over that matters
    kernels.runPlan(records, plan.ops.length);
    assertSameBits("again", get(scratch), whole);
  });
}

test("the test network has every op of an image network", () => {
  const plan = new Plan();
  everyOp(plan);
  const used = new Set(plan.ops.map((op) => op.name));
  const kinds = [
    "linear", "keyValueState", "linearAttention", "transposeKeys", "scoreAttention", "depthwiseConv",
    "depthwiseChannels", "gatherPatches", "gatherWindows", "stretchRows", "meanRows", "affine", "layerNorm", "copy",
  ];
  for (const kind of kinds) assert.ok(used.has(kind), `${kind} is not in the network`);
});

test("encode writes code, units, grain and arguments", async () => {
  const plan = new Plan(), network = everyOp(plan, large);
  await install(plan, network, "simd");
  const bytes = plan.encode(), view = new DataView(bytes.buffer);
  assert.is(bytes.length, plan.ops.length * OP_BYTES);
  plan.ops.forEach((op, i) => {
    const at = i * OP_BYTES;
    const [code, units, grain] = [0, 4, 8].map((offset) => view.getInt32(at + offset, true)) as [
      number, number, number,
    ];
    assert.equal([code, units], [op.code, op.units as number]);
    assert.ok(grain >= 1 && units >= 1, `${op.name}: ${units} units in chunks of ${grain}`);
    op.args.forEach((arg, j) => {
      const to = at + OP_ARGS + 4 * j;
      if (typeof arg === "object" && "f32" in arg) assert.is(view.getFloat32(to, true), Math.fround(arg.f32));
      else assert.is(view.getInt32(to, true), valueOf(arg));
    });
  });
});

test("no build has a data segment: a thread that starts must not overwrite what others share", () => {
  const DATA = 11;
  for (const [build, bytes] of binaries) {
    const ids: number[] = [];
    for (let at = 8; at < bytes.length;) {
      ids.push(bytes[at++]!);
      let size = 0, shift = 0, byte: number;
      do {
        byte = bytes[at++]!;
        size |= (byte & 127) << shift;
        shift += 7;
      } while (byte & 128);
      at += size;
    }
    assert.ok(ids.includes(10), `${build} has no code section`);
    assert.not(ids.includes(DATA), `${build} has a data section`);
  }
});

// lifetimes

/**
 * Walks a plan with a note on every word of scratch saying whose it is. Returns the first use of a tensor whose words
 * belong to another, or undefined.
 */
function firstOverlap(plan: Plan, outputs: readonly Tensor[], base: number, end: number): string | undefined {
  const owners: (Tensor | undefined)[] = new Array((end - base) / 4), written = new Set<Tensor>();
  const words = ({ address, bytes }: Tensor): [number, number] => [(address - base) / 4, (address + bytes - base) / 4];
  const problem = (tensors: readonly Tensor[], user: string): string | undefined => {
    for (const tensor of tensors) {
      const [from, to] = words(tensor);
      if (from < 0 || to > owners.length) return `${tensor.name} lies outside the scratch region`;
      for (let i = from; i < to; i++)
        if (owners[i] !== tensor)
          return `${user} needs ${tensor.name}, whose word ${i - from} is ${owners[i]?.name ?? "nobody"}'s`;
    }
    return undefined;
  };
  for (const [i, op] of plan.ops.entries()) {
    const tensors = scratchOf(op), [out, ...reads] = tensors as [Tensor, ...Tensor[]], user = `op ${i} (${op.name})`;
    // an output that was written before is added to, or written in part
    const needed = written.has(out) ? tensors : reads;
    const before = problem(needed, user);
    owners.fill(out, ...words(out));
    written.add(out);
    // whoever is read must still be there while the output is being written
    const found = before ?? problem(needed, user);
    if (found) return found;
  }
  return problem(outputs, "the caller");
}

test("placeScratch keeps every tensor until its last reader: 300 random graphs", () => {
  let [placed, apart] = [0, 0];
  for (let seed = 0; seed < 300; seed++) {
    const plan = new Plan(), outputs = [randomGraph(plan, seed)], base = 64 * (seed % 5);
    const end = plan.placeScratch(base, outputs);
    assert.is(firstOverlap(plan, outputs, base, end), undefined, `graph ${seed}`);
    const tensors = new Set(plan.ops.flatMap(scratchOf));
    for (const tensor of tensors) assert.is(tensor.address % 64, 0, `${tensor.name} is not aligned`);
    placed += end - base;
    apart += [...tensors].reduce((sum, t) => sum + t.bytes, 0);
  }
  assert.ok(placed < apart / 2, `tensors share memory: ${placed} bytes, ${apart} side by side`);
});

test("placeScratch keeps outputs that are made early, and the networks' own lifetimes", () => {
  const plan = new Plan(), { outputs } = everyOp(plan, large), early = plan.ops[1]!.args[0] as Tensor;
  const keep = [...outputs.map(({ tensor }) => tensor), early];
  assert.is(firstOverlap(plan, keep, 1024, plan.placeScratch(1024, keep)), undefined);
});

test("the walk notices an overlap", () => {
  const plan = new Plan(), outputs = [randomGraph(plan, 1)], end = plan.placeScratch(0, outputs);
  outputs[0]!.address = (plan.ops[1]!.args[0] as Tensor).address;
  assert.match(firstOverlap(plan, outputs, 0, end) ?? "", /needs/);
});

test("a row copied out of a tensor with room, or into one, stays within its bounds", async () => {
  const plan = new Plan(), [heads, headDim] = [4, 4];
  const x = gatherPatches(plan, plan.input([1, 4, 16]), 1, 4, 16, 4), keys = plan.rows("head panels", 4, 32);
  const state = keyValueState(plan, keys, keys, heads, headDim);
  // 16 columns with room for 20, so rows of 24 floats
  const attention = linearAttention(plan, x, state, heads, headDim, 1e-6), row = copyRow(plan, attention, 1);
  const constant = plan.table("constant", 1, 16, async () => new Float32Array(16));
  setRow(plan, attention, 2, constant);
  for (const op of plan.ops.slice(-2)) {
    for (const arg of op.args.slice(0, 2)) {
      const [tensor, offset] =
        typeof arg === "object" && "tensor" in arg ? [arg.tensor, arg.offset] : [arg as Tensor, 0];
      assert.ok(
        offset + (op.args[2] as number) <= tensor.rows * tensor.rowBytes,
        `${op.name} of ${op.args[2]} bytes at ${offset} of ${tensor.name}, which has ${tensor.rows * tensor.rowBytes}`,
      );
    }
  }
  assert.is(row.columns, 16);
});

test.run();
