// What a plan is made of: tensors, programs, state, op records and the weights they read. Ops are recorded over tensors
// whose addresses are decided at the end. A tensor's rows are padded to whole panels of eight floats, so that no kernel
// ever meets a ragged column.
import { PANEL } from "../../assembly/header.ts";
import { OP_ARGS, OP_BYTES } from "../../assembly/opcodes.ts";
import { alignUp } from "./align.ts";
import type { WeightType } from "./dtype.ts";
import type { StateLayout } from "./state.ts";
import type { TableSource, Weight } from "./weights.ts";
import { unpackedTable } from "./weights.ts";

export type Region = "input" | "weights" | "scratch";

/** A range of the plan's ops that runs as one, e.g. "forward", "prefill", "decode". */
export interface Program {
  readonly name: string;
  readonly first: number;
  last: number;
  /** Most rows of its tensors; fewer may be live in a run. undefined: the number of rows is fixed. */
  readonly capacity: number | undefined;
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

/**
 * The number of live rows of the op's program, times something: written anew before a run with another number of rows.
 */
export interface Live {
  readonly live: number;
}

/** A byte inside a tensor. */
export interface Place {
  readonly tensor: Tensor;
  readonly offset: number;
}

/** A number that is known once the plan is laid out. */
export type Later = () => number;

/**
 * What an op's arguments may be beside integers: an address in a tensor, 32-bit float bits, live rows, a number known
 * later.
 */
export type Argument = number | Tensor | Place | Later | { f32: number } | Live;

/** A place that an op is told of; undefined: none, which kernels see as 0. */
export type Address = Tensor | Place | Later | number | undefined;
/** A size, which may be that of the live rows. */
export type Count = number | Live | Later;

/**
 * An op as its kernel declares it: number, name, and its arguments in the kernel's order. op-table.ts has all of them.
 * x= is a 32-bit float; after x. comes its stride xRow, after x: come xRow and xPanel.
 */
export type OpKind<Args> = string & { readonly args?: Args };

/** How an op's work divides. */
export interface Work {
  readonly units: number | Live;
  /** 2 a multiply-add. */
  readonly flops?: number;
  /** Units of a chunk that a thread takes; default: by the operations. */
  readonly grain?: number;
}

export interface Op {
  readonly code: number;
  readonly name: string;
  readonly label: string;
  readonly units: number | Live;
  readonly grain: number;
  readonly args: readonly Argument[];
  readonly flops: number;
}

/**
 * What one PRepBN norm became: `change` is the largest difference it made to a coefficient of the layer it went into.
 */
export interface Fold {
  readonly norm: string;
  readonly into: string[];
  change: number;
}

/** The tensor from a byte on. */
export const part = (tensor: Tensor, offset: number): Tensor | Place => (offset ? { tensor, offset } : tensor);

/** The tensor that an argument points into. */
export const tensorOf = (a: Argument): Tensor | undefined =>
  typeof a === "object" ? ("tensor" in a ? a.tensor : "f32" in a || "live" in a ? undefined : a) : undefined;
const most = (n: number | Live, capacity: number | undefined): number =>
  typeof n === "number" ? n : n.live * (capacity ?? 1);

/** Channels of one head padded to whole panels. */
export const headWidth = (headDim: number): number => alignUp(headDim, PANEL);

/** The plan without its vocabulary of ops, which plan.ts and ops/ add. */
export class PlanRecord {
  readonly ops: Op[] = [];
  readonly weights: Weight[] = [];
  readonly folds: Fold[] = [];
  /** Named places in the forward pass: the tensor there, and how many ops come before. */
  readonly marks = new Map<string, { tensor: Tensor; ops: number }>();
  readonly programs: Program[] = [];
  /** What a timeline carries; undefined: there are no timelines. */
  state: StateLayout | undefined;
  /** Tables that follow from the config alone: made on load, and no part of a packed checkpoint. */
  readonly madeTables: { readonly tensor: Tensor; make(): Float32Array | Int32Array }[] = [];
  /** Bytes of private scratch that the hungriest kernel needs on each thread. */
  threadScratch = 64;
  /** Tables that are kept in the checkpoint's own number format, by name. */
  readonly rawTables = new Map<string, string>();
  /** Filled by the caller before a run. */
  readonly inputs: Tensor[] = [];
  private readonly lifetimes = new Map<Tensor, { first: number; last: number }>();
  private readonly constants = new Map<string, Tensor>();
  private label = "";
  /** The tensor that was quantised last and has not been written to since, with its quantised form. */
  protected quantised: { x: Tensor; type: WeightType; q: Tensor; params: Tensor } | undefined;
  /** How weights are to be kept, and whether the build multiplies bytes. */
  readonly type: WeightType;
  readonly relaxed: boolean;

