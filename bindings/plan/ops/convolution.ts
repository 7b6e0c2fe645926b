// Ops of convolutions: depthwise ones, and the windows of those that are linear layers.
import { PANEL } from "../../../assembly/header.ts";
import * as kernels from "../op-table.ts";
import type { Address } from "../record.ts";
import { grainFor, headWidth, part, rowGrain } from "../record.ts";
import type { Activation, Plan, Tensor } from "../plan.ts";
import { ACTIVATIONS } from "../plan.ts";
import { unpackedTable } from "../weights.ts";

/** Kernels of a depthwise convolution, row-major, by name. */
export interface Taps {
  readonly name: string;
  read(): Promise<Float32Array>;
}

/** Padded rows of a depthwise convolution that one thread has at hand: enough to stay in its second-level cache. */
const WINDOW_BYTES = 128 << 10;
/** Windows of a convolution along one side of a map. */
export const windowsAlong = (length: number, kernel: number, stride: number, pad: number): number =>
  Math.floor((length + 2 * pad - kernel) / stride) + 1;

/** Taps [channels, 1, size, size] as panels [channels/8][size²][8]. */
function tapsTensor(plan: Plan, taps: Taps, size: number, channels: number): Tensor {
  const count = size * size, width = headWidth(channels);
  const layout = plan.tensor(taps.name, "weights", count, width, PANEL * 4, count * PANEL * 4, count * width * 4);
  // [channels, taps] → [taps, channels], whose panels are the layout wanted
  const turned = async (): Promise<Float32Array> => {
    const values = await taps.read(), out = new Float32Array(count * channels);
    if (values.length !== out.length)
      throw new RangeError(
        `"${taps.name}" has ${values.length} taps, expected ${size}×${size} for each of ${channels} channels`,
      );
    for (let c = 0; c < channels; c++) for (let i = 0; i < count; i++) out[i * channels + c] = values[c * count + i]!;
    return out;
  };
  return plan.once(taps.name, layout, (tensor) => unpackedTable(taps.name, tensor, turned, count, channels, channels));
}

/**
 * out += depthwise 5×5 of the map v (head panels), its taps [headDim, 1, 5, 5] shared by the heads; of windows one
 * after another.
 */
export function depthwiseConv(
  plan: Plan, out: Tensor, v: Tensor, taps: Taps, height: number, side: number, heads: number, headDim: number,
  windows = 1,
): void {
  const width = headWidth(headDim);
  plan.needScratch((height + 4) * (side + 4) * PANEL * 4);
  const w = tapsTensor(plan, taps, 5, headDim);
  for (let i = 0; i < windows; i++) {
    plan.op(
      kernels.depthwiseConv,
      {
        out: part(out, i * height * side * out.rowBytes), map: part(v, i * heads * width * height * side * 4), w,
        height, side, headDim, width,
      },
      { units: heads * (width / PANEL), flops: 50 * height * side * heads * headDim },
    );
  }
}

/**
 * act(bias + add + depthwise convolution size×size of x), stride 1, zeros around every map; taps [channels, 1, size,
 * size], every channel's own. x: maps of height × side one after another, in rows, or in head panels of whole panels.
 * out: rows unless given.
 * @param bias      [1, channels]
 * @param add       has the output's layout, and may be the output itself
 * @param across    this many maps lie side by side in a line of pixels
 * @param channels  of x from its column `first` on, to those of out and add from `to` on
 */
export function depthwiseConvChannels(
  plan: Plan,
  x: Tensor,
  taps: Taps,
  size: 3 | 5,
  height: number,
  side: number,
  {
    bias, act = "none", add, across = 1, channels = x.columns, first = 0, to = 0,
    out = plan.rows("depthwise", x.rows, channels),
  }: {
    bias?: Tensor;
    act?: Exclude<Activation, "gate">;
    add?: Tensor;
    across?: number;
    channels?: number;
    first?: number;
    to?: number;
    out?: Tensor;
  } = {},
): Tensor {
  const panels = Math.ceil(channels / PANEL);
  if (x.rows % (height * side * across))
    throw new RangeError(
      `${x.name} has ${x.rows} rows, expected whole maps of `
        + `${height}×${side}${across > 1 ? `, ${across} side by side` : ""}`,
    );
  if (out === x)
    throw new RangeError(`the convolution of ${x.name} cannot be written over it: neighbours are read again`);
  const whole = to === 0 && channels === x.columns;
  if (out.rows !== x.rows || (whole ? out.columns !== channels : out.columns < to + channels))
    throw new RangeError(
      `the convolution of ${x.name} is [${x.rows}, ${channels}], but ${out.name} is [${out.rows}, ${out.columns}]`,
    );
  if (first % PANEL || to % PANEL || first + channels > x.columns)
    throw new RangeError(
      `${channels} channels of ${x.name} from ${first}, to ${to}: expected multiples of ${PANEL} within its `
        + `${x.columns}`,
    );
  const at = (tensor: Tensor, column: number): Address => part(tensor, (column / PANEL) * tensor.panelBytes);
  const none = bias ?? plan.table(`${taps.name} no bias`, 1, channels, async () => new Float32Array(channels));
  const pairBytes = 2 * PANEL * 4 * size * (side + size - 1);
  const group = 2 * Math.max(1, Math.min(Math.ceil(panels / 2), Math.floor(WINDOW_BYTES / pairBytes)));
  plan.needScratch((group / 2) * pairBytes);
  const flops = 2 * size * size * x.rows * channels, units = x.rows / side;
  plan.op(
    kernels.depthwiseConvChannels,
    {
      out: at(out, to),
      x: at(x, first),
      w: tapsTensor(plan, taps, size, channels),
      bias: none,
      addend: add && at(add, to),
      height,
      side,
      panels,
      taps: size,
      act: ACTIVATIONS[act],
      across,
      group,
      // rows above and below a chunk are copied once more for it
    },
    { units, flops, grain: Math.min(units, Math.max(grainFor(units, flops), 2 * size)) },
  );
  return out;
}

/**
 * Image [channels, height, side] → windows [tokens, channels·kernel²], which may overlap and reach `pad` zeros beyond
 * the border.
 */
export function gatherPatches(
  plan: Plan, image: Tensor, channels: number, height: number, side: number, kernel: number,
  { stride = kernel, pad = 0 }: { stride?: number; pad?: number } = {},
): Tensor {
  const down = windowsAlong(height, kernel, stride, pad), across = windowsAlong(side, kernel, stride, pad);
  const out = plan.rows("patches", down * across, channels * kernel * kernel);
  plan.op(
    kernels.gatherPatches, { out, image, channels, height, side, kernel, stride, pad, across },
    { units: out.rows, grain: rowGrain(out.rows) },
  );
  return out;
}

/** Map [height·side, channels] → windows [tokens, kernel²·channels], the same of a map of rows. */
export function gatherWindows(
  plan: Plan, map: Tensor, side: number, kernel: number,
  { stride = kernel, pad = 0 }: { stride?: number; pad?: number } = {},
): Tensor {
  const height = map.rows / side, channels = map.columns;
  const down = windowsAlong(height, kernel, stride, pad), across = windowsAlong(side, kernel, stride, pad);
  const out = plan.rows("windows", down * across, kernel * kernel * channels);
  plan.op(
    kernels.gatherWindows, { out, map, channels, height, side, kernel, stride, pad, across },
    { units: out.rows, grain: rowGrain(out.rows) },
  );
  return out;
}
