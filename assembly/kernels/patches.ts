// Convolutions over windows become matrix products: the windows of an image, or of a map whose rows are pixels, as rows
// of a matrix. Windows may overlap and reach over the border, where they read zeros.
import { floats, good, goodProduct, reads, small, span, writes } from "../extents";
import { PANEL } from "../header";

/** Copies `count` floats; short runs are too many for calls. */
// @ts-ignore: decorator
@inline
function copyFloats(out: usize, from: usize, count: i32): void {
  if (count < 4) {
    for (; count > 0; --count, out += 4, from += 4) store<f32>(out, load<f32>(from));
    return;
  }
  // the last four once more rather than a rest one by one
  const last = <usize>(count - 4) * 4;
  for (let at: usize = 0; at < last; at += 16) v128.store(out + at, v128.load(from + at));
  v128.store(out + last, v128.load(from + last));
}

/**
 * Windows of an image, channels first, as matrix rows: windows [begin, end).
 *
 * @op 7 windows
 * @param out     f32 [windows, channels·kernel·kernel], row stride outRow bytes; columns in (channel, y, x) order
 * @param image   f32 [channels, height, side]
 * @param pad     zeros on every side
 * @param across  windows in a line
 */
export function gatherPatches(
  begin: i32, end: i32, out: usize, outRow: usize, image: usize, channels: i32, height: i32, side: i32, kernel: i32,
  stride: i32, pad: i32, across: i32,
): void {
  const run = <usize>kernel * 4;
  for (let p = begin; p < end; ++p) {
    const py = p / across, top = py * stride - pad, left = (p - py * across) * stride - pad;
    const from = min(kernel, max(0, -left)), inside = max(0, min(kernel, side - left) - from);
    let target = out + <usize>p * outRow;
    if (inside < kernel || top < 0 || top + kernel > height) memory.fill(target, 0, run * <usize>(channels * kernel));
    for (let c = 0; c < channels; ++c) {
      for (let y = top; y < top + kernel; ++y, target += run) {
        if (y < 0 || y >= height) continue;
        copyFloats(target + <usize>from * 4, image + <usize>((c * height + y) * side + left + from) * 4, inside);
      }
    }
  }
}

/** What gatherPatches touches. */
export function gatherPatchesFits(
  units: i32, out: usize, outRow: usize, image: usize, channels: i32, height: i32, side: i32, kernel: i32, stride: i32,
  pad: i32, across: i32,
): bool {
  return small(channels) && windowsReach(height, side, kernel, stride, pad, across)
    && writes(out, span(units, outRow, floats(kernel, kernel) * channels))
    && reads(image, floats(height, side) * channels);
}

/** Whether the last window in a line begins inside the map, and no pad is as wide as a window. */
function windowsReach(height: i32, side: i32, kernel: i32, stride: i32, pad: i32, across: i32): bool {
  return small(height) && small(side) && small(kernel) && small(stride) && small(across) && pad >= 0 && pad < kernel
    && <u64>(across - 1) * stride < <u64>(side + pad);
}

/**
 * Windows of a map, a pixel's channels side by side, as matrix rows: windows [begin, end).
 *
 * @op 29 windows
 * @param out     f32 [windows, kernel·kernel·channels], row stride outRow bytes; columns in (y, x, channel) order
 * @param map     f32 [height·side, channels], row stride mapRow bytes
 * @param pad     zeros on every side
 * @param across  windows in a line
 */
export function gatherWindows(
  begin: i32, end: i32, out: usize, outRow: usize, map: usize, mapRow: usize, channels: i32, height: i32, side: i32,
  kernel: i32, stride: i32, pad: i32, across: i32,
): void {
  const pixel = <usize>channels * 4, run = <usize>kernel * pixel, dense = mapRow == pixel;
  for (let p = begin; p < end; ++p) {
    const py = p / across, top = py * stride - pad, left = (p - py * across) * stride - pad;
    const from = min(kernel, max(0, -left)), inside = max(0, min(kernel, side - left) - from);
    let target = out + <usize>p * outRow;
    if (inside < kernel || top < 0 || top + kernel > height) memory.fill(target, 0, run * <usize>kernel);
    for (let y = top; y < top + kernel; ++y, target += run) {
      if (y < 0 || y >= height) continue;
      const source = map + <usize>(y * side + left + from) * mapRow, into = target + <usize>from * pixel;
      if (dense) memory.copy(into, source, <usize>inside * pixel);
      else for (let x: usize = 0; x < <usize>inside; ++x) memory.copy(into + x * pixel, source + x * mapRow, pixel);
    }
  }
}

/** What gatherWindows touches. */
export function gatherWindowsFits(
  units: i32, out: usize, outRow: usize, map: usize, mapRow: usize, channels: i32, height: i32, side: i32, kernel: i32,
  stride: i32, pad: i32, across: i32,
): bool {
  return small(channels) && windowsReach(height, side, kernel, stride, pad, across) && goodProduct(height, side)
    && writes(out, span(units, outRow, floats(kernel, kernel) * channels))
    && reads(map, span(height * side, mapRow, floats(channels)));
}

/**
 * Panels of `from` rows stretched to `to` rows by linear interpolation between the nearest two, panels [begin, end).
 *
 *   out[n] = x[⌊s⌋]·(1 − s + ⌊s⌋) + x[⌊s⌋ + 1]·(s − ⌊s⌋)      s = max(0, (n + ½)·from/to − ½), the last row repeated
 *
 * @op 30 panels
 * @param out  f32 [panels][to][8]
 * @param x    f32 [panels][from][8]
 */
export function stretchRows(begin: i32, end: i32, out: usize, x: usize, from: i32, to: i32): void {
  const step = <f32>from / <f32>to;
  out += <usize>begin * <usize>to * (PANEL * 4);
  for (let panel = begin; panel < end; ++panel) {
    const rows = x + <usize>panel * <usize>from * (PANEL * 4);
    for (let n = 0; n < to; ++n, out += PANEL * 4) {
      const at = max(<f32>0, (<f32>n + 0.5) * step - 0.5), low = min(<i32>at, from - 1), high = min(low + 1, from - 1);
      const weight = f32x4.splat(at - <f32>low);
      const a = rows + <usize>low * (PANEL * 4);
      const b = rows + <usize>high * (PANEL * 4);
      const a0 = v128.load(a), a1 = v128.load(a, 16);
      v128.store(out, f32x4.add(a0, f32x4.mul(weight, f32x4.sub(v128.load(b), a0))));
      v128.store(out, f32x4.add(a1, f32x4.mul(weight, f32x4.sub(v128.load(b, 16), a1))), 16);
    }
  }
}

/** What stretchRows touches. */
export function stretchRowsFits(units: i32, out: usize, x: usize, from: i32, to: i32): bool {
  return good(from) && good(to) && writes(out, floats(units, PANEL) * to) && reads(x, floats(units, PANEL) * from);
}
