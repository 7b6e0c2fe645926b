// Load time: raw checkpoint bytes → folded, packed panels. Folding is done in float64 and rounded once.
import { eachId, floats, good, idsOf, reads, span, writes } from "../extents";
import { PANEL } from "../header";
import { int4PanelBytes, quantizePanelInt4 } from "./int4";
import { int8PanelBytes, quantizePanelInt8 } from "./int8";
import { RAW_BF16, RAW_F16, RAW_F32, RAW_F64, WEIGHTS_INT4, WEIGHTS_INT8, WEIGHTS_INT8_NARROW } from "../opcodes";
import { BYTE_DOT, max4, sum4 } from "../simd";

// @ts-ignore: decorator
@inline
function bytesOf(format: i32): usize {
  return format == RAW_F64 ? 8 : format == RAW_F32 ? 4 : 2;
}

/**
 * A half's exponent and mantissa in a float's place are too small by 2^112, subnormals included; infinity and
 * NaN become 65536 or more.
 */
const HALF_SCALE: f32 = 5.192296858534828e33;

/** Four numbers of a checkpoint as f32x4. */
// @ts-ignore: decorator
@inline
function decode4(at: usize, format: i32): v128 {
  if (format == RAW_F32) return v128.load(at);
  if (format == RAW_BF16) return i32x4.shl(v128.load16x4_u(at), 16);
  if (format == RAW_F64) {
    return v128.shuffle<f32>(
      f32x4.demote_f64x2_zero(v128.load(at)), f32x4.demote_f64x2_zero(v128.load(at, 16)), 0, 1, 4, 5,
    );
  }
  // load16x4_s leaves copies of the sign above: the mask keeps one, and the 15 bits in a float's place
  const bits = v128.and(i32x4.shl(v128.load16x4_s(at), 13), i32x4.splat(0x8fffe000));
  const values = f32x4.mul(bits, f32x4.splat(HALF_SCALE));
  // too large for a half means infinity or NaN: make it NaN
  return v128.or(values, f32x4.ge(f32x4.abs(values), f32x4.splat(65536)));
}

/** One number of a checkpoint as f32: the tail of a row. */
function decode1(at: usize, format: i32): f32 {
  if (format == RAW_F32) return load<f32>(at);
  if (format == RAW_BF16) return reinterpret<f32>(<u32>load<u16>(at) << 16);
  if (format == RAW_F64) return <f32>load<f64>(at);
  const half = <u32>load<u16>(at);
  if ((half & 0x7c00) == 0x7c00) return NaN;
  return reinterpret<f32>(((half & 0x7fff) << 13) | 0) * (half & 0x8000 ? -HALF_SCALE : HALF_SCALE);
}

/**
 * out = f32(raw · a · s) of one row of k numbers; adds raw · b to the f64 at `shift`. Returns the largest
 * change, NaN if not finite.
 */
// @ts-ignore: decorator
@inline
function foldRow(out: usize, raw: usize, format: i32, k: i32, a: usize, b: usize, s: f64, shift: usize): f32 {
  let largest = i32x4.splat(0), shift2 = f64x2.splat(0);
  const scale = f64x2.splat(s);
  for (let i = k >> 2; i > 0; --i) {
    const w = decode4(raw, format);
    const lo = f64x2.promote_low_f32x4(w), hi = f64x2.promote_low_f32x4(i32x4.shuffle(w, w, 2, 3, 2, 3));
    shift2 = f64x2.add(shift2, f64x2.mul(lo, v128.load(b)));
    shift2 = f64x2.add(shift2, f64x2.mul(hi, v128.load(b, 16)));
    const folded = i32x4.shuffle(
      f32x4.demote_f64x2_zero(f64x2.mul(f64x2.mul(lo, v128.load(a)), scale)),
      f32x4.demote_f64x2_zero(f64x2.mul(f64x2.mul(hi, v128.load(a, 16)), scale)), 0, 1, 4, 5,
    );
    v128.store(out, folded);
    // as integers, so that infinity and NaN are the largest
    largest = i32x4.max_s(largest, f32x4.abs(f32x4.sub(folded, w)));
    raw += 4 * bytesOf(format); out += 16; a += 32; b += 32;
  }
  let change = max4(largest);
  let sum = load<f64>(shift) + f64x2.extract_lane(shift2, 0) + f64x2.extract_lane(shift2, 1);
  for (let i = k & 3; i > 0; --i) {
    const w = decode1(raw, format);
    const folded = <f32>(<f64>w * load<f64>(a) * s);
    sum += <f64>w * load<f64>(b);
    store<f32>(out, folded);
    change = max(change, abs(folded - w));
    raw += bytesOf(format); out += 4; a += 8; b += 8;
  }
  store<f64>(shift, sum);
  // NaN for infinity
  return change + change * 0;
}

