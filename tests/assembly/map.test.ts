// map: formulas through the builder's program, against the same formulas in float64; a gate stack of RWKV-7 among them.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { OP_ARGS, OP_BYTES } from "../../assembly/opcodes.ts";
import type { Term } from "../../bindings/plan/ops/map.ts";
import {
  add, div, everyHead, exp, gelu, lerp, map, max, min, mul, neg, overHeads, relu, sigmoid, silu, softplus, sqrt, sub,
  tanh,
} from "../../bindings/plan/ops/map.ts";
import type { Tensor } from "../../bindings/plan/plan.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import type { AllKernels } from "../harness.ts";
import { assertClose, assertSameBits, assertSplits, builds, loadKernels, uniform } from "../harness.ts";
import { erf } from "../naive.ts";

/**
 * How a leaf's numbers lie: a row for each row or one for all; a number a channel, a head, or a head's channels over
 * and over.
 */
type Lies = "rows" | "row" | "heads" | "head";
interface Leaf {
  readonly lies: Lies;
  readonly low?: number;
  readonly high?: number;
}
/** A formula over named leaves, for the builder and in float64. */
interface Formula {
  readonly leaves: Readonly<Record<string, Leaf>>;
  build(leaf: Record<string, Term>): Term;
  naive(leaf: Record<string, number>): number;
}

const rows: Leaf = { lies: "rows" }, row: Leaf = { lies: "row" }, wide: Leaf = { lies: "rows", low: -30, high: 30 };
const logistic = (x: number): number => 1 / (1 + Math.exp(-x));
const plus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

const formulas: Readonly<Record<string, Formula>> = {
  "x + y": { leaves: { x: rows, y: rows }, build: ({ x, y }) => add(x!, y!), naive: ({ x, y }) => x! + y! },
  "w·x − 0.5 by channels": {
    leaves: { x: rows, w: row }, build: ({ x, w }) => sub(mul(w!, x!), 0.5), naive: ({ x, w }) => w! * x! - 0.5,
  },
  "1 − e^−|…|": {
    leaves: { x: wide }, build: ({ x }) => sub(1, exp(neg(max(x!, neg(x!))))),
    naive: ({ x }) => 1 - Math.exp(-Math.abs(x!)),
  },
  "softplus": { leaves: { x: wide }, build: ({ x }) => softplus(x!), naive: ({ x }) => plus(x!) },
  "sigmoid": { leaves: { x: wide }, build: ({ x }) => sigmoid(x!), naive: ({ x }) => logistic(x!) },
  "tanh": {
    leaves: { x: { lies: "rows", low: -4, high: 4 } }, build: ({ x }) => tanh(x!), naive: ({ x }) => Math.tanh(x!),
  },
  "tanh near 0": {
    leaves: { x: { lies: "rows", low: -1e-3, high: 1e-3 } }, build: ({ x }) => tanh(x!),
    naive: ({ x }) => Math.tanh(x!),
  },
  "silu(g)·y": {
    leaves: { g: wide, y: rows }, build: ({ g, y }) => mul(silu(g!), y!), naive: ({ g, y }) => g! * logistic(g!) * y!,
  },
  "gelu": { leaves: { x: rows }, build: ({ x }) => gelu(x!), naive: ({ x }) => (x! * (1 + erf(x! / Math.SQRT2))) / 2 },
  "relu²": { leaves: { x: rows }, build: ({ x }) => mul(relu(x!), relu(x!)), naive: ({ x }) => Math.max(x!, 0) ** 2 },
  "lerp": {
    leaves: { a: rows, b: rows, t: row }, build: ({ a, b, t }) => lerp(a!, b!, t!),
    naive: ({ a, b, t }) => a! + (b! - a!) * t!,
  },
  "√(x² + y²) / (1 + min)": {
    leaves: { x: rows, y: rows },
    build: ({ x, y }) => div(sqrt(add(mul(x!, x!), mul(y!, y!))), add(1, min(mul(x!, x!), 2))),
    naive: ({ x, y }) => Math.hypot(x!, y!) / (1 + Math.min(x! * x!, 2)),
  },
  // GLA: e^(logsigmoid(x)/16)
  "decay of GLA": {
    leaves: { x: wide }, build: ({ x }) => exp(mul(softplus(neg(x!)), -1 / 16)),
    naive: ({ x }) => Math.exp(-plus(-x!) / 16),
  },
  // Mamba-2: e^(−e^A · softplus(dt + bias)), a number a head
  "decay of Mamba-2 over channels": {
    leaves: { dt: { lies: "heads", low: -6, high: 3 }, bias: { lies: "head" }, x: rows },
    build: ({ dt, bias, x }) => mul(exp(mul(neg(exp(bias!)), softplus(dt!))), x!),
    naive: ({ dt, bias, x }) => Math.exp(-Math.exp(bias!) * plus(dt!)) * x!,
  },
  // RWKV-7, 5 gates: the low-rank products are linear layers
  "decay of RWKV-7": {
    leaves: { w: rows, w0: row }, build: ({ w, w0 }) => exp(mul(sigmoid(add(w0!, w!)), -0.6065306597)),
    naive: ({ w, w0 }) => Math.exp(-0.6065306597 * logistic(w0! + w!)),
  },
  "value of RWKV-7": {
    leaves: { v: rows, first: rows, g: rows, v0: row },
    build: ({ v, first, g, v0 }) => lerp(v!, first!, sigmoid(add(v0!, g!))),
    naive: ({ v, first, g, v0 }) => v! + (first! - v!) * logistic(v0! + g!),
  },
  "key of RWKV-7": {
    leaves: { k: rows, a: rows, a0: row, ka: row },
    build: ({ k, a, a0, ka }) => mul(k!, add(1, mul(sub(sigmoid(add(a0!, a!)), 1), ka!))),
    naive: ({ k, a, a0, ka }) => k! * (1 + (logistic(a0! + a!) - 1) * ka!),
  },
};

