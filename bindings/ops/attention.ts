// Ops of attention within a picture: linear, through scores, and inside windows.
import { PANEL } from "../../assembly/header.ts";
import * as opcodes from "../../assembly/opcodes.ts";
import { alignUp, headWidth, part, rowGrain } from "../plan-record.ts";
import type { Argument, Plan, Tensor } from "../plan.ts";
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
  plan.op(opcodes.KEY_VALUE_STATE, "keyValueState", heads * (width / PANEL), 2 * k.rows * heads * headDim * headDim, [state, k, v, k.rows, width]);
  return state;
}

/** φ(q)·state / (φ(q)·Σφ(k) + eps), [tokens, heads·headDim]; of windows one after another, each with its own state. */
export function linearAttention(plan: Plan, q: Tensor, state: Tensor, heads: number, headDim: number, eps: number, windows = 1): Tensor {
  const out = attentionOutput(plan, q.rows, heads, headDim), rows = q.rows / windows, width = headWidth(headDim);
  for (let w = 0; w < windows; w++) {
    plan.op(opcodes.LINEAR_ATTENTION, "linearAttention", rows, 2 * rows * heads * headDim * headDim, [
      part(out, w * rows * out.rowBytes), out.rowBytes, part(q, w * rows * q.rowBytes), q.rowBytes, part(state, w * heads * (width * width + width) * 4), heads, headDim, width, { f32: eps },
    ], rowGrain(rows));
  }
  return out;
}

/** Attention through scores: q and k are rows, v head panels. softmax: scale folded into q. linear: φ already applied. */
export function scoreAttention(plan: Plan, q: Tensor, k: Tensor, v: Tensor, heads: number, headDim: number, weigh: "linear" | "softmax", eps: number): Tensor {
  const tokens = k.rows, panels = Math.ceil(tokens / PANEL);
  const keys = plan.block("keys", heads * panels * headDim * PANEL * 4);
  plan.op(opcodes.TRANSPOSE_KEYS, "transposeKeys", heads * panels, 0, [keys, k, k.rowBytes, tokens, headDim]);
  const out = attentionOutput(plan, q.rows, heads, headDim);
  plan.threadScratch = Math.max(plan.threadScratch, 12 * panels * PANEL * 4);
  plan.op(opcodes.SCORE_ATTENTION, "scoreAttention", q.rows, 4 * q.rows * tokens * heads * headDim, [
    out, out.rowBytes, q, q.rowBytes, keys, v, heads, headDim, headWidth(headDim), tokens,
    weigh === "softmax" ? opcodes.WEIGH_SOFTMAX : opcodes.WEIGH_LINEAR, { f32: eps },
  ], rowGrain(q.rows));
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
  plan: Plan, qkv: Tensor, windows: Windows, heads: number, headDim: number,
  { bias, padding, firstHead = 0, out = plan.rows("attention", qkv.rows, qkv.columns / 3) }: { bias?: Tensor; padding?: Tensor; firstHead?: number; out?: Tensor } = {},
): Tensor {
  const { name, groups, size, members, regions } = windows, dim = qkv.columns / 3, padded = alignUp(size, PANEL);
  if (headDim % PANEL) throw new RangeError(`windows of ${headDim} channels a head: expected a multiple of ${PANEL}`);
  if (!padding && members.includes(-1)) throw new RangeError(`${name} reach outside the map: they need a padding row`);
  const at = (tensor: Tensor, which: number): Argument => part(tensor, 4 * (which * dim + firstHead * headDim));
  // keys, values, and up to 23 queries with their scores and factors
  plan.threadScratch = Math.max(plan.threadScratch, 4 * (headDim * (padded + size + 23) + 23 * padded + 92));
  plan.op(opcodes.WINDOW_ATTENTION, "windowAttention", groups * heads, 4 * groups * size * size * heads * headDim, [
    at(out, 0), out.rowBytes, at(qkv, 0), at(qkv, 1), at(qkv, 2), qkv.rowBytes, padding ? at(padding, 1) : 0, padding ? at(padding, 2) : 0,
    plan.indices(name, members), regions ? plan.indices(`${name}, regions`, regions) : 0, bias ?? 0, size, heads, headDim,
  ]);
  return out;
}
