// Causal softmax attention over a cache of keys and values, for networks that keep softmax (LLaMA with PRepBN).
//
// The cache is pages of CACHE_PAGE tokens, every layer's part of a page beside the others', so what a timeline has used of it is one run
// of bytes from its beginning. A head's part of a page is keys [CACHE_PAGE/8][headDim][8 tokens], rotated by their positions, then values
// [headDim/8][CACHE_PAGE][8 channels]: both are panels of the matrix product, for one query row and for many.
import {
  cacheInState, eachPosition, floats, good, reads, scratchHolds, small, span, timelines, updates, writes,
} from "./extents";
import { CACHE_PAGE, PANEL, ZEROS } from "./header";
import { scaleRow } from "./linear-attention";
import { fourPanels, panelProduct } from "./matmul";
import { exponentiate, peakOf } from "./score-attention";
import { exp4 } from "./simd";

/** Query rows of one timeline that share a pass over the cache: four register tiles. */
const BLOCK: i32 = 24;

/** Bytes of one head's keys in a page; as many of its values follow. */
// @ts-ignore: decorator
@inline
function keyBytes(headDim: i32): usize {
  return <usize>headDim * (CACHE_PAGE * 4);
}

/** (lo, hi) ← (lo·cos − hi·sin, hi·cos + lo·sin), from `x` to `out`, whose channels are outStride bytes apart. */
function rotate(out: usize, outStride: usize, x: usize, angles: usize, half: i32): void {
  const halfBytes = <usize>half * 4;
  for (let i: usize = 0; i < halfBytes; i += 4, out += outStride) {
    const lo = load<f32>(x + i), hi = load<f32>(x + halfBytes + i), cos = load<f32>(angles + i), sin = load<f32>(angles + halfBytes + i);
    store<f32>(out, lo * cos - hi * sin);
    store<f32>(out + <usize>half * outStride, hi * cos + lo * sin);
  }
}

/**
 * Rotates queries in place and appends rotated keys, and values, to the cache. A unit is one head: of every row when the rows are successive
 * tokens of one timeline (`sequence`), else of one row (unit = row · heads + head). A token that begins a page clears its part of it first.
 *
 * @param q, k, v    f32 [rows, heads·headDim], row strides in bytes; headDim a multiple of 8
 * @param states     i32 [rows], or [1]: addresses of the timelines' states; page 0 of this layer begins cacheOffset bytes in
 * @param positions  i32 [rows], or [1]: tokens that each timeline has read before its (first) row
 * @param pageBytes  from one page to the next
 * @param angles     f32 [positions, headDim]: cosines of headDim/2 pairs, then sines
 */
export function cacheTokens(
  begin: i32, end: i32, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize, states: usize, positions: usize,
  cacheOffset: usize, pageBytes: usize, angles: usize, rows: i32, heads: i32, headDim: i32, sequence: i32,
): void {
  const half = headDim >> 1, headBytes = <usize>headDim * 4;
  for (let unit = begin; unit < end; ++unit) {
    const head = sequence ? unit : unit % heads, timeline = sequence ? 0 : unit / heads;
    const cache = <usize>load<i32>(states + <usize>timeline * 4) + cacheOffset + <usize>head * (2 * keyBytes(headDim));
    const column = <usize>head * headBytes;
    let position = load<i32>(positions + <usize>timeline * 4);
    const last = sequence ? rows : timeline + 1;
    for (let row = timeline; row < last; ++row, ++position) {
      const keys = cache + <usize>(position / CACHE_PAGE) * pageBytes, values = keys + keyBytes(headDim), token = position % CACHE_PAGE;
      if (token == 0) memory.fill(keys, 0, 2 * keyBytes(headDim));
      const turn = angles + <usize>position * headBytes, query = q + <usize>row * qRow + column;
      rotate(query, 4, query, turn, half);
      rotate(keys + <usize>(token >> 3) * (headBytes * PANEL) + <usize>(token & 7) * 4, PANEL * 4, k + <usize>row * kRow + column, turn, half);
      const value = v + <usize>row * vRow + column;
      for (let c: usize = 0; c < headBytes; c += PANEL * 4) {
        const to = values + c * CACHE_PAGE + <usize>token * (PANEL * 4);
        v128.store(to, v128.load(value + c)); v128.store(to, v128.load(value + c, 16), 16);
      }
    }
  }
}

/** What cacheTokens touches. */
export function cacheTokensFits(
  units: i32, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize, states: usize, positions: usize,
  cacheOffset: usize, pageBytes: usize, angles: usize, rows: i32, heads: i32, headDim: i32, sequence: i32,
): bool {
  if (!good(rows) || !small(heads) || !small(headDim) || headDim % PANEL) return false;
  const row = floats(heads, headDim);
  return units == (sequence ? heads : <i64>rows * heads) && timelines(states, positions, sequence ? 1 : rows)
    && cacheInState(cacheOffset, pageBytes, heads, headDim)
    && updates(q, span(rows, qRow, row)) && reads(k, span(rows, kRow, row)) && reads(v, span(rows, vRow, row))
    && reads(angles, eachPosition(floats(headDim)));
}

/**
 * `count` successive query rows of one head, the first at `position`, against the cache: one pass, page by page. Each row keeps the largest
 * score so far and the sum of its weights; what it has gathered is scaled down when a larger score comes (Milakov and Gimelshein 2018).
 * Pages begin at the same tokens for every row, so a row's bits do not depend on the rows beside it.
 */
