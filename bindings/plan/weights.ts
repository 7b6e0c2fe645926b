// Linear layers on their way from a checkpoint to packed panels: what is asked of the file, what is folded in, how it
// is packed. Folding is symbolic until load: a Linear carries the affine maps before and after it, and packing applies
// them in float64 once.
import { PANEL } from "../../assembly/header.ts";
import { RAW_BF16, RAW_F16, RAW_F32, RAW_F64, WEIGHTS_INT8_NARROW } from "../../assembly/opcodes.ts";
import type { FloatDType, TensorRef, Tensors } from "../checkpoint/index.ts";
import { notFinite, toFloat64 } from "../checkpoint/floats.ts";
import type { WeightType } from "./dtype.ts";
import { KINDS, panelBytes } from "./dtype.ts";
import type { Fold, Tensor } from "./record.ts";

/** y = scale ⊙ x + shift, per channel. `norm` names the norm it came from, for the report of folds. */
export interface Affine {
  readonly norm?: string;
  /** Not to be written to. */
  read(): Promise<{ scale: Float64Array; shift: Float64Array }>;
}

/** y = x · Wᵀ + bias, W rows [firstRow, firstRow + outDim) of a checkpoint tensor, between two lists of affine maps. */
export interface Linear {
  readonly name: string;
  readonly inDim: number;
  readonly outDim: number;
  readonly weight: TensorRef;
  readonly bias?: TensorRef;
  readonly firstRow: number;
  readonly before: readonly Affine[];
  readonly after: readonly Affine[];
}

/**
 * The linear layer `name` of a checkpoint: `name.weight` [outDim, inDim] (or `shape`, if stored as a convolution) and
 * `name.bias`.
 */
export function linearOf(
  tensors: Tensors,
  name: string,
  inDim: number,
  outDim: number,
  { bias = true, shape = [outDim, inDim] }: { bias?: boolean; shape?: number[] } = {},
): Linear {
  const scope = tensors.scope(name);
  const weight = scope.tensor("weight", shape);
  return {
    name: weight.name.replace(/\.weight$/, ""), inDim, outDim, weight,
    ...(bias ? { bias: scope.tensor("bias", [outDim]) } : {}), firstRow: 0, before: [], after: [],
  };
}

/** Output channels [first, first + count) of a layer: how q, k and v come out of a packed qkv. */
export function sliceOutputs(layer: Linear, part: string, first: number, count: number): Linear {
  if (layer.after.length) throw new Error(`slice ${layer.name} before folding anything after it`);
  return { ...layer, name: `${layer.name}.${part}`, firstRow: layer.firstRow + first, outDim: count };
}

/** Folds an affine map of the layer's input into it (exact). */
export function foldBefore(affine: Affine, layer: Linear): Linear {
  return { ...layer, before: [affine, ...layer.before] };
}

/** Folds an affine map of the layer's output into it (exact). */
export function foldAfter(layer: Linear, affine: Affine): Linear {
  return { ...layer, after: [...layer.after, affine] };
}

/** Views of the model's memory and the packing kernels: what filling weights needs. */
export interface Arena {
  floats(address: number, count: number): Float32Array;
  bytes(address: number, count: number): Uint8Array;
  doubles(address: number, count: number): Float64Array;
  /** Address of free memory for the time of loading. */
  readonly stage: number;
  packPanels(...args: number[]): number;
  unpackTable(...args: number[]): number;
  /** Adds the beginning of a tensor's raw bytes to the model's fingerprint. */
  sample(bytes: Uint8Array): void;
}

/** Something with a place in the weights region that is filled once, on load. */
export interface Weight {
  readonly name: string;
  readonly tensors: readonly Tensor[];
  /** Bytes needed at Arena.stage. */
  readonly stageBytes?: number;
  fill(arena: Arena): Promise<void>;
}

