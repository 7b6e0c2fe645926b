// Softmax attention inside windows of a map: shifted squares (Swin), stripes (CSWin). Which tokens form a window is a
// table of indices, so the kernel knows nothing of maps. A window's rows are gathered into the thread's scratch, where
// they stay in the first-level cache, and results are written in the map's order: nothing is rearranged in memory.
import { floats, largestIndex, negative, reads, scratchHolds, small, span, writes } from "../extents";
import { PANEL, ZEROS } from "../header";
import { panelProduct } from "./matmul";
import { exp4, exp8, sum4 } from "../simd";

/** Query rows that share a pass over the keys; the last block of a window takes up to LARGEST. */
const BLOCK: i32 = 12;
const LARGEST: i32 = 2 * BLOCK - 1;

/** Added to the score of two tokens from different regions: not −∞, as in Swin. */
const MASKED: f32 = -100;

/** The row of member `i`: of the map, or the one that stands for tokens outside it. */
// @ts-ignore: decorator
@inline
function rowOf(map: usize, row: usize, padding: usize, members: usize, i: i32): usize {
  const token = load<i32>(members + (<usize>i << 2));
  return token < 0 ? padding : map + <usize>token * row;
}

/** Four channels of four tokens, turned over: out[channel][token], channels 32 bytes apart. */
// @ts-ignore: decorator
@inline
function transpose4(out: usize, a: v128, b: v128, c: v128, d: v128): void {
  const low0 = i32x4.shuffle(a, b, 0, 4, 1, 5), low1 = i32x4.shuffle(c, d, 0, 4, 1, 5);
  const high0 = i32x4.shuffle(a, b, 2, 6, 3, 7), high1 = i32x4.shuffle(c, d, 2, 6, 3, 7);
  v128.store(out, i64x2.shuffle(low0, low1, 0, 2));
  v128.store(out, i64x2.shuffle(low0, low1, 1, 3), 32);
  v128.store(out, i64x2.shuffle(high0, high1, 0, 2), 64);
  v128.store(out, i64x2.shuffle(high0, high1, 1, 3), 96);
}

/** Keys of a window as panels of eight tokens, f32 [padded/8][headDim][8]. */
function gatherKeys(out: usize, k: usize, row: usize, padding: usize, members: usize, padded: i32, headDim: i32): void {
  for (let first = 0; first < padded; first += PANEL) {
    for (let half = 0; half < PANEL; half += 4) {
      let a = rowOf(k, row, padding, members, first + half), b = rowOf(k, row, padding, members, first + half + 1);
      let c = rowOf(k, row, padding, members, first + half + 2), d = rowOf(k, row, padding, members, first + half + 3);
      let target = out + <usize>(first * headDim + half) * 4;
      for (let channel = 0; channel < headDim; channel += 4) {
        transpose4(target, v128.load(a), v128.load(b), v128.load(c), v128.load(d));
        target += 128; a += 16; b += 16; c += 16; d += 16;
      }
    }
  }
}

/** Values of a window as panels of eight channels, f32 [headDim/8][tokens][8]. */
function gatherValues(
  out: usize, v: usize, row: usize, padding: usize, members: usize, tokens: i32, headDim: i32,
): void {
  const panel = <usize>tokens * (PANEL * 4);
  for (let i = 0; i < tokens; ++i, out += PANEL * 4) {
    let from = rowOf(v, row, padding, members, i), target = out;
    for (let channel = 0; channel < headDim; channel += PANEL) {
      v128.store(target, v128.load(from)); v128.store(target, v128.load(from, 16), 16);
      from += PANEL * 4; target += panel;
    }
  }
}

// @ts-ignore: decorator
@inline
function copyRow(out: usize, from: usize, bytes: usize): void {
  for (let i: usize = 0; i < bytes; i += PANEL * 4) {
    v128.store(out + i, v128.load(from + i)); v128.store(out + i, v128.load(from + i, 16), 16);
  }
}

