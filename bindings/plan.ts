// The plan builder: a model's forward pass, recorded once as flat ops over tensors whose addresses are decided at the end.
// A tensor's rows are padded to whole panels of eight floats, so that no kernel ever meets a ragged column.
import { PANEL } from "../assembly/header.ts";
import * as opcodes from "../assembly/opcodes.ts";
import { OP_ARGS, OP_BYTES } from "../assembly/opcodes.ts";
import type { Linear, PackedLinear, Weight } from "./weights.ts";
import { packedLinear } from "./weights.ts";

export type Region = "input" | "weights" | "scratch";

/** A matrix in the model's memory. `rows` layout: row-major. `panels`: f32 [panels][rows][8]. */
export interface Tensor {
  readonly name: string;
  readonly region: Region;
  readonly rows: number;
  readonly columns: number;
  readonly rowBytes: number;
  readonly panelBytes: number;
  readonly bytes: number;
  /** Byte address, known once the plan is laid out. */
  address: number;
}

export type Activation = "none" | "relu" | "gelu" | "silu";
const ACTIVATIONS = { none: opcodes.ACT_NONE, relu: opcodes.ACT_RELU, gelu: opcodes.ACT_GELU, silu: opcodes.ACT_SILU };

/** An address inside a tensor, or 32-bit float bits: what an op's arguments may be beside integers. */
type Argument = number | Tensor | { tensor: Tensor; offset: number } | { f32: number };

interface Op {
  readonly code: number;
  readonly name: string;
  readonly label: string;
  readonly units: number;
  readonly grain: number;
  readonly args: readonly Argument[];
  readonly flops: number;
}

/** What one PRepBN norm became: `change` is the largest difference it made to a coefficient of the layer it went into. */
export interface Fold {
  readonly norm: string;
  readonly into: string[];
  change: number;
}

const alignUp = (n: number, to: number): number => Math.ceil(n / to) * to;
const tensorOf = (a: Argument): Tensor | undefined =>
  typeof a === "object" ? ("tensor" in a ? a.tensor : "f32" in a ? undefined : a) : undefined;

/** Channels of one head padded to whole panels. */
export const headWidth = (headDim: number): number => alignUp(headDim, PANEL);

export class Plan {
  readonly ops: Op[] = [];
  readonly weights: Weight[] = [];
  readonly folds: Fold[] = [];
  /** Named places in the forward pass: the tensor there, and how many ops come before. */
  readonly marks = new Map<string, { tensor: Tensor; ops: number }>();
  /** Bytes of private scratch that the hungriest kernel needs on each thread. */
  threadScratch = 64;
  inputTensor: Tensor | undefined;
  private readonly lifetimes = new Map<Tensor, { first: number; last: number }>();
  private label = "";

  // tensors

  private tensor(name: string, region: Region, rows: number, columns: number, rowBytes: number, panelBytes: number, bytes: number): Tensor {
    return { name, region, rows, columns, rowBytes, panelBytes, bytes: alignUp(bytes, 64), address: -1 };
  }

  /** Row-major [rows, columns]; `room` columns when a kernel may write padding past the last. */
  rows(name: string, rows: number, columns: number, room = columns, region: Region = "scratch"): Tensor {
    const rowBytes = alignUp(room, PANEL) * 4;
    return this.tensor(name, region, rows, columns, rowBytes, PANEL * 4, rows * rowBytes);
  }

  /** Head panels [heads][headWidth/8][rows][8]. */
  headPanels(name: string, rows: number, heads: number, headDim: number, region: Region = "scratch"): Tensor {
    const columns = heads * headWidth(headDim);
    return this.tensor(name, region, rows, columns, PANEL * 4, rows * PANEL * 4, rows * columns * 4);
  }

  private block(name: string, bytes: number): Tensor {
    return this.tensor(name, "scratch", 1, bytes / 4, bytes, PANEL * 4, bytes);
  }

  /** The network's input: f32 of this shape, densely packed. */
  input(shape: readonly number[]): Tensor {
    const count = shape.reduce((a, b) => a * b, 1);
    this.inputTensor = this.tensor("input", "input", 1, count, count * 4, PANEL * 4, count * 4);
    return this.inputTensor;
  }

