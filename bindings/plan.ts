// The plan builder: a model's forward pass, recorded once as flat ops. One method an op: it makes the output, says how the work divides
// between threads, and how many floating-point operations it is.
import { CACHE_PAGE, PANEL } from "../assembly/header.ts";
import * as opcodes from "../assembly/opcodes.ts";
import type { WeightType } from "./dtype.ts";
import { rowBytes } from "./dtype.ts";
import type { TensorRef } from "./checkpoint/index.ts";
import type { Argument, Tensor } from "./plan-record.ts";
import { alignUp, grainFor, headWidth, PlanRecord, rowGrain } from "./plan-record.ts";
import type { Linear, PackedLinear } from "./weights.ts";
import { packedLinear, rawTable, unpackedTable } from "./weights.ts";

export type { Argument, Fold, Program, Region, StatePart, Tensor } from "./plan-record.ts";

/** gate: the result is multiplied by `add` instead of added to it. */
export type Activation = "none" | "relu" | "gelu" | "silu" | "gate";
const ACTIVATIONS = { none: opcodes.ACT_NONE, relu: opcodes.ACT_RELU, gelu: opcodes.ACT_GELU, silu: opcodes.ACT_SILU, gate: opcodes.ACT_GATE };

/** Kernels of a depthwise convolution, row-major, by name. */
export interface Taps {
  readonly name: string;
  read(): Promise<Float32Array>;
}

/** Padded rows of a depthwise convolution that one thread has at hand: enough to stay in its second-level cache. */
const WINDOW_BYTES = 128 << 10;
/** Windows of a convolution along one side of a map. */
export const windowsAlong = (length: number, kernel: number, stride: number, pad: number): number => Math.floor((length + 2 * pad - kernel) / stride) + 1;

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

/** Groups whose tokens attend to one another. */
export interface Windows extends RowGroups {
  /** i32 of members' shape: tokens with different labels are masked from one another. */
  readonly regions?: Int32Array;
}

/** Layers with fewer channels in or out stay f32. */
const SMALLEST_QUANTISED = 64;

/** The tensor from a byte on. */
const part = (tensor: Tensor, offset: number): Argument => (offset ? { tensor, offset } : tensor);

