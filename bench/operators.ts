// Single operators against the peers' own, interleaved: what they compute must agree before their times are compared.
import { readFileSync } from "node:fs";
import { HEADER_BYTES, THREAD_SCRATCH, TILE_ROWS } from "../assembly/header.ts";
import { DECAY_NONE } from "../assembly/opcodes.ts";
import { memoryCheckpoint } from "../bindings/checkpoint/index.ts";
import type { WeightType } from "../bindings/index.ts";
import { chooseBuild, instantiate } from "../bindings/run/kernels.ts";
import { materialise } from "../bindings/run/memory.ts";
import { depthwiseConvChannels } from "../bindings/plan/ops/convolution.ts";
import type { Tensor } from "../bindings/plan/plan.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { platform } from "../bindings/platform/node.ts";
import { linearOf } from "../bindings/plan/weights.ts";
import { timeInTurn } from "./measure.ts";
import { missingPeers, onnxRuntime } from "./peers.ts";
import type { PeerOperator } from "./peers/operators.ts";
import {
  onnxInt4Products, onnxInt8Products, onnxLinearAttention, onnxProduct, openTensorFlow,
} from "./peers/operators.ts";
import { OPERATORS } from "./targets.ts";

type Build = "simd" | "relaxed";

export interface OperatorResult {
  /** Names the comparison in baselines and targets. */
  readonly key: string;
  readonly operator: string;
  readonly build: Build;
  readonly bestMs: number;
  readonly medianMs: number;
  readonly peer: string;
  /** The peer's best, less that of a call which computes nothing. */
  readonly peerMs: number;
  readonly ratio: number;
  readonly medianRatio: number;
  /** Between our result and the peer's, relative root mean square. */
  readonly difference: number;
}

interface Ours {
  run(): void;
  result(): Float32Array;
}

interface Comparison {
  readonly key: string;
  readonly operator: string;
  /** How often the operator is applied in one run of ours. */
  readonly times?: number;
  /** Largest difference that quantisation explains. */
  readonly within: number;
  ours(build: Build): Promise<Ours>;
  /** All that could do the work: the fastest is compared. */
  peers(): Promise<readonly PeerOperator[]>;
}

/** Seeded numbers in [−1, 1). */
function numbers(count: number, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}

const transpose = (values: Float32Array, rows: number, columns: number): Float32Array =>
  Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);

/** One op (with what it needs before it) in a plan of its own, its input set. */
async function inPlan(
  build: Build, type: WeightType, x: Float32Array, rows: number, record: (plan: Plan, x: Tensor) => Tensor,
): Promise<Ours> {
  const plan = new Plan({ type, relaxed: build === "relaxed" });
  const input = plan.rows("x", rows, x.length / rows);
  const output = record(plan, input);
  const { kernels, planAddress, memory } = await materialise(
    plan, [input, output], chooseBuild(platform, { threads: 1, build })!, platform,
  );
  new Float32Array(memory.buffer, input.address, x.length).set(x);
  const run = (): void => kernels.runPlan(planAddress, plan.ops.length);
  return {
    run,
    result() {
      run();
      return new Float32Array(memory.buffer, output.address, rows * output.columns).slice();
    },
  };
}

/** x [m, k] · Wᵀ, W [n, k]. */
const product = (
  build: Build, type: WeightType, x: Float32Array, w: Float32Array, m: number, k: number, n: number,
): Promise<Ours> =>
  inPlan(build, type, x, m, (plan, input) => plan.linear(
    input, linearOf(memoryCheckpoint({ "w.weight": { shape: [n, k], data: w } }), "w", k, n, { bias: false }),
  ));

const HEADS = 8, HEAD_DIM = 64, STEPS = 16;

