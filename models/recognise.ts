// What a checkpoint without config.json is, and why a config is of no network known here: loaded when it is first
// needed. A network is told by the names and shapes of its tensors alone. Each architecture knows its own; sizes are
// read off them, and what no tensor shows is what published networks have, and said in `assumed`.
import type { Architecture, Configured, Known } from "../bindings/tasks/architecture.ts";
import { configOf } from "../bindings/tasks/architecture.ts";
import type { TensorInfo } from "../bindings/checkpoint/index.ts";
import { quote, written } from "../bindings/checkpoint/names.ts";
import { aboutOf } from "./about.ts";
import type { Json } from "../bindings/config/fields.ts";

/** What is known of a checkpoint before any tensor is read. */
export interface Header {
  readonly name: string;
  names(): string[];
  info(name: string): TensorInfo | undefined;
}

export interface Recognised {
  /** As config.json would hold it. */
  readonly config: Json;
  /** The published name of the network, where it has one. */
  readonly preset?: string;
  /** What no tensor shows. */
  readonly assumed: readonly string[];
}

/** @throws RangeError that says what was seen when the tensors are of no network known here */
export async function recognise(header: Header, { list, remedy = "" }: Known): Promise<Recognised> {
  if (header.info("slab.weights")) {
    throw new RangeError(`${header.name} is packed by slab convert: give its folder, where its config.json is`);
  }
  // one architecture may find that a network only looks like its own, and another know it
  let found: Recognised | undefined, fault: RangeError | undefined;
  const fits = (architecture: Architecture): boolean => {
    const seen = new Seen(header);
    try {
      const config = aboutOf(architecture).recognise?.(seen);
      if (config) found = { config, ...presetOf(config, architecture), assumed: seen.assumed };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      fault ??= error;
    }
    return found !== undefined;
  };
  const asked = await list(fits);
  if (found || asked.some(fits)) return found!;
  if (fault) throw fault;
  const names = header.names(), some = names.slice(0, 3).map(quote).join(", ");
  const types = asked.flatMap((one) => one.types).join(", ");
  throw new RangeError(`${header.name} has ${names.length} tensors${some && `, such as ${some}`}: `
    + `of no network known here (${types}); if it is one, give its config${remedy}`);
}

/** A checkpoint's architecture and config, from its tensors alone. */
export async function configured(header: Header, known: Known): Promise<Configured> {
  const recognised = await recognise(header, known), { config: json, preset = json } = recognised;
  // a preset brings its name along
  return { ...(await configOf(known, preset, `what ${header.name} was recognised as`)), json, recognised };
}

/** Says what a config is that none of the architectures knows. */
export function unknownConfig(
  architectures: readonly Architecture[], given: unknown, where: string, remedy = "",
): Error {
  if (typeof given === "string") {
    const presets = architectures.flatMap((one) => Object.keys(one.presets)).join(", ");
    return new RangeError(`no preset is called ${quote(given)}: use one of ${presets}, or a config.json${remedy}`);
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    return new TypeError(`${where} is ${Array.isArray(given) ? "an array" : String(given)}, `
      + "expected the object that config.json holds, or a preset's name");
  }
  const { model_type: type } = given as Json, types = architectures.flatMap((one) => one.types).join(", ");
  const said = type === undefined ? ' has no "model_type"' : `: "model_type" is ${written(type)}`;
  return new RangeError(`${where}${said}, expected one of ${types}${remedy}`);
}

/** The preset that means the same network; nothing for any other. */
function presetOf(config: Json, { presets, read }: Architecture): { preset?: string } {
  const networkOf = (json: Json): string => JSON.stringify(read(json, "config").network);
  try {
    const network = networkOf(config);
    for (const [preset, json] of Object.entries(presets)) {
      if (json.model_type === config.model_type && networkOf(json) === network) return { preset };
    }
  } catch {
    // loading it will say why
  }
  return {};
}

interface Dimensions {
  readonly 2: readonly [number, number];
  readonly 3: readonly [number, number, number];
  readonly 4: readonly [number, number, number, number];
}

/** Names and shapes, asked with an error for what is missing. */
export class Seen {
  readonly header: Header;
  readonly assumed: string[] = [];
  constructor(header: Header) {
    this.header = header;
  }

  shape(name: string): readonly number[] | undefined {
    return this.header.info(name)?.shape;
  }

  /** A tensor's shape, of so many dimensions. */
  dims<Count extends keyof Dimensions>(name: string, count: Count): Dimensions[Count] {
    const shape = this.shape(name);
    if (!shape) throw this.fault(`has no ${quote(name)}, which its other tensors call for`);
    if (shape.length === count && shape.every((dim) => dim >= 1)) return shape as unknown as Dimensions[Count];
    throw this.fault(`has ${quote(name)} of shape [${shape.join(", ")}], expected ${count} dimensions of at least 1`);
  }

  /** Refuses networks that have one of these. */
  without(names: readonly string[], why: string): undefined {
    for (const name of names) if (this.shape(name)) throw this.fault(`has ${quote(name)}: ${why}`);
  }