/** out = f32(raw) of one row. Returns 0, NaN if not finite. */
// @ts-ignore: decorator
@inline
function copyRow(out: usize, raw: usize, format: i32, k: i32): f32 {
  let poison = i32x4.splat(0);
  for (let i = k >> 2; i > 0; --i) {
    const w = decode4(raw, format);
    v128.store(out, w);
    poison = f32x4.add(poison, f32x4.mul(w, i32x4.splat(0)));
    raw += 4 * bytesOf(format); out += 16;
  }
  let rest: f32 = sum4(poison);
  for (let i = k & 3; i > 0; --i) {
    const w = decode1(raw, format);
    store<f32>(out, w);
    rest += w * 0;
    raw += bytesOf(format); out += 4;
  }
  return rest;
}

// one small function a format: the engine optimises only what a checkpoint needs, and soon
function foldRowF32(out: usize, raw: usize, k: i32, a: usize, b: usize, s: f64, shift: usize): f32 {
  return foldRow(out, raw, RAW_F32, k, a, b, s, shift);
}
function copyRowF32(out: usize, raw: usize, k: i32): f32 { return copyRow(out, raw, RAW_F32, k); }
function foldRowF16(out: usize, raw: usize, k: i32, a: usize, b: usize, s: f64, shift: usize): f32 {
  return foldRow(out, raw, RAW_F16, k, a, b, s, shift);
}
function copyRowF16(out: usize, raw: usize, k: i32): f32 { return copyRow(out, raw, RAW_F16, k); }
function foldRowBF16(out: usize, raw: usize, k: i32, a: usize, b: usize, s: f64, shift: usize): f32 {
  return foldRow(out, raw, RAW_BF16, k, a, b, s, shift);
}
function copyRowBF16(out: usize, raw: usize, k: i32): f32 { return copyRow(out, raw, RAW_BF16, k); }
function foldRowF64(out: usize, raw: usize, k: i32, a: usize, b: usize, s: f64, shift: usize): f32 {
  return foldRow(out, raw, RAW_F64, k, a, b, s, shift);
}
function copyRowF64(out: usize, raw: usize, k: i32): f32 { return copyRow(out, raw, RAW_F64, k); }

/** Eight rows of k floats, `row` bytes apart → [k][8], written front to back. */
export function transposeRows(out: usize, rows: usize, row: usize, k: i32): void {
  let r0 = rows, r1 = r0 + row, r2 = r1 + row, r3 = r2 + row, r4 = r3 + row, r5 = r4 + row;
  let r6 = r5 + row, r7 = r6 + row;
  for (let i = k >> 2; i > 0; --i) {
    let v0 = v128.load(r0), v1 = v128.load(r1), v2 = v128.load(r2), v3 = v128.load(r3);
    const a = i32x4.shuffle(v0, v1, 0, 4, 1, 5), b = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
    const c = i32x4.shuffle(v0, v1, 2, 6, 3, 7), d = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
    v0 = v128.load(r4); v1 = v128.load(r5); v2 = v128.load(r6); v3 = v128.load(r7);
    const e = i32x4.shuffle(v0, v1, 0, 4, 1, 5), f = i32x4.shuffle(v2, v3, 0, 4, 1, 5);
    const g = i32x4.shuffle(v0, v1, 2, 6, 3, 7), h = i32x4.shuffle(v2, v3, 2, 6, 3, 7);
    v128.store(out, i32x4.shuffle(a, b, 0, 1, 4, 5)); v128.store(out, i32x4.shuffle(e, f, 0, 1, 4, 5), 16);
    v128.store(out, i32x4.shuffle(a, b, 2, 3, 6, 7), 32); v128.store(out, i32x4.shuffle(e, f, 2, 3, 6, 7), 48);
    v128.store(out, i32x4.shuffle(c, d, 0, 1, 4, 5), 64); v128.store(out, i32x4.shuffle(g, h, 0, 1, 4, 5), 80);
    v128.store(out, i32x4.shuffle(c, d, 2, 3, 6, 7), 96); v128.store(out, i32x4.shuffle(g, h, 2, 3, 6, 7), 112);
    r0 += 16; r1 += 16; r2 += 16; r3 += 16; r4 += 16; r5 += 16; r6 += 16; r7 += 16; out += 128;
  }
  for (let i = k & 3; i > 0; --i) {
    store<f32>(out, load<f32>(r0)); store<f32>(out, load<f32>(r1), 4);
    store<f32>(out, load<f32>(r2), 8); store<f32>(out, load<f32>(r3), 12);
    store<f32>(out, load<f32>(r4), 16); store<f32>(out, load<f32>(r5), 20);
    store<f32>(out, load<f32>(r6), 24); store<f32>(out, load<f32>(r7), 28);
    r0 += 4; r1 += 4; r2 += 4; r3 += 4; r4 += 4; r5 += 4; r6 += 4; r7 += 4; out += 32;
  }
}