/** The lanes that belong to the first `rest` of four. */
// @ts-ignore: decorator
@inline
function lanesBelow(rest: i32): v128 {
  return i32x4.gt_s(i32x4.splat(rest), i32x4(0, 1, 2, 3));
}

/** The largest of a row of scores, four times. */
// @ts-ignore: decorator
@inline
function peakOf(row: usize, tokens: i32): v128 {
  const end = row + (<usize>(tokens & ~3) << 2);
  let top = v128.bitselect(v128.load(end), f32x4.splat(-f32.MAX_VALUE), lanesBelow(tokens & 3));
  for (; row < end; row += 16) top = f32x4.pmax(top, v128.load(row));
  top = f32x4.pmax(top, i32x4.shuffle(top, top, 2, 3, 0, 1));
  return f32x4.pmax(top, i32x4.shuffle(top, top, 1, 0, 3, 2));
}

/** Scores → e^(score − peak), in place; what stands after `tokens` is read by nobody. Returns the sum. */
// @ts-ignore: decorator
@inline
function exponentiate(row: usize, tokens: i32, peak: v128): f32 {
  const end = row + (<usize>(tokens & ~3) << 2), pairs = row + (<usize>(tokens & ~7) << 2), rest = tokens & 3;
  let sum = i32x4.splat(0);
  for (; row < pairs; row += 32) sum = f32x4.add(sum, exp8(row, peak));
  if (row < end) {
    const e = exp4(f32x4.sub(v128.load(row), peak));
    v128.store(row, e);
    sum = f32x4.add(sum, e);
  }
  if (rest) {
    const e = exp4(f32x4.sub(v128.load(end), peak));
    v128.store(end, e);
    sum = f32x4.add(sum, v128.and(e, lanesBelow(rest)));
  }
  return sum4(sum);
}

/** Whether all tokens of a window belong to one region. */
function sameRegion(labels: usize, padded: i32): bool {
  const first = v128.load32_splat(labels);
  for (let i = 4; i <= padded; i += 4, labels += 16) {
    if (v128.any_true(i32x4.ne(v128.load(labels), first))) return false;
  }
  return true;
}

/**
 * Softmax attention inside windows, units [begin, end); a unit is one head of one window, heads running first.
 *
 *   out_n = Σ_j w_nj v_j / Σ_j w_nj      w_nj = e^(q_n·k_j + bias_nj − 100·[regions differ])
 *
 * n and j are in one window; the scale is folded into q.
 *
 * @op 23 heads
 * @param out       f32 [map tokens, heads·headDim], row stride outRow bytes; rows of tokens in
 *                  no window are not written
 * @param q, k, v   f32 [map tokens, heads·headDim], row stride `row` bytes for all three: parts
 *                  of one packed projection
 * @param padKey, padValue  f32 [heads·headDim], for members outside the map; any address where there are none
 * @param members   i32 [windows][tokens padded to 8]: a member's row in the map, −1 outside it; the
 *                  padding repeats the last
 * @param regions   i32 of members' shape: a label for every member; 0 = no mask
 * @param bias      f32 [heads][tokens][tokens padded to 8], added to the scores; 0 = none
 * @param tokens    of a window, any; headDim a multiple of 8
 * @param scratch   windowScratch(tokens, headDim) bytes, this thread's own
 */
