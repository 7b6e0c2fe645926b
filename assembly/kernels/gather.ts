// Rows in another order: neighbours side by side (patch merging), maps cut into windows and put together again.
import { floats, good, largestIndex, negative, reads, small, span, woven, writes } from "../extents";
import { PANEL } from "../header";
import { ACT_RELU } from "../opcodes";

/**
 * Rows by a table of indices, [begin, end): out_i = act(from[members_i] + table[i mod group]).
 *
 * @op 24 rows
 * @param out      f32: row i begins at (i / group)·outGroup + (i mod group)·outRow bytes, its panels of eight channels
 *                 are outPanel bytes apart
 * @param from     f32 [rows, columns], row stride fromRow bytes
 * @param padding  f32 [columns], what members of −1 are
 * @param members  i32 [groups][group padded to 8]: a row of `from`, or −1
 * @param table    f32 [group, columns], row stride tableRow bytes; 0 = none
 * @param columns  multiple of 8
 * @param act      ACT_NONE | ACT_RELU
 */
export function gatherRows(
  begin: i32, end: i32, out: usize, outGroup: usize, outRow: usize, outPanel: usize, from: usize, fromRow: usize,
  padding: usize, members: usize, group: i32, table: usize, tableRow: usize, columns: i32, act: i32,
): void {
  const zero = i32x4.splat(0), padded = (group + PANEL - 1) & -PANEL;
  for (let i = begin; i < end; ++i) {
    const g = i / group, r = i - g * group;
    const member = load<i32>(members + (<usize>(g * padded + r) << 2));
    let source = member < 0 ? padding : from + <usize>member * fromRow;
    let target = out + <usize>g * outGroup + <usize>r * outRow;
    if (!table && act != ACT_RELU && outPanel == PANEL * 4) {
      memory.copy(target, source, <usize>columns * 4);
      continue;
    }
    let added = table + <usize>r * tableRow;
    for (let c = 0; c < columns; c += PANEL) {
      let a = v128.load(source), b = v128.load(source, 16);
      if (table) {
        a = f32x4.add(a, v128.load(added)); b = f32x4.add(b, v128.load(added, 16));
        added += PANEL * 4;
      }
      if (act == ACT_RELU) { a = f32x4.pmax(a, zero); b = f32x4.pmax(b, zero); }
      v128.store(target, a); v128.store(target, b, 16);
      source += PANEL * 4; target += outPanel;
    }
  }
}

/** What gatherRows touches: rows of `from` up to the largest index. */
export function gatherRowsFits(
  units: i32, out: usize, outGroup: usize, outRow: usize, outPanel: usize, from: usize, fromRow: usize, padding: usize,
  members: usize, group: i32, table: usize, tableRow: usize, columns: i32, act: i32,
): bool {
  if (!small(group) || !good(columns) || columns % PANEL || <u32>act > <u32>ACT_RELU) return false;
  const groups = (units + group - 1) / group, row = floats(columns);
  const count = <u64>groups * ((group + PANEL - 1) & -PANEL), rows = largestIndex(members, count) + 1;
  if (rows < 0 || (rows > 0 && !reads(from, span(rows, fromRow, row)))) return false;
  if (negative(members, count) && !reads(padding, row)) return false;
  if (table && !reads(table, span(group, tableRow, row))) return false;
  return writes(out, woven(groups, outGroup, woven(group, outRow, span(columns / PANEL, outPanel, 32))));
}
