// How large a network is, told from its config alone: it is recorded over a checkpoint that has every tensor asked for
// and holds nothing.
import type { Architecture, Description } from "../bindings/tasks/architecture.ts";
import type { Tensors } from "../bindings/checkpoint/index.ts";
import { madeTensors } from "../bindings/checkpoint/tensors.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { aboutOf } from "../models/about.ts";
import { architectureOf } from "../models/all.ts";
import type { ModelConfig } from "../bindings/config/config.ts";

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

export function sizesOf(config: ModelConfig, architecture: Architecture = architectureOf(config)): Sizes {
  const asked = new Map<string, number>();
  const plan = new Plan();
  architecture.build(plan, recorder(asked), config);
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
export function shapeOf(config: ModelConfig, architecture: Architecture = architectureOf(config)) {
  const shown: Description = { ...config.network, ...aboutOf(architecture).describe?.(config.network) };
  const { dim, depth, mixer, patchSize, memory } = shown;
  const { dims = [dim], depths = [depth], heads = [], mixers = [mixer] } = shown;
  const joined = { dim: dims.join("-"), depth: depths.join("-"), heads: [heads].flat().join("-") };
  return { ...joined, mixer: [...new Set(mixers)].join(", "), patchSize, memory };
}

function recorder(asked: Map<string, number>): Tensors {
  return madeTensors((name, shape) => {
    const numbers = shape.reduce((a, b) => a * b, 1);
    asked.set(name, numbers);
    return { name, dtype: "F32", shape, byteLength: 4 * numbers, read: async () => new Uint8Array(4 * numbers) };
  });
}