export interface PackedLinear extends Weight {
  readonly type: WeightType;
  /** Of int8: whether the weights are within −63 … 63. */
  readonly narrow: boolean;
  readonly panels: number;
  readonly panelsTensor: Tensor;
  readonly biasTensor: Tensor;
  /** Only of int8: f32 scales and i32 sums [panels, 8]. */
  readonly scalesTensor?: Tensor;
  readonly sumsTensor?: Tensor;
}

/** How the packing kernel calls a checkpoint's number formats. */
const FORMATS: Readonly<Record<FloatDType, { format: number; size: number }>> = {
  F32: { format: RAW_F32, size: 4 }, F16: { format: RAW_F16, size: 2 }, BF16: { format: RAW_BF16, size: 2 },
  F64: { format: RAW_F64, size: 8 },
};

const formatOf = ({ dtype }: TensorRef): { format: number; size: number } => FORMATS[dtype];

/** Raw weights that are copied into the model's memory at once. */
const STAGE_BYTES = 1 << 20;

/** Composition of affine maps, first to last; identity for none. */
async function compose(
  maps: readonly Affine[], channels: number,
): Promise<{ scale: Float64Array; shift: Float64Array }> {
  if (maps.length === 1) return maps[0]!.read();
  const scale = new Float64Array(channels).fill(1), shift = new Float64Array(channels);
  for (const map of maps) {
    const next = await map.read();
    for (let c = 0; c < channels; c++) {
      scale[c] = scale[c]! * next.scale[c]!;
      shift[c] = shift[c]! * next.scale[c]! + next.shift[c]!;
    }
  }
  return { scale, shift };
}

/**
 * Packs a layer into panels of eight output channels, f32 [panels][inDim][8] or quantised, and bias [panels][8];
 * channels are grouped in heads of `headDim`, each padded to whole panels with zeros.
 */
