// What decoder-only language models share: sizes, and three programs over timelines. A model adds its token mixer.
import type { TensorRef } from "../../bindings/checkpoint/index.ts";
import type { Pass, Timelines } from "../../bindings/plan/ops/language.ts";
import { embedTokens } from "../../bindings/plan/ops/language.ts";
import { StateLayout } from "../../bindings/plan/state.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { LanguageTensors, Rows } from "../../bindings/tasks/programs.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import type { Fields } from "../../bindings/config/fields.ts";
import { headDim, only, size } from "../../bindings/config/fields.ts";

interface Usual {
  readonly vocab: number;
  readonly dim: number;
  readonly depth: number;
  readonly heads: number;
}

/** Sizes of a decoder with SwiGLU; `usual`: those of a config that says nothing. */
export function decoderSizes(fields: Fields, usual: Usual) {
  only(fields, "hidden_act", "silu");
  const heads = size(fields, "num_attention_heads", usual.heads, 1024);
  const dim = size(fields, "hidden_size", usual.dim, 16384), vocab = size(fields, "vocab_size", usual.vocab, 1 << 20);
  const depth = size(fields, "num_hidden_layers", usual.depth, 1024);
  headDim(fields, dim, heads);
  return { vocab, dim, depth, heads, hidden: size(fields, "intermediate_size", 4 * dim, 1 << 18) };
}

/** Where states grow: most tokens of one, unless asked for otherwise. */
const CONTEXT = 2048;

/** Most tokens of a timeline of a network with so many positions; `asked` is checked. */
export function contextOf(positions: number, asked = Math.min(positions, CONTEXT)): number {
  if (Number.isInteger(asked) && asked >= 1 && asked <= positions) return asked;
  throw new RangeError(`context is ${asked}, expected a whole number from 1 to ${positions}, `
    + "the config's max_position_embeddings");
}

/**
 * Records three programs: `prefill` (tokens of one timeline, by chunks), `decode` (one token of each of several
 * timelines, with logits) and `head` (hidden rows to logits).
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
  const dim = output.inDim;
  const state = new StateLayout(context, prefillRows);
  const lastHidden = state.part("last hidden", dim * 4);
  plan.state = state;
  const timelines = (name: string, tokens: number, count: number): Timelines => ({
    ids: plan.inputRows(`${name} ids`, tokens, 1), states: plan.inputRows(`${name} states`, count, 1),
    positions: plan.inputRows(`${name} positions`, count, 1),
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
