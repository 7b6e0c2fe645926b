// Reductions and moves over rows.
import { PANEL } from "./header";

/**
 * Mean over rows, column panels [begin, end): out[c] = Σ_r x[r, c] / rows.
 *
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

/** Copies blocks [begin, end) of `bytes` each. */
export function copyBlocks(begin: i32, end: i32, out: usize, from: usize, bytes: usize): void {
  const offset = <usize>begin * bytes;
  memory.copy(out + offset, from + offset, <usize>(end - begin) * bytes);
}