const HEAD = 6;

/** Records the formula and puts its tensors, its program and scratch of exactly the plan's size into memory. */
function inMemory(
  build: (typeof builds)[number], name: string, { leaves, build: make, naive }: Formula, count: number, columns: number,
) {
  const loaded = loadKernels(build), { kernels } = loaded as { kernels: AllKernels & { map(...args: number[]): void } };
  const plan = new Plan();
  const terms: Record<string, Term> = {};
  const data: Record<string, { lies: Lies; values: Float32Array }> = {};
  const place = new Map<Tensor, number>();
  for (const [leaf, { lies, low, high }] of Object.entries(leaves)) {
    const width = lies === "heads" ? columns / HEAD : lies === "head" ? HEAD : columns;
    const height = lies === "row" || lies === "head" ? 1 : count;
    const values = uniform(`${name} ${leaf}`, width * height, low, high), tensor = plan.rows(leaf, height, width);
    data[leaf] = { lies, values };
    terms[leaf] = lies === "heads" ? overHeads(tensor, HEAD) : lies === "head" ? everyHead(tensor) : tensor;
    place.set(tensor, loaded.putRows(values, width, tensor.rowBytes / 4));
  }
  const out = map(plan, make(terms), { columns });
  const op = plan.ops[0]!;
  const program = loaded.putInts(plan.madeTables[0]!.make());
  const address = loaded.reserve((count * out.rowBytes) / 4), scratch = loaded.reserveBytes(plan.threadScratch);
  place.set(out, address);
  place.set(plan.madeTables[0]!.tensor, program);
  for (const [tensor, at] of place) tensor.address = at;
  const words = new Int32Array(plan.encode().buffer, 0, OP_BYTES / 4);
  const args = [...words.subarray(OP_ARGS / 4, OP_ARGS / 4 + 17)];
  const at = (leaf: string, r: number, c: number): number => {
    const { lies, values } = data[leaf]!;
    return values[
      lies === "rows"
        ? r * columns + c
        : lies === "row"
          ? c
          : lies === "head"
            ? c % HEAD
            : r * (columns / HEAD) + Math.floor(c / HEAD)
    ]!;
  };
  const want = Float64Array.from({ length: count * columns }, (_, i) => {
    const r = Math.floor(i / columns), c = i % columns;
    return naive(Object.fromEntries(Object.keys(leaves).map((leaf) => [leaf, at(leaf, r, c)])));
  });
  assert.is(op.name, "map");
  return {
    loaded, want, out: address, stride: out.rowBytes / 4,
    run: (begin: number, end: number): void => kernels.map(begin, end, ...args, scratch),
  };
}

