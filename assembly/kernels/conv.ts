// Depthwise convolution 5×5 over head panels.
import { floats, goodProduct, reads, scratchHolds, small, span, updates, wholeHeads } from "../extents";
import { PANEL } from "../header";
import { madd } from "../simd";

/** Copies an [height][side] map of eight channels into the middle of a zeroed map that is two wider on every side. */
function padMap(out: usize, map: usize, height: i32, side: i32): void {
  const zero = i32x4.splat(0);
  const border = (side + 4) * 2;
  for (let i = 0; i < border; ++i, out += 32) { v128.store(out, zero); v128.store(out, zero, 16); }
  for (let y = 0; y < height; ++y) {
    v128.store(out, zero); v128.store(out, zero, 16); v128.store(out, zero, 32); v128.store(out, zero, 48); out += 64;
    for (let x = 0; x < side; ++x, out += 32, map += 32) {
      v128.store(out, v128.load(map)); v128.store(out, v128.load(map, 16), 16);
    }
    v128.store(out, zero); v128.store(out, zero, 16); v128.store(out, zero, 32); v128.store(out, zero, 48); out += 64;
  }
  for (let i = 0; i < border; ++i, out += 32) { v128.store(out, zero); v128.store(out, zero, 16); }
}

// @ts-ignore: decorator
@inline
function addTo(at: usize, v: v128, lanes: i32): void {
  if (lanes >= 4) { v128.store(at, f32x4.add(v128.load(at), v)); return; }
  if (lanes > 0) store<f32>(at, load<f32>(at) + f32x4.extract_lane(v, 0));
  if (lanes > 1) store<f32>(at, load<f32>(at, 4) + f32x4.extract_lane(v, 1), 4);
  if (lanes > 2) store<f32>(at, load<f32>(at, 8) + f32x4.extract_lane(v, 2), 8);
}

/**
 * Seven (or, with wide false, four) neighbouring outputs of four channels: every input is loaded once per kernel row.
 * `in` is the padded map's top left tap, `w` the 5×5 taps, 32 bytes apart.
 */
// @ts-ignore: decorator
@inline
function convTile(wide: bool, out: usize, outRow: usize, input: usize, inputRow: usize, w: usize, lanes: i32): void {
  let c0 = i32x4.splat(0), c1 = c0, c2 = c0, c3 = c0, c4 = c0, c5 = c0, c6 = c0;
  for (let ky = 0; ky < 5; ++ky) {
    const w0 = v128.load(w), w1 = v128.load(w, 32), w2 = v128.load(w, 64);
    const w3 = v128.load(w, 96), w4 = v128.load(w, 128);
    let x = v128.load(input);
    c0 = madd(x, w0, c0);
    x = v128.load(input, 32); c0 = madd(x, w1, c0); c1 = madd(x, w0, c1);
    x = v128.load(input, 64); c0 = madd(x, w2, c0); c1 = madd(x, w1, c1); c2 = madd(x, w0, c2);
    x = v128.load(input, 96); c0 = madd(x, w3, c0); c1 = madd(x, w2, c1); c2 = madd(x, w1, c2); c3 = madd(x, w0, c3);
    x = v128.load(input, 128); c0 = madd(x, w4, c0); c1 = madd(x, w3, c1); c2 = madd(x, w2, c2); c3 = madd(x, w1, c3);
    if (wide) c4 = madd(x, w0, c4);
    x = v128.load(input, 160); c1 = madd(x, w4, c1); c2 = madd(x, w3, c2); c3 = madd(x, w2, c3);
    if (wide) { c4 = madd(x, w1, c4); c5 = madd(x, w0, c5); }
    x = v128.load(input, 192); c2 = madd(x, w4, c2); c3 = madd(x, w3, c3);
    if (wide) { c4 = madd(x, w2, c4); c5 = madd(x, w1, c5); c6 = madd(x, w0, c6); }
    x = v128.load(input, 224); c3 = madd(x, w4, c3);
    if (wide) {
      c4 = madd(x, w3, c4); c5 = madd(x, w2, c5); c6 = madd(x, w1, c6);
      x = v128.load(input, 256); c4 = madd(x, w4, c4); c5 = madd(x, w3, c5); c6 = madd(x, w2, c6);
      x = v128.load(input, 288); c5 = madd(x, w4, c5); c6 = madd(x, w3, c6);
      x = v128.load(input, 320); c6 = madd(x, w4, c6);
    }
    w += 160; input += inputRow;
  }
  addTo(out, c0, lanes); out += outRow;
  addTo(out, c1, lanes); out += outRow;
  addTo(out, c2, lanes); out += outRow;
  addTo(out, c3, lanes); out += outRow;
  if (wide) {
    addTo(out, c4, lanes); out += outRow;
    addTo(out, c5, lanes); out += outRow;
    addTo(out, c6, lanes);
  }
}

