// One WebAssembly.Memory per model: header | plan | weights | state | scratch, sized before it is made, never grown.
import { HEADER_BYTES, PATIENCE, THREAD_SCRATCH, THREAD_SCRATCH_BYTES, TILE_ROWS } from "../../assembly/header.ts";
import { OP_BYTES } from "../../assembly/opcodes.ts";
import { alignUp } from "../plan/align.ts";
import { breathe } from "./breathe.ts";
import { fnv1a } from "../fingerprint.ts";
import type { Caps, Kernels } from "./kernels.ts";
import { instantiate } from "./kernels.ts";
import type { Plan, Tensor } from "../plan/plan.ts";
import type { Platform } from "../platform/platform.ts";
import type { Pool } from "./pool.ts";
import type { Arena } from "../plan/weights.ts";

const PAGE = 65536;
/** Of 2 ms: some ten seconds, hundreds of times what a thread keeps a chunk for on a crowded machine. */
const SLEEPS_BEFORE_GIVING_UP = 5000;

/** Bytes of every region of a model's memory. */
export interface MemoryReport {
  readonly header: number;
  readonly plan: number;
  readonly weights: number;
  readonly state: number;
  readonly scratch: number;
  /** The WebAssembly.Memory as a whole. */
  readonly total: number;
}

export interface ModelMemory {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  readonly kernels: Kernels;
  readonly planAddress: number;
  readonly weightsAddress: number;
  readonly weightsBytes: number;
  /** State slots, one timeline each, slotBytes apart. */
  readonly stateAddress: number;
  readonly slotBytes: number;
  /** Tells models apart: of the config and a sample of every weight. */
  readonly fingerprint: number;
  readonly report: MemoryReport;
  /** Threads that may run in it. */
  readonly pool: Pool | undefined;
}

export interface MaterialiseOptions {
  /** The compiled build, when it is not the platform's own. */
  readonly module?: WebAssembly.Module;
  readonly signal?: AbortSignal;
  readonly onWeight?: (done: number, total: number, name: string) => void;
  /** Timelines with a place in memory. */
  readonly slots?: number;
  /** Weights that are packed already: their fingerprint, and how to read them all into place. */
  readonly packed?: { readonly fingerprint: number; read(into: Uint8Array): Promise<void> };
}

/** Where everything in a model's memory is. Addresses in bytes. */
interface MemoryLayout {
  readonly planAddress: number;
  readonly planBytes: number;
  readonly weightsAddress: number;
  readonly weightsBytes: number;
  readonly stateAddress: number;
  readonly slotBytes: number;
  /** Where inputs and activations begin; weights are staged there before there are any. */
  readonly stageAddress: number;
  /** Every thread's own scratch. */
  readonly threadScratch: number;
  readonly perThread: number;
  readonly end: number;
}

/** Gives every tensor of a plan its address. */
export function layOut(plan: Plan, outputs: readonly Tensor[], threads: number, slots: number): MemoryLayout {
  const planAddress = HEADER_BYTES, planBytes = alignUp(plan.ops.length * OP_BYTES, 64);
  let at = planAddress + planBytes;
  const weightsAddress = at;
  for (const tensor of plan.weightTensors) {
    tensor.address = at;
    at += tensor.bytes;
  }
  const weightsBytes = at - weightsAddress;
  for (const { tensor } of plan.madeTables) {
    tensor.address = at;
    at += tensor.bytes;
  }
  plan.state?.place();
  const stateAddress = alignUp(at, 64), slotBytes = alignUp(plan.state?.bytes ?? 0, 64), stageAddress = stateAddress + slotBytes * slots;
  let scratch = stageAddress;
  for (const input of plan.inputs) {
    input.address = scratch;
    scratch += input.bytes;
  }
  const threadScratch = plan.placeScratch(scratch, outputs), perThread = alignUp(plan.threadScratch, 64);
  // weights are staged where activations will be
  const stage = Math.max(...plan.weights.map((w) => w.stageBytes ?? 0), 0);
  const end = Math.max(threadScratch + perThread * threads, stageAddress + stage);
  return { planAddress, planBytes, weightsAddress, weightsBytes, stateAddress, slotBytes, stageAddress, threadScratch, perThread, end };
}

/** Lays the plan out, makes the memory, writes the plan and fills the weights. */
export async function materialise(
  plan: Plan, outputs: readonly Tensor[], caps: Caps, platform: Platform,
  { module: given, signal, onWeight, slots = 0, packed }: MaterialiseOptions = {},
): Promise<ModelMemory> {
  const layout = layOut(plan, outputs, caps.threads, slots);
  const { planAddress, planBytes, weightsAddress, weightsBytes, stateAddress, slotBytes, stageAddress, threadScratch, perThread, end } = layout, stateBytes = slotBytes * slots;
  const pages = Math.ceil(end / PAGE);
  if (pages > 65536) throw (await import("../extras.ts")).memoryFault(end, stateBytes);

  const shared = caps.build.endsWith("threads");
  const pool = shared && caps.threads > 1 ? await platform.pool() : undefined;
  const memory = (await pool?.memory(pages)) ?? new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
  const module = given ?? (await platform.kernels(caps.build));
  const kernels = instantiate(module, memory);
  kernels.initialise();
  const view = new DataView(memory.buffer);
  view.setInt32(TILE_ROWS, platform.tileRows(caps.relaxed), true);
  view.setInt32(PATIENCE, SLEEPS_BEFORE_GIVING_UP, true);
  view.setUint32(THREAD_SCRATCH, threadScratch, true);
  view.setUint32(THREAD_SCRATCH_BYTES, perThread, true);
  new Uint8Array(memory.buffer).set(plan.encode(), planAddress);

  // of the checkpoint alone: sessions move between builds and number formats of one model
  let fingerprint = fnv1a([]);
  const arena: Arena = {
    stage: stageAddress,
    floats: (address, count) => new Float32Array(memory.buffer, address, count),
    bytes: (address, count) => new Uint8Array(memory.buffer, address, count),
    doubles: (address, count) => new Float64Array(memory.buffer, address, count),
    packPanels: (...args) => kernels.packPanels(...args),
    unpackTable: (...args) => kernels.unpackTable(...args),
    sample(bytes) {
      fingerprint = fnv1a(bytes.subarray(0, 256), fingerprint);
    },
  };
  for (const { tensor, make } of plan.madeTables) {
    const values = make();
    arena.bytes(tensor.address, values.byteLength).set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  // not performance.now(): Node loads a dozen modules of its own for it, which takes longer than compiling the kernels
  let breath = Date.now();
  if (packed) {
    await packed.read(arena.bytes(weightsAddress, weightsBytes));
    fingerprint = packed.fingerprint;
    onWeight?.(1, 1, "packed weights");
  } else for (const [i, weight] of plan.weights.entries()) {
    // timers and aborts are served now and then
    if (Date.now() - breath > 20) {
      await breathe();
      breath = Date.now();
    }
    signal?.throwIfAborted();
    await weight.fill(arena);
    onWeight?.(i + 1, plan.weights.length, weight.name);
  }
  return {
    memory, module, kernels, pool, planAddress, weightsAddress, weightsBytes, stateAddress, slotBytes, fingerprint,
    report: {
      header: HEADER_BYTES, plan: planBytes, weights: stateAddress - weightsAddress, state: stateBytes, scratch: memory.buffer.byteLength - stateAddress - stateBytes,
      total: memory.buffer.byteLength,
    },
  };
}
