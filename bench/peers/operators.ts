// Single operators of the peers: ONNX networks of one operator, made here, on onnxruntime-web; and
// TensorFlow.js on WebAssembly.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import type { Element, Values } from "./onnx.ts";
import { Onnx } from "./onnx.ts";

export interface PeerOperator {
  readonly name: string;
  run(): unknown;
  /** What it computed, in the units of the plain product, to be compared with ours. */
  result(): Promise<Float32Array>;
  /** A call of the same peer that computes nothing: its time is taken off. */
  empty(): unknown;
  /** Times the operator is applied in one run. */
  readonly times: number;
  close(): Promise<void>;
}

/** onnxruntime-web's module, one thread; what openPeer of ../peers.ts uses too. */
export type OnnxRuntime = NonNullable<Awaited<ReturnType<typeof import("../peers.ts").onnxRuntime>>>;

type Feeds = Readonly<Record<string, readonly [Element, Values, readonly number[]]>>;

const tensorsOf = (ort: OnnxRuntime, feeds: Feeds) => Object.fromEntries(
  Object.entries(feeds).map(([name, [type, data, shape]]) => [name, new ort.Tensor(type, data, shape)]),
);
const openSession = (ort: OnnxRuntime, network: Onnx) => ort.InferenceSession.create(
  network.encode(), { executionProviders: ["wasm"], graphOptimizationLevel: "all" },
);

async function onnxOperator(
  ort: OnnxRuntime, name: string, network: Onnx, feeds: Feeds, { scale = 1, times = 1 } = {},
): Promise<PeerOperator> {
  const nothing = new Onnx();
  nothing.output(nothing.op("Identity", [nothing.input("x", "float32", [1])]), "float32", [1]);
  const session = await openSession(ort, network), idle = await openSession(ort, nothing);
  const given = tensorsOf(ort, feeds), none = tensorsOf(ort, { x: ["float32", new Float32Array(1), [1]] });
  return {
    name: `onnxruntime-web ${name}`, times,
    run: () => session.run(given),
    result: async () => Float32Array.from(
      (await session.run(given))[session.outputNames[0]].data, (v: number) => v * scale,
    ),
    empty: () => idle.run(none),
    async close() {
      await session.release();
      await idle.release();
    },
  };
}

/** x [m, k] · w [k, n] in f32. */
export function onnxProduct(
  ort: OnnxRuntime, x: Float32Array, w: Float32Array, [m, k, n]: readonly [number, number, number],
): Promise<PeerOperator> {
  const network = new Onnx();
  network.output(
    network.op("MatMul", [network.input("x", "float32", [m, k]), network.constant(w, [k, n])]), "float32", [m, n],
  );
  return onnxOperator(ort, "MatMul", network, { x: ["float32", x, [m, k]] });
}

/**
 * The int8 products of x = xq/127 and w = wq/127 that the runtime has: bytes ready to be multiplied, signed or not
 * (nothing is quantised within the run), and f32 in and out.
 */
export async function onnxInt8Products(
  ort: OnnxRuntime, x: Float32Array, wq: Int8Array, [m, k, n]: readonly [number, number, number],
): Promise<PeerOperator[]> {
  const xs = Int8Array.from(x, (v) => Math.round(v * 127));
  const xu = Uint8Array.from(xs, (v) => v + 128);
  const wu = Uint8Array.from(wq, (v) => v + 128);
  const zero = (values: Values): Values => (values instanceof Uint8Array ? Uint8Array.of(128) : Int8Array.of(0));
  const bytes: readonly (readonly [string, Uint8Array | Int8Array, Uint8Array | Int8Array])[] = [
    ["u8×s8", xu, wq], ["u8×u8", xu, wu], ["s8×s8", xs, wq],
  ];
  const products = bytes.flatMap(([kinds, a, w]) => {
    const type = a instanceof Uint8Array ? "uint8" : "int8", feeds: Feeds = { x: [type, a, [m, k]] };
    const integer = new Onnx(), linear = new Onnx();
    integer.output(
      integer.op("MatMulInteger", [
        integer.input("x", type, [m, k]), integer.constant(w, [k, n]), integer.constant(zero(a)),
        integer.constant(zero(w)),
      ]),
      "int32", [m, n],
    );
    // outputs of up to ±127 steps: a step is a 127th of twice the deviation that random factors give
    const one = linear.constant(Float32Array.of(1 / 127)), step = linear.constant(Float32Array.of(Math.sqrt(k) / 127));
    linear.output(
      linear.op("QLinearMatMul", [
        linear.input("x", type, [m, k]), one, linear.constant(zero(a)), linear.constant(w, [k, n]), one,
        linear.constant(zero(w)), step, linear.constant(zero(a)),
      ]),
      type, [m, n],
    );
    return [
      onnxOperator(ort, `MatMulInteger ${kinds}`, integer, feeds, { scale: 1 / 127 ** 2 }),
      // its result keeps eight bits and an offset: it is timed, not compared
      onnxOperator(ort, `QLinearMatMul ${kinds}`, linear, feeds, { scale: NaN }),
    ];
  });
  const dynamic = new Onnx();
  const [q, scale, offset] = dynamic.node(
    "DynamicQuantizeLinear", [dynamic.input("x", "float32", [m, k])], {}, { outputs: 3 },
  ) as [string, string, string];
  const product = dynamic.op("MatMulInteger", [q, dynamic.constant(wq, [k, n]), offset]);
  dynamic.output(
    dynamic.op("Mul", [
      dynamic.op("Cast", [product], { to: 1 }), dynamic.op("Mul", [scale, dynamic.constant(Float32Array.of(1 / 127))]),
    ]),
    "float32", [m, n],
  );
  return Promise.all([
    ...products, onnxOperator(ort, "DynamicQuantizeLinear + MatMulInteger", dynamic, { x: ["float32", x, [m, k]] }),
  ]);
}

