// Ops of attention within a picture: linear, through scores, and inside windows.
import { PANEL } from "../../../assembly/header.ts";
import { WEIGH_LINEAR, WEIGH_SOFTMAX } from "../../../assembly/opcodes.ts";
import { alignUp } from "../align.ts";
import * as kernels from "../op-table.ts";
import type { Address } from "../record.ts";
import { headWidth, part, rowGrain } from "../record.ts";
import type { Plan, Tensor } from "../plan.ts";
import type { RowGroups } from "./rows.ts";

/** Groups whose tokens attend to one another. */
export interface Windows extends RowGroups {
  /** i32 of members' shape: tokens with different labels are masked from one another. */
  readonly regions?: Int32Array;
}

function attentionOutput(plan: Plan, rows: number, heads: number, headDim: number): Tensor {
  return plan.rows("attention", rows, heads * headDim, (heads - 1) * headDim + headWidth(headDim));
}

/** φ(k)ᵀv and Σφ(k) of every head; k and v are head panels, k already through φ. */
export function keyValueState(plan: Plan, k: Tensor, v: Tensor, heads: number, headDim: number): Tensor {
  const width = headWidth(headDim);
  const state = plan.block("key-value state", heads * (width * width + width) * 4);
  plan.op(kernels.keyValueState, { state, k, v, tokens: k.rows, width }, {
    units: heads * (width / PANEL), flops: 2 * k.rows * heads * headDim * headDim,
  });
  return state;
}

/** φ(q)·state / (φ(q)·Σφ(k) + eps), [tokens, heads·headDim]; of windows one after another, each with its own state. */
export function linearAttention(
  plan: Plan, q: Tensor, state: Tensor, heads: number, headDim: number, eps: number, windows = 1,
): Tensor {
  const out = attentionOutput(plan, q.rows, heads, headDim), rows = q.rows / windows, width = headWidth(headDim);
  for (let w = 0; w < windows; w++) {
    const stateBytes = heads * (width * width + width) * 4;
    plan.op(
      kernels.linearAttention,
      {
        out: part(out, w * rows * out.rowBytes), q: part(q, w * rows * q.rowBytes), state: part(state, w * stateBytes),
        heads, headDim, width, eps,
      },
      { units: rows, flops: 2 * rows * heads * headDim * headDim, grain: rowGrain(rows) },
    );
  }
  return out;
}

/**
 * Attention through scores: q and k are rows, v head panels. softmax: scale folded into q. linear: φ already applied.
 */
export function scoreAttention(
  plan: Plan, q: Tensor, k: Tensor, v: Tensor, heads: number, headDim: number, weigh: "linear" | "softmax", eps: number,
): Tensor {
  const tokens = k.rows, panels = Math.ceil(tokens / PANEL);
  const keys = plan.block("keys", heads * panels * headDim * PANEL * 4);
  plan.op(kernels.transposeKeys, { out: keys, k, tokens, headDim }, { units: heads * panels });
  const out = attentionOutput(plan, q.rows, heads, headDim);
  plan.needScratch(12 * panels * PANEL * 4);
  plan.op(
    kernels.scoreAttention,
    {
      out, q, k: keys, v, heads, headDim, width: headWidth(headDim), tokens,
      weigh: weigh === "softmax" ? WEIGH_SOFTMAX : WEIGH_LINEAR, eps,
    },
    { units: q.rows, flops: 4 * q.rows * tokens * heads * headDim, grain: rowGrain(q.rows) },
  );
  return out;
}

/**
 * Softmax attention inside windows of a map, [tokens, dim].
 * @param qkv      [tokens, 3·dim], columns q | k | v, the scale folded into q
 * @param windows  which tokens attend to one another
 * @param bias     [heads·size, size], added to the scores
 * @param padding  [1, 3·dim], the row of members that are not there
 * @param out      with firstHead: `heads` heads of a wider tensor, the others being for other windows
 */
export function windowAttention(
  plan: Plan,
  qkv: Tensor,
  windows: Windows,
  heads: number,
  headDim: number,
  {
    bias, padding, firstHead = 0, out = plan.rows("attention", qkv.rows, qkv.columns / 3),
  }: { bias?: Tensor; padding?: Tensor; firstHead?: number; out?: Tensor } = {},
): Tensor {
  const { name, groups, size, members, regions } = windows, dim = qkv.columns / 3, padded = alignUp(size, PANEL);
  if (headDim % PANEL) throw new RangeError(`windows of ${headDim} channels a head: expected a multiple of ${PANEL}`);
  if (!padding && members.includes(-1)) throw new RangeError(`${name} reach outside the map: they need a padding row`);
  const at = (tensor: Tensor, which: number): Address => part(tensor, 4 * (which * dim + firstHead * headDim));
  // keys, values, and up to 23 queries with their scores and factors
  plan.needScratch(4 * (headDim * (padded + size + 23) + 23 * padded + 92));
  plan.op(
    kernels.windowAttention,
    {
      out: at(out, 0), q: at(qkv, 0), k: at(qkv, 1), v: at(qkv, 2), row: qkv.rowBytes,
      padKey: padding && at(padding, 1), padValue: padding && at(padding, 2), members: plan.indices(name, members),
      regions: regions && plan.indices(`${name}, regions`, regions), bias, tokens: size, heads, headDim,
    },
    { units: groups * heads, flops: 4 * groups * size * size * heads * headDim },
  );
  return out;
}