  /** How many there are of `prefix`0, `prefix`1, …, each the beginning of some name. */
  count(prefix: string): number {
    const indices = new Set<number>();
    for (const name of this.header.names()) {
      const index = name.startsWith(prefix) ? /^(\d{1,6})\./.exec(name.slice(prefix.length))?.[1] : undefined;
      if (index !== undefined) indices.add(Number(index));
    }
    for (let i = 0; i < indices.size; i++) {
      if (!indices.has(i)) throw this.fault(`has ${indices.size} of ${quote(prefix)} but not number ${i}`);
    }
    return indices.size;
  }

  /** The root of `tokens`, the side of their map. */
  side(tokens: number, of: string): number {
    const side = Math.sqrt(tokens);
    if (!Number.isInteger(side)) throw this.fault(`has ${quote(of)} for ${tokens} tokens, which are no square map`);
    return side;
  }

  ratio(a: number, b: number, what: string): number {
    if (a % b !== 0) throw this.fault(`has ${what} of ${a}, which is no multiple of ${b}`);
    return a / b;
  }

  /** Refuses networks whose norms are not PRepBN's. */
  norm(prefix: string): void {
    if (this.shape(`${prefix}.norm2.alpha`) || this.shape(`${prefix}.alpha`)) return;
    const bare = this.shape(`${prefix}.weight`) ? "an RMS norm" : "no norm";
    const kind = this.shape(`${prefix}.bias`) ? "a layer norm" : bare;
    throw this.fault(`has ${kind} for ${quote(prefix)}, expected PRepBN: other networks like it do not run here`);
  }

  /** Heads of `dim` channels, each of the size that tensors show, or else of `usual`. */
  heads(dim: number, shown: number | undefined, usual: number): number {
    if (shown === undefined && dim % usual) {
      const what = `attention over ${dim} channels, which is no multiple of the usual ${usual} a head`;
      throw this.fault(`has ${what}: give its config`);
    }
    if (shown === undefined) this.assume(`heads of ${usual} channels`);
    return this.ratio(dim, shown ?? usual, "channels");
  }

  /** Blocks of one width with PRepBN, an `mlp` and, at `attn`, linear attention in all of them or softmax attention. */
  blocks(prefix: string, dim: number, usual: number, attn = "attn") {
    const depth = this.count(prefix), first = `${prefix}0.${attn}`;
    const kinds = Array.from({ length: depth }, (_, i) => this.shape(`${prefix}${i}.${attn}.dwc.weight`) !== undefined);
    const linear = kinds[0] ?? false;
    if (kinds.some((kind) => kind !== linear)) {
      const blocks = `the blocks of ${quote(prefix)}`;
      throw this.fault(`mixes linear and softmax attention in ${blocks}, which no network known here does`);
    }
    this.norm(`${prefix}0.norm1`);
    const shown = this.shape(`${first}.relative_position_bias_table`)?.[1];
    const heads = shown ?? this.heads(dim, this.shape(`${first}.dwc.weight`)?.[0], usual);
    const [hidden] = this.dims(`${prefix}0.mlp.fc1.weight`, 2);
    return { linear, depth, heads, mlpRatio: this.ratio(hidden, dim, "channels of its MLP") };
  }

  /** Stages of such blocks, whose kinds of attention are those of one of `kinds`: L linear, S softmax. */
  pyramid(
    prefix: (stage: number) => string, dims: readonly number[], usual: number, kinds: readonly string[], attn?: string,
  ) {
    const stages = dims.map((dim, s) => this.blocks(prefix(s), dim, usual, attn));
    const found = stages.map(({ linear }) => (linear ? "L" : "S")).join("");
    if (!kinds.includes(found)) {
      const said = `attention of the kinds ${found} in its stages (L linear, S softmax)`;
      throw this.fault(`has ${said}, expected ${kinds.join(" or ")}`);
    }
    return {
      linear: stages[0]!.linear, depths: stages.map(({ depth }) => depth), heads: stages.map(({ heads }) => heads),
      mlpRatios: stages.map(({ mlpRatio }) => mlpRatio),
    };
  }

  classes(dim: number): number {
    const [classes, from] = this.dims("head.weight", 2);
    if (from !== dim) throw this.fault(`has a head for ${from} channels, expected ${dim}`);
    return classes;
  }

  assume(what: string): void {
    if (!this.assumed.includes(what)) this.assumed.push(what);
  }

  fault(what: string): RangeError {
    return new RangeError(`${this.header.name} ${what}`);
  }
}

/**
 * Tensors but those that inference does not read: the schedule and the layer norm of PRepBN's training, and what can be
 * derived or is never used.
 */
export function leftOver(names: readonly string[]): string[] {
  const known = new Set(names);
  const training = /(^|\.)(warm|iter|total_step|num_step|num_batches_tracked)$/;
  const derived = /(^|\.)(relative_position_index|attn_mask|inv_freq)$|\.attns\.\d+\.scale$|^cls_token$/;
  const unread = (name: string): boolean => {
    const norm = /^(.+)\.norm1\.(?:weight|bias)$/.exec(name)?.[1];
    return training.test(name) || derived.test(name) || (norm !== undefined && known.has(`${norm}.norm2.alpha`));
  };
  return names.filter((name) => !unread(name));
}
