// An architecture: networks that one file records, what configs say of them, and how load() makes models of them. Each
// brings all that only it needs, and nothing else does.
import type { ModelConfig } from "../config/config.ts";
import type { Json } from "../config/fields.ts";
import type { Recognised, Seen } from "../../models/recognise.ts";
import type { Tensors } from "../checkpoint/index.ts";
import type { Caps } from "../run/kernels.ts";
import type { LoadOptions } from "../load/load.ts";
import type { Task } from "./model.ts";
import type { Plan, Tensor } from "../plan/plan.ts";
import type { Runtime } from "../run/runtime.ts";

/** What the constructors of all tasks take. */
export interface Named<Network> {
  /** What "model_type" says, the architecture's own name first. */
  readonly types: readonly string[];
  /** Published networks by their names, as config.json would say them. */
  readonly presets: Readonly<Record<string, Json>>;
  /** SLAB's own have theirs in models/about.ts, out of the first download. */
  readonly about?: About<Network>;
}

/** What running a model takes nothing of: only slab info, slab list and files without config.json ask for it. */
export interface About<Network> {
  /** What is shown of a network that its own sizes do not say by these names. */
  describe?(network: Network): Description;
  /**
   * The config.json of a checkpoint, from its tensors' names and shapes; undefined where they are of no such network.
   */
  recognise?(seen: Seen): Json | undefined;
}

/** What is shown of a network. */
export interface Description {
  /** Channels and blocks, of a pyramid one of each for every stage. */
  readonly dim?: number;
  readonly dims?: readonly number[];
  readonly depth?: number;
  readonly depths?: readonly number[];
  readonly heads?: number | readonly number[];
  /** Kinds of token mixers, such as "linear". */
  readonly mixer?: string;
  readonly mixers?: readonly string[];
  /** Side of a picture's patches. */
  readonly patchSize?: number;
  /** What a timeline remembers, and how. */
  readonly memory?: string;
}

export interface Architecture<Config extends ModelConfig = ModelConfig> extends Named<Config["network"]> {
  /** Checks a config of one of these types. `name`: the preset's, if it is one. */
  read(json: Json, where: string, name?: string): Config;
  /** Records the network, a backbone's for pictures of the config's size; returns its last tensor. */
  build(plan: Plan, tensors: Tensors, config: Config): Tensor;
  /** Records the network in the plan of `opening` and makes it ready to run. */
  load(config: Config, opening: Opening): Promise<Task>;
}

/** What load() has found and decided before the architecture has its turn. */
export interface Opening {
  readonly options: LoadOptions;
  readonly caps: Caps;
  readonly plan: Plan;
  readonly tensors: Tensors;
  /** The compiled build, where it is not the platform's own. */
  readonly module: WebAssembly.Module | undefined;
  /** What is beside the weights: tokenizer.json as text or parsed, or tokenizer.model's bytes. */
  tokenizer(): Promise<unknown>;
  /** Lays the recorded plan out, with room for `slots` timelines, and fills its weights. */
  runtime(outputs: readonly Tensor[], slots?: number): Promise<Runtime>;
}

/** The architectures that a model may be of. */
export interface Known {
  /** Those at hand where one of them is what is looked for, or else all. */
  list(fits: (one: Architecture) => boolean): readonly Architecture[] | Promise<readonly Architecture[]>;
  /** How to load models of others. */
  readonly remedy?: string;
}

/** An architecture, and a checked config of it. */
export interface Configured {
  readonly architecture: Architecture;
  readonly config: ModelConfig;
  /** The config as it was given, read or recognised: a preset's name or an object. */
  readonly json: unknown;
  /** How the config was found where there was none. */
  readonly recognised?: Recognised;
}

/**
 * A parsed config.json, or a preset's name. Throws TypeError for the wrong kind of thing, RangeError for a bad value.
 */
export async function configOf({ list, remedy }: Known, given: unknown, where = "config"): Promise<Configured> {
  const architectures = await list(isOf(given)), found = configAmong(architectures, given, where);
  if (found) return found;
  const { unknownConfig } = await import("../../models/recognise.ts");
  throw unknownConfig(architectures, given, where, remedy);
}

/** The same of architectures at hand; undefined where it is of none of them. */
export function configAmong(
  architectures: readonly Architecture[], given: unknown, where: string,
): Configured | undefined {
  const architecture = architectures.find(isOf(given)), name = typeof given === "string" ? given : undefined;
  const json = name === undefined ? given : architecture?.presets[name];
  return architecture && { architecture, config: architecture.read(json as Json, where, name), json: given };
}

/** Whether an architecture is that of a config, or has a preset of that name. */
const isOf = (given: unknown) => ({ types, presets }: Architecture): boolean =>
  typeof given === "string" ? Object.hasOwn(presets, given) : types.includes((given as Json)?.model_type as string);

/** Channels and blocks in words, a pyramid's as 64-128-320-512. */
export function inWords(network: object): string {
  const { dim, dims = [dim!], depth, depths = [depth!] } = network as Description;
  return `${dims.join("-")} channels, ${depths.join("-")} blocks`;
}
