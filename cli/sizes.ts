// How large a network is, told from its config alone: it is recorded over a checkpoint that has every tensor asked for and holds nothing.
import { build } from "../bindings/all.ts";
import type { TensorRef, Tensors } from "../bindings/checkpoint/index.ts";
import { Plan } from "../bindings/plan.ts";
import type { ModelConfig } from "../models/config.ts";

export interface Sizes {
  /** Trained numbers; the running statistics of norms are not among them. */
  readonly parameters: number;
  /** Names of the norms that the network has before folding. */
  readonly norms: readonly string[];
  /** Floating-point operations of one picture, or of one decoded token; 2 a multiply-add. */
  readonly flops: number;
  /** What a language model runs. They share their weights, and no token goes through all of them. */
  readonly programs: readonly ProgramSize[];
  /** Of one session. */
  readonly stateBytes: number;
  readonly plan: Plan;
}

export interface ProgramSize {
  readonly name: string;
  readonly ops: number;
  /** Operations of one row of it: a token. */
  readonly flops: number;
}

export function sizesOf(config: ModelConfig): Sizes {
  const asked = new Map<string, number>();
  const plan = new Plan();
  build(plan, recorder("", asked), config);
  let parameters = 0;
  const norms: string[] = [];
  for (const [name, numbers] of asked) {
    const norm = /^(.*)\.bn\.running_(mean|var)$/.exec(name);
    if (!norm) parameters += numbers;
    else if (norm[2] === "mean") norms.push(norm[1]!);
  }
  const programs = plan.programs.map(({ name, first, last, capacity = 1 }) => {
    const ops = plan.ops.slice(first, last);
    return { name, ops: ops.length, flops: ops.reduce((sum, op) => sum + op.flops, 0) / capacity };
  });
  const flops = programs.find(({ name }) => name === "decode")?.flops ?? plan.flops;
  return { parameters, norms, flops, programs, stateBytes: plan.state?.bytes ?? 0, plan };
}

/** Channels, blocks and heads of a network as one writes them: 192, or 64-128-320-512 for a pyramid's stages. */
export function shapeOf({ network }: ModelConfig): { dim: string; depth: string; heads: string; mixer: string } {
  const dim = "dim" in network ? [network.dim] : network.dims, depth = "depth" in network ? [network.depth] : network.depths;
  const heads = typeof network.heads === "number" ? [network.heads] : network.heads;
  const mixers = "mixers" in network ? network.mixers : ["mixer" in network ? network.mixer : "theta" in network ? "softmax" : "linear"];
  return { dim: dim.join("-"), depth: depth.join("-"), heads: heads.join("-"), mixer: [...new Set(mixers)].join(", ") };
}

function recorder(prefix: string, asked: Map<string, number>): Tensors {
  const full = (name: string): string => (prefix === "" ? name : `${prefix}.${name}`);
  return {
    prefix,
    has: () => false,
    tensor(given, shape): TensorRef {
      const name = full(given), numbers = shape.reduce((a, b) => a * b, 1);
      asked.set(name, numbers);
      return { name, dtype: "F32", shape, byteLength: 4 * numbers, read: async () => new Uint8Array(4 * numbers) };
    },
    scope: (inner) => (inner === "" ? recorder(prefix, asked) : recorder(full(inner), asked)),
  };
}