/**
 * Packs eight output channels of a linear layer, with the affine maps before and after it folded in:
 *
 *   w' = s_o · w · a_i        bias'_o = s_o · (bias_o + Σ_i w · b_i) + t_o
 *
 * @param out       f32 [k, 8]; outBias f32 [8]
 * @param raw       `rows` rows of k numbers in `format`; channels rows … 7 become zeros
 * @param bias      f64 [8], overwritten
 * @param a, b      f64 [k]: the affine map on the input; a = 0: none
 * @param s, t      f64 [8]: the affine map on the output; s = 0: none
 * @param stage     8·k floats of scratch
 * @param kind      WEIGHTS_F32: out is f32 [k, 8]. WEIGHTS_INT8, WEIGHTS_INT8_NARROW, WEIGHTS_INT4: as
 *                  quantizePanelInt8, quantizePanelInt4 leave it
 * @param scales    of int8, f32 [8]; sums i32 [8]
 * @returns the largest |w' − w| before quantisation; NaN if any number is not finite
 */
export function packPanel(
  out: usize, outBias: usize, raw: usize, format: i32, rows: i32, k: i32, bias: usize, a: usize, b: usize, s: usize,
  t: usize, stage: usize, kind: i32, scales: usize, sums: usize,
): f32 {
  let change: f32 = 0;
  const rawRow = <usize>k * bytesOf(format), row = <usize>k * 4;
  for (let r: usize = 0; r < <usize>PANEL; ++r) {
    const target = stage + r * row, source = raw + r * rawRow, sum = bias + r * 8;
    if (r >= <usize>rows) {
      memory.fill(target, 0, row);
      store<f32>(outBias + r * 4, 0);
      continue;
    }
    const scale = s ? load<f64>(s + r * 8) : 1;
    let moved: f32 = 0;
    if (a) {
      if (format == RAW_F32) moved = foldRowF32(target, source, k, a, b, scale, sum);
      else if (format == RAW_F16) moved = foldRowF16(target, source, k, a, b, scale, sum);
      else if (format == RAW_BF16) moved = foldRowBF16(target, source, k, a, b, scale, sum);
      else moved = foldRowF64(target, source, k, a, b, scale, sum);
    } else {
      if (format == RAW_F32) moved = copyRowF32(target, source, k);
      else if (format == RAW_F16) moved = copyRowF16(target, source, k);
      else if (format == RAW_BF16) moved = copyRowBF16(target, source, k);
      else moved = copyRowF64(target, source, k);
    }
    const shifted = <f32>(load<f64>(sum) * scale + (t ? load<f64>(t + r * 8) : 0));
    store<f32>(outBias + r * 4, shifted);
    // Math.max semantics keep a NaN; so does this sum
    change = max(change, moved) + (moved - moved) + shifted * 0;
  }
  if (isInt8(kind)) quantizePanelInt8(out, scales, sums, stage, k, kind == WEIGHTS_INT8_NARROW && BYTE_DOT ? 63 : 127);
  else if (kind == WEIGHTS_INT4) quantizePanelInt4(out, stage, k);
  else transposeRows(out, stage, <usize>k * 4, k);
  return change;
}

// @ts-ignore: decorator
@inline
function isInt8(kind: i32): bool {
  return kind == WEIGHTS_INT8 || kind == WEIGHTS_INT8_NARROW;
}

/** Bytes of a packed panel. */
function panelBytes(kind: i32, k: i32): usize {
  return isInt8(kind) ? int8PanelBytes(k) : kind == WEIGHTS_INT4 ? int4PanelBytes(k) : <usize>k * (PANEL * 4);
}

