// The plan builder: a model's forward pass, recorded once as flat ops over tensors whose addresses are decided at the end.
// A tensor's rows are padded to whole panels of eight floats, so that no kernel ever meets a ragged column.
import { PANEL } from "../assembly/header.ts";
import * as opcodes from "../assembly/opcodes.ts";
import { OP_ARGS, OP_BYTES } from "../assembly/opcodes.ts";
import type { WeightType } from "./dtype.ts";
import { rowBytes } from "./dtype.ts";
import type { TensorRef } from "./checkpoint/index.ts";
import type { Linear, PackedLinear, TableSource, Weight } from "./weights.ts";
import { packedLinear, rawTable, unpackedTable } from "./weights.ts";

export type Region = "input" | "weights" | "scratch";

/** A range of the plan's ops that runs as one, e.g. "forward", "prefill", "decode". */
export interface Program {
  readonly name: string;
  readonly first: number;
  last: number;
  /** Most rows of its tensors; fewer may be live in a run. undefined: the number of rows is fixed. */
  readonly capacity: number | undefined;
}

/** Sizes of a timeline's state: what a session carries from token to token. */
export interface StatePart {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

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

/** gate: the result is multiplied by `add` instead of added to it. */
export type Activation = "none" | "relu" | "gelu" | "silu" | "gate";
const ACTIVATIONS = { none: opcodes.ACT_NONE, relu: opcodes.ACT_RELU, gelu: opcodes.ACT_GELU, silu: opcodes.ACT_SILU, gate: opcodes.ACT_GATE };

/** The number of live rows of the op's program, times something: written anew before a run with another number of rows. */
interface Live {
  readonly live: number;
}

/** What an op's arguments may be beside integers: an address in a tensor, 32-bit float bits, live rows. */
export type Argument = number | Tensor | { tensor: Tensor; offset: number } | { f32: number } | Live;

interface Op {
  readonly code: number;
  readonly name: string;
  readonly label: string;
  readonly units: number | Live;
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

/** Layers with fewer channels in or out stay f32. */
const SMALLEST_QUANTISED = 64;

const alignUp = (n: number, to: number): number => Math.ceil(n / to) * to;
/** The tensor that an argument points into. */
export const tensorOf = (a: Argument): Tensor | undefined =>
  typeof a === "object" ? ("tensor" in a ? a.tensor : "f32" in a || "live" in a ? undefined : a) : undefined;
const most = (n: number | Live, capacity: number | undefined): number => (typeof n === "number" ? n : n.live * (capacity ?? 1));

/** Channels of one head padded to whole panels. */
export const headWidth = (headDim: number): number => alignUp(headDim, PANEL);

export class Plan {
  readonly ops: Op[] = [];
  readonly weights: Weight[] = [];
  readonly folds: Fold[] = [];
  /** Named places in the forward pass: the tensor there, and how many ops come before. */
  readonly marks = new Map<string, { tensor: Tensor; ops: number }>();
  readonly programs: Program[] = [];
  readonly stateParts: StatePart[] = [];
  /** Bytes of private scratch that the hungriest kernel needs on each thread. */
  threadScratch = 64;
  /** Tables that are kept in the checkpoint's own number format, by name. */
  readonly rawTables = new Map<string, string>();
  /** Filled by the caller before a run. */
  readonly inputs: Tensor[] = [];
  private readonly lifetimes = new Map<Tensor, { first: number; last: number }>();
  private readonly packed = new Map<string, PackedLinear>();
  private readonly constants = new Map<string, Tensor>();
  private label = "";
  /** The tensor that was quantised last and has not been written to since, with its quantised form. */
  private quantised: { x: Tensor; type: WeightType; q: Tensor; params: Tensor } | undefined;
  /** How weights are to be kept, and whether the build multiplies bytes. */
  readonly type: WeightType;
  readonly relaxed: boolean;

  constructor({ type = "f32", relaxed = false }: { type?: WeightType; relaxed?: boolean } = {}) {
    [this.type, this.relaxed] = [type, relaxed];
  }

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
    return this.inputRows("input", 1, count);
  }

