// Ops that move, weigh and normalise rows.
import { PANEL } from "../../../assembly/header.ts";
import * as kernels from "../op-table.ts";
import { part, rowGrain } from "../record.ts";
import type { Plan, Tensor } from "../plan.ts";
import { ACTIVATIONS } from "../plan.ts";

/** Rows in groups, one group after another: of a map, the tokens of its windows. */
export interface RowGroups {
  /** Tells these groups from any others. */
  readonly name: string;
  readonly groups: number;
  /** Rows in a group. */
  readonly size: number;
  /** i32 [groups][size padded to 8]: a row, or −1 for one that is not there; the padding repeats the last. */
  readonly members: Int32Array;
}

/**
 * Rows of `from` in the order of `picked`: act(row + table), [groups·size, columns].
 * @param first    the first column taken, of `columns`
 * @param padding  [1, columns from `first` on], the row of members that are not there
 * @param table    [size, columns], added to every group
 * @param beside   this many rows side by side make a row of the output
 * @param panels   the output as head panels, group after group: [groups][columns/8][size][8]
 */
export function gatherRows(
  plan: Plan,
  from: Tensor,
  picked: RowGroups,
  {
    first = 0, columns = from.columns, padding, table, act = "none", beside = 1, panels = false,
  }: {
    first?: number;
    columns?: number;
    padding?: Tensor;
    table?: Tensor;
    act?: "none" | "relu";
    beside?: number;
    panels?: boolean;
  } = {},
): Tensor {
  const { name, groups, size, members } = picked, rows = groups * size;
  if (columns % PANEL || first % PANEL)
    throw new RangeError(`${from.name} gathered by ${columns} columns from ${first}: expected multiples of ${PANEL}`);
  if (!padding && members.includes(-1))
    throw new RangeError(`${name} reach outside ${from.name}: they need a padding row`);
  const out = panels
    ? plan.headPanels(`${from.name} in ${name}`, size, (groups * columns) / PANEL, PANEL)
    : plan.rows(`${from.name} in ${name}`, rows / beside, columns * beside);
  const outRow = out.rowBytes / beside;
  plan.op(
    kernels.gatherRows,
    {
      out, outGroup: size * (panels ? columns * 4 : outRow), outRow, outPanel: out.panelBytes,
      from: part(from, first * 4), fromRow: from.rowBytes, padding: padding && part(padding, first * 4),
      members: plan.indices(name, members), group: size, table, columns, act: ACTIVATIONS[act],
    },
    { units: rows, grain: rowGrain(rows) },
  );
  return out;
}

/** Head panels of another number of rows, linearly interpolated along them. */
export function stretchRows(plan: Plan, x: Tensor, rows: number): Tensor {
  const out = plan.headPanels(`${x.name} stretched`, rows, 1, x.columns);
  plan.op(
    kernels.stretchRows, { out, x, from: x.rows, to: rows }, { units: x.columns / PANEL, flops: 3 * rows * x.columns },
  );
  return out;
}

/** Mean over rows, [1, columns]. */
export function meanRows(plan: Plan, x: Tensor): Tensor {
  const out = plan.rows("mean", 1, x.columns);
  plan.op(
    kernels.meanRows, { out, x, rows: x.rows }, { units: Math.ceil(x.columns / PANEL), flops: x.rows * x.columns },
  );
  return out;
}

/** A view of row `index`, [1, columns]: no work. The copy keeps x alive as long as it is read. */
export function copyRow(plan: Plan, x: Tensor, index: number): Tensor {
  const out = plan.rows(`${x.name}[${index}]`, 1, x.columns);
  plan.op(kernels.copyBlocks, { out, from: part(x, index * x.rowBytes), bytes: out.rowBytes }, { units: 1 });
  return out;
}

/** Copies a constant row to row `index` of x. */
export function setRow(plan: Plan, x: Tensor, index: number, constant: Tensor): void {
  plan.op(
    kernels.copyBlocks,
    { out: part(x, index * x.rowBytes), from: constant, bytes: Math.min(x.rowBytes, constant.rowBytes) },
    { units: 1 },
  );
}

/** Layer norm over columns, in place when `out` is x. */
export function layerNorm(
  plan: Plan, x: Tensor, weight: Tensor, bias: Tensor, eps: number, out = plan.rows("layer norm", x.rows, x.columns),
): Tensor {
  plan.op(
    kernels.layerNorm,
    { out, x, weight, bias, dim: x.columns, eps },
    { units: x.rows, flops: 8 * x.rows * x.columns, grain: rowGrain(x.rows) },
  );
  return out;
}

/** x ⊙ weight + bias per channel, for a norm that cannot be folded. */
export function affine(
  plan: Plan, x: Tensor, weight: Tensor, bias: Tensor, out = plan.rows("affine", x.rows, x.columns),
): Tensor {
  plan.op(
    kernels.affine,
    { out, x, weight, bias, dim: x.columns },
    { units: x.rows, flops: 2 * x.rows * x.columns, grain: rowGrain(x.rows) },
  );
  return out;
}

/**
 * x/√(mean(x²) + eps) ⊙ weight, of every row or of every head of a row; in place when `out` is x.
 * @param weight  [1, columns of a row or of one head]
 */
export function rmsNorm(
  plan: Plan,
  x: Tensor,
  weight: Tensor,
  eps: number,
  { heads = 1, out = plan.rows("rms norm", x.rows, x.columns) }: { heads?: number; out?: Tensor } = {},
): Tensor {
  const dim = x.columns / heads;
  if (weight.columns !== dim)
    throw new RangeError(
      `${weight.name} has ${weight.columns} numbers, expected ${dim} for ${heads} heads of ${x.columns} channels`,
    );
  // heads lie side by side in a row without padding
  if (heads > 1 && x.columns % PANEL)
    throw new RangeError(
      `${heads} heads of ${dim} channels have no norm of their own: expected a multiple of ${PANEL} channels in all`,
    );
  plan.op(kernels.rmsNorm, { out, outRow: out.rowBytes / heads, x, xRow: x.rowBytes / heads, weight, dim, eps }, {
    units: plan.liveRows(x, heads), flops: 4 * x.rows * x.columns, grain: rowGrain(x.rows * heads),
  });
  return out;
}
