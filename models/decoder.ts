// What decoder-only language models share: three programs over timelines, and SwiGLU. A model adds its token mixer.
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import type { Pass, Timelines } from "../bindings/ops/language.ts";
import { embedTokens } from "../bindings/ops/language.ts";
import type { StatePart } from "../bindings/plan-state.ts";
import { StateLayout } from "../bindings/plan-state.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import type { Linear } from "../bindings/weights.ts";
import { linearOf } from "../bindings/weights.ts";
import { foldPRepBN } from "./prepbn.ts";

/** What the session layer fills and reads. */
export interface LanguageTensors {
  readonly prefill: Timelines & { readonly hidden: Tensor };
  readonly decode: Timelines;
  /** Last hidden rows [batch, dim], in; logits [batch, vocab], out: of the programs `decode` and `head`. */
  readonly hidden: Tensor;
  readonly logits: Tensor;
  /** Where a timeline's state has the last token's hidden row. */
  readonly lastHidden: StatePart;
}

/** How many rows the programs are made for. */
export interface Rows {
  /** Most tokens of one prefill run. */
  readonly prefillRows: number;
  /** Most timelines of one decode run, and rows of one head run. */
  readonly batch: number;
  /** Most tokens of a timeline whose state grows. */
  readonly context?: number;
}

/**
 * Records three programs: `prefill` (tokens of one timeline, by chunks), `decode` (one token of each of several timelines, with logits)
 * and `head` (hidden rows to logits).
 *
 * @param output  hidden rows to logits, the final norm folded in
 * @param norm    of hidden rows before `output`, where it cannot be folded
 * @param layer   records layer i, which adds to x [rows, dim]
 */
export function decoder(
  plan: Plan,
  { embedding, output, norm = (x) => x, depth }:
  { embedding: TensorRef; output: Linear; norm?: (x: Tensor) => Tensor; depth: number },
  { prefillRows, batch, context = 0 }: Rows,
  layer: (pass: Pass, x: Tensor, i: number) => void,
): LanguageTensors {
  const dim = output.inDim, state = (plan.state = new StateLayout(context, prefillRows)), lastHidden = state.part("last hidden", dim * 4);
  const timelines = (name: string, tokens: number, count: number): Timelines => ({
    ids: plan.inputRows(`${name} ids`, tokens, 1), states: plan.inputRows(`${name} states`, count, 1), positions: plan.inputRows(`${name} positions`, count, 1),
  });
  const prefill = timelines("prefill", prefillRows, 1), decode = timelines("decode", batch, batch);
  const hidden = plan.rows("hidden", batch, dim), logits = plan.rows("logits", batch, output.outDim);
  const layers = (x: Tensor, pass: Pass): void => {
    for (let i = 0; i < depth; i++) {
      plan.scope(`layers.${i}`);
      layer(pass, x, i);
    }
  };
  const head = (): void => {
    plan.scope("head");
    plan.linear(norm(hidden), output, { out: logits });
  };

  plan.program("prefill", prefillRows);
  plan.scope("embed");
  const x = embedTokens(plan, prefill.ids, embedding, dim);
  layers(x, { plan, state, timelines: prefill, sequence: true });

  plan.program("decode", batch);
  plan.scope("embed");
  embedTokens(plan, decode.ids, embedding, dim, hidden);
  layers(hidden, { plan, state, timelines: decode, sequence: false });
  head();

  plan.program("head", batch);
  head();
  return { prefill: { ...prefill, hidden: x }, decode, hidden, logits, lastHidden };
}

/** x += down(silu(gate·u) ⊙ up·u), u the norm of x. */
export function swiGlu(plan: Plan, x: Tensor, norm: Tensors, mlp: Tensors, hidden: number, normEps: number): void {
  const dim = x.columns;
  const gated = (name: string): Linear => foldPRepBN(norm, normEps, linearOf(mlp, name, dim, hidden, { bias: false }));
  const gate = plan.linear(x, gated("gate_proj"), { act: "silu" });
  const product = plan.linear(x, gated("up_proj"), { act: "gate", add: gate });
  plan.linear(product, linearOf(mlp, "down_proj", hidden, dim, { bias: false }), { add: x, out: x });
}
