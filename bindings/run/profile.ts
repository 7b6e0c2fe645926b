// Where a pass spends its time: every op timed in place, against the machine's limits measured in the same run.
import { platform } from "#platform";
import { breathe } from "./breathe.ts";
import type { Language, Timeline } from "../tasks/language.ts";
import type { Task } from "../tasks/model.ts";
import { checkOptions } from "../config/options.ts";
import { instantiatePeak } from "./peak.ts";
import type { Argument, Op } from "../plan/record.ts";
import { tensorOf } from "../plan/record.ts";
import type { Runtime } from "./runtime.ts";
import { describe } from "../describe.ts";

export interface OpProfile {
  readonly op: string;
  /** The part of the network it belongs to. */
  readonly label: string;
  /** What it makes. */
  readonly output: string;
  /** Best of the rounds. */
  readonly timeMs: number;
  readonly gflops: number;
  readonly gigabytesPerSecond: number;
  /** Which limit is nearer for this op: the multiply-add peak, or reading its bytes from memory. */
  readonly bound: "arithmetic" | "bandwidth";
  /** The time that limit allows over the time taken. */
  readonly fraction: number;
}

export interface ProfileOptions {
  /** Of a language model; default "decode". */
  readonly program?: "prefill" | "decode" | undefined;
  /** Timelines of a decode (default 1), or tokens of a prefill (default: all that it takes). */
  readonly rows?: number | undefined;
  /** Default 30. */
  readonly rounds?: number | undefined;
}

export interface Profile {
  readonly peakGflops: number;
  readonly bandwidthGbps: number;
  readonly totalMs: number;
  readonly ops: readonly OpProfile[];
}

/** Bytes that an op must move: each tensor once, weights in full, of row tensors the live share. */
function bytesOf(args: readonly Argument[], name: string, share: number): number {
  const seen = new Set<object>();
  let bytes = 0;
  for (const tensor of args.map(tensorOf)) {
    if (!tensor || seen.has(tensor)) continue;
    seen.add(tensor);
    if (name === "embed" && tensor.region === "weights") continue;
    bytes += tensor.region === "weights" ? tensor.bytes : tensor.bytes * share;
  }
  return bytes;
}

/** Bytes of states that an op of a step of decoding must move: 8 for every 4 operations. A prompt's tokens share one state. */
const stateBytesOf = ({ name, flops }: Op): number => (name === "recurrentStep" || name === "cachedAttention" ? 2 * flops : 0);

/**
 * Times ops [first, last) on one thread, one after another in their own order, `rounds` times.
 * @param share     live rows over the capacity of the program
 * @param decoding  whether ops of a state move all of it
 * @param around    makes ready for the ops of a round and puts everything back: between rounds others may run
 */
async function profileOps(
  runtime: Runtime, first: number, last: number, share: number, rounds: number, decoding = false,
  around: (round: () => void) => void = (round) => round(),
): Promise<Profile> {
  if (!(Number.isInteger(rounds) && rounds >= 1)) throw new RangeError(`rounds is ${rounds}, expected a whole number of at least 1`);
  const { plan, caps } = runtime, { kernels, planAddress } = runtime.memory;
  const peak = instantiatePeak(await platform.peak(caps.relaxed));
  const times = plan.ops.slice(first, last).map(() => Infinity);
  let computeMs = Infinity, readMs = Infinity;
  // the engine optimises a function after it has run for some milliseconds
  for (let until = performance.now() + 60; performance.now() < until; await breathe()) peak.compute();
  const timeAll = (): void => {
    for (let i = first; i < last; i++) {
      const begin = performance.now();
      kernels.runPlan(planAddress + i * plan.opBytes, 1);
      times[i - first] = Math.min(times[i - first]!, performance.now() - begin);
    }
  };
  for (let round = 0; round < rounds; round++) {
    void runtime.memory;
    runtime.finish();
    around(timeAll);
    for (let sample = 0; sample < 20; sample++) {
      const begin = performance.now();
      peak.compute();
      computeMs = Math.min(computeMs, performance.now() - begin);
    }
    const begin = performance.now();
    peak.read();
    readMs = Math.min(readMs, performance.now() - begin);
    await breathe();
  }
  const peakGflops = peak.flops / computeMs / 1e6, bandwidthGbps = peak.bytes / readMs / 1e6;
  const ops = times.map((timeMs, i): OpProfile => {
    const op = plan.ops[first + i]!, { name, label, args } = op, flops = op.flops * share, bytes = bytesOf(args, name, share) + (decoding ? stateBytesOf(op) * share : 0);
    const arithmeticMs = flops / peakGflops / 1e6, bandwidthMs = bytes / bandwidthGbps / 1e6;
    return {
      op: name, label, output: args.map(tensorOf).find((t) => t !== undefined)?.name ?? "", timeMs, gflops: flops / timeMs / 1e6, gigabytesPerSecond: bytes / timeMs / 1e6,
      bound: arithmeticMs >= bandwidthMs ? "arithmetic" : "bandwidth", fraction: Math.max(arithmeticMs, bandwidthMs) / timeMs,
    };
  });
  return { peakGflops, bandwidthGbps, totalMs: times.reduce((a, b) => a + b, 0), ops };
}

/** Times a model's pass, or a language model's program on timelines or tokens of no account. */
export async function profile(task: Task, options: ProfileOptions = {}): Promise<Profile> {
  await checkOptions("profile", options, task.kind === "language" ? "program rows rounds" : "rounds");
  const { program = "decode", rows, rounds = 30 } = options, { runtime } = task;
  if (task.kind === "language") return profileProgram(task, program, rows, rounds);
  return profileOps(runtime, 0, runtime.plan.ops.length, 1, rounds);
}

function profileProgram(
  language: Language, name: "prefill" | "decode", rows: number | undefined, rounds: number,
): Promise<Profile> {
  if (name !== "prefill" && name !== "decode") {
    throw new RangeError(`program is ${describe(name)}, expected "decode" or "prefill"`);
  }
  const { runtime, tensors } = language, program = runtime.program(name), capacity = program.capacity!;
  const count = rows ?? (name === "decode" ? 1 : capacity);
  if (!(Number.isInteger(count) && count >= 1 && count <= capacity)) {
    throw new RangeError(`rows is ${count}, expected a whole number from 1 to ${capacity}`);
  }
  // halfway through the context, where there is one: what a row sees in the mean
  const context = language.context === Infinity ? 0 : language.context;
  const position = Math.max(0, (context - (name === "prefill" ? count : 1)) >> 1);
  return profileOps(runtime, program.first, program.last, count / capacity, rounds, name === "decode", (round) => {
    const fresh = (): Timeline => ({ position: 0, slot: undefined, parked: undefined });
    const timelines = Array.from({ length: name === "prefill" ? 1 : count }, fresh);
    language.occupy(timelines);
    for (const timeline of timelines) timeline.position = position;
    runtime.ints(tensors[name].ids.address, count).fill(0);
    language.enter(tensors[name], timelines);
    runtime.setRows(program, count);
    round();
    for (const timeline of timelines) language.forget(timeline);
  });
}
