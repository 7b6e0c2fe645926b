// Small plans for the executor's tests: one with every op and its naive twin, and random ones; and how to lay a plan
// out in a test's memory.
import { OP_BYTES } from "../../assembly/opcodes.ts";
import { keyValueState, linearAttention, scoreAttention, windowAttention } from "../../bindings/plan/ops/attention.ts";
import {
  depthwiseConv, depthwiseConvChannels, gatherPatches, gatherWindows,
} from "../../bindings/plan/ops/convolution.ts";
import { affine, copyRow, gatherRows, layerNorm, meanRows, setRow, stretchRows } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Build } from "../../bindings/platform/platform.ts";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import type { Arena, Linear } from "../../bindings/plan/weights.ts";
import { alignUp, loadKernels, uniform } from "../harness.ts";
import * as naive from "../naive.ts";
import { uniform01 } from "../../cli/synthetic.ts";

/** A seeded layer; its numbers are the references' too. */
function layerOf(name: string, inDim: number, outDim: number) {
  const w = uniform(`${name} weight`, outDim * inDim, -1, 1).map((value) => value / Math.sqrt(inDim));
  const bias = uniform(`${name} bias`, outDim);
  const tensors = memoryCheckpoint({
    [`${name}.weight`]: { shape: [outDim, inDim], data: w }, [`${name}.bias`]: { shape: [outDim], data: bias },
  });
  const layer: Linear = {
    name, inDim, outDim, weight: tensors.tensor(`${name}.weight`, [outDim, inDim]),
    bias: tensors.tensor(`${name}.bias`, [outDim]), firstRow: 0, before: [], after: [],
  };
  return { layer, w, bias };
}

/** Seeded numbers, as a reference has them and as a plan reads them. */
function constantOf(name: string, count: number, low = -1, high = 1) {
  const values = uniform(name, count, low, high);
  return { values, read: async (): Promise<Float32Array> => values };
}

/** A matrix in a plan, and what its reference holds. */
interface Both {
  tensor: Tensor;
  values: Float64Array;
}

/** Records layers and computes them in float64 at the same time. */
function recorder(plan: Plan) {
  return {
    linear(
      name: string,
      x: Both,
      outDim: number,
      {
        act = "none",
        add,
        ...options
      }: { act?: naive.Activation; add?: Both; heads?: number; out?: Tensor; rowOffset?: number } = {},
    ): Both {
      const { layer, w, bias } = layerOf(name, x.tensor.columns, outDim);
      return {
        tensor: plan.linear(x.tensor, layer, { act, ...(add ? { add: add.tensor } : {}), ...options }),
        values: naive.linear(x.values, w, layer.inDim, { bias, act, ...(add ? { addend: add.values } : {}) }),
      };
    },
    table(name: string, rows: number, columns: number, heads = 0): Both {
      const { values, read } = constantOf(name, rows * columns);
      return {
        tensor: heads
          ? plan.headTable(name, rows, heads, columns / heads, read)
          : plan.table(name, rows, columns, read),
        values: Float64Array.from(values),
      };
    },
  };
}

export interface Network {
  readonly image: Float32Array;
  /** Outputs to keep, and what they should hold [rows, columns]. */
  readonly outputs: readonly Both[];
}