function attend(out: usize, outRow: usize, q: usize, qRow: usize, count: i32, position: i32, cache: usize, pageBytes: usize, headDim: i32, scratch: usize): void {
  const peaks = scratch, sums = peaks + BLOCK * 4, scores = sums + BLOCK * 4;
  const scoreRow: usize = CACHE_PAGE * 4, panelBytes = <usize>headDim * (PANEL * 4);
  const tokens = position + count;
  for (let first = 0; first < tokens; first += CACHE_PAGE, cache += pageBytes) {
    // rows before the page see nothing of it
    const top = max(0, first - position), rows = count - top, live = min(CACHE_PAGE, tokens - first);
    const queries = q + <usize>top * qRow, target = out + <usize>top * outRow, values = cache + keyBytes(headDim);
    const whole = rows == 1 && live == CACHE_PAGE;
    if (whole) fourPanels(scores, PANEL * 4, queries, cache, <usize>headDim * (PANEL * 4), headDim, ZEROS, 0, 0, 0);
    else for (let p = 0; p * PANEL < live; ++p) panelProduct(scores + <usize>p * (PANEL * 4), scoreRow, queries, qRow, cache + <usize>p * panelBytes, rows, headDim, ZEROS, 0, 0);

    for (let r = 0; r < rows; ++r) {
      const at = scores + <usize>r * scoreRow, index = <usize>(top + r) * 4;
      const seen = min(live, position + top + r + 1 - first), padded = (live + 3) & ~3;
      let peak = peakOf(at, seen, padded);
      if (first > 0) {
        const before = load<f32>(peaks + index);
        if (peak > before) {
          const scale = f32x4.extract_lane(exp4(f32x4.splat(before - peak)), 0);
          scaleRow(target + <usize>r * outRow, headDim, scale);
          store<f32>(sums + index, load<f32>(sums + index) * scale);
        } else peak = before;
      } else store<f32>(sums + index, 0);
      store<f32>(peaks + index, peak);
      store<f32>(sums + index, load<f32>(sums + index) + exponentiate(at, seen, padded, peak));
    }

    const sum = first > 0 ? target : 0;
    let c = 0;
    if (whole) for (; c + 4 * PANEL <= headDim; c += 4 * PANEL) {
      fourPanels(target + <usize>c * 4, PANEL * 4, scores, values + <usize>c * scoreRow, scoreRow * PANEL, CACHE_PAGE, ZEROS, 0, sum ? sum + <usize>c * 4 : 0, PANEL * 4);
    }
    for (; c < headDim; c += PANEL) {
      panelProduct(target + <usize>c * 4, outRow, scores, scoreRow, values + <usize>c * scoreRow, rows, live, ZEROS, sum ? sum + <usize>c * 4 : 0, outRow);
    }
  }
  for (let r = 0; r < count; ++r) scaleRow(out + <usize>r * outRow, headDim, 1 / load<f32>(sums + <usize>r * 4));
}

/**
 * Causal softmax attention over the cache, which holds the rows' own tokens already.
 *
 *   out_n = Σ_{j ≤ n} w_nj v_j / Σ_{j ≤ n} w_nj      w = e^(q·k − max); the scale is folded into q
 *
 * Units [begin, end): unit = head · rows + row when the rows are successive tokens of one timeline (`sequence`), else row · heads + head.
 *
 * @param out, q     f32 [rows, heads·headDim], row strides in bytes; q rotated, headDim a multiple of 8
 * @param states, positions, cacheOffset, pageBytes  as in cacheTokens
 * @param scratch    3264 bytes, this thread's own
 */
export function cachedAttention(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, states: usize, positions: usize, cacheOffset: usize, pageBytes: usize,
  rows: i32, heads: i32, headDim: i32, sequence: i32, scratch: usize,
): void {
  for (let unit = begin; unit < end;) {
    const head = sequence ? unit / rows : unit % heads, row = sequence ? unit % rows : unit / heads;
    const count = sequence ? min(BLOCK, min(end - unit, rows - row)) : 1, timeline: usize = sequence ? 0 : <usize>row * 4;
    const column = <usize>(head * headDim) * 4;
    attend(
      out + <usize>row * outRow + column, outRow, q + <usize>row * qRow + column, qRow, count, load<i32>(positions + timeline) + (sequence ? row : 0),
      <usize>load<i32>(states + timeline) + cacheOffset + <usize>head * (2 * keyBytes(headDim)), pageBytes, headDim, scratch,
    );
    unit += count;
  }
}

/** What cachedAttention touches. */
export function cachedAttentionFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, states: usize, positions: usize, cacheOffset: usize,
  pageBytes: usize, rows: i32, heads: i32, headDim: i32, sequence: i32,
): bool {
  if (!good(rows) || !small(heads) || !small(headDim) || headDim % PANEL) return false;
  const row = floats(heads, headDim);
  return units == <i64>rows * heads && timelines(states, positions, sequence ? 1 : rows)
    && cacheInState(cacheOffset, pageBytes, heads, headDim) && writes(out, span(rows, outRow, row))
    && reads(q, span(rows, qRow, row)) && scratchHolds(floats(BLOCK, CACHE_PAGE + 2));
}