  /** Constant data as a tensor of `like`'s layout; `fill` writes row-major values into place when the model is loaded. */
  constant(name: string, like: Tensor, read: () => Promise<Float32Array>, place: (values: Float32Array, out: Float32Array) => void): Tensor {
    const tensor = { ...like, name, region: "weights" as const, address: -1 };
    this.weights.push({
      name, tensors: [tensor],
      async fill({ floats }) {
        const values = await read();
        const out = floats(tensor.address, tensor.bytes / 4);
        out.fill(0);
        place(values, out);
        // 0·NaN and 0·∞ are NaN
        let poison = 0;
        for (let i = 0; i < values.length; i++) poison += values[i]! * 0;
        if (poison !== 0) throw notFinite(name);
      },
    });
    return tensor;
  }

  /** A row-major constant [rows, columns]. */
  table(name: string, rows: number, columns: number, read: () => Promise<Float32Array>): Tensor {
    return this.constant(name, this.rows(name, rows, columns), read, (values, out) => {
      const stride = alignUp(columns, PANEL);
      for (let r = 0; r < rows; r++) out.set(values.subarray(r * columns, (r + 1) * columns), r * stride);
    });
  }

  /** A constant [rows, heads·headDim] in head panels. */
  headTable(name: string, rows: number, heads: number, headDim: number, read: () => Promise<Float32Array>): Tensor {
    const width = headWidth(headDim);
    return this.constant(name, this.headPanels(name, rows, heads, headDim), read, (values, out) => {
      for (let h = 0; h < heads; h++) {
        for (let c = 0; c < headDim; c += PANEL) {
          const panel = (h * width + c) * rows, from = h * headDim + c, count = Math.min(PANEL, headDim - c);
          for (let r = 0; r < rows; r++) {
            for (let i = 0; i < count; i++) out[panel + r * PANEL + i] = values[r * heads * headDim + from + i]!;
          }
        }
      }
    });
  }

  // ops

  /** Names the ops that follow, for toString() and profiles. */
  scope(label: string): void {
    this.label = label;
  }

  /** Remembers `tensor` as it is at this point of the pass. */
  mark(name: string, tensor: Tensor): void {
    this.marks.set(name, { tensor, ops: this.ops.length });
  }

  private op(code: number, name: string, units: number, flops: number, args: readonly Argument[], grain = 0): void {
    if (args.length > (OP_BYTES - OP_ARGS) / 4) throw new RangeError(`op ${name} has ${args.length} arguments, a record holds ${(OP_BYTES - OP_ARGS) / 4}`);
    for (const tensor of args.map(tensorOf)) {
      if (tensor?.region !== "scratch") continue;
      const seen = this.lifetimes.get(tensor);
      if (seen) seen.last = this.ops.length;
      else this.lifetimes.set(tensor, { first: this.ops.length, last: this.ops.length });
    }
    this.ops.push({ code, name, label: this.label, units, grain: grain || grainFor(units, flops), args, flops });
  }

  /**
   * out = act(x · Wᵀ + bias + add), [x.rows, outDim]. `heads` asks for head panels instead of rows; `add` has the output's layout
   * (a residual, a position table) and may be the output itself; `room` and `rowOffset` place the rows inside a larger `out`.
   */
  linear(
    x: Tensor, layer: Linear,
    { act = "none", add, out, heads, rowOffset = 0 }: { act?: Activation; add?: Tensor; out?: Tensor; heads?: number; rowOffset?: number } = {},
  ): Tensor {
    if (x.columns !== layer.inDim) throw new RangeError(`${layer.name} takes ${layer.inDim} channels, ${x.name} has ${x.columns}`);
    const headDim = heads ? layer.outDim / heads : layer.outDim;
    const packed: PackedLinear = packedLinear(layer, headDim, (fold) => this.folds.push(fold));
    this.weights.push(packed);
    const target = out ?? (heads ? this.headPanels(layer.name, x.rows, heads, headDim) : this.rows(layer.name, x.rows, layer.outDim));
    const panels = packed.panels;
    const at = (t: Tensor): Argument => (rowOffset ? { tensor: t, offset: rowOffset * t.rowBytes } : t);
    this.op(opcodes.LINEAR, "linear", panels, 2 * x.rows * layer.inDim * layer.outDim, [
      at(target), target.rowBytes, target.panelBytes, x, x.rowBytes, packed.panelsTensor, packed.biasTensor,
      add ? at(add) : 0, add?.rowBytes ?? 0, add?.panelBytes ?? 0, x.rows, layer.inDim, ACTIVATIONS[act],
    ]);
    return target;
  }

  /** φ(k)ᵀv and Σφ(k) of every head; k and v are head panels, k already through φ. */
  keyValueState(k: Tensor, v: Tensor, heads: number, headDim: number): Tensor {
    const width = headWidth(headDim);
    const state = this.block("key-value state", heads * (width * width + width) * 4);
    this.op(opcodes.KEY_VALUE_STATE, "keyValueState", heads * (width / PANEL), 2 * k.rows * heads * headDim * headDim, [state, k, v, k.rows, width]);
    return state;
  }

