// Depthwise convolution 3×3 or 5×5 with taps of every channel's own: the channel mixers of pyramids,
// positions inside stripes.
import { floats, good, goodProduct, reads, scratchHolds, small, span, woven, writes } from "../extents";
import { PANEL } from "../header";
import { finishPanel } from "./matmul";
import { ACT_NONE, ACT_SILU } from "../opcodes";
import { madd } from "../simd";

/** Bytes of a pixel in a window: two panels. */
const PIXEL: usize = 64;

/**
 * R ≤ 7 neighbouring outputs of four channels, K×K taps 32 bytes apart: every input is loaded once per kernel row.
 * `input` is the top left tap in a ring of K padded rows that ends `beforeEnd` rows further on. Every output is one
 * chain ordered by tap, whatever R.
 */
// @ts-ignore: decorator
@inline
function tile(
  K: i32, R: i32, out: usize, outRow: usize, input: usize, inputRow: usize, beforeEnd: i32, w: usize, bias: usize,
  addend: usize, addendRow: usize,
): void {
  let c0 = v128.load(bias), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0;
  let w3 = i32x4.splat(0), w4 = w3;
  let rows = K;
  do {
    const w0 = v128.load(w), w1 = v128.load(w, 32), w2 = v128.load(w, 64);
    if (K > 3) { w3 = v128.load(w, 96); w4 = v128.load(w, 128); }
    let x = v128.load(input);
    c0 = madd(x, w0, c0);
    x = v128.load(input, 1 * PIXEL); c0 = madd(x, w1, c0);
    if (R > 1) c1 = madd(x, w0, c1);
    x = v128.load(input, 2 * PIXEL); c0 = madd(x, w2, c0);
    if (R > 1) { c1 = madd(x, w1, c1); c2 = madd(x, w0, c2); }
    if (R > 1 || K > 3) x = v128.load(input, 3 * PIXEL);
    if (K > 3) c0 = madd(x, w3, c0);
    if (R > 1) { c1 = madd(x, w2, c1); c2 = madd(x, w1, c2); c3 = madd(x, w0, c3); }
    if (R > 1 || K > 3) x = v128.load(input, 4 * PIXEL);
    if (K > 3) c0 = madd(x, w4, c0);
    if (R > 1) {
      if (K > 3) c1 = madd(x, w3, c1);
      c2 = madd(x, w2, c2); c3 = madd(x, w1, c3);
      if (R > 4) c4 = madd(x, w0, c4);
      x = v128.load(input, 5 * PIXEL);
      if (K > 3) { c1 = madd(x, w4, c1); c2 = madd(x, w3, c2); }
      c3 = madd(x, w2, c3);
      if (R > 4) { c4 = madd(x, w1, c4); c5 = madd(x, w0, c5); }
      if (R > 4 || K > 3) x = v128.load(input, 6 * PIXEL);
      if (K > 3) { c2 = madd(x, w4, c2); c3 = madd(x, w3, c3); }
      if (R > 4) { c4 = madd(x, w2, c4); c5 = madd(x, w1, c5); c6 = madd(x, w0, c6); }
      if (R > 4 || K > 3) x = v128.load(input, 7 * PIXEL);
      if (K > 3) c3 = madd(x, w4, c3);
    }
    if (R > 4) {
      if (K > 3) c4 = madd(x, w3, c4);
      c5 = madd(x, w2, c5); c6 = madd(x, w1, c6);
      x = v128.load(input, 8 * PIXEL);
      if (K > 3) { c4 = madd(x, w4, c4); c5 = madd(x, w3, c5); }
      c6 = madd(x, w2, c6);
      if (K > 3) {
        x = v128.load(input, 9 * PIXEL); c5 = madd(x, w4, c5); c6 = madd(x, w3, c6);
        x = v128.load(input, 10 * PIXEL); c6 = madd(x, w4, c6);
      }
    }
    w += <usize>K * (PANEL * 4);
    input += inputRow;
    if (--beforeEnd == 0) input -= <usize>K * inputRow;
  } while (--rows);
  if (addend) {
    c0 = f32x4.add(c0, v128.load(addend)); addend += addendRow;
    if (R > 1) {
      c1 = f32x4.add(c1, v128.load(addend)); addend += addendRow;
      c2 = f32x4.add(c2, v128.load(addend)); addend += addendRow;
      c3 = f32x4.add(c3, v128.load(addend)); addend += addendRow;
    }
    if (R > 4) {
      c4 = f32x4.add(c4, v128.load(addend)); addend += addendRow;
      c5 = f32x4.add(c5, v128.load(addend)); addend += addendRow;
      c6 = f32x4.add(c6, v128.load(addend));
    }
  }
  v128.store(out, c0); out += outRow;
  if (R > 1) {
    v128.store(out, c1); out += outRow; v128.store(out, c2); out += outRow; v128.store(out, c3); out += outRow;
  }
  if (R > 4) { v128.store(out, c4); out += outRow; v128.store(out, c5); out += outRow; v128.store(out, c6); }
}

