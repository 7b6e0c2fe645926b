// Causal softmax attention over a cache of keys and values, for networks that keep softmax (LLaMA with PRepBN).
//
// The cache is pages of CACHE_PAGE tokens, every layer's part of a page beside the others', so what a timeline has used
// of it is one run of bytes from its beginning. A head's part of a page is keys [CACHE_PAGE/8][headDim][8 tokens],
// rotated by their positions, then values [⌈headDim/8⌉][CACHE_PAGE][8 channels]: both are panels of the matrix product,
// for one query row and for many.
import {
  acrossPositions, cacheInState, floats, good, reads, scratchHolds, small, span, timelines, updates, writes,
} from "../extents";
import { CACHE_PAGE, PANEL, ZEROS } from "../header";
import { scaleRow } from "./linear-attention";
import { fourPanels, panelProduct } from "./matmul";
import { exponentiate, peakOf } from "./score-attention";
import { exp4 } from "../simd";

/** Query rows of one timeline that share a pass over the cache: four register tiles. */
const BLOCK: i32 = 24;

/** Bytes of one head's keys in a page; its values follow. */
// @ts-ignore: decorator
@inline
function keyBytes(headDim: i32): usize {
  return <usize>headDim * (CACHE_PAGE * 4);
}

/** Bytes of both. */
// @ts-ignore: decorator
@inline
export function pageHeadBytes(headDim: i32): usize {
  return keyBytes(headDim + ((headDim + PANEL - 1) & ~(PANEL - 1)));
}

/** (lo, hi) ← (lo·cos − hi·sin, hi·cos + lo·sin), from `x` to `out`, whose channels are outStride bytes apart. */
function rotate(out: usize, outStride: usize, x: usize, angles: usize, half: i32): void {
  const halfBytes = <usize>half * 4;
  for (let i: usize = 0; i < halfBytes; i += 4, out += outStride) {
    const lo = load<f32>(x + i);
    const hi = load<f32>(x + halfBytes + i);
    const cos = load<f32>(angles + i);
    const sin = load<f32>(angles + halfBytes + i);
    store<f32>(out, lo * cos - hi * sin);
    store<f32>(out + <usize>half * outStride, hi * cos + lo * sin);
  }
}

/**
 * Rotates queries in place and appends rotated keys, and values, to the cache. A unit is one query head: of every row
 * when the rows are successive tokens of one timeline (`sequence`), else of one row (unit = row · heads + head). Of
 * query heads that share a key head the first writes it. A token that begins a page clears its part of it first.
 *
 * @op 33 heads
 * @live units | rows
 * @param q          f32 [rows, heads·headDim], row stride in bytes
 * @param k, v       f32 [rows, heads/sharing·headDim]
 * @param states     i32 [rows], or [1]: addresses of the timelines' states; page 0 of this layer
 *                   begins cacheOffset bytes in
 * @param positions  i32 [rows], or [1]: tokens that each timeline has read before its (first) row
 * @param pageBytes  from one page to the next
 * @param angles     f32 [positions, rotary]: cosines of rotary/2 pairs, then sines, row stride anglesRow
 *                   bytes; read when rotary > 0
 * @param sharing    query heads that share a key head, a divisor of heads
 * @param rotary     the first channels of a head that are rotated, even; the others stay
 * @param ring       pages that are used in turns; 0 = every page has its own place
 */
export function cacheTokens(
  begin: i32, end: i32, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize, states: usize,
  positions: usize, cacheOffset: usize, pageBytes: usize, angles: usize, anglesRow: usize, rows: i32, heads: i32,
  headDim: i32, sequence: i32, sharing: i32, rotary: i32, ring: i32,
): void {
  const half = rotary >> 1, headBytes = <usize>headDim * 4;
  for (let unit = begin; unit < end; ++unit) {
    const head = sequence ? unit : unit % heads;
    const timeline = sequence ? 0 : unit / heads;
    const keyHead = head / sharing;
    const writes = head % sharing == 0;
    const cache = <usize>load<i32>(states + <usize>timeline * 4) + cacheOffset
      + <usize>keyHead * pageHeadBytes(headDim);
    const column = <usize>keyHead * headBytes;
    let position = load<i32>(positions + <usize>timeline * 4);
    const last = sequence ? rows : timeline + 1;
    for (let row = timeline; row < last; ++row, ++position) {
      const turn = angles + <usize>position * anglesRow, query = q + <usize>row * qRow + <usize>head * headBytes;
      rotate(query, 4, query, turn, half);
      if (!writes) continue;
      const page = position / CACHE_PAGE;
      const keys = cache + <usize>(ring ? page % ring : page) * pageBytes;
      const values = keys + keyBytes(headDim);
      const token = position % CACHE_PAGE;
      if (token == 0) memory.fill(keys, 0, pageHeadBytes(headDim));
      const key = k + <usize>row * kRow + column;
      const to = keys + <usize>(token >> 3) * (headBytes * PANEL) + <usize>(token & 7) * 4;
      rotate(to, PANEL * 4, key, turn, half);
      for (let c = <usize>rotary; c < <usize>headDim; ++c) store<f32>(to + c * (PANEL * 4), load<f32>(key + c * 4));
      const value = v + <usize>row * vRow + column;
      for (let c: usize = 0; c < headBytes; c += PANEL * 4) {
        const to = values + c * CACHE_PAGE + <usize>token * (PANEL * 4);
        if (c + PANEL * 4 <= headBytes) {
          v128.store(to, v128.load(value + c)); v128.store(to, v128.load(value + c, 16), 16);
        } else memory.copy(to, value + c, headBytes - c);
      }
    }
  }
}