/** The recurrence S ← S + k vᵀ, o = qᵀS: steps of one token, or `tokens` by chunks. */
function recurrence(build: Build, [q, k, v]: readonly [Float32Array, Float32Array, Float32Array], steps: number): Ours {
  const dim = HEADS * HEAD_DIM, tokens = q.length / dim, row = dim * 4;
  const memory = new WebAssembly.Memory({ initial: 256, maximum: 256 });
  const module = new WebAssembly.Module(readFileSync(new URL(`../wasm/slab-${build}.wasm`, import.meta.url)));
  const kernels = instantiate(module, memory) as unknown as Record<string, (...args: number[]) => void>;
  kernels.initialise!();
  const floats = new Float32Array(memory.buffer), words = new Int32Array(memory.buffer);
  let free = HEADER_BYTES;
  const reserve = (bytes: number): number => (free += Math.ceil(bytes / 64) * 64) - Math.ceil(bytes / 64) * 64;
  const put = (values: Float32Array): number => {
    const at = reserve(values.byteLength);
    floats.set(values, at / 4);
    return at;
  };
  const stateBytes = HEADS * HEAD_DIM * HEAD_DIM * 4;
  const scratch = reserve(4 * (HEAD_DIM * HEAD_DIM + 64 * HEAD_DIM) + 1664);
  words[TILE_ROWS / 4] = platform.tileRows(build === "relaxed");
  words[THREAD_SCRATCH / 4] = scratch;
  const state = reserve(stateBytes), states = reserve(4), out = reserve(tokens * row);
  const [qa, ka, va] = [put(q), put(k), put(v)];
  words[states / 4] = state;
  const run = steps
    ? () => {
      for (let i = 0; i < steps; i++) {
        kernels.recurrentStep!(
          0, HEADS, out, row, qa, row, ka, row, va, row, states, 0, HEADS, HEAD_DIM, HEAD_DIM, DECAY_NONE, 0, 0, 0, 0,
          0, 1, scratch,
        );
      }
    }
    : () => kernels.recurrentChunks!(
      0, HEADS, out, row, qa, row, ka, row, va, row, tokens, states, 0, HEAD_DIM, HEAD_DIM, 0, 0, 0, 0, 1, scratch,
    );
  return {
    run,
    result() {
      floats.fill(0, state / 4, (state + stateBytes) / 4);
      run();
      return floats.slice(out / 4, out / 4 + tokens * dim);
    },
  };
}

/** Every comparison that the installed peers allow. */
async function comparisons(): Promise<Comparison[]> {
  const list: Comparison[] = [], ort = await onnxRuntime(), tf = await openTensorFlow();
  if (!tf) missingPeers.push("tfjs-backend-wasm: not installed (npm install --prefix bench/peers)");
  for (const [m, k, n] of [[196, 384, 384], [512, 512, 512]] as const) {
    const shape = `${m}×${k}×${n}`;
    const x = numbers(m * k, 1);
    const wq = Int8Array.from(numbers(n * k, 2), (v) => Math.round(v * 127));
    const turned = Float32Array.from(wq, (v) => v / 127), w = transpose(turned, k, n);
    if (ort) {
      list.push(
        {
          key: `int8 product ${shape}`, operator: `int8 product ${shape}, activations quantised too`, within: 0.02,
          ours: (build) => product(build, "int8", x, w, m, k, n), peers: () => onnxInt8Products(ort, x, wq, [m, k, n]),
        },
        {
          key: `product ${shape}, onnxruntime`, operator: `product ${shape}`, within: 1e-5,
          ours: (build) => product(build, "f32", x, w, m, k, n),
          peers: async () => [await onnxProduct(ort, x, turned, [m, k, n])],
        },
      );
    }
    if (tf) {
      list.push({
        key: `product ${shape}, tfjs`, operator: `product ${shape}`, within: 1e-5,
        ours: (build) => product(build, "f32", x, w, m, k, n), peers: async () => [tf.product(x, turned, [m, k, n])],
      });
    }
  }
  if (ort) {
    const [k, n] = [1024, 1024];
    const x = numbers(k, 3);
    const codes = Uint8Array.from(numbers(n * k, 4), (v) => Math.floor((v + 1) * 8));
    const scales = numbers((n * k) / 32, 5).map((v) => 0.1 + 0.05 * v);
    const w = Float32Array.from(codes, (code, i) => (code - 8) * scales[Math.floor(i / 32)]!);
    list.push({
      key: "int4 product 1×1024×1024", operator: "int4 product 1×1024×1024, blocks of 32", within: 0.02,
      ours: (build) => product(build, "int4", x, w, 1, k, n),
      peers: () => onnxInt4Products(ort, x, codes, scales, [k, n]),
    });
    const qkv = (tokens: number) =>
      [6, 7, 8].map((seed) => numbers(tokens * HEADS * HEAD_DIM, seed)) as [Float32Array, Float32Array, Float32Array];
    const heads = `${HEADS} heads of ${HEAD_DIM}×${HEAD_DIM}`;
    list.push(
      {
        key: "linear attention step", operator: `linear attention, one step, ${heads}`, within: 1e-5,
        ours: async (build) => recurrence(build, qkv(1), 1),
        peers: async () => [await onnxLinearAttention(ort, qkv(1), HEADS, HEAD_DIM)],
      },
      {
        key: "linear attention step within a network",
        operator: `the same, ${STEPS} steps in one network: no state goes in or out`, times: STEPS, within: 1e-5,
        ours: async (build) => recurrence(build, qkv(1), STEPS),
        peers: async () => [await onnxLinearAttention(ort, qkv(1), HEADS, HEAD_DIM, STEPS)],
      },
      {
        key: "linear attention prefill", operator: `linear attention, 512 tokens, ${heads}`, within: 1e-5,
        ours: async (build) => recurrence(build, qkv(512), 0),
        peers: async () => [await onnxLinearAttention(ort, qkv(512), HEADS, HEAD_DIM)],
      },
    );
  }
  if (tf) {
    const [side, channels] = [56, 96], map = numbers(side * side * channels, 9);
    for (const size of [3, 5] as const) {
      const taps = numbers(size * size * channels, 10);
      const own = { name: "taps", read: async () => transpose(taps, size * size, channels) };
      list.push({
        key: `depthwise ${size}×${size}`, operator: `depthwise ${size}×${size}, ${side}×${side}×${channels}`,
        within: 1e-5,
        ours: (build) => inPlan(
          build, "f32", map, side * side, (plan, input) => depthwiseConvChannels(plan, input, own, size, side, side),
        ),
        peers: async () => [tf.depthwise(map, taps, side, channels, size)],
      });
    }
  }
  return list;
}