/** A network with every kind of op: `blocks` of linear and softmax attention over a map [height, side]. */
export function everyOp(plan: Plan, { height = 3, side = 5, heads = 2, headDim = 6, blocks = 1 } = {}): Network {
  const { linear, table } = recorder(plan), dim = heads * headDim, tokens = height * side, patch = 2, channels = 3;
  const image = uniform("image", channels * height * side * patch * patch);
  const input = plan.input([channels, height * patch, side * patch]);
  const patches: Both = {
    tensor: gatherPatches(plan, input, channels, height * patch, side * patch, patch),
    values: naive.gatherPatches(image, channels, height * patch, side * patch, patch),
  };
  let x = linear("embed", patches, dim, { add: table("position", tokens, dim) });
  const first = table("first", 1, dim);
  setRow(plan, x.tensor, 0, first.tensor);
  x.values.set(first.values);
  for (let b = 0; b < blocks; b++) {
    plan.scope(`block ${b}`);
    const q = linear(`q${b}`, x, dim, { act: "relu" });
    const k = linear(`k${b}`, x, dim, { act: "relu", heads, add: table(`kp${b}`, tokens, dim, heads) });
    const v = linear(`v${b}`, x, dim, { heads });
    const state = keyValueState(plan, k.tensor, v.tensor, heads, headDim);
    const mixed = linearAttention(plan, q.tensor, state, heads, headDim, 1e-6);
    // windows that overlap and reach over the border, shrunk to a few rows and stretched again
    const strides = { stride: 2, pad: 1 };
    const windows: Both = {
      tensor: gatherWindows(plan, x.tensor, side, 3, strides),
      values: naive.gatherWindows(x.values, dim, height, side, 3, strides),
    };
    const shrunk = linear(`sr${b}`, windows, dim, { heads });
    const stretched: Both = {
      tensor: stretchRows(plan, shrunk.tensor, tokens), values: naive.stretchRows(shrunk.values, dim, tokens),
    };
    const taps = constantOf(`taps${b}`, headDim * 25, -0.2, 0.2);
    depthwiseConv(plan, mixed, stretched.tensor, { name: `taps${b}`, read: taps.read }, height, side, heads, headDim);
    const attended = naive.linearAttention(
      q.values, naive.keyValueState(k.values, v.values, heads, headDim), heads, headDim, 1e-6,
    );
    x = linear(
      `proj${b}`,
      {
        tensor: mixed,
        values: naive.depthwiseConv(attended, stretched.values, taps.values, height, side, heads, headDim),
      },
      dim,
      { add: x, out: x.tensor },
    );

    const [weight, bias] = [table(`nw${b}`, 1, dim), table(`nb${b}`, 1, dim)];
    const y: Both = {
      tensor: layerNorm(plan, x.tensor, weight.tensor, bias.tensor, 1e-5),
      values: naive.layerNorm(x.values, weight.values, bias.values, 1e-5),
    };
    const [q2, k2, v2] = [linear(`sq${b}`, y, dim), linear(`sk${b}`, y, dim), linear(`sv${b}`, y, dim, { heads })];
    const soft: Both = {
      tensor: scoreAttention(plan, q2.tensor, k2.tensor, v2.tensor, heads, headDim, "softmax", 0),
      values: naive.scoreAttention(q2.values, k2.values, v2.values, heads, headDim, "softmax", 0),
    };
    x = linear(`sp${b}`, soft, dim, { add: x });
    const scored: Both = {
      tensor: scoreAttention(
        plan, q.tensor, linear(`sk${b}`, x, dim, { act: "relu" }).tensor, v2.tensor, heads, headDim, "linear", 1e-2,
      ),
      values: naive.scoreAttention(
        q.values, linearOnly(`sk${b}`, x, dim, "relu"), v2.values, heads, headDim, "linear", 1e-2,
      ),
    };
    x = {
      tensor: affine(plan, x.tensor, weight.tensor, bias.tensor, x.tensor),
      values: naive.affine(x.values, weight.values, bias.values),
    };
    x = linear(`so${b}`, scored, dim, { add: x });
    // windows of two tokens in reverse, the last with one that is not there; then pairs of rows, side by side and apart
    // again
    const pairs = Math.ceil(tokens / 2);
    const last = 2 * pairs - 1;
    const order = Int32Array.from({ length: 2 * pairs }, (_, i) => (i === last && tokens % 2 ? -1 : tokens - 1 - i));
    const qkv = linear(`wqkv${b}`, x, 48), pad = table(`wp${b}`, 1, 48), relative = table(`wb${b}`, 4, 2);
    const column = (from: number, { values }: Both): Float64Array =>
      values.filter((_, i) => Math.floor((i % 48) / 16) === from);
    const windowed: Both = {
      tensor: windowAttention(
        plan,
        qkv.tensor,
        {
          name: "pairs",
          groups: pairs,
          size: 2,
          members: groupsOf(order, 2),
          regions: groupsOf(
            order.map((t) => t % 3), 2,
          ),
        },
        2,
        8,
        { bias: relative.tensor, padding: pad.tensor },
      ),
      values: naive.windowAttention(column(0, qkv), column(1, qkv), column(2, qkv), order, 2, 2, 8, {
        regions: order.map((t) => t % 3), bias: relative.values, padKey: column(1, pad), padValue: column(2, pad),
      }),
    };
    const zeros = table(`zeros${b}`, 1, 16);
    const groups = { name: "one group", groups: 1, size: order.length, members: groupsOf(order, order.length) };
    const merged: Both = {
      tensor: gatherRows(plan, windowed.tensor, groups, { padding: zeros.tensor, beside: 2 }),
      values: naive.gatherRows(windowed.values, order, 16, { padding: zeros.values }),
    };
    const reduced = linear(`merge${b}`, merged, 16), back = Int32Array.from({ length: tokens }, (_, i) => i >> 1);
    const spread: Both = {
      tensor: gatherRows(
        plan,
        reduced.tensor,
        { name: "spread", groups: 1, size: tokens, members: groupsOf(back, tokens) },
        { act: "relu" },
      ),
      values: naive.gatherRows(reduced.values, back, 16, { act: "relu" }),
    };
    x = linear(`spread${b}`, spread, dim, { add: x });
    x = linear(`fc2${b}`, linear(`fc1${b}`, x, 3 * dim, { act: "gelu" }), dim, { act: "silu", add: x });
    const own = constantOf(`own${b}`, dim * 9, -0.2, 0.2);
    x = {
      tensor: depthwiseConvChannels(plan, x.tensor, { name: `own${b}`, read: own.read }, 3, height, side, {
        bias: bias.tensor, act: "gelu", add: y.tensor,
      }),
      values: naive.depthwiseConvChannels(x.values, own.values, 3, height, side, {
        bias: bias.values, act: "gelu", addend: y.values,
      }),
    };
  }
  const mean: Both = { tensor: meanRows(plan, x.tensor), values: naive.meanRows(x.values, dim) };
  const row: Both = { tensor: copyRow(plan, x.tensor, 2), values: x.values.slice(2 * dim, 3 * dim) };
  const both = plan.rows("both", 2, 10);
  const [top, bottom] = [
    linear("head", mean, 10, { out: both }), linear("head2", row, 10, { out: both, rowOffset: 1 }),
  ];
  return { image, outputs: [x, { tensor: both, values: Float64Array.from([...top.values, ...bottom.values]) }] };
}

