// Causal depthwise convolution over tokens: the short convolution of language models. The state holds
// the last taps − 1 inputs.
import { floats, good, inState, reads, span, statesOf, updates, woven } from "../extents";
import { PANEL } from "../header";
import { madd } from "../simd";

/**
 * Adds a causal depthwise convolution to `out`, units [begin, end); a unit is eight channels.
 *
 *   out_t += Σ_j w_j ⊙ x_{t − taps + 1 + j}      inputs before the first row come from the state, oldest first
 *
 * @op 15 panels
 * @live rows
 * @param out         f32 [rows, channels], row stride outRow bytes; channels padded to 8
 * @param x           f32, row t of panel p at x + p·xPanel + t·xRow: rows or head panels
 * @param w           f32 [taps, channels padded to 8]
 * @param states      i32: state addresses, this layer's cache f32 [taps − 1, channels padded to 8] stateOffset bytes in
 * @param sequence    1: rows are successive tokens of states[0]; 0: row r is the next token of states[r]
 */
export function causalConv(
  begin: i32, end: i32, out: usize, outRow: usize, x: usize, xRow: usize, xPanel: usize, w: usize, states: usize,
  stateOffset: usize, rows: i32, channels: i32, taps: i32, sequence: i32,
): void {
  const row = <usize>((channels + PANEL - 1) & ~(PANEL - 1)) * 4, past = taps - 1;
  for (let p = begin; p < end; ++p) {
    const column = <usize>p * (PANEL * 4), input = x + <usize>p * xPanel;
    for (let r = 0; r < rows; ++r) {
      const cache = <usize>load<i32>(states + (sequence ? 0 : <usize>r * 4)) + stateOffset + column;
      const now = sequence ? r : 0, target = out + <usize>r * outRow + column;
      let c0 = v128.load(target), c1 = v128.load(target, 16);
      for (let j = 0; j < taps; ++j) {
        const t = now - past + j;
        const from = t < 0 ? cache + <usize>(t + past) * row : input + <usize>(sequence ? t : r) * xRow;
        const tap = w + <usize>j * row + column;
        c0 = madd(v128.load(from), v128.load(tap), c0);
        c1 = madd(v128.load(from, 16), v128.load(tap, 16), c1);
      }
      v128.store(target, c0); v128.store(target, c1, 16);
      if (!sequence) remember(cache, row, past, input + <usize>r * xRow, xRow, 1);
    }
    if (sequence) remember(<usize>load<i32>(states) + stateOffset + column, row, past, input, xRow, rows);
  }
}

/** What causalConv touches. */
export function causalConvFits(
  units: i32, out: usize, outRow: usize, x: usize, xRow: usize, xPanel: usize, w: usize, states: usize,
  stateOffset: usize, rows: i32, channels: i32, taps: i32, sequence: i32,
): bool {
  if (!good(rows) || !good(channels) || !good(taps)) return false;
  const row = floats((channels + PANEL - 1) & -PANEL), own = floats(units, PANEL);
  return own <= row && updates(out, span(rows, outRow, own)) && reads(x, woven(units, xPanel, span(rows, xRow, 32)))
    && reads(w, row * taps) && statesOf(states, sequence ? 1 : rows) && inState(stateOffset, row * (taps - 1));
}

/** The cache after `rows` more inputs: its last `past` of old and new together. */
function remember(cache: usize, row: usize, past: i32, x: usize, xRow: usize, rows: i32): void {
  for (let i = 0; i < past; ++i) {
    const t = rows - past + i;
    const from = t < 0 ? cache + <usize>(t + past) * row : x + <usize>t * xRow, to = cache + <usize>i * row;
    v128.store(to, v128.load(from)); v128.store(to, v128.load(from, 16), 16);
  }
}