  /** φ(q)·state / (φ(q)·Σφ(k) + eps), [tokens, heads·headDim]. */
  linearAttention(q: Tensor, state: Tensor, heads: number, headDim: number, eps: number): Tensor {
    const out = this.attentionOutput(q.rows, heads, headDim);
    this.op(opcodes.LINEAR_ATTENTION, "linearAttention", q.rows, 2 * q.rows * heads * headDim * headDim, [
      out, out.rowBytes, q, q.rowBytes, state, heads, headDim, headWidth(headDim), { f32: eps },
    ], rowGrain(q.rows));
    return out;
  }

  private attentionOutput(rows: number, heads: number, headDim: number): Tensor {
    return this.rows("attention", rows, heads * headDim, (heads - 1) * headDim + headWidth(headDim));
  }

  /** Attention through scores: q and k are rows, v head panels. softmax: scale folded into q. linear: φ already applied. */
  scoreAttention(q: Tensor, k: Tensor, v: Tensor, heads: number, headDim: number, weigh: "linear" | "softmax", eps: number): Tensor {
    const tokens = k.rows, panels = Math.ceil(tokens / PANEL);
    const keys = this.block("keys", heads * panels * headDim * PANEL * 4);
    this.op(opcodes.TRANSPOSE_KEYS, "transposeKeys", heads * panels, 0, [keys, k, k.rowBytes, tokens, headDim]);
    const out = this.attentionOutput(q.rows, heads, headDim);
    this.threadScratch = Math.max(this.threadScratch, 12 * panels * PANEL * 4);
    this.op(opcodes.SCORE_ATTENTION, "scoreAttention", q.rows, 4 * q.rows * tokens * heads * headDim, [
      out, out.rowBytes, q, q.rowBytes, keys, v, heads, headDim, headWidth(headDim), tokens,
      weigh === "softmax" ? opcodes.WEIGH_SOFTMAX : opcodes.WEIGH_LINEAR, { f32: eps },
    ], rowGrain(q.rows));
    return out;
  }

  /** out += depthwise 5×5 of the map v (head panels), its taps [headDim, 1, 5, 5] shared by the heads. */
  depthwiseConv(out: Tensor, v: Tensor, taps: { name: string; read(): Promise<Float32Array> }, height: number, side: number, heads: number, headDim: number): void {
    const width = headWidth(headDim);
    const layout = this.tensor(taps.name, "weights", 25, width, PANEL * 4, 25 * PANEL * 4, 25 * width * 4);
    const w = this.constant(taps.name, layout, taps.read, (values, packed) => {
      for (let c = 0; c < headDim; c++) for (let i = 0; i < 25; i++) packed[(c >> 3) * 25 * PANEL + i * PANEL + (c & 7)] = values[c * 25 + i]!;
    });
    this.threadScratch = Math.max(this.threadScratch, (height + 4) * (side + 4) * PANEL * 4);
    this.op(opcodes.DEPTHWISE_CONV, "depthwiseConv", heads * (width / PANEL), 50 * height * side * heads * headDim, [
      out, out.rowBytes, v, w, height, side, headDim, width,
    ]);
  }

  /** Image [channels, height, side] → patches [tokens, channels·patch²]. */
  gatherPatches(image: Tensor, channels: number, height: number, side: number, patch: number): Tensor {
    const out = this.rows("patches", (height / patch) * (side / patch), channels * patch * patch);
    this.op(opcodes.GATHER_PATCHES, "gatherPatches", out.rows, 0, [out, out.rowBytes, image, channels, height, side, patch], rowGrain(out.rows));
    return out;
  }

  /** Mean over rows, [1, columns]. */
  mean(x: Tensor): Tensor {
    const out = this.rows("mean", 1, x.columns);
    this.op(opcodes.MEAN_ROWS, "meanRows", Math.ceil(x.columns / PANEL), x.rows * x.columns, [out, x, x.rowBytes, x.rows]);
    return out;
  }

  /** A view of row `index`, [1, columns]: no work. The copy keeps x alive as long as it is read. */
  row(x: Tensor, index: number): Tensor {
    const out = this.rows(`${x.name}[${index}]`, 1, x.columns);
    this.op(opcodes.COPY, "copy", 1, 0, [out, { tensor: x, offset: index * x.rowBytes }, x.rowBytes]);
    return out;
  }