  /** An input [rows, columns], densely packed: 32-bit floats or integers. */
  inputRows(name: string, rows: number, columns: number): Tensor {
    const tensor = this.tensor(name, "input", rows, columns, columns * 4, PANEL * 4, rows * columns * 4);
    this.inputs.push(tensor);
    return tensor;
  }

  // programs and state

  /** Ops that follow belong to this program. With `capacity`, tensors of so many rows may be partly live. */
  program(name: string, capacity?: number): void {
    this.quantised = undefined;
    this.programs.push({ name, first: this.ops.length, last: this.ops.length, capacity });
  }

  private get current(): Program | undefined {
    return this.programs.at(-1);
  }

  private liveRows(t: Tensor): number | Live {
    return this.current?.capacity !== undefined && t.rows === this.current.capacity ? { live: 1 } : t.rows;
  }

  /** Room in every timeline's state; the same name gives the same place in every program. */
  state(name: string, bytes: number): number {
    const known = this.stateParts.find((part) => part.name === name);
    if (known) return known.offset;
    const offset = this.stateBytes;
    this.stateParts.push({ name, offset, bytes: alignUp(bytes, 64) });
    return offset;
  }

  /** Bytes of one timeline's state. */
  get stateBytes(): number {
    const last = this.stateParts.at(-1);
    return last ? last.offset + last.bytes : 0;
  }

  /** A row-major constant [rows, columns]. */
  table(name: string, rows: number, columns: number, source: TableSource): Tensor {
    return this.unpacked(name, this.rows(name, rows, columns), source, columns, columns);
  }

  /** A constant [rows, heads·headDim] in head panels. */
  headTable(name: string, rows: number, heads: number, headDim: number, source: TableSource): Tensor {
    return this.unpacked(name, this.headPanels(name, rows, heads, headDim), source, heads * headDim, headDim);
  }

  private unpacked(name: string, like: Tensor, source: TableSource, columns: number, headDim: number): Tensor {
    return this.once(name, like, (tensor) => unpackedTable(name, tensor, source, like.rows, columns, headDim));
  }