/**
 * x [1, k] · Wᵀ, W [n, k] = (codes − 8)·scale in blocks of 32, two codes a byte; at both accuracy levels that differ.
 */
export function onnxInt4Products(
  ort: OnnxRuntime, x: Float32Array, codes: Uint8Array, scales: Float32Array, [k, n]: readonly [number, number],
): Promise<PeerOperator[]> {
  const packed = Uint8Array.from({ length: codes.length / 2 }, (_, i) => codes[2 * i]! | (codes[2 * i + 1]! << 4));
  return Promise.all([0, 4].map((level) => {
    const network = new Onnx();
    const inputs = [
      network.input("x", "float32", [1, k]), network.constant(packed, [n, k / 32, 16]), network.constant(scales),
    ];
    network.output(
      network.op(
        "MatMulNBits", inputs, { K: k, N: n, bits: 4, block_size: 32, accuracy_level: level }, "com.microsoft",
      ),
      "float32", [1, n],
    );
    return onnxOperator(
      ort, `MatMulNBits, accuracy level ${level || "default"}`, network, { x: ["float32", x, [1, k]] },
    );
  }));
}

/**
 * LinearAttention with its plain rule, S ← S + k vᵀ, o = qᵀS, `times` after one another in one network; q, k, v
 * [tokens, heads·headDim].
 */
export function onnxLinearAttention(
  ort: OnnxRuntime, [q, k, v]: readonly [Float32Array, Float32Array, Float32Array], heads: number, headDim: number,
  times = 1,
): Promise<PeerOperator> {
  const tokens = q.length / heads / headDim;
  const shape = [1, tokens, heads * headDim];
  const stateShape = [1, heads, headDim, headDim];
  const network = new Onnx();
  const [qi, ki, vi] = [
    network.input("q", "float32", shape), network.input("k", "float32", shape), network.input("v", "float32", shape),
  ];
  let out = "", state = network.input("state", "float32", stateShape);
  const attributes = { update_rule: "linear", q_num_heads: heads, kv_num_heads: heads, scale: { float: 1 } };
  for (let i = 0; i < times; i++) {
    [out, state] = network.node(
      "LinearAttention", [qi, ki, vi, state], attributes, { domain: "com.microsoft", outputs: 2 },
    ) as [string, string];
  }
  network.output(out, "float32", shape);
  network.output(state, "float32", stateShape);
  const feeds: Feeds = {
    q: ["float32", q, shape], k: ["float32", k, shape], v: ["float32", v, shape],
    state: ["float32", new Float32Array(heads * headDim * headDim), stateShape],
  };
  return onnxOperator(ort, "LinearAttention", network, feeds, { times });
}

/** TensorFlow.js with its WebAssembly backend's SIMD build, one thread. */
export async function openTensorFlow() {
  const folder = fileURLToPath(new URL("node_modules/@tensorflow/tfjs-backend-wasm/dist/", import.meta.url));
  if (!existsSync(folder)) return undefined;
  const require = createRequire(import.meta.url);
  const tf = require("@tensorflow/tfjs-core"), wasm = require("@tensorflow/tfjs-backend-wasm");
  wasm.setWasmPaths(folder);
  wasm.setThreadsCount(1);
  tf.enableProdMode();
  // with threads it would take its threaded build, whose memory is shared
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  if (!(await tf.setBackend("wasm")) || !(await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT"))) return undefined;
  const nothing = tf.scalar(1), name = `tfjs-backend-wasm ${wasm.version_wasm}`;
  const operator = (
    what: string, apply: () => { dispose(): void; data(): Promise<Float32Array> }, inputs: { dispose(): void }[],
  ): PeerOperator => ({
    name: `${name} ${what}`, times: 1,
    run: () => apply().dispose(),
    async result() {
      const out = apply(), values = await out.data();
      out.dispose();
      return values;
    },
    empty: () => tf.neg(nothing).dispose(),
    close: async () => inputs.forEach((input) => input.dispose()),
  });
  return {
    product(x: Float32Array, w: Float32Array, [m, k, n]: readonly [number, number, number]): PeerOperator {
      const [a, b] = [tf.tensor2d(x, [m, k]), tf.tensor2d(w, [k, n])];
      return operator("matMul", () => tf.matMul(a, b), [a, b]);
    },
    /** Map [side, side, channels], taps [size, size, channels]. */
    depthwise(map: Float32Array, taps: Float32Array, side: number, channels: number, size: number): PeerOperator {
      const [x, w] = [tf.tensor4d(map, [1, side, side, channels]), tf.tensor4d(taps, [size, size, channels, 1])];
      return operator("depthwiseConv2d", () => tf.depthwiseConv2d(x, w, 1, "same"), [x, w]);
    },
  };
}