/** Groups of `size` padded to whole panels by their last. */
const groupsOf = (values: Int32Array, size: number): Int32Array => {
  const padded = alignUp(size, 8);
  return Int32Array.from(
    { length: (values.length / size) * padded },
    (_, i) => values[Math.floor(i / padded) * size + Math.min(i % padded, size - 1)]!,
  );
};

const linearOnly = (name: string, x: Both, outDim: number, act: naive.Activation): Float64Array => {
  const { w, bias } = layerOf(name, x.tensor.columns, outDim);
  return naive.linear(x.values, w, x.tensor.columns, { bias, act });
};

/** A random graph over row-major tensors, some written in place. Returns its output. */
export function randomGraph(plan: Plan, seed: number): Tensor {
  let draws = 0;
  const random = uniform01(`graph ${seed}`, 2000);
  const below = (n: number): number => Math.floor(random[draws++ % random.length]! * n);
  const layer = (inDim: number, outDim: number): Linear => layerOf(`random ${plan.ops.length}`, inDim, outDim).layer;
  const constant = (columns: number): Tensor =>
    plan.table("constant", 1, columns, async () => new Float32Array(columns));
  const made = [plan.linear(gatherPatches(plan, plan.input([1, 6, 6]), 1, 6, 6, 2), layer(4, 12))];
  for (let n = 5 + below(30); n > 0; n--) {
    // recent tensors mostly, old ones now and then
    const x = made[Math.max(0, made.length - 1 - below(below(4) ? 3 : made.length))]!;
    const alike = made.filter((t) => t.rows === x.rows && t.columns === x.columns);
    const other = alike[below(alike.length)]!, heads = x.columns % 2 ? 1 : 2, headDim = x.columns / heads;
    switch (below(8)) {
      case 0: made.push(plan.linear(x, layer(x.columns, 4 * (1 + below(12))))); break;
      case 1: made.push(plan.linear(x, layer(x.columns, x.columns), { add: other, act: "gelu" })); break;
      case 2: if (other !== x) plan.linear(x, layer(x.columns, x.columns), { add: other, out: other }); break;
      case 3:
        made.push(
          layerNorm(plan, x, constant(x.columns), constant(x.columns), 1e-5, ...(below(2) ? ([x] as const) : [])),
        );
        break;
      case 4: made.push(affine(plan, x, constant(x.columns), constant(x.columns))); break;
      case 5: {
        const [k, v] = [
          plan.linear(x, layer(x.columns, x.columns), { heads, act: "relu" }),
          plan.linear(other, layer(x.columns, x.columns), { heads }),
        ];
        made.push(linearAttention(plan, x, keyValueState(plan, k, v, heads, headDim), heads, headDim, 1e-6));
        if (x.rows === 9)
          depthwiseConv(
            plan, made.at(-1)!, v, { name: "taps", read: async () => new Float32Array(25 * headDim) }, 3, 3, heads,
            headDim,
          );
        break;
      }
      case 6:
        made.push(
          scoreAttention(
            plan, x, other, plan.linear(x, layer(x.columns, x.columns), { heads }), heads, headDim, "softmax", 0,
          ),
        );
        break;
      case 7: made.push(below(2) ? meanRows(plan, x) : copyRow(plan, x, below(x.rows))); break;
    }
  }
  return made.at(-1)!;
}