/**
 * Packs `panels` panels, the first of them number `firstPanel` of a layer whose heads of `headDim` channels each fill
 * whole panels. Arguments as in packPanel, one after another for every real channel. Returns the largest change, NaN if
 * any number is not finite.
 */
export function packPanels(
  out: usize, outBias: usize, raw: usize, format: i32, firstPanel: i32, panels: i32, headDim: i32, k: i32,
  bias: usize, a: usize, b: usize, s: usize, t: usize, stage: usize, kind: i32, scales: usize, sums: usize,
): f32 {
  const panelsPerHead = (headDim + PANEL - 1) / PANEL;
  let change: f32 = 0;
  for (let i = 0; i < panels; ++i) {
    const rows = min(PANEL, headDim - ((firstPanel + i) % panelsPerHead) * PANEL);
    const moved = packPanel(out, outBias, raw, format, rows, k, bias, a, b, s, t, stage, kind, scales, sums);
    change = max(change, moved) + (moved - moved);
    out += panelBytes(kind, k); outBias += PANEL * 4;
    if (isInt8(kind)) { scales += PANEL * 4; sums += PANEL * 4; }
    raw += <usize>(rows * k) * bytesOf(format);
    const done = <usize>rows * 8;
    bias += done;
    if (s) s += done;
    if (t) t += done;
  }
  return change;
}

/**
 * A table of numbers as f32, in rows or head panels: heads of `headDim` columns each fill whole
 * panels, and the padding is 0.
 *
 * @param out  row r of panel p at out + p·outPanel + r·outRow
 * @param raw  [rows, columns] numbers in `format`
 * @returns 0, or NaN if any number is not finite
 */
export function unpackTable(
  out: usize, outRow: usize, outPanel: usize, bytes: usize, raw: usize, format: i32, rows: i32, columns: i32,
  headDim: i32,
): f32 {
  memory.fill(out, 0, bytes);
  const panelsPerHead = (headDim + PANEL - 1) / PANEL;
  let poison = i32x4.splat(0), rest: f32 = 0;
  for (let r = 0; r < rows; ++r) {
    for (let first = 0, head = 0; first < columns; first += headDim, ++head) {
      for (let c = 0; c < headDim;) {
        const target = out + <usize>(head * panelsPerHead + (c >> 3)) * outPanel + <usize>r * outRow
          + <usize>(c & 7) * 4;
        if (headDim - c >= 4) {
          const v = format == RAW_F32 ? decode4(raw, RAW_F32)
            : format == RAW_F16 ? decode4(raw, RAW_F16)
            : format == RAW_BF16 ? decode4(raw, RAW_BF16)
            : decode4(raw, RAW_F64);
          v128.store(target, v);
          poison = f32x4.add(poison, f32x4.mul(v, i32x4.splat(0)));
          c += 4; raw += 4 * bytesOf(format);
        } else {
          const v = decode1(raw, format);
          store<f32>(target, v);
          rest += v * 0;
          c += 1; raw += bytesOf(format);
        }
      }
    }
  }
  return sum4(poison) + rest;
}

/**
 * Rows of an embedding table, rows [begin, end): out[r] = table[ids[r]].
 *
 * @op 12 rows
 * @live units
 * @param out    f32 [rows, dim], row stride outRow bytes
 * @param ids    i32 [rows], each a row of the table
 * @param table  [vocabulary, dim] numbers in `format`, as in the checkpoint
 */
export function embed(
  begin: i32, end: i32, out: usize, outRow: usize, ids: usize, table: usize, format: i32, dim: i32,
): void {
  for (let r = <usize>begin; r < <usize>end; ++r) {
    const target = out + r * outRow, source = table + <usize>load<i32>(ids + r * 4) * <usize>dim * bytesOf(format);
    if (format == RAW_F32) copyRowF32(target, source, dim);
    else if (format == RAW_F16) copyRowF16(target, source, dim);
    else if (format == RAW_BF16) copyRowBF16(target, source, dim);
    else copyRowF64(target, source, dim);
  }
}

/** What embed touches: any row of the table. */
export function embedFits(
  units: i32, out: usize, outRow: usize, ids: usize, table: usize, format: i32, dim: i32,
): bool {
  return good(dim) && <u32>format <= <u32>RAW_F64 && idsOf(ids, units)
    && writes(out, span(units, outRow, floats(dim))) && reads(table, eachId(<u64>dim * bytesOf(format)));
}