for (const build of builds) {
  test(`map matches naive: ${build}`, () => {
    for (const [name, formula] of Object.entries(formulas)) {
      for (const [count, columns] of [[1, 6], [3, 12], [2, 66], [5, 192], [1, 258]] as const) {
        const { loaded, want, out, stride, run } = inMemory(build, name, formula, count, columns);
        run(0, count);
        const got = loaded.getRows(out, columns, stride);
        // every number by itself: small ones matter
        got.forEach((value, i) => {
          const most =
            2e-6 * Math.abs(want[i]!)
            + 2e-7
              * (name.includes("−") || name === "lerp" || name.includes("RWKV") ? 1 : Math.min(1, Math.abs(want[i]!)));
          if (!(Math.abs(value - want[i]!) <= most))
            assert.unreachable(`${name} [${count}, ${columns}] ${i}: ${value}, expected ${want[i]}`);
        });
        assertClose(name, got, want, 1e-6);
        loaded.checkGuards();
      }
    }
  });

  test(`map in parts has the same bits: ${build}`, () => {
    const { loaded, out, stride, run } = inMemory(build, "parts", formulas["value of RWKV-7"]!, 7, 66);
    assertSplits("map", 7, run, () => loaded.poison(out), () => loaded.getRows(out, 66, stride));
  });

  test(`map over one of its own tensors: ${build}`, () => {
    const plan = new Plan(), x = plan.rows("x", 2, 72), y = plan.rows("y", 2, 72);
    assert.is(map(plan, mul(add(x, y), x), { out: x }), x);
    const loaded = loadKernels(build);
    const { kernels } = loaded as { kernels: AllKernels & { map(...args: number[]): void } };
    const xs = uniform("x", 144), ys = uniform("y", 144), at = loaded.put(xs), beside = loaded.put(ys);
    const program = loaded.putInts(plan.madeTables[0]!.make()), scratch = loaded.reserveBytes(plan.threadScratch);
    const op = plan.ops[0]!, length = op.args[3] as number;
    kernels.map(0, 2, at, 288, program, length, 72, at, 288, beside, 288, 0, 0, 0, 0, 0, 0, 0, 0, scratch);
    assertSameBits("x", loaded.get(at), xs.map((value, i) => Math.fround(Math.fround(value + ys[i]!) * value)));
  });
}

test("formulas that cannot be are refused when they are recorded", () => {
  const plan = new Plan(), tensor = (name: string, rows = 2, columns = 8): Tensor => plan.rows(name, rows, columns);
  const seven = Array.from({ length: 7 }, (_, i) => tensor(`x${i}`)).reduce<Term>((sum, x) => add(sum, x), 0);
  assert.throws(() => map(plan, seven), /7 tensors, expected at most 6/);
  const deep = (depth: number): Term => (depth === 0 ? tensor("x") : sub(mul(2, 3), deep(depth - 1)));
  assert.throws(() => map(plan, deep(9)), /nested 9 deep/);
  assert.throws(() => map(plan, add(tensor("x"), tensor("y", 2, 7))), /y is \[2, 7\] in a formula over \[2, 8\]/);
  assert.throws(() => map(plan, add(tensor("x"), tensor("y", 3))), /\[3, 8\]/);
  assert.throws(() => map(plan, exp(overHeads(tensor("x", 2, 2), 4))), /say how many columns/);
});

test.run();
