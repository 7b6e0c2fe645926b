// Attention through an explicit row of scores q·kᵀ: softmax, and linear attention with fewer tokens than channels,
// where (q·kᵀ)·v is cheaper than q·(kᵀ·v). Both products run on the matrix product's panels.
import { floats, good, reads, scratchHolds, span, writes } from "../extents";
import { PANEL, ZEROS } from "../header";
import { attentionTouches, scaleRow } from "./linear-attention";
import { panelProduct } from "./matmul";
import { WEIGH_SOFTMAX } from "../opcodes";
import { transposeRows } from "./pack";
import { exp4, max4, sum4 } from "../simd";

/** Query rows that share a pass over the keys: two register tiles. */
const BLOCK: i32 = 12;

/** Sum of a row of scores, in place: the linear weights are the scores themselves. */
function sumRow(at: usize, count: i32): f32 {
  let s = i32x4.splat(0);
  for (; count > 0; count -= 4, at += 16) s = f32x4.add(s, v128.load(at));
  return sum4(s);
}

/** The largest of `tokens` scores; those after them, up to a whole vector or further, become the lowest number. */
export function peakOf(row: usize, tokens: i32, padded: i32): f32 {
  for (let i = tokens; i < padded; ++i) store<f32>(row + <usize>i * 4, -f32.MAX_VALUE);
  let top = v128.load(row);
  for (let i = 4; i < padded; i += 4) top = f32x4.pmax(top, v128.load(row + <usize>i * 4));
  return max4(top);
}

/** Scores → e^(score − peak), in place; the padding after `tokens` becomes 0. Returns their sum. */
export function exponentiate(row: usize, tokens: i32, padded: i32, peak: f32): f32 {
  const peak4 = f32x4.splat(peak);
  let s = i32x4.splat(0);
  for (let i = 0; i < padded; i += 4) {
    const at = row + <usize>i * 4;
    const e = exp4(f32x4.sub(v128.load(at), peak4));
    v128.store(at, e);
    if (i + 4 <= tokens) s = f32x4.add(s, e);
  }
  let sum = sum4(s);
  for (let i = tokens & ~3; i < tokens; ++i) sum += load<f32>(row + <usize>i * 4);
  for (let i = tokens; i < padded; ++i) store<f32>(row + <usize>i * 4, 0);
  return sum;
}

/** Scores → e^(score − max), in place; the padding after `tokens` becomes 0. Returns their sum. */
function exponentiateRow(row: usize, tokens: i32, padded: i32): f32 {
  return exponentiate(row, tokens, padded, peakOf(row, tokens, padded));
}

/**
 * Attention through scores, query tokens [begin, end).
 *
 *   out_n = Σ_j w_nj v_j / (Σ_j w_nj + eps)      w = q·kᵀ (linear) or e^(q·kᵀ − max) (softmax; scale folded into q)
 *
 * @op 5 queries
 * @param out      f32 [queries, heads·headDim], row stride outRow bytes, with room for
 *                 (heads − 1)·headDim + width floats a row
 * @param q        f32 [queries, heads·headDim], row stride qRow bytes
 * @param k        f32 [heads][⌈tokens/8⌉][headDim][8], from transposeKeys
 * @param v        f32 head panels [heads][width/8][tokens][8]
 * @param scratch  f32 [12 · (padded tokens)], this thread's own
 */
export function scoreAttention(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, v: usize,
  heads: i32, headDim: i32, width: i32, tokens: i32, weigh: i32, eps: f32, scratch: usize,
): void {
  const keyPanels = (tokens + PANEL - 1) / PANEL;
  const padded = keyPanels * PANEL;
  const scoreRow = <usize>padded * 4;
  for (let head = 0; head < heads; ++head) {
    const columns = <usize>(head * headDim) * 4;
    for (let row = begin; row < end; row += BLOCK) {
      const rows = min(BLOCK, end - row);
      const queries = q + <usize>row * qRow + columns, target = out + <usize>row * outRow + columns;
      for (let p = 0; p < keyPanels; ++p) {
        panelProduct(
          scratch + <usize>p * (PANEL * 4), scoreRow, queries, qRow,
          k + <usize>(head * keyPanels + p) * <usize>headDim * (PANEL * 4), rows, headDim, ZEROS, 0, 0,
        );
      }
      if (weigh == WEIGH_SOFTMAX) {
        for (let r = 0; r < rows; ++r) {
          const at = scratch + <usize>r * scoreRow;
          scaleRow(at, padded, 1 / (exponentiateRow(at, tokens, padded) + eps));
        }
      } else {
        for (let r = 0; r < rows; ++r) {
          const at = scratch + <usize>r * scoreRow;
          scaleRow(at, padded, 1 / (sumRow(at, padded) + eps));
        }
      }
      for (let c = 0; c < width; c += PANEL) {
        panelProduct(
          target + <usize>c * 4, outRow, scratch, scoreRow,
          v + <usize>(head * width + c) * <usize>tokens * 4, rows, tokens, ZEROS, 0, 0,
        );
      }
    }
  }
}

/** What scoreAttention touches. */
export function scoreAttentionFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, v: usize, heads: i32, headDim: i32,
  width: i32, tokens: i32, weigh: i32, eps: f32,
): bool {
  if (!good(tokens)) return false;
  const padded = (tokens + PANEL - 1) & -PANEL;
  return attentionTouches(units, out, outRow, q, qRow, heads, headDim, width)
    && reads(k, floats(heads, headDim) * padded) && reads(v, floats(heads, width) * tokens)
    && scratchHolds(floats(BLOCK, padded));
}

/**
 * Keys as panels of eight tokens, units [begin, end); a unit is one panel of one head. Tokens
 * past the end become zeros.
 *
 * @op 4 panels
 * @param out  f32 [heads][⌈tokens/8⌉][headDim][8]
 * @param k    f32 [tokens, heads·headDim], row stride kRow bytes
 */
export function transposeKeys(
  begin: i32, end: i32, out: usize, k: usize, kRow: usize, tokens: i32, headDim: i32,
): void {
  const panels = (tokens + PANEL - 1) / PANEL;
  for (let unit = begin; unit < end; ++unit) {
    const head = unit / panels, first = (unit - head * panels) * PANEL;
    let target = out + <usize>unit * <usize>headDim * (PANEL * 4);
    if (first + PANEL <= tokens) {
      transposeRows(target, k + <usize>(head * headDim) * 4 + <usize>first * kRow, kRow, headDim);
      continue;
    }
    for (let d = 0; d < headDim; ++d) {
      const source = k + <usize>(head * headDim + d) * 4 + <usize>first * kRow;
      for (let t = 0; t < PANEL; ++t) {
        store<f32>(target + <usize>t * 4, first + t < tokens ? load<f32>(source + <usize>t * kRow) : 0);
      }
      target += PANEL * 4;
    }
  }
}

/** What transposeKeys touches. */
export function transposeKeysFits(units: i32, out: usize, k: usize, kRow: usize, tokens: i32, headDim: i32): bool {
  if (!good(tokens) || !good(headDim)) return false;
  const panels = (tokens + PANEL - 1) / PANEL;
  return units % panels == 0 && writes(out, floats(units, PANEL) * headDim)
    && reads(k, span(tokens, kRow, floats(units / panels, headDim)));
}