function convTile7(out: usize, outRow: usize, input: usize, inputRow: usize, w: usize, lanes: i32): void {
  convTile(true, out, outRow, input, inputRow, w, lanes);
}

function convTile4(out: usize, outRow: usize, input: usize, inputRow: usize, w: usize, lanes: i32): void {
  convTile(false, out, outRow, input, inputRow, w, lanes);
}

function convOne(out: usize, input: usize, inputRow: usize, w: usize, lanes: i32): void {
  let c = i32x4.splat(0);
  for (let ky = 0; ky < 5; ++ky) {
    c = madd(v128.load(input), v128.load(w), c);
    c = madd(v128.load(input, 32), v128.load(w, 32), c);
    c = madd(v128.load(input, 64), v128.load(w, 64), c);
    c = madd(v128.load(input, 96), v128.load(w, 96), c);
    c = madd(v128.load(input, 128), v128.load(w, 128), c);
    w += 160; input += inputRow;
  }
  addTo(out, c, lanes);
}

/**
 * Depthwise 5×5 convolution with zero padding 2, stride 1, its kernel shared by the heads; added to `out`. Units
 * [begin, end); a unit is eight channels of one head.
 *
 *   out[y, x, c] += Σ_{i,j} w[c mod headDim, i, j] · map[y + i − 2, x + j − 2, c]
 *
 * That is SLAB's local branch; a cross-correlation.
 *
 * @op 6 panels
 * @param out      f32 [height·side, heads·headDim], row stride outRow bytes
 * @param map      f32 head panels [heads][width/8][height·side][8]
 * @param w        f32 [width/8][25][8]
 * @param scratch  f32 [(height + 4)·(side + 4)·8], this thread's own
 */
export function depthwiseConv(
  begin: i32, end: i32, out: usize, outRow: usize, map: usize, w: usize, height: i32, side: i32, headDim: i32,
  width: i32, scratch: usize,
): void {
  const panels = width / PANEL;
  const paddedRow = <usize>(side + 4) * (PANEL * 4);
  for (let unit = begin; unit < end; ++unit) {
    const head = unit / panels, channel = (unit - head * panels) * PANEL;
    padMap(scratch, map + <usize>unit * <usize>(height * side) * (PANEL * 4), height, side);
    const taps = w + <usize>channel * (25 * 4);
    const column = out + <usize>(head * headDim + channel) * 4;
    for (let half = 0; half < PANEL; half += 4) {
      const lanes = headDim - channel - half;
      if (lanes <= 0) break;
      const offset = <usize>half * 4;
      for (let y = 0; y < height; ++y) {
        for (let x = 0; x < side;) {
          const target = column + offset + <usize>(y * side + x) * outRow;
          const source = scratch + offset + <usize>y * paddedRow + <usize>x * (PANEL * 4);
          const left = side - x;
          if (left >= 7 && left != 8) { convTile7(target, outRow, source, paddedRow, taps + offset, lanes); x += 7; }
          else if (left >= 4) { convTile4(target, outRow, source, paddedRow, taps + offset, lanes); x += 4; }
          else { convOne(target, source, paddedRow, taps + offset, lanes); x += 1; }
        }
      }
    }
  }
}

/** What depthwiseConv touches. */
export function depthwiseConvFits(
  units: i32, out: usize, outRow: usize, map: usize, w: usize, height: i32, side: i32, headDim: i32, width: i32,
): bool {
  if (!small(height) || !small(side) || !goodProduct(height, side)) return false;
  if (!small(headDim) || headDim > width || !wholeHeads(units, width)) return false;
  const heads = units / (width / PANEL), pixels = height * side;
  return updates(out, span(pixels, outRow, floats(heads, headDim))) && reads(map, floats(units, PANEL) * pixels)
    && reads(w, floats(width, 25)) && scratchHolds(floats(height + 4, side + 4) * PANEL);
}