  /** A weight tensor of `like`'s layout, the same one whenever the same name and layout are asked for again. */
  private once(name: string, like: Tensor, weight: (tensor: Tensor) => Weight): Tensor {
    const key = `${name} ${like.rows} ${like.rowBytes} ${like.panelBytes}`;
    let tensor = this.constants.get(key);
    if (!tensor) {
      tensor = { ...like, name, region: "weights", address: -1 };
      this.constants.set(key, tensor);
      this.weights.push(weight(tensor));
    }
    return tensor;
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

  private op(code: number, name: string, units: number | Live, flops: number, args: readonly Argument[], grain = 0): void {
    if (args.length > (OP_BYTES - OP_ARGS) / 4) throw new RangeError(`op ${name} has ${args.length} arguments, a record holds ${(OP_BYTES - OP_ARGS) / 4}`);
    for (const tensor of args.map(tensorOf)) {
      if (tensor?.region !== "scratch") continue;
      const seen = this.lifetimes.get(tensor);
      if (seen) seen.last = this.ops.length;
      else this.lifetimes.set(tensor, { first: this.ops.length, last: this.ops.length });
    }
    if (this.quantised && args.length > 0 && tensorOf(args[0]!) === this.quantised.x) this.quantised = undefined;
    const wholeUnits = most(units, this.current?.capacity);
    this.ops.push({ code, name, label: this.label, units, grain: grain || grainFor(wholeUnits, flops), args, flops });
    if (this.current) this.current.last = this.ops.length;
  }

  /**
   * out = act(x · Wᵀ + bias + add), [x.rows, outDim]. `heads` asks for head panels instead of rows; `add` has the output's layout
   * (a residual, a position table) and may be the output itself; `rowOffset` places the rows inside a larger `out`.
   */
  linear(
    x: Tensor, layer: Linear,
    { act = "none", add, out, heads, rowOffset = 0 }: { act?: Activation; add?: Tensor; out?: Tensor; heads?: number; rowOffset?: number } = {},
  ): Tensor {
    if (x.columns !== layer.inDim) throw new RangeError(`${layer.name} takes ${layer.inDim} channels, ${x.name} has ${x.columns}`);
    if (act === "gate" && (!add || add === out)) throw new RangeError(`${layer.name}: a gate is another tensor than the output`);
    const headDim = heads ? layer.outDim / heads : layer.outDim;
    const packed = this.pack(layer, headDim);
    const target = out ?? (heads ? this.headPanels(layer.name, x.rows, heads, headDim) : this.rows(layer.name, x.rows, layer.outDim));
    const panels = packed.panels;
    const at = (t: Tensor): Argument => (rowOffset ? { tensor: t, offset: rowOffset * t.rowBytes } : t);
    const flops = 2 * x.rows * layer.inDim * layer.outDim;
    const grain = x.rows === 1 || this.current?.capacity !== undefined ? alignUp(grainFor(panels, flops), 4) : 0;
    const into = [at(target), target.rowBytes, target.panelBytes] as const;
    const addend = [add ? at(add) : 0, add?.rowBytes ?? 0, add?.panelBytes ?? 0] as const, size = [this.liveRows(x), layer.inDim, ACTIVATIONS[act]] as const;
    const { type, panelsTensor, biasTensor, scalesTensor, sumsTensor } = packed;
    if (type === "int8") {
      const { q, params } = this.quantise(x, type);
      this.op(opcodes.LINEAR_INT8, "linearInt8", panels, flops, [...into, q, q.rowBytes, params, panelsTensor, scalesTensor!, sumsTensor!, biasTensor, ...addend, ...size], grain);
    } else if (type === "int4") {
      const { q, params } = this.quantise(x, type);
      this.threadScratch = Math.max(this.threadScratch, layer.inDim * PANEL * 4);
      this.op(opcodes.LINEAR_INT4, "linearInt4", panels, flops, [...into, x, x.rowBytes, q, params, panelsTensor, biasTensor, ...addend, ...size], grain);
    } else {
      this.op(opcodes.LINEAR, "linear", panels, flops, [...into, x, x.rowBytes, panelsTensor, biasTensor, ...addend, ...size], grain);
    }
    return target;
  }

  /** x as quantised layers take it, once for all of them that read it: rows for int8, the first row alone for int4. */
  private quantise(x: Tensor, type: WeightType): { q: Tensor; params: Tensor } {
    if (this.quantised?.x === x && this.quantised.type === type) return this.quantised;
    const bytes = rowBytes(type, x.columns, this.relaxed), rows = type === "int8" ? x.rows : 1;
    const q = this.tensor(`${x.name} quantised`, "scratch", rows, x.columns, bytes.row, PANEL * 4, rows * bytes.row);
    const params = this.tensor(`${x.name} scales`, "scratch", rows, 2, bytes.params, PANEL * 4, rows * bytes.params);
    if (type === "int8") this.op(opcodes.QUANTIZE_ROWS, "quantizeRows", this.liveRows(x), 0, [q, q.rowBytes, params, x, x.rowBytes, x.columns], rowGrain(x.rows));
    else this.op(opcodes.QUANTIZE_VECTOR, "quantizeVector", 1, 0, [q, params, x, x.columns]);
    this.quantised = { x, type, q, params };
    return this.quantised;
  }

  /** A layer's packed form, once for all programs: heads of whole panels pack as if there were none. */
  private pack(layer: Linear, headDim: number): PackedLinear {
    const dim = headDim % PANEL ? headDim : layer.outDim;
    const folds = [layer.before, layer.after].map((maps) => maps.map((m) => m.norm ?? "unnamed").join(",")).join("|");
    const key = `${layer.name} ${layer.firstRow} ${dim} ${folds}`;
    let packed = this.packed.get(key);
    if (!packed) {
      // a layer of a few channels has little to gain and most to lose
      const type = Math.min(layer.inDim, layer.outDim) >= SMALLEST_QUANTISED ? this.type : "f32";
      packed = packedLinear(layer, dim, type, this.relaxed, (fold) => this.folds.push(fold));
      this.packed.set(key, packed);
      this.weights.push(packed);
    }
    return packed;
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
    // [headDim, 25] → [25, headDim], whose panels are the layout wanted
    const turned = async (): Promise<Float32Array> => {
      const values = await taps.read(), out = new Float32Array(25 * headDim);
      for (let c = 0; c < headDim; c++) for (let i = 0; i < 25; i++) out[i * headDim + c] = values[c * 25 + i]!;
      return out;
    };
    const w = this.once(taps.name, layout, (tensor) => unpackedTable(taps.name, tensor, turned, 25, headDim, headDim));
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
    this.op(opcodes.COPY, "copy", 1, 0, [out, { tensor: x, offset: index * x.rowBytes }, out.rowBytes]);
    return out;
  }

  /** Copies a constant row to row `index` of x. */
  setRow(x: Tensor, index: number, constant: Tensor): void {
    this.op(opcodes.COPY, "copy", 1, 0, [{ tensor: x, offset: index * x.rowBytes }, constant, Math.min(x.rowBytes, constant.rowBytes)]);
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

  /** x/√(mean(x²) + eps) ⊙ weight per row. */
  rmsNorm(x: Tensor, weight: Tensor, eps: number, out = this.rows("rms norm", x.rows, x.columns)): Tensor {
    this.op(opcodes.RMS_NORM, "rmsNorm", this.liveRows(x), 4 * x.rows * x.columns, [out, out.rowBytes, x, x.rowBytes, weight, x.columns, { f32: eps }], rowGrain(x.rows));
    return out;
  }

  // language

  /** Rows of an embedding table kept in the checkpoint's own number format: ids i32 [rows] → [rows, dim]. */
  embed(ids: Tensor, table: TensorRef, dim: number, out = this.rows("embedding", ids.rows, dim)): Tensor {
    const raw = rawTable(table);
    this.rawTables.set(table.name, table.dtype);
    const like = this.tensor(table.name, "weights", table.shape[0]!, dim, table.byteLength / table.shape[0]!, 0, table.byteLength);
    const tensor = this.once(table.name, like, raw.weight);
    this.op(opcodes.EMBED, "embed", this.liveRows(out), 0, [out, out.rowBytes, ids, tensor, raw.format, dim], rowGrain(out.rows));
    return out;
  }

  /**
   * The additive recurrence with one constant decay a head and a normaliser, one token of each row's own timeline.
   * @param states  i32 [rows]: addresses of the timelines' states
   * @param decay   f32 [1, heads]; undefined = none
   */
  recurrentStep(q: Tensor, k: Tensor, v: Tensor, states: Tensor, stateOffset: number, heads: number, decay: Tensor | undefined, eps: number): Tensor {
    const keyDim = q.columns / heads, valueDim = v.columns / heads, out = this.rows("recurrent", q.rows, v.columns);
    const rows = this.liveRows(q), units = typeof rows === "number" ? rows * heads : { live: rows.live * heads };
    this.threadScratch = Math.max(this.threadScratch, 16 * alignUp(keyDim, 4));
    this.op(opcodes.RECURRENT_STEP, "recurrentStep", units, 4 * q.rows * heads * keyDim * valueDim, [
      out, out.rowBytes, q, q.rowBytes, k, k.rowBytes, v, v.rowBytes, states, stateOffset, heads, keyDim, valueDim,
      decay ? opcodes.DECAY_SCALAR : opcodes.DECAY_NONE, decay ?? 0, 0, 0, opcodes.NORMALISE, { f32: eps },
    ], 1);
    return out;
  }

  /** The same for successive tokens of one timeline, by chunks; v comes in head panels. */
  recurrentChunks(q: Tensor, k: Tensor, v: Tensor, states: Tensor, stateOffset: number, heads: number, decay: Tensor | undefined, eps: number): Tensor {
    const keyDim = q.columns / heads, valueDim = v.columns / heads, out = this.rows("recurrent", q.rows, v.columns);
    if (keyDim % 4 || valueDim % 8) throw new RangeError(`heads of ${keyDim} and ${valueDim} channels have no chunk form: use a multiple of 8`);
    this.threadScratch = Math.max(this.threadScratch, 4 * (keyDim * valueDim + 128 * keyDim) + 17408);
    this.op(opcodes.RECURRENT_CHUNKS, "recurrentChunks", heads, 2 * q.rows * heads * (2 * keyDim * valueDim + 32 * (keyDim + valueDim)), [
      out, out.rowBytes, q, q.rowBytes, k, k.rowBytes, v, this.liveRows(q), v.rows, states, stateOffset, keyDim, valueDim, decay ?? 0, 0, opcodes.NORMALISE, { f32: eps },
    ], 1);
    return out;
  }

  /** out += causal depthwise convolution of x over tokens; taps [taps, channels]. `sequence`: rows are successive tokens. */
  causalConv(out: Tensor, x: Tensor, taps: Tensor, states: Tensor, stateOffset: number, sequence: boolean): void {
    const panels = Math.ceil(out.columns / PANEL);
    this.op(opcodes.CAUSAL_CONV, "causalConv", panels, 2 * out.rows * out.columns * taps.rows, [
      out, out.rowBytes, x, x.rowBytes, x.panelBytes, taps, states, stateOffset, this.liveRows(out), out.columns, taps.rows, sequence ? 1 : 0,
    ]);
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

  /** Bytes of one op record. */
  get opBytes(): number {
    return OP_BYTES;
  }

  /** The op records, once every tensor has its address. */
  encode(): Uint8Array {
    const bytes = new Uint8Array(this.ops.length * OP_BYTES);
    const view = new DataView(bytes.buffer);
    this.ops.forEach((op, i) => {
      const at = i * OP_BYTES;
      view.setInt32(at, op.code, true);
      view.setInt32(at + 4, most(op.units, this.programOf(i).capacity), true);
      view.setInt32(at + 8, op.grain, true);
      op.args.forEach((arg, j) => {
        const to = at + OP_ARGS + 4 * j;
        if (typeof arg === "number") view.setInt32(to, arg, true);
        else if ("f32" in arg) view.setFloat32(to, arg.f32, true);
        else if ("live" in arg) view.setInt32(to, most(arg, this.programOf(i).capacity), true);
        else view.setUint32(to, "tensor" in arg ? arg.tensor.address + arg.offset : arg.address, true);
      });
    });
    return bytes;
  }

  private programOf(op: number): { capacity?: number | undefined } {
    return this.programs.find((p) => op >= p.first && op < p.last) ?? {};
  }

  /** Byte offsets in the encoded plan of a program's live row counts, and what each is multiplied by. */
  liveFields(program: Program): { offset: number; factor: number }[] {
    const fields: { offset: number; factor: number }[] = [];
    for (let i = program.first; i < program.last; i++) {
      const { units, args } = this.ops[i]!;
      if (typeof units === "object") fields.push({ offset: i * OP_BYTES + 4, factor: units.live });
      args.forEach((arg, j) => {
        if (typeof arg === "object" && "live" in arg) fields.push({ offset: i * OP_BYTES + OP_ARGS + 4 * j, factor: arg.live });
      });
    }
    return fields;
  }

  /** A table: one line per op, with what it reads and writes. */
  toString(): string {
    const lines = this.ops.map((op, i) => {
      const starts = this.programs.find((p) => p.first === i);
      const tensors = op.args.map(tensorOf).filter((t) => t !== undefined);
      const shape = (t: Tensor): string => `${t.region === "weights" ? "w:" : ""}${t.name}[${t.rows}×${t.columns}]`;
      const [out, ...reads] = tensors.map(shape);
      const title = starts ? `${starts.name}${starts.capacity === undefined ? "" : `, up to ${starts.capacity} rows`}:\n` : "";
      return title + [String(i).padStart(4), op.label.padEnd(12), op.name.padEnd(16), `${(op.flops / 1e6).toFixed(2)} MFLOP`.padStart(15), `  ${out ?? ""} ← ${reads.join(", ")}`].join(" ");
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
