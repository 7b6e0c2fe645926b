// The plan builder: a model's forward pass, recorded once as flat ops. Linear layers, which every model has, are
// recorded here; all other ops are functions of ops/, so that an app carries those of its own models. Each makes the
// op's output, says how the work divides between threads, and how many floating-point operations it is.
import { alignUp } from "./align.ts";
import { PANEL } from "../../assembly/header.ts";
import * as opcodes from "../../assembly/opcodes.ts";
import type { WeightType } from "./dtype.ts";
import { rowBytes } from "./dtype.ts";
import * as kernels from "./op-table.ts";
import type { Address, Tensor } from "./record.ts";
import { grainFor, part, PlanRecord, rowGrain } from "./record.ts";
import type { Linear, PackedLinear } from "./weights.ts";
import { packedLinear } from "./weights.ts";

export type { Argument, Fold, Program, Region, Tensor } from "./record.ts";

/** gate: the result is multiplied by `add` instead of added to it. */
export type Activation = "none" | "relu" | "gelu" | "silu" | "gate";
export const ACTIVATIONS = {
  none: opcodes.ACT_NONE, relu: opcodes.ACT_RELU, gelu: opcodes.ACT_GELU, silu: opcodes.ACT_SILU,
  gate: opcodes.ACT_GATE,
};

/** Layers with fewer channels in or out stay f32. */
const SMALLEST_QUANTISED = 64;

export class Plan extends PlanRecord {
  private readonly packed = new Map<string, PackedLinear>();

  /**
   * out = act(x · Wᵀ + bias + add), [x.rows, outDim]. `heads` asks for head panels instead of rows; `add` has the
   * output's layout (a residual, a position table) and may be the output itself; `rowOffset` places the rows inside a
   * larger `out`.
   */
  linear(
    x: Tensor,
    layer: Linear,
    {
      act = "none", add, out, heads, rowOffset = 0,
    }: { act?: Activation; add?: Tensor; out?: Tensor; heads?: number; rowOffset?: number } = {},
  ): Tensor {
    if (x.columns !== layer.inDim)
      throw new RangeError(`${layer.name} takes ${layer.inDim} channels, ${x.name} has ${x.columns}`);
    if (act === "gate" && (!add || add === out))
      throw new RangeError(`${layer.name}: a gate is another tensor than the output`);
    const headDim = heads ? layer.outDim / heads : layer.outDim;
    const packed = this.pack(layer, headDim);
    const target =
      out
      ?? (heads ? this.headPanels(layer.name, x.rows, heads, headDim) : this.rows(layer.name, x.rows, layer.outDim));
    const at = (t: Tensor): Address => part(t, rowOffset * t.rowBytes);
    const flops = 2 * x.rows * layer.inDim * layer.outDim;
    const grain = x.rows === 1 || this.current?.capacity !== undefined ? alignUp(grainFor(packed.panels, flops), 4) : 0;
    const { type, narrow, panelsTensor: w, biasTensor: bias, scalesTensor: scales, sumsTensor: sums } = packed;
    const layout = {
      out: at(target), w, bias, addend: add && at(add), m: this.liveRows(x), k: layer.inDim, act: ACTIVATIONS[act],
    };
    const work = { units: packed.panels, flops, grain };
    if (type === "int8")
      this.op(
        kernels.linearInt8,
        { ...layout, ...this.quantise(x, type), scales: scales, sums, narrow: narrow ? 1 : 0 },
        work,
      );
    else if (type === "int4") {
      this.needScratch(layer.inDim * PANEL * 4);
      this.op(kernels.linearInt4Rows, { ...layout, x, ...this.quantise(x, type) }, work);
    } else this.op(kernels.linear, { ...layout, x }, work);
    return target;
  }

  /** x as quantised layers take it, once for all of them that read it: rows for int8, the first row alone for int4. */
  private quantise(x: Tensor, type: WeightType): { q: Tensor; params: Tensor } {
    if (this.quantised?.x === x && this.quantised.type === type) return this.quantised;
    const bytes = rowBytes(type, x.columns, this.relaxed), rows = type === "int8" ? x.rows : 1;
    const q = this.tensor(`${x.name} quantised`, "scratch", rows, x.columns, bytes.row, PANEL * 4, rows * bytes.row);
    const params = this.tensor(`${x.name} scales`, "scratch", rows, 2, bytes.params, PANEL * 4, rows * bytes.params);
    if (type === "int8")
      this.op(
        kernels.quantizeRows, { out: q, params, x, k: x.columns }, { units: this.liveRows(x), grain: rowGrain(x.rows) },
      );
    else this.op(kernels.quantizeVectorInt8, { out: q, params, x, k: x.columns }, { units: 1 });
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
}
