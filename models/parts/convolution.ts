// Convolutions over a map of pixels as linear layers over its windows, with the norms around them folded in.
import type { TensorRef, Tensors } from "../../bindings/checkpoint/index.ts";
import { gatherWindows, windowsAlong } from "../../bindings/plan/ops/convolution.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Affine, Linear } from "../../bindings/plan/weights.ts";
import { foldAfter, foldBefore, linearOf } from "../../bindings/plan/weights.ts";
import { float64 } from "./values.ts";

export interface Convolution {
  /** In the checkpoint: `name.weight` [dim, channels, kernel, kernel], `name.bias` [dim]. */
  readonly name: string;
  readonly kernel: number;
  readonly dim: number;
  readonly stride?: number;
  readonly pad?: number;
  /** The norm of the map, and that of the result. */
  readonly before?: Affine;
  readonly after?: Affine;
  /** A table in the shape of the result. */
  readonly add?: Tensor;
}

/**
 * Map [height·side, channels] → [windows, dim]; zeros beyond the border stand for the normed map's, as the papers pad
 * after the norm.
 */
export function convolution(
  plan: Plan, x: Tensor, side: number, tensors: Tensors,
  { name, kernel, dim, stride = kernel, pad = 0, before, after, add }: Convolution,
): Tensor {
  const channels = x.columns, shape = [dim, channels, kernel, kernel];
  const conv = linearOf(tensors, name, channels * kernel ** 2, dim, { shape });
  const windows = gatherWindows(plan, x, side, kernel, { stride, pad });
  let layer: Linear = { ...conv, weight: channelsLast(conv.weight) }, table = add;
  if (before && pad === 0) layer = foldBefore(everyTap(before, kernel ** 2), layer);
  if (before && pad > 0) {
    // at the border a zero is not what the norm makes of a zero: its scale folds, its shift becomes a table of the taps
    // inside the map
    if (add) throw new RangeError(`${conv.name} has a norm before its padding and a table: add them up first`);
    const height = x.rows / side;
    const across = windowsAlong(side, kernel, stride, pad), down = windowsAlong(height, kernel, stride, pad);
    const taps = { height, side, across, down, kernel, stride, pad };
    layer = foldBefore(everyTap(scaleOf(before), kernel ** 2), layer);
    table = plan.table(`${conv.name}.border`, windows.rows, dim, () => shiftTable(conv.weight, before, after, taps));
  }
  if (after) layer = foldAfter(layer, after);
  return plan.linear(windows, layer, table ? { add: table } : {});
}

/**
 * Weights [out, channels, y, x] as if stored [out, y, x, channels], which is how windows of a map lie. Read by whole
 * rows.
 */
function channelsLast(weight: TensorRef): TensorRef {
  const [outDim, channels, height, width] = weight.shape as [number, number, number, number], taps = height * width;
  const size = weight.byteLength / (outDim * channels * taps);
  return {
    ...weight, shape: [outDim, height, width, channels],
    async read(into, from) {
      const raw = into ? (await weight.read(into, from)).slice() : await weight.read();
      const out = new Uint8Array(raw.length);
      // 16-bit words: the unit of every number format
      const wordsOf = (bytes: Uint8Array) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
      const source = wordsOf(raw), target = wordsOf(out);
      const words = size / 2, row = channels * taps;
      for (let at = 0; at < source.length / words; at += row) {
        for (let c = 0; c < channels; c++) {
          for (let t = 0; t < taps; t++) {
            const to = (at + t * channels + c) * words, place = (at + c * taps + t) * words;
            for (let w = 0; w < words; w++) target[to + w] = source[place + w]!;
          }
        }
      }
      into?.set(out);
      return into ?? out;
    },
  };
}

/** An affine map of a pixel's channels as one of a window's. */
function everyTap(affine: Affine, taps: number): Affine {
  const repeat = (values: Float64Array): Float64Array => {
    const all = new Float64Array(values.length * taps);
    for (let t = 0; t < taps; t++) all.set(values, t * values.length);
    return all;
  };
  return {
    ...affine,
    async read() {
      const { scale, shift } = await affine.read();
      return { scale: repeat(scale), shift: repeat(shift) };
    },
  };
}

const scaleOf = (affine: Affine): Affine => ({
  ...affine,
  async read() {
    const { scale } = await affine.read();
    return { scale, shift: new Float64Array(scale.length) };
  },
});

type Taps = Record<"height" | "side" | "across" | "down" | "kernel" | "stride" | "pad", number>;

/** What the shift of the norm before a padded convolution adds to each of its outputs [windows, dim]. */
async function shiftTable(
  weight: TensorRef, before: Affine, after: Affine | undefined,
  { height, side, across, down, kernel, stride, pad }: Taps,
): Promise<Float32Array> {
  const [dim, channels] = weight.shape as [number, number], taps = kernel * kernel;
  const w = await float64(weight), { shift } = await before.read(), scale = (await after?.read())?.scale;
  const perTap = new Float64Array(dim * taps);
  for (let o = 0; o < dim; o++) {
    for (let c = 0; c < channels; c++) {
      for (let t = 0; t < taps; t++) {
        const at = o * taps + t;
        perTap[at] = perTap[at]! + w[(o * channels + c) * taps + t]! * shift[c]!;
      }
    }
  }
  const table = new Float32Array(down * across * dim);
  for (let p = 0; p < down * across; p++) {
    const top = Math.floor(p / across) * stride - pad, left = (p % across) * stride - pad;
    for (let o = 0; o < dim; o++) {
      let sum = 0;
      for (let t = 0; t < taps; t++) {
        const y = top + Math.floor(t / kernel), x = left + (t % kernel);
        if (y >= 0 && y < height && x >= 0 && x < side) sum += perTap[o * taps + t]!;
      }
      table[p * dim + o] = sum * (scale?.[o] ?? 1);
    }
  }
  return table;
}