  constructor({ type = "f32", relaxed = false }: { type?: WeightType; relaxed?: boolean } = {}) {
    [this.type, this.relaxed] = [type, relaxed];
  }

  // tensors

  tensor(
    name: string, region: Region, rows: number, columns: number, rowBytes: number, panelBytes: number, bytes: number,
  ): Tensor {
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

  block(name: string, bytes: number): Tensor {
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

  // programs

  /** Ops that follow belong to this program. With `capacity`, tensors of so many rows may be partly live. */
  program(name: string, capacity?: number): void {
    this.quantised = undefined;
    this.programs.push({ name, first: this.ops.length, last: this.ops.length, capacity });
  }

  get current(): Program | undefined {
    return this.programs.at(-1);
  }

  /** The rows of a tensor of the current program, those that are live in a run, times `factor`. */
  liveRows(t: Tensor, factor = 1): number | Live {
    return this.current?.capacity !== undefined && t.rows === this.current.capacity
      ? { live: factor }
      : t.rows * factor;
  }

  /** Each thread's own scratch has at least these bytes. */
  needScratch(bytes: number): void {
    this.threadScratch = Math.max(this.threadScratch, bytes);
  }

  /**
   * A constant of indices, i32 [1, values], made once for a name. No checkpoint has a say in it: it decides where
   * kernels read and write.
   */
  indices(name: string, values: Int32Array): Tensor {
    return this.made(name, 1, values.length, () => values);
  }

  /** A constant that follows from the config, rows of `columns` padded to whole panels; made once for a name. */
  made(name: string, rows: number, columns: number, make: () => Float32Array | Int32Array): Tensor {
    const known = this.madeTables.find(({ tensor }) => tensor.name === name);
    if (known) return known.tensor;
    const tensor = this.rows(name, rows, columns, columns, "weights");
    this.madeTables.push({ tensor, make });
    return tensor;
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
  once(name: string, like: Tensor, weight: (tensor: Tensor) => Weight): Tensor {
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

  /** Records an op. The strides of `x` are the tensor's own unless xRow, xPanel are given. */
  op<Args extends object>(kind: OpKind<Args>, given: Args, { units, flops = 0, grain = 0 }: Work): void {
    const [code, name, ...takes] = kind.split(" ") as [string, string];
    const named = given as Record<string, Address | Count>;
    const args = takes.flatMap((take: string): Argument[] => {
      const argument = take.replace(/\W/, ""), value = named[argument] ?? 0, tensor = tensorOf(value);
      if (take.endsWith("=")) return [{ f32: value as number }];
      const strides = [
        named[`${argument}Row`] ?? tensor?.rowBytes ?? 0, named[`${argument}Panel`] ?? tensor?.panelBytes ?? 0,
      ];
      return [value, ...strides.slice(0, take.endsWith(":") ? 2 : take.endsWith(".") ? 1 : 0)];
    });
    if (args.length > (OP_BYTES - OP_ARGS) / 4)
      throw new RangeError(`op ${name} has ${args.length} arguments, a record holds ${(OP_BYTES - OP_ARGS) / 4}`);
    for (const tensor of args.map(tensorOf)) {
      if (tensor?.region !== "scratch") continue;
      const seen = this.lifetimes.get(tensor);
      if (seen) seen.last = this.ops.length;
      else this.lifetimes.set(tensor, { first: this.ops.length, last: this.ops.length });
    }
    if (this.quantised && tensorOf(args[0]!) === this.quantised.x) this.quantised = undefined;
    const wholeUnits = most(units, this.current?.capacity);
    this.ops.push({
      code: +code, name, label: this.label, units, grain: grain || grainFor(wholeUnits, flops), args, flops,
    });
    if (this.current) this.current.last = this.ops.length;
  }

  // layout

  /** Floating-point operations of one pass: 2 per multiply-add. */
  get flops(): number {
    return this.ops.reduce((sum, op) => sum + op.flops, 0);
  }

  get weightTensors(): Tensor[] {
    return this.weights.flatMap((w) => w.tensors);
  }

  /**
   * Places scratch tensors so that those alive at the same time never overlap; addresses from `base`. Returns the end.
   */
  placeScratch(base: number, keep: readonly Tensor[]): number {
    const tensors = [...this.lifetimes].map(([tensor, { first, last }]) => ({
      tensor, first, last: keep.includes(tensor) ? Infinity : last,
    }));
    tensors.sort((a, b) => b.tensor.bytes - a.tensor.bytes || a.first - b.first);
    // by address
    const placed: typeof tensors = [];
    let end = base;
    for (const t of tensors) {
      let at = base;
      // counted, as this runs once, unoptimised, for every pair of tensors
      for (let i = 0; i < placed.length; i++) {
        const p = placed[i]!;
        if (p.first > t.last || t.first > p.last) continue;
        if (at + t.tensor.bytes <= p.tensor.address) break;
        at = Math.max(at, p.tensor.address + p.tensor.bytes);
      }
      t.tensor.address = at;
      let next = placed.length;
      while (next > 0 && placed[next - 1]!.tensor.address > at) next--;
      placed.splice(next, 0, t);
      end = Math.max(end, at + t.tensor.bytes);
    }
    return end;
  }

  /** Bytes of one op record. */
  get opBytes(): number {
    return OP_BYTES;
  }

  /** The op records, once every tensor has its address; `shift` is added to all of them. */
  encode(shift = 0): Uint8Array {
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
        else if (typeof arg === "function") view.setInt32(to, arg(), true);
        else if ("f32" in arg) view.setFloat32(to, arg.f32, true);
        else if ("live" in arg) view.setInt32(to, most(arg, this.programOf(i).capacity), true);
        else view.setUint32(to, ("tensor" in arg ? arg.tensor.address + arg.offset : arg.address) + shift, true);
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
        if (typeof arg === "object" && "live" in arg)
          fields.push({ offset: i * OP_BYTES + OP_ARGS + 4 * j, factor: arg.live });
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
      const title = starts
        ? `${starts.name}${starts.capacity === undefined ? "" : `, up to ${starts.capacity} rows`}:\n`
        : "";
      return (
        title
        + [
          String(i).padStart(4), op.label.padEnd(12), op.name.padEnd(16),
          `${(op.flops / 1e6).toFixed(2)} MFLOP`.padStart(15), `  ${out ?? ""} ← ${reads.join(", ")}`,
        ].join(" ")
      );
    });
    return lines.join("\n");
  }
}

/** Threads take whole chunks: enough of them to balance (16), but none below some 10 µs of work. */
export function grainFor(units: number, flops: number): number {
  const smallest = Math.ceil((units * 200_000) / Math.max(flops, 1));
  return Math.min(units, Math.max(1, Math.ceil(units / 16), flops ? smallest : units));
}

/** Row kernels work in register tiles of up to six rows, in passes of twelve. */
export function rowGrain(rows: number): number {
  return Math.max(12, alignUp(Math.ceil(rows / 12), 12));
}