export function packedLinear(
  layer: Linear, headDim: number, type: WeightType, relaxed: boolean, narrow: boolean, onFold: (fold: Fold) => void,
): PackedLinear {
  const { inDim, outDim } = layer;
  const heads = outDim / headDim, panelsPerHead = Math.ceil(headDim / PANEL), panels = heads * panelsPerHead;
  const { format, size } = formatOf(layer.weight);
  const region = (name: string, bytes: number): Tensor => ({
    name, region: "weights", rows: panels, columns: bytes / 4 / panels, rowBytes: bytes / panels,
    panelBytes: bytes / panels, bytes: Math.ceil(bytes / 64) * 64, address: -1,
  });
  const bytesPerPanel = panelBytes(type, inDim, relaxed);
  const panelsTensor = region(layer.name, panels * bytesPerPanel);
  const biasTensor = region(`${layer.name}.bias`, panels * PANEL * 4);
  const quantised =
    type === "int8"
      ? {
          scalesTensor: region(`${layer.name}.scales`, panels * PANEL * 4),
          sumsTensor: region(`${layer.name}.sums`, panels * PANEL * 4),
        }
      : {};
  const mapped = layer.before.length + layer.after.length > 0, rowBytes = inDim * size;
  const panelsAtOnce = Math.min(panels, Math.max(1, Math.floor(STAGE_BYTES / (PANEL * rowBytes))));
  // stage: bias, s, t [outDim] and a, b [inDim] as f64; eight rows as f32; raw rows of the panels packed at once
  const doubles = 3 * outDim + 2 * inDim, rowsOffset = doubles * 8, rawOffset = rowsOffset + PANEL * inDim * 4;
  return {
    name: layer.name,
    type,
    narrow,
    panels,
    panelsTensor,
    biasTensor,
    ...quantised,
    tensors: [panelsTensor, biasTensor, ...Object.values(quantised)],
    stageBytes: rawOffset + panelsAtOnce * PANEL * rowBytes,
    async fill(arena) {
      const { bias } = layer, small = arena.doubles(arena.stage, doubles).fill(0);
      if (bias) {
        const step = formatOf(bias).size, from = layer.firstRow * step;
        small.set(toFloat64((await bias.read()).subarray(from, from + outDim * step), bias.dtype));
      }
      if (mapped) {
        const before = await compose(layer.before, inDim), after = await compose(layer.after, outDim);
        small.set(after.scale, outDim);
        small.set(after.shift, 2 * outDim);
        small.set(before.scale, 3 * outDim);
        small.set(before.shift, 3 * outDim + inDim);
      }
      // biases and folded norms tell models apart too
      arena.sample(arena.bytes(arena.stage, outDim * 8));
      arena.sample(arena.bytes(arena.stage + 3 * outDim * 8, 2 * inDim * 8));
      const at = (index: number): number => arena.stage + index * 8;
      const rowsBefore = (panel: number): number =>
        Math.floor(panel / panelsPerHead) * headDim + Math.min(headDim, (panel % panelsPerHead) * PANEL);
      let change = 0;
      for (let panel = 0; panel < panels; panel += panelsAtOnce) {
        const count = Math.min(panelsAtOnce, panels - panel);
        const first = rowsBefore(panel);
        const last = rowsBefore(panel + count);
        const raw = await layer.weight.read(
          arena.bytes(arena.stage + rawOffset, (last - first) * rowBytes), (layer.firstRow + first) * rowBytes,
        );
        if (panel === 0) arena.sample(raw);
        const moved = arena.packPanels(
          panelsTensor.address + panel * bytesPerPanel, biasTensor.address + panel * PANEL * 4, arena.stage + rawOffset,
          format, panel, count, headDim, inDim, at(first), mapped ? at(3 * outDim) : 0, at(3 * outDim + inDim),
          mapped ? at(outDim + first) : 0, mapped ? at(2 * outDim + first) : 0, arena.stage + rowsOffset,
          narrow ? WEIGHTS_INT8_NARROW : KINDS[type], (quantised.scalesTensor?.address ?? 0) + panel * PANEL * 4,
          (quantised.sumsTensor?.address ?? 0) + panel * PANEL * 4,
        );
        if (Number.isNaN(moved)) throw notFinite(layer.name);
        change = Math.max(change, moved);
      }
      for (const map of [...layer.before, ...layer.after])
        if (map.norm) onFold({ norm: map.norm, into: [layer.name], change });
    },
  };
}

/** Numbers for a table: a checkpoint's tensor, or f32 made on load. */
export type TableSource = TensorRef | (() => Promise<Float32Array>);

/** Fills a tensor in rows or head panels with a table [rows, columns], heads of `headDim` columns. */
export function unpackedTable(
  name: string, tensor: Tensor, source: TableSource, rows: number, columns: number, headDim: number,
): Weight {
  const computed = typeof source === "function";
  const raw = computed ? FORMATS.F32 : formatOf(source);
  return {
    name, tensors: [tensor], stageBytes: rows * columns * raw.size,
    async fill(arena) {
      const staged = arena.bytes(arena.stage, rows * columns * raw.size);
      if (computed) {
        const values = await source();
        staged.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      } else {
        await source.read(staged);
      }
      arena.sample(staged);
      const poison = arena.unpackTable(
        tensor.address, tensor.rowBytes, tensor.panelBytes, tensor.bytes, arena.stage, raw.format, rows, columns,
        headDim,
      );
      if (Number.isNaN(poison)) throw notFinite(name);
    },
  };
}

/** A table kept as the checkpoint has it, for the kernel that gathers rows from it. */
export function rawTable(table: TensorRef): { format: number; weight(tensor: Tensor): Weight } {
  const raw = formatOf(table);
  return {
    format: raw.format,
    weight: (tensor) => ({
      name: table.name, tensors: [tensor],
      async fill(arena) {
        arena.sample(await table.read(arena.bytes(tensor.address, table.byteLength)));
      },
    }),
  };
}
