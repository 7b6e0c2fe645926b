import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import { affine } from "../../bindings/plan/ops/rows.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import type { Tensor } from "../../bindings/plan/plan.ts";
import { foldAfter, foldBefore, linearOf, sliceOutputs } from "../../bindings/plan/weights.ts";
import { simplifiedLinearAttention } from "../../models/mixers/simplified-linear-attention.ts";
import { repBN } from "../../models/parts/prepbn.ts";
import { synthetic, syntheticInput, vectors } from "../golden/synthetic.ts";
import type { Entries, UnitVector } from "../golden/synthetic.ts";
import { runs } from "./builds.ts";
import { close, evaluate } from "./evaluate.ts";

// repbn, repbn_smallvar

const {
  repbn, repbn_smallvar: smallVariance, sla_linear: slaLinear, sla_quadratic: slaQuadratic, sla_dead_head: deadHead,
} = vectors.unit as Record<string, UnitVector>;
const identity = Float32Array.from({ length: 16 }, (_, i) => (i % 5 ? 0 : 1));

function repbnEntries(variance?: number): Entries {
  const { prefix } = repbn!;
  const entries: Entries = {
    "same.weight": { shape: [4, 4], data: identity }, "same.bias": { shape: [4], data: new Float32Array(4) },
  };
  entries[`${prefix}alpha`] = synthetic(`${prefix}alpha`, [1]);
  for (const name of ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"])
    entries[prefix + name] = synthetic(prefix + name, [4]);
  if (variance !== undefined)
    entries[`${prefix}bn.running_var`] = { shape: [4], data: new Float32Array(4).fill(variance) };
  return entries;
}

for (const [name, { out }, variance] of [
  ["repbn", repbn!, undefined], ["repbn_smallvar", smallVariance!, 1e-5],
] as const) {
  for (const run of runs) {
    test(`${name}: folded before a layer, after it, and on its own: ${run.build}, threads=${run.threads}`, async () => {
      const tensors = memoryCheckpoint(repbnEntries(variance)), norm = repBN(tensors.scope("u.repbn"), 4, 1e-5);
      const x = syntheticInput(repbn!.x_key, 12), same = linearOf(tensors, "same", 4, 4);
      close("before", await evaluate(run, [3, 4], x, (plan, input) => plan.linear(input, foldBefore(norm, same))), out);
      close("after", await evaluate(run, [3, 4], x, (plan, input) => plan.linear(input, foldAfter(same, norm))), out);
      const alone = await evaluate(run, [3, 4], x, (plan, input) => {
        const table = (part: "scale" | "shift"): Tensor =>
          plan.table(part, 1, 4, async () => Float32Array.from((await norm.read())[part]));
        return affine(plan, input, table("scale"), table("shift"));
      });
      close("alone", alone, out);
    });
  }
}

test("repbn: a layer between two norms", async () => {
  const tensors = memoryCheckpoint(repbnEntries()), norm = repBN(tensors.scope("u.repbn"), 4, 1e-5);
  const { scale, shift } = await norm.read();
  const x = syntheticInput(repbn!.x_key, 12);
  const out = await evaluate(runs[0]!, [3, 4], x, (plan, input) =>
    plan.linear(input, foldAfter(foldBefore(norm, linearOf(tensors, "same", 4, 4)), norm)),
  );
  close("out", out, Array.from(repbn!.out, (y, i) => y * scale[i % 4]! + shift[i % 4]!));
});

// sla_linear, sla_quadratic, sla_dead_head

function slaEntries({ prefix, dim, heads, side }: UnitVector): Entries {
  const shapes: Record<string, number[]> = {
    "q.weight": [dim, dim], "q.bias": [dim], "kv.weight": [2 * dim, dim], "kv.bias": [2 * dim],
    "proj.weight": [dim, dim], "proj.bias": [dim], "dwc.weight": [dim / heads, 1, 5, 5], "dwc.bias": [dim / heads],
    "positional_encoding": [1, side * side, dim],
  };
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [prefix + name, synthetic(prefix + name, shape)]),
  );
}

function deadHeadEntries(): Entries {
  const entries = slaEntries(slaLinear!), bias = entries[`${slaLinear!.prefix}q.bias`]!;
  return {
    ...entries,
    [`${slaLinear!.prefix}q.bias`]: { shape: [8], data: Float32Array.from(bias.data, (b, i) => (i < 4 ? -100 : b)) },
  };
}

const slaCases = [
  { name: "sla_linear", like: slaLinear!, entries: slaEntries(slaLinear!), out: slaLinear!.out },
  { name: "sla_quadratic", like: slaQuadratic!, entries: slaEntries(slaQuadratic!), out: slaQuadratic!.out },
  { name: "sla_dead_head", like: slaLinear!, entries: deadHeadEntries(), out: deadHead!.out },
];

for (const { name, like: { prefix, dim, heads, side, x_key: key }, entries, out } of slaCases) {
  for (const run of runs) {
    for (const order of ["keys-values", "queries-keys", undefined] as const) {
      test(`${name}: order=${order ?? "chosen"} ${run.build}, threads=${run.threads}`, async () => {
        const tensors = memoryCheckpoint(entries).scope(prefix.slice(0, -1)), tokens = side * side;
        const got = await evaluate(run, [tokens, dim], syntheticInput(key, tokens * dim), (plan, x) => {
          const kv = linearOf(tensors, "kv", dim, 2 * dim);
          const layers = [
            linearOf(tensors, "q", dim, dim), sliceOutputs(kv, "k", 0, dim), sliceOutputs(kv, "v", dim, dim),
          ] as const;
          return simplifiedLinearAttention(plan, x, layers, tensors, { heads, side, ...(order ? { order } : {}) });
        });
        close("out", got, out);
      });
    }
  }
}

test("the order of the products is chosen by which is less work", () => {
  const opsOf = ({ prefix, dim, heads, side }: UnitVector, entries: Entries): string[] => {
    const plan = new Plan();
    const tensors = memoryCheckpoint(entries).scope(prefix.slice(0, -1));
    const kv = linearOf(tensors, "kv", dim, 2 * dim);
    const layers = [
      linearOf(tensors, "q", dim, dim), sliceOutputs(kv, "k", 0, dim), sliceOutputs(kv, "v", dim, dim),
    ] as const;
    simplifiedLinearAttention(plan, plan.rows("x", side * side, dim), layers, tensors, { heads, side });
    return plan.ops.map((op) => op.name);
  };
  // 9 tokens against 4 channels a head, then against 16
  assert.ok(opsOf(slaLinear!, slaCases[0]!.entries).includes("linearAttention"));
  assert.ok(opsOf(slaQuadratic!, slaCases[1]!.entries).includes("scoreAttention"));
});

test.run();
