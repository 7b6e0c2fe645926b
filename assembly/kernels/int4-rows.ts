// A linear layer on four-bit weights for any number of rows: decode reads the nibbles as they are, prefill
// unpacks a panel at a time.
import { floats, reads, scratchHolds, span } from "../extents";
import { PANEL } from "../header";
import { int4PanelBytes, int4ParamBytes, int4VectorBytes, linearInt4, unpackPanelInt4 } from "./int4";
import { finishPanel, layerTouches, panelProduct } from "./matmul";
import { ACT_GATE } from "../opcodes";

/**
 * Linear layer on four-bit weights, output panels [begin, end) of eight columns; everything else as in `linear`.
 *
 * @op 21 panels linearInt4
 * @live m
 * @param x          f32 [m, k], read when m > 1
 * @param q, params  of row 0 as quantizeVectorInt8 leaves them, read when m = 1
 * @param w          [panels] of int4PanelBytes(k)
 * @param scratch    8·k floats, this thread's own
 */
export function linearInt4Rows(
  begin: i32, end: i32, out: usize, outRow: usize, outPanel: usize, x: usize, xRow: usize, q: usize, params: usize,
  w: usize, bias: usize, addend: usize, addendRow: usize, addendPanel: usize, m: i32, k: i32, act: i32, scratch: usize,
): void {
  if (m == 1) {
    linearInt4(begin, end, out, outPanel, q, params, w, bias, addend, addendPanel, k, act);
    return;
  }
  const added = act == ACT_GATE ? 0 : addend;
  for (let p = <usize>begin; p < <usize>end; ++p) {
    const target = out + p * outPanel, by = addend + p * addendPanel;
    unpackPanelInt4(scratch, w, <i32>p, k);
    panelProduct(target, outRow, x, xRow, scratch, m, k, bias + p * (PANEL * 4), added ? by : 0, addendRow);
    finishPanel(target, outRow, by, addendRow, m, act);
  }
}

/** What linearInt4Rows touches. */
export function linearInt4RowsFits(
  units: i32, out: usize, outRow: usize, outPanel: usize, x: usize, xRow: usize, q: usize, params: usize, w: usize,
  bias: usize, addend: usize, addendRow: usize, addendPanel: usize, m: i32, k: i32, act: i32,
): bool {
  return layerTouches(units, out, outRow, outPanel, addend, addendRow, addendPanel, m, k, act)
    && reads(x, span(m, xRow, floats(k))) && reads(q, int4VectorBytes(k)) && reads(params, int4ParamBytes(k))
    && reads(w, <u64>units * int4PanelBytes(k)) && reads(bias, floats(units, PANEL)) && scratchHolds(floats(k, PANEL));
}