export function windowAttention(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, k: usize, v: usize, row: usize, padKey: usize,
  padValue: usize, members: usize, regions: usize, bias: usize, tokens: i32, heads: i32, headDim: i32, scratch: usize,
): void {
  const padded = (tokens + PANEL - 1) & -PANEL;
  const scoreRow = <usize>padded * 4;
  const headRow = <usize>headDim * 4;
  const keyPanel = <usize>headDim * (PANEL * 4);
  const valuePanel = <usize>tokens * (PANEL * 4);
  const keys = scratch, values = keys + <usize>padded * headRow, queries = values + <usize>tokens * headRow;
  const scores = queries + <usize>LARGEST * headRow, factors = scores + <usize>LARGEST * scoreRow;
  const masked = f32x4.splat(MASKED);
  for (let unit = begin; unit < end; ++unit) {
    const window = unit / heads, head = unit - window * heads;
    const column = <usize>head * headRow, table = <usize>window * scoreRow;
    const own = members + table, labels = regions + table;
    const mixed = regions != 0 && !sameRegion(labels, padded);
    gatherKeys(keys, k + column, row, padKey + column, own, padded, headDim);
    gatherValues(values, v + column, row, padValue + column, own, tokens, headDim);
    for (let first = 0, rows = 0; first < tokens; first += rows) {
      rows = tokens - first <= LARGEST ? tokens - first : BLOCK;
      for (let r = 0; r < rows; ++r) {
        copyRow(queries + <usize>r * headRow, rowOf(q + column, row, padKey + column, own, first + r), headRow);
      }
      const biasRows = bias ? bias + <usize>(head * tokens + first) * scoreRow : 0;
      for (let p = 0; p < padded; p += PANEL) {
        panelProduct(
          scores + <usize>p * 4, scoreRow, queries, headRow, keys + <usize>(p >> 3) * keyPanel, rows, headDim, ZEROS,
          biasRows ? biasRows + <usize>p * 4 : 0, scoreRow,
        );
      }
      for (let r = 0; r < rows; ++r) {
        const at = scores + <usize>r * scoreRow;
        if (mixed) {
          const label = v128.load32_splat(labels + (<usize>(first + r) << 2));
          for (let i: usize = 0; i < scoreRow; i += 16) {
            v128.store(at + i, f32x4.add(v128.load(at + i), v128.and(i32x4.ne(v128.load(labels + i), label), masked)));
          }
        }
        v128.store(factors + (<usize>r << 4), peakOf(at, tokens));
      }
      // in a loop of its own, so that no row's exponentials wait for its peak
      for (let r = 0; r < rows; ++r) {
        const factor = factors + (<usize>r << 4);
        v128.store(factor, f32x4.splat(1 / exponentiate(scores + <usize>r * scoreRow, tokens, v128.load(factor))));
      }
      // the queries have been read: their place takes the output
      for (let c: usize = 0; c < headRow; c += PANEL * 4) {
        panelProduct(queries + c, headRow, scores, scoreRow, values + (c >> 5) * valuePanel, rows, tokens, ZEROS, 0, 0);
      }
      for (let r = 0; r < rows; ++r) {
        const token = load<i32>(own + (<usize>(first + r) << 2));
        if (token < 0) continue;
        const from = queries + <usize>r * headRow;
        const target = out + <usize>token * outRow + column;
        const scale = v128.load(factors + (<usize>r << 4));
        for (let i: usize = 0; i < headRow; i += 16) v128.store(target + i, f32x4.mul(v128.load(from + i), scale));
      }
    }
  }
}

/** What windowAttention touches: rows of the map up to the largest index. */
export function windowAttentionFits(
  units: i32, out: usize, outRow: usize, q: usize, k: usize, v: usize, row: usize, padKey: usize, padValue: usize,
  members: usize, regions: usize, bias: usize, tokens: i32, heads: i32, headDim: i32,
): bool {
  if (!small(tokens) || !small(heads) || !small(headDim) || headDim % PANEL || units % heads) return false;
  const padded = (tokens + PANEL - 1) & -PANEL, count = <u64>(units / heads) * padded, bytes = floats(heads, headDim);
  const rows = largestIndex(members, count) + 1, map = span(rows, row, bytes);
  if (rows < 0 || (rows > 0 && !writes(out, span(rows, outRow, bytes)))) return false;
  if (rows > 0 && !(reads(q, map) && reads(k, map) && reads(v, map))) return false;
  if (negative(members, count) && !(reads(padKey, bytes) && reads(padValue, bytes))) return false;
  return (!regions || reads(regions, count * 4)) && (!bias || reads(bias, floats(heads, tokens) * padded))
    && scratchHolds(floats(headDim, padded + tokens + LARGEST) + floats(padded, LARGEST) + floats(4, LARGEST));
}
