// Reductions and moves over rows.
import { floats, good, reads, span, writes } from "../extents";
import { PANEL } from "../header";

/**
 * Mean over rows, column panels [begin, end): out[c] = Σ_r x[r, c] / rows.
 *
 * @op 8 panels
 * @param out  f32 [columns padded to 8]
 * @param x    f32 [rows, columns padded to 8], row stride xRow bytes
 */
export function meanRows(begin: i32, end: i32, out: usize, x: usize, xRow: usize, rows: i32): void {
  const scale = f32x4.splat(1 / <f32>rows);
  for (let p = begin; p < end; ++p) {
    const column = <usize>p * (PANEL * 4);
    let row = x + column;
    let s0 = i32x4.splat(0), s1 = s0;
    for (let r = 0; r < rows; ++r, row += xRow) {
      s0 = f32x4.add(s0, v128.load(row)); s1 = f32x4.add(s1, v128.load(row, 16));
    }
    v128.store(out + column, f32x4.mul(s0, scale)); v128.store(out + column, f32x4.mul(s1, scale), 16);
  }
}

/** What meanRows touches. */
export function meanRowsFits(units: i32, out: usize, x: usize, xRow: usize, rows: i32): bool {
  return good(rows) && writes(out, floats(units, PANEL)) && reads(x, span(rows, xRow, floats(units, PANEL)));
}

/**
 * Copies blocks [begin, end) of `bytes` each.
 *
 * @op 11 blocks copy
 */
export function copyBlocks(begin: i32, end: i32, out: usize, from: usize, bytes: usize): void {
  const offset = <usize>begin * bytes;
  memory.copy(out + offset, from + offset, <usize>(end - begin) * bytes);
}

/** What copyBlocks touches. */
export function copyBlocksFits(units: i32, out: usize, from: usize, bytes: usize): bool {
  return writes(out, <u64>units * bytes) && reads(from, <u64>units * bytes);
}

/** Checksum of `bytes` (a multiple of 16): any single changed word changes it. Not a signature. */
export function checksum(from: usize, bytes: usize): u32 {
  let a = i32x4.splat(0x2545f491);
  for (let i: usize = 0; i < bytes; i += 16) {
    // an odd multiplier makes each step invertible, so a difference in one word survives to the end
    a = i32x4.mul(v128.xor(a, v128.load(from + i)), i32x4.splat(0x9e3779b1));
    a = v128.xor(a, i32x4.shr_u(a, 15));
  }
  let hash: u32 = <u32>i32x4.extract_lane(a, 0);
  hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35 + <u32>i32x4.extract_lane(a, 1);
  hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35 + <u32>i32x4.extract_lane(a, 2);
  hash = (hash ^ (hash >>> 13)) * 0xc2b2ae35 + <u32>i32x4.extract_lane(a, 3);
  return hash ^ (hash >>> 16);
}