/** One tile of every panel, two panels a window: pixels are written from end to end, as memory likes it. */
// @ts-ignore: decorator
@inline
function tiles(
  K: i32, R: i32, panels: i32, out: usize, outRow: usize, outPanel: usize, input: usize, inputRow: usize,
  beforeEnd: i32, w: usize, bias: usize, addend: usize, addendRow: usize, addendPanel: usize, act: i32,
): void {
  let odd = false;
  do {
    tile(K, R, out, outRow, input, inputRow, beforeEnd, w, bias, addend, addendRow);
    tile(
      K, R, out + 16, outRow, input + 16, inputRow, beforeEnd, w + 16, bias + 16, addend ? addend + 16 : 0, addendRow,
    );
    if (act != ACT_NONE) finishPanel(out, outRow, 0, 0, R, act);
    out += outPanel; if (addend) addend += addendPanel;
    w += <usize>(K * K) * (PANEL * 4); bias += PANEL * 4;
    input += odd ? <usize>K * inputRow - PANEL * 4 : PANEL * 4;
    odd = !odd;
  } while (--panels);
}

function tiles3x7(
  p: i32, o: usize, or: usize, op: usize, i: usize, ir: usize, e: i32, w: usize, b: usize, d: usize, dr: usize,
  dp: usize, act: i32,
): void { tiles(3, 7, p, o, or, op, i, ir, e, w, b, d, dr, dp, act); }
function tiles3x4(
  p: i32, o: usize, or: usize, op: usize, i: usize, ir: usize, e: i32, w: usize, b: usize, d: usize, dr: usize,
  dp: usize, act: i32,
): void { tiles(3, 4, p, o, or, op, i, ir, e, w, b, d, dr, dp, act); }
function tiles3x1(
  p: i32, o: usize, or: usize, op: usize, i: usize, ir: usize, e: i32, w: usize, b: usize, d: usize, dr: usize,
  dp: usize, act: i32,
): void { tiles(3, 1, p, o, or, op, i, ir, e, w, b, d, dr, dp, act); }
function tiles5x7(
  p: i32, o: usize, or: usize, op: usize, i: usize, ir: usize, e: i32, w: usize, b: usize, d: usize, dr: usize,
  dp: usize, act: i32,
): void { tiles(5, 7, p, o, or, op, i, ir, e, w, b, d, dr, dp, act); }
function tiles5x4(
  p: i32, o: usize, or: usize, op: usize, i: usize, ir: usize, e: i32, w: usize, b: usize, d: usize, dr: usize,
  dp: usize, act: i32,
): void { tiles(5, 4, p, o, or, op, i, ir, e, w, b, d, dr, dp, act); }
function tiles5x1(
  p: i32, o: usize, or: usize, op: usize, i: usize, ir: usize, e: i32, w: usize, b: usize, d: usize, dr: usize,
  dp: usize, act: i32,
): void { tiles(5, 1, p, o, or, op, i, ir, e, w, b, d, dr, dp, act); }

/** Copies one row of a map into `windows`, a window every two panels; their borders stay zero. */
function takeRow(windows: usize, window: usize, x: usize, xRow: usize, xPanel: usize, side: i32, panels: i32): void {
  for (let px = 0; px < side; ++px, windows += PIXEL, x += xRow) {
    let slot = windows, from = x, left = panels;
    for (; left > 1; left -= 2, slot += window) {
      v128.store(slot, v128.load(from)); v128.store(slot, v128.load(from, 16), 16); from += xPanel;
      v128.store(slot, v128.load(from), 32); v128.store(slot, v128.load(from, 16), 48); from += xPanel;
    }
    if (left > 0) { v128.store(slot, v128.load(from)); v128.store(slot, v128.load(from, 16), 16); }
  }
}

/**
 * Depthwise convolution with zero padding and stride 1 of maps [height][side], taps of every channel's own. Map rows
 * [begin, end), one map after another; `across` maps lie side by side in lines of pixels, as stripes do.
 *
 *   out[y, x, c] = act(bias[c] + addend[y, x, c] + Σ_{i,j} w[c, i, j] · map[y + i − ⌊taps/2⌋, x + j − ⌊taps/2⌋, c])
 *
 * Some panels at a time pass through windows of `taps` padded rows in scratch: pixels of a map lie so far apart that
 * neighbours may fall into the same few lines of the cache.
 *
 * @op 22 lines depthwiseChannels
 * @param out      f32 [maps·height·side, channels], laid out by outRow, outPanel bytes: rows or panels,
 *                 whole panels of eight. Not x
 * @param x        f32 alike
 * @param w        f32 [panels][taps·taps][8]
 * @param bias     f32 [panels][8]
 * @param addend   f32 as out; 0 = none; may be out itself
 * @param taps     3 | 5
 * @param act      ACT_NONE | ACT_RELU | ACT_GELU | ACT_SILU
 * @param across   divides the number of maps
 * @param group    panels that pass through together, even
 * @param scratch  32·group·taps·(side + taps − 1) bytes, this thread's own
 */