export class Plan extends PlanRecord {
  private readonly packed = new Map<string, PackedLinear>();

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
    const { type, narrow, panelsTensor, biasTensor, scalesTensor, sumsTensor } = packed;
    if (type === "int8") {
      const { q, params } = this.quantise(x, type);
      this.op(opcodes.LINEAR_INT8, "linearInt8", panels, flops, [...into, q, q.rowBytes, params, panelsTensor, scalesTensor!, sumsTensor!, biasTensor, ...addend, ...size, narrow ? 1 : 0], grain);
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
      // a decoded token waits for memory, where an eighth bit costs no time; a picture waits for products
      const narrow = type === "int8" && this.relaxed && this.current === undefined;
      packed = packedLinear(layer, dim, type, this.relaxed, narrow, (fold) => this.folds.push(fold));
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

  /** φ(q)·state / (φ(q)·Σφ(k) + eps), [tokens, heads·headDim]; of windows one after another, each with its own state. */
  linearAttention(q: Tensor, state: Tensor, heads: number, headDim: number, eps: number, windows = 1): Tensor {
    const out = this.attentionOutput(q.rows, heads, headDim), rows = q.rows / windows, width = headWidth(headDim);
    for (let w = 0; w < windows; w++) {
      this.op(opcodes.LINEAR_ATTENTION, "linearAttention", rows, 2 * rows * heads * headDim * headDim, [
        part(out, w * rows * out.rowBytes), out.rowBytes, part(q, w * rows * q.rowBytes), q.rowBytes, part(state, w * heads * (width * width + width) * 4), heads, headDim, width, { f32: eps },
      ], rowGrain(rows));
    }
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

  /**
   * Softmax attention inside windows of a map, [tokens, dim].
   * @param qkv      [tokens, 3·dim], columns q | k | v, the scale folded into q
   * @param windows  which tokens attend to one another
   * @param bias     [heads·size, size], added to the scores
   * @param padding  [1, 3·dim], the row of members that are not there
   * @param out      with firstHead: `heads` heads of a wider tensor, the others being for other windows
   */
  windowAttention(
    qkv: Tensor, windows: Windows, heads: number, headDim: number,
    { bias, padding, firstHead = 0, out = this.rows("attention", qkv.rows, qkv.columns / 3) }: { bias?: Tensor; padding?: Tensor; firstHead?: number; out?: Tensor } = {},
  ): Tensor {
    const { name, groups, size, members, regions } = windows, dim = qkv.columns / 3, padded = alignUp(size, PANEL);
    if (headDim % PANEL) throw new RangeError(`windows of ${headDim} channels a head: expected a multiple of ${PANEL}`);
    if (!padding && members.includes(-1)) throw new RangeError(`${name} reach outside the map: they need a padding row`);
    const at = (tensor: Tensor, which: number): Argument => part(tensor, 4 * (which * dim + firstHead * headDim));
    // keys, values, and up to 23 queries with their scores and factors
    this.threadScratch = Math.max(this.threadScratch, 4 * (headDim * (padded + size + 23) + 23 * padded + 92));
    this.op(opcodes.WINDOW_ATTENTION, "windowAttention", groups * heads, 4 * groups * size * size * heads * headDim, [
      at(out, 0), out.rowBytes, at(qkv, 0), at(qkv, 1), at(qkv, 2), qkv.rowBytes, padding ? at(padding, 1) : 0, padding ? at(padding, 2) : 0,
      this.indices(name, members), regions ? this.indices(`${name}, regions`, regions) : 0, bias ?? 0, size, heads, headDim,
    ]);
    return out;
  }

  /**
   * Rows of `from` in the order of `picked`: act(row + table), [groups·size, columns].
   * @param first    the first column taken, of `columns`
   * @param padding  [1, columns from `first` on], the row of members that are not there
   * @param table    [size, columns], added to every group
   * @param beside   this many rows side by side make a row of the output
   * @param panels   the output as head panels, group after group: [groups][columns/8][size][8]
   */
  gatherRows(
    from: Tensor, picked: RowGroups,
    { first = 0, columns = from.columns, padding, table, act = "none", beside = 1, panels = false }:
    { first?: number; columns?: number; padding?: Tensor; table?: Tensor; act?: "none" | "relu"; beside?: number; panels?: boolean } = {},
  ): Tensor {
    const { name, groups, size, members } = picked, rows = groups * size;
    if (columns % PANEL || first % PANEL) throw new RangeError(`${from.name} gathered by ${columns} columns from ${first}: expected multiples of ${PANEL}`);
    if (!padding && members.includes(-1)) throw new RangeError(`${name} reach outside ${from.name}: they need a padding row`);
    const out = panels ? this.headPanels(`${from.name} in ${name}`, size, (groups * columns) / PANEL, PANEL) : this.rows(`${from.name} in ${name}`, rows / beside, columns * beside);
    const rowBytes = out.rowBytes / beside;
    this.op(opcodes.GATHER_ROWS, "gatherRows", rows, 0, [
      out, size * (panels ? columns * 4 : rowBytes), rowBytes, out.panelBytes, part(from, first * 4), from.rowBytes, padding ? part(padding, first * 4) : 0,
      this.indices(name, members), size, table ?? 0, table?.rowBytes ?? 0, columns, ACTIVATIONS[act],
    ], rowGrain(rows));
    return out;
  }

  /** out += depthwise 5×5 of the map v (head panels), its taps [headDim, 1, 5, 5] shared by the heads; of windows one after another. */
  depthwiseConv(out: Tensor, v: Tensor, taps: Taps, height: number, side: number, heads: number, headDim: number, windows = 1): void {
    const width = headWidth(headDim);
    this.threadScratch = Math.max(this.threadScratch, (height + 4) * (side + 4) * PANEL * 4);
    const w = this.taps(taps, 5, headDim);
    for (let i = 0; i < windows; i++) {
      this.op(opcodes.DEPTHWISE_CONV, "depthwiseConv", heads * (width / PANEL), 50 * height * side * heads * headDim, [
        part(out, i * height * side * out.rowBytes), out.rowBytes, part(v, i * heads * width * height * side * 4), w, height, side, headDim, width,
      ]);
    }
  }

  /**
   * act(bias + add + depthwise convolution size×size of x), stride 1, zeros around every map; taps [channels, 1, size, size], every
   * channel's own. x: maps of height × side one after another, in rows, or in head panels of whole panels. out: rows unless given.
   * @param bias      [1, channels]
   * @param add       has the output's layout, and may be the output itself
   * @param across    this many maps lie side by side in a line of pixels
   * @param channels  of x from its column `first` on, to those of out and add from `to` on
   */
  depthwiseConvChannels(
    x: Tensor, taps: Taps, size: 3 | 5, height: number, side: number,
    { bias, act = "none", add, across = 1, channels = x.columns, first = 0, to = 0, out = this.rows("depthwise", x.rows, channels) }:
    { bias?: Tensor; act?: Exclude<Activation, "gate">; add?: Tensor; across?: number; channels?: number; first?: number; to?: number; out?: Tensor } = {},
  ): Tensor {
    const panels = Math.ceil(channels / PANEL);
    if (x.rows % (height * side * across)) throw new RangeError(`${x.name} has ${x.rows} rows, expected whole maps of ${height}×${side}${across > 1 ? `, ${across} side by side` : ""}`);
    if (out === x) throw new RangeError(`the convolution of ${x.name} cannot be written over it: neighbours are read again`);
    const whole = to === 0 && channels === x.columns;
    if (out.rows !== x.rows || (whole ? out.columns !== channels : out.columns < to + channels)) throw new RangeError(`the convolution of ${x.name} is [${x.rows}, ${channels}], but ${out.name} is [${out.rows}, ${out.columns}]`);
    if (first % PANEL || to % PANEL || first + channels > x.columns) throw new RangeError(`${channels} channels of ${x.name} from ${first}, to ${to}: expected multiples of ${PANEL} within its ${x.columns}`);
    const at = (tensor: Tensor, column: number): Argument => part(tensor, (column / PANEL) * tensor.panelBytes);
    const none = bias ?? this.table(`${taps.name} no bias`, 1, channels, async () => new Float32Array(channels));
    const pairBytes = 2 * PANEL * 4 * size * (side + size - 1), group = 2 * Math.max(1, Math.min(Math.ceil(panels / 2), Math.floor(WINDOW_BYTES / pairBytes)));
    this.threadScratch = Math.max(this.threadScratch, (group / 2) * pairBytes);
    const flops = 2 * size * size * x.rows * channels, units = x.rows / side;
    // rows above and below a chunk are copied once more for it
    this.op(opcodes.DEPTHWISE_CONV_CHANNELS, "depthwiseChannels", units, flops, [
      at(out, to), out.rowBytes, out.panelBytes, at(x, first), x.rowBytes, x.panelBytes, this.taps(taps, size, channels), none,
      add ? at(add, to) : 0, add?.rowBytes ?? 0, add?.panelBytes ?? 0, height, side, panels, size, ACTIVATIONS[act], across, group,
    ], Math.min(units, Math.max(grainFor(units, flops), 2 * size)));
    return out;
  }

  /** Taps [channels, 1, size, size] as panels [channels/8][size²][8]. */
  private taps(taps: Taps, size: number, channels: number): Tensor {
    const count = size * size, width = headWidth(channels);
    const layout = this.tensor(taps.name, "weights", count, width, PANEL * 4, count * PANEL * 4, count * width * 4);
    // [channels, taps] → [taps, channels], whose panels are the layout wanted
    const turned = async (): Promise<Float32Array> => {
      const values = await taps.read(), out = new Float32Array(count * channels);
      if (values.length !== out.length) throw new RangeError(`"${taps.name}" has ${values.length} taps, expected ${size}×${size} for each of ${channels} channels`);
      for (let c = 0; c < channels; c++) for (let i = 0; i < count; i++) out[i * channels + c] = values[c * count + i]!;
      return out;
    };
    return this.once(taps.name, layout, (tensor) => unpackedTable(taps.name, tensor, turned, count, channels, channels));
  }

  /** Image [channels, height, side] → windows [tokens, channels·kernel²], which may overlap and reach `pad` zeros beyond the border. */
  gatherPatches(image: Tensor, channels: number, height: number, side: number, kernel: number, { stride = kernel, pad = 0 }: { stride?: number; pad?: number } = {}): Tensor {
    const down = windowsAlong(height, kernel, stride, pad), across = windowsAlong(side, kernel, stride, pad);
    const out = this.rows("patches", down * across, channels * kernel * kernel);
    this.op(opcodes.GATHER_PATCHES, "gatherPatches", out.rows, 0, [out, out.rowBytes, image, channels, height, side, kernel, stride, pad, across], rowGrain(out.rows));
    return out;
  }

  /** Map [height·side, channels] → windows [tokens, kernel²·channels], the same of a map of rows. */
  gatherWindows(map: Tensor, side: number, kernel: number, { stride = kernel, pad = 0 }: { stride?: number; pad?: number } = {}): Tensor {
    const height = map.rows / side, channels = map.columns;
    const down = windowsAlong(height, kernel, stride, pad), across = windowsAlong(side, kernel, stride, pad);
    const out = this.rows("windows", down * across, kernel * kernel * channels);
    this.op(opcodes.GATHER_WINDOWS, "gatherWindows", out.rows, 0, [
      out, out.rowBytes, map, map.rowBytes, channels, height, side, kernel, stride, pad, across,
    ], rowGrain(out.rows));
    return out;
  }

  /** Head panels of another number of rows, linearly interpolated along them. */
  stretchRows(x: Tensor, rows: number): Tensor {
    const out = this.headPanels(`${x.name} stretched`, rows, 1, x.columns);
    this.op(opcodes.STRETCH_ROWS, "stretchRows", x.columns / PANEL, 3 * rows * x.columns, [out, x, x.rows, rows]);
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
    this.threadScratch = Math.max(this.threadScratch, 4 * (keyDim * valueDim + 64 * keyDim) + 1664);
    this.op(opcodes.RECURRENT_CHUNKS, "recurrentChunks", heads, 4 * q.rows * heads * keyDim * valueDim, [
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

  /**
   * Causal softmax attention over a cache, to which k and v go first; q, with its scale folded in, and k are rotated by their positions.
   * @param cache     byte offset of this layer's part of the cache in a timeline's state
   * @param angles    f32 [positions, headDim]: cosines, then sines
   * @param sequence  rows are successive tokens of one timeline
   */
  cachedAttention(
    q: Tensor, k: Tensor, v: Tensor, { states, positions }: { states: Tensor; positions: Tensor }, cache: number, heads: number, angles: Tensor, sequence: boolean,
  ): Tensor {
    const headDim = q.columns / heads, rows = this.liveRows(q), out = this.rows("attention", q.rows, q.columns), { context, pageBytes } = this.growing!;
    if (headDim % PANEL) throw new RangeError(`heads of ${headDim} channels have no cache: use a multiple of ${PANEL}`);
    const units = typeof rows === "number" ? rows * heads : { live: rows.live * heads }, size = [rows, heads, headDim, sequence ? 1 : 0] as const;
    this.op(opcodes.CACHE_TOKENS, "cacheTokens", sequence ? heads : units, 6 * q.rows * q.columns, [
      q, q.rowBytes, k, k.rowBytes, v, v.rowBytes, states, positions, cache, pageBytes, angles, ...size,
    ], sequence ? 1 : heads);
    this.threadScratch = Math.max(this.threadScratch, 24 * (CACHE_PAGE * 4 + 8));
    // half of the context is what a row sees in the mean
    this.op(opcodes.CACHED_ATTENTION, "cachedAttention", units, 2 * q.rows * q.columns * context, [
      out, out.rowBytes, q, q.rowBytes, states, positions, cache, pageBytes, ...size,
    ], sequence ? 24 : 1);
    return out;
  }
}