/** What cacheTokens touches. */
export function cacheTokensFits(
  units: i32, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize, states: usize, positions: usize,
  cacheOffset: usize, pageBytes: usize, angles: usize, anglesRow: usize, rows: i32, heads: i32, headDim: i32,
  sequence: i32, sharing: i32, rotary: i32, ring: i32,
): bool {
  if (!cacheable(rows, heads, headDim, sharing, ring) || rotary < 0 || rotary & 1 || rotary > headDim) return false;
  const keys = floats(heads / sharing, headDim);
  return units == (sequence ? heads : <i64>rows * heads) && timelines(states, positions, sequence ? 1 : rows)
    && cacheInState(cacheOffset, pageBytes, <u64>(heads / sharing) * pageHeadBytes(headDim), ring)
    && (rotary ? updates(q, span(rows, qRow, floats(heads, headDim))) : true)
    && reads(k, span(rows, kRow, keys)) && reads(v, span(rows, vRow, keys))
    && (!rotary || reads(angles, acrossPositions(anglesRow, floats(rotary))));
}

/** Sizes of a layer with a cache. */
function cacheable(rows: i32, heads: i32, headDim: i32, sharing: i32, ring: i32): bool {
  return good(rows) && small(heads) && small(headDim) && small(sharing) && heads % sharing == 0
    && (ring == 0 || good(ring));
}

/**
 * `count` successive query rows of one head, the first at `position`, against the cache: one pass, page by page. Each
 * row keeps the largest score so far and the sum of its weights; what it has gathered is scaled down when a larger
 * score comes (Milakov and Gimelshein 2018). Pages begin at the same tokens for every row, so a row's bits do not
 * depend on the rows beside it.
 */
function attend(
  out: usize, outRow: usize, q: usize, qRow: usize, count: i32, position: i32, cache: usize, pageBytes: usize,
  headDim: i32, window: i32, ring: i32, scratch: usize,
): void {
  const peaks = scratch, sums = peaks + BLOCK * 4, scores = sums + BLOCK * 4, tails = scores + BLOCK * CACHE_PAGE * 4;
  // channels after the last whole panel are gathered apart, as beside them lies another head
  const ragged = headDim % PANEL, even = headDim - ragged;
  const scoreRow: usize = CACHE_PAGE * 4, panelBytes = <usize>headDim * (PANEL * 4);
  const tokens = position + count, start = window ? max(0, position - window + 1) / CACHE_PAGE * CACHE_PAGE : 0;
  for (let first = start; first < tokens; first += CACHE_PAGE) {
    const index = first / CACHE_PAGE, page = cache + <usize>(ring ? index % ring : index) * pageBytes;
    // rows before the page see nothing of it
    const top = max(0, first - position), rows = count - top, live = min(CACHE_PAGE, tokens - first);
    const queries = q + <usize>top * qRow, target = out + <usize>top * outRow, values = page + keyBytes(headDim);
    const whole = rows == 1 && live == CACHE_PAGE;
    if (whole) fourPanels(scores, PANEL * 4, queries, page, <usize>headDim * (PANEL * 4), headDim, ZEROS, 0, 0, 0);
    else for (let p = 0; p * PANEL < live; ++p) {
      const keys = page + <usize>p * panelBytes;
      panelProduct(scores + <usize>p * (PANEL * 4), scoreRow, queries, qRow, keys, rows, headDim, ZEROS, 0, 0);
    }

    for (let r = 0; r < rows; ++r) {
      const at = scores + <usize>r * scoreRow, index = <usize>(top + r) * 4;
      const seen = min(live, position + top + r + 1 - first), padded = (live + 3) & ~3;
      if (window) {
        // a row whose window begins after the page sees weights that the first page of its own scales away
        const hidden = min(seen, position + top + r - window + 1 - first);
        for (let i = 0; i < hidden; ++i) store<f32>(at + <usize>i * 4, -f32.MAX_VALUE);
      }
      let peak = peakOf(at, seen, padded);
      if (first > start) {
        const before = load<f32>(peaks + index);
        if (peak > before) {
          const scale = f32x4.extract_lane(exp4(f32x4.splat(before - peak)), 0);
          scaleRow(target + <usize>r * outRow, even, scale);
          if (ragged) scaleRow(tails + <usize>(top + r) * (PANEL * 4), PANEL, scale);
          store<f32>(sums + index, load<f32>(sums + index) * scale);
        } else peak = before;
      } else store<f32>(sums + index, 0);
      store<f32>(peaks + index, peak);
      store<f32>(sums + index, load<f32>(sums + index) + exponentiate(at, seen, padded, peak));
    }

    const sum = first > start ? target : 0;
    let c = 0;
    if (whole) for (; c + 4 * PANEL <= even; c += 4 * PANEL) {
      fourPanels(
        target + <usize>c * 4, PANEL * 4, scores, values + <usize>c * scoreRow, scoreRow * PANEL, CACHE_PAGE, ZEROS, 0,
        sum ? sum + <usize>c * 4 : 0, PANEL * 4,
      );
    }
    for (; c < even; c += PANEL) {
      panelProduct(
        target + <usize>c * 4, outRow, scores, scoreRow, values + <usize>c * scoreRow, rows, live, ZEROS,
        sum ? sum + <usize>c * 4 : 0, outRow,
      );
    }
    if (ragged) {
      const tail = tails + <usize>top * (PANEL * 4);
      panelProduct(
        tail, PANEL * 4, scores, scoreRow, values + <usize>even * scoreRow, rows, live, ZEROS, first > start ? tail : 0,
        PANEL * 4,
      );
    }
  }
  for (let r = 0; r < count; ++r) {
    const scale: f32 = 1 / load<f32>(sums + <usize>r * 4);
    const row = out + <usize>r * outRow;
    const tail = tails + <usize>r * (PANEL * 4);
    scaleRow(row, even, scale);
    if (!ragged) continue;
    scaleRow(tail, PANEL, scale);
    memory.copy(row + <usize>even * 4, tail, <usize>ragged * 4);
  }
}