export function depthwiseConvChannels(
  begin: i32, end: i32, out: usize, outRow: usize, outPanel: usize, x: usize, xRow: usize, xPanel: usize, w: usize,
  bias: usize, addend: usize, addendRow: usize, addendPanel: usize, height: i32, side: i32, panels: i32, taps: i32,
  act: i32, across: i32, group: i32, scratch: usize,
): void {
  const reach = taps >> 1;
  const border = <usize>reach * PIXEL;
  const windowRow = <usize>(side + taps - 1) * PIXEL;
  const window = <usize>taps * windowRow;
  const panelTaps = <usize>(taps * taps) * (PANEL * 4), line = side * across;
  memory.fill(scratch, 0, <usize>(group >> 1) * window);
  for (let first = 0; first < panels; first += group) {
    const count = min(group, panels - first);
    let top: usize = 0;
    for (let unit = begin; unit < end; ++unit) {
      const map = unit / height, y = unit - map * height, fresh = unit == begin || y == 0;
      const pixel = (map / across * height + y) * line + map % across * side;
      if (fresh) top = 0;
      // all rows of the windows at first, then only the one that comes in at the bottom
      for (let i = fresh ? 0 : taps - 1; i < taps; ++i) {
        const slot = scratch + (fresh ? <usize>i * windowRow : top) + border, from = y + i - reach;
        if (from < 0 || from >= height) {
          for (let p: usize = 0; p < <usize>((count + 1) >> 1); ++p) {
            memory.fill(slot + p * window, 0, <usize>side * PIXEL);
          }
        } else {
          const input = x + <usize>first * xPanel + <usize>(pixel + (i - reach) * line) * xRow;
          takeRow(slot, window, input, xRow, xPanel, side, count);
        }
      }
      if (!fresh) { top += windowRow; if (top == window) top = 0; }
      const beforeEnd = <i32>((window - top) / windowRow);
      const own = w + <usize>first * panelTaps;
      const start = bias + <usize>(first * PANEL) * 4;
      let from = scratch + top, to = out + <usize>pixel * outRow + <usize>first * outPanel;
      let added = addend ? addend + <usize>pixel * addendRow + <usize>first * addendPanel : 0;
      for (let left = side; left > 0;) {
        const wide = left >= 7 && left != 8 ? 7 : left >= 4 ? 4 : 1;
        if (taps == 3) {
          if (wide == 7) tiles3x7(
            count, to, outRow, outPanel, from, windowRow, beforeEnd, own, start, added, addendRow, addendPanel, act,
          );
          else if (wide == 4) tiles3x4(
            count, to, outRow, outPanel, from, windowRow, beforeEnd, own, start, added, addendRow, addendPanel, act,
          );
          else tiles3x1(
            count, to, outRow, outPanel, from, windowRow, beforeEnd, own, start, added, addendRow, addendPanel, act,
          );
        } else {
          if (wide == 7) tiles5x7(
            count, to, outRow, outPanel, from, windowRow, beforeEnd, own, start, added, addendRow, addendPanel, act,
          );
          else if (wide == 4) tiles5x4(
            count, to, outRow, outPanel, from, windowRow, beforeEnd, own, start, added, addendRow, addendPanel, act,
          );
          else tiles5x1(
            count, to, outRow, outPanel, from, windowRow, beforeEnd, own, start, added, addendRow, addendPanel, act,
          );
        }
        left -= wide; from += <usize>wide * PIXEL; to += <usize>wide * outRow;
        if (added) added += <usize>wide * addendRow;
      }
    }
  }
}

/** What depthwiseConvChannels touches. */
export function depthwiseConvChannelsFits(
  units: i32, out: usize, outRow: usize, outPanel: usize, x: usize, xRow: usize, xPanel: usize, w: usize, bias: usize,
  addend: usize, addendRow: usize, addendPanel: usize, height: i32, side: i32, panels: i32, taps: i32, act: i32,
  across: i32, group: i32,
): bool {
  if (!small(height) || !small(side) || !small(panels) || !small(across) || !small(group) || group & 1) return false;
  if (!good(height * across) || units % (height * across) || !goodProduct(units, side)) return false;
  if ((taps != 3 && taps != 5) || <u32>act > <u32>ACT_SILU) return false;
  const pixels = units * side;
  return writes(out, woven(panels, outPanel, span(pixels, outRow, 32)))
    && reads(x, woven(panels, xPanel, span(pixels, xRow, 32)))
    && (!addend || reads(addend, woven(panels, addendPanel, span(pixels, addendRow, 32))))
    && reads(w, floats(panels, PANEL) * (taps * taps)) && reads(bias, floats(panels, PANEL))
    && scratchHolds(floats(group, PANEL) * taps * (side + taps - 1));
}