  /** Copies a constant row to row `index` of x. */
  setRow(x: Tensor, index: number, constant: Tensor): void {
    this.op(opcodes.COPY, "copy", 1, 0, [{ tensor: x, offset: index * x.rowBytes }, constant, x.rowBytes]);
  }

  /** Layer norm over columns, in place when `out` is x. */
  layerNorm(x: Tensor, weight: Tensor, bias: Tensor, eps: number, out = this.rows("layer norm", x.rows, x.columns)): Tensor {
    this.op(opcodes.LAYER_NORM, "layerNorm", x.rows, 8 * x.rows * x.columns, [out, out.rowBytes, x, x.rowBytes, weight, bias, x.columns, { f32: eps }], rowGrain(x.rows));
    return out;
  }

  /** x ⊙ weight + bias per channel, for a norm that cannot be folded. */
  affine(x: Tensor, weight: Tensor, bias: Tensor, out = this.rows("affine", x.rows, x.columns)): Tensor {
    this.op(opcodes.AFFINE, "affine", x.rows, 2 * x.rows * x.columns, [out, out.rowBytes, x, x.rowBytes, weight, bias, x.columns], rowGrain(x.rows));
    return out;
  }

  // layout

  /** Floating-point operations of one pass: 2 per multiply-add. */
  get flops(): number {
    return this.ops.reduce((sum, op) => sum + op.flops, 0);
  }

  get weightTensors(): Tensor[] {
    return this.weights.flatMap((w) => w.tensors);
  }

  /** Places scratch tensors so that those alive at the same time never overlap; addresses from `base`. Returns the end. */
  placeScratch(base: number, keep: readonly Tensor[]): number {
    const tensors = [...this.lifetimes].map(([tensor, { first, last }]) => ({ tensor, first, last: keep.includes(tensor) ? Infinity : last }));
    tensors.sort((a, b) => b.tensor.bytes - a.tensor.bytes || a.first - b.first);
    const placed: typeof tensors = [];
    let end = base;
    for (const t of tensors) {
      const neighbours = placed.filter((p) => p.first <= t.last && t.first <= p.last).sort((a, b) => a.tensor.address - b.tensor.address);
      let at = base;
      for (const { tensor } of neighbours) {
        if (at + t.tensor.bytes <= tensor.address) break;
        at = Math.max(at, tensor.address + tensor.bytes);
      }
      t.tensor.address = at;
      placed.push(t);
      end = Math.max(end, at + t.tensor.bytes);
    }
    return end;
  }

  /** The op records, once every tensor has its address. */
  encode(): Uint8Array {
    const bytes = new Uint8Array(this.ops.length * OP_BYTES);
    const view = new DataView(bytes.buffer);
    this.ops.forEach((op, i) => {
      const at = i * OP_BYTES;
      view.setInt32(at, op.code, true);
      view.setInt32(at + 4, op.units, true);
      view.setInt32(at + 8, op.grain, true);
      op.args.forEach((arg, j) => {
        const to = at + OP_ARGS + 4 * j;
        if (typeof arg === "number") view.setInt32(to, arg, true);
        else if ("f32" in arg) view.setFloat32(to, arg.f32, true);
        else view.setUint32(to, "tensor" in arg ? arg.tensor.address + arg.offset : arg.address, true);
      });
    });
    return bytes;
  }

  /** A table: one line per op, with what it reads and writes. */
  toString(): string {
    const lines = this.ops.map((op, i) => {
      const tensors = op.args.map(tensorOf).filter((t) => t !== undefined);
      const shape = (t: Tensor): string => `${t.region === "weights" ? "w:" : ""}${t.name}[${t.rows}×${t.columns}]`;
      const [out, ...reads] = tensors.map(shape);
      return [String(i).padStart(4), op.label.padEnd(12), op.name.padEnd(16), `${(op.flops / 1e6).toFixed(2)} MFLOP`.padStart(15), `  ${out ?? ""} ← ${reads.join(", ")}`].join(" ");
    });
    return lines.join("\n");
  }
}

/** Threads take whole chunks: enough of them to balance (16), but none below some 10 µs of work. */
function grainFor(units: number, flops: number): number {
  const smallest = Math.ceil((units * 200_000) / Math.max(flops, 1));
  return Math.min(units, Math.max(1, Math.ceil(units / 16), flops ? smallest : units));
}

/** Row kernels work in register tiles of up to six rows, in passes of twelve. */
function rowGrain(rows: number): number {
  return Math.max(12, alignUp(Math.ceil(rows / 12), 12));
}

export function notFinite(name: string): RangeError {
  return new RangeError(`"${name}" holds NaN or infinity: the checkpoint is damaged or training diverged; export it again`);
}