/**
 * Causal softmax attention over the cache, which holds the rows' own tokens already.
 *
 *   out_n = Σ_{j ≤ n} w_nj v_j / Σ_{j ≤ n} w_nj      w = e^(q·k − max)
 *
 * The scale is folded into q; with a window, n − j < window.
 *
 * Units [begin, end): unit = head · rows + row when the rows are successive tokens of one timeline (`sequence`),
 * else row · heads + head.
 *
 * @op 34 heads
 * @live units & rows
 * @param out, q     f32 [rows, heads·headDim], row strides in bytes; q rotated
 * @param states, positions, cacheOffset, pageBytes, sharing, ring  as in cacheTokens; a ring holds the window
 *                                                                  and all rows of a sequence
 * @param window     tokens that a row sees, its own included; 0 = all
 * @param scratch    4032 bytes, this thread's own
 */
export function cachedAttention(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, states: usize, positions: usize,
  cacheOffset: usize, pageBytes: usize, rows: i32, heads: i32, headDim: i32, sequence: i32, sharing: i32, window: i32,
  ring: i32, scratch: usize,
): void {
  for (let unit = begin; unit < end;) {
    const head = sequence ? unit / rows : unit % heads, row = sequence ? unit % rows : unit / heads;
    const count = sequence ? min(BLOCK, min(end - unit, rows - row)) : 1;
    const timeline: usize = sequence ? 0 : <usize>row * 4;
    const column = <usize>(head * headDim) * 4;
    attend(
      out + <usize>row * outRow + column, outRow, q + <usize>row * qRow + column, qRow, count,
      load<i32>(positions + timeline) + (sequence ? row : 0),
      <usize>load<i32>(states + timeline) + cacheOffset + <usize>(head / sharing) * pageHeadBytes(headDim), pageBytes,
      headDim, window, ring, scratch,
    );
    unit += count;
  }
}

/** What cachedAttention touches. */
export function cachedAttentionFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, states: usize, positions: usize, cacheOffset: usize,
  pageBytes: usize, rows: i32, heads: i32, headDim: i32, sequence: i32, sharing: i32, window: i32, ring: i32,
): bool {
  if (!cacheable(rows, heads, headDim, sharing, ring) || window < 0) return false;
  const row = floats(heads, headDim);
  return units == <i64>rows * heads && timelines(states, positions, sequence ? 1 : rows)
    && cacheInState(cacheOffset, pageBytes, <u64>(heads / sharing) * pageHeadBytes(headDim), ring)
    && writes(out, span(rows, outRow, row)) && reads(q, span(rows, qRow, row))
    && scratchHolds(floats(BLOCK, CACHE_PAGE + 2 + PANEL));
}
