// Part of a network, recorded and run on its own.
import * as assert from "uvu/assert";
import { chooseBuild } from "../../bindings/run/kernels.ts";
import { materialise } from "../../bindings/run/memory.ts";
import type { Tensor } from "../../bindings/plan/plan.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { platform } from "../../bindings/platform/node.ts";
import { Runtime } from "../../bindings/run/runtime.ts";
import type { runs } from "./builds.ts";

/** Records a plan over an input [rows, columns], runs it on `x` and returns what it gives. */
export async function evaluate(
  { build, threads }: (typeof runs)[number], [rows, columns]: readonly [number, number], x: Float32Array,
  record: (plan: Plan, input: Tensor) => Tensor,
): Promise<Float32Array> {
  const caps = chooseBuild(platform, { build, threads })!;
  const plan = new Plan();
  const input = plan.rows("x", rows, columns, columns, "input");
  plan.inputs.push(input);
  const out = record(plan, input);
  const runtime = new Runtime(plan, caps, await materialise(plan, [out], caps, platform));
  try {
    for (let r = 0; r < rows; r++) runtime.row(input, r).set(x.subarray(r * columns, (r + 1) * columns));
    runtime.run(0, plan.ops.length);
    return runtime.dense(out);
  } finally {
    runtime.dispose();
  }
}

/** Within 1e-6 of the largest value expected: what the units of the paper's networks are held to. */
export function close(what: string, got: Float32Array, expected: readonly number[]): void {
  assert.is(got.length, expected.length);
  const tolerance = 1e-6 * Math.max(...expected.map(Math.abs));
  expected.forEach((value, i) =>
    assert.ok(
      Math.abs(got[i]! - value) <= tolerance, `${what}[${i}] is ${got[i]}, expected ${value} within ${tolerance}`,
    ),
  );
}