/** Relative root mean square of a difference. */
function differenceOf(got: Float32Array, want: Float32Array): number {
  let error = 0, norm = 0;
  for (let i = 0; i < want.length; i++) [error, norm] = [error + (got[i]! - want[i]!) ** 2, norm + want[i]! ** 2];
  return got.length === want.length ? Math.sqrt(error / norm) : Infinity;
}

/** The fastest of several, by a short trial. */
async function fastest(peers: readonly PeerOperator[], budgetMs: number): Promise<PeerOperator> {
  if (peers.length === 1) return peers[0]!;
  const times = await timeInTurn(Object.fromEntries(peers.map((peer) => [peer.name, () => peer.run()])), budgetMs);
  return peers.reduce((best, peer) => (times[peer.name]!.bestMs < times[best.name]!.bestMs ? peer : best));
}

/** @param budgetMs  for each comparison, all builds and the peer together; thrice as much where a target is stated */
export async function benchOperators(budgetMs: number, builds: readonly Build[]): Promise<OperatorResult[]> {
  const results: OperatorResult[] = [];
  for (const { key, operator, times: repeats = 1, within, ours: make, peers: open } of await comparisons()) {
    const ours = await Promise.all(builds.map(async (build) => [build, await make(build)] as const));
    const peers = await open();
    const outputs = (await Promise.all(peers.map((peer) => peer.result())))
      .filter((values) => !Number.isNaN(values[0]!));
    const differences = new Map(ours.map(([build, { result }]) => {
      const got = result(), difference = Math.max(...outputs.map((want) => differenceOf(got, want)));
      if (!(difference <= within)) {
        throw new Error(
          `${operator}, ${build}: ours and ${peers[0]!.name} are ${difference} apart, expected at most `
            + `${within}: they do not compute the same`,
        );
      }
      return [build, difference];
    }));
    const peer = await fastest(peers, budgetMs / 2);
    // a shared machine is disturbed for seconds at a time: operators that targets are stated for get
    // longer to meet a quiet one
    const budget = key in OPERATORS ? 3 * budgetMs : budgetMs;
    const times = await timeInTurn(
      {
        ...Object.fromEntries(ours.map(([build, { run }]) => [build, run])), peer: () => peer.run(),
        empty: () => peer.empty(),
      },
      budget,
    );
    for (const [build] of ours) {
      const { bestMs, medianMs } = times[build]!, best = bestMs / repeats, median = medianMs / repeats;
      const peerMs = (times.peer!.bestMs - times.empty!.bestMs) / peer.times;
      const peerMedian = (times.peer!.medianMs - times.empty!.medianMs) / peer.times;
      results.push({
        key, operator, build, bestMs: best, medianMs: median, peer: peer.name, peerMs, ratio: peerMs / best,
        medianRatio: peerMedian / median, difference: differences.get(build)!,
      });
    }
    for (const each of peers) await each.close();
    process.stderr.write(
      `  ${operator}: `
        + `${results.slice(-ours.length).map(({ build, ratio }) => `${build} ${ratio.toFixed(2)}×`).join(", ")}\n`,
    );
  }
  return results;
}