/**
 * Lays a plan out in a poisoned memory of `build` with guards around weights, scratch and records, and fills its
 * weights.
 */
export async function install(
  plan: Plan, { image, outputs }: Network, build: Build, { threads = 1, tileRows = 6 } = {},
) {
  const loaded = loadKernels(build, { tileRows, threads, threadScratch: alignUp(plan.threadScratch, 64) });
  const { memory, reserveBytes } = loaded;
  for (const tensor of [...plan.weightTensors, ...plan.madeTables.map(({ tensor }) => tensor)])
    tensor.address = reserveBytes(tensor.bytes);
  plan.inputs[0]!.address = loaded.put(image);
  const keep = outputs.map(({ tensor }) => tensor);
  const scratchBytes = plan.placeScratch(0, keep);
  const scratch = reserveBytes(scratchBytes);
  plan.placeScratch(scratch, keep);
  const arena: Arena = {
    stage: reserveBytes(Math.max(...plan.weights.map((w) => w.stageBytes ?? 4))),
    floats: (address, count) => new Float32Array(memory.buffer, address, count),
    bytes: (address, count) => new Uint8Array(memory.buffer, address, count),
    doubles: (address, count) => new Float64Array(memory.buffer, address, count),
    packPanels: (...args) => loaded.kernels.packPanels(...args),
    unpackTable: (...args) => loaded.kernels.unpackTable(...args),
    sample: () => {},
  };
  for (const weight of plan.weights) await weight.fill(arena);
  for (const { tensor, make } of plan.madeTables)
    new Uint8Array(memory.buffer).set(new Uint8Array(make().buffer), tensor.address);
  const records = reserveBytes(plan.ops.length * OP_BYTES);
  new Uint8Array(memory.buffer).set(plan.encode(), records);
  return {
    ...loaded, records, scratch,
    /** Rows of a tensor without their padding. */
    read: (t: Tensor): Float32Array =>
      Float32Array.from(
        { length: t.rows * t.columns },
        (_, i) =>
          new Float32Array(memory.buffer, t.address + Math.floor(i / t.columns) * t.rowBytes, t.columns)[
            i % t.columns
          ]!,
      ),
    /** Cuts every op into chunks of one unit. */
    finestGrain(): void {
      const view = new DataView(memory.buffer);
      plan.ops.forEach((_, i) => view.setInt32(records + i * OP_BYTES + 8, 1, true));
    },
  };
}
