// Which network a checkpoint is of, from the names and shapes of its tensors alone: its config.json, for files that come without one.
// Sizes are read off the tensors; what no tensor shows is what every network of the paper has, and said in `assumed`.
import type { TensorInfo } from "../bindings/checkpoint/index.ts";
import { quote } from "../bindings/checkpoint/names.ts";
import type { Known } from "./family.ts";
import { configOf } from "./family.ts";

/** What is known of a checkpoint before any tensor is read. */
export interface Header {
  readonly name: string;
  names(): string[];
  info(name: string): TensorInfo | undefined;
}

export interface Recognised {
  /** As config.json would hold it. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The paper's name of the network, where it is one of the paper's. */
  readonly preset?: string;
  /** What no tensor shows. */
  readonly assumed: readonly string[];
}

type Config = Record<string, unknown>;
type Sizing = (seen: Seen) => Config;

/** What DeiT, PVT and LLaMA of the paper have as channels of a head; no tensor of softmax attention shows it. */
const VISION_HEAD = 64, CSWIN_HEAD = 32, LLAMA_HEAD = 128;

/** @throws RangeError that says what was seen when the tensors are of no network known here */
export function recognise(header: Header, known: Known): Recognised {
  const seen = new Seen(header);
  const [, sizing] = SIZINGS.find(([tensor]) => seen.shape(tensor)) ?? [];
  if (!sizing) {
    const names = header.names(), some = names.slice(0, 3).map(quote).join(", ");
    throw new RangeError(`${header.name} has ${names.length} tensors${some && `, such as ${some}`}: of no network known here (SLAB's DeiT, PVT, Swin, CSWin and language models, and those with PRepBN alone); if it is one, give its config`);
  }
  const config = sizing(seen), preset = presetOf(config, known);
  return { config, ...(preset === undefined ? {} : { preset }), assumed: seen.assumed };
}

/** By a tensor that only this family has. */
const SIZINGS: readonly (readonly [tensor: string, sizing: Sizing])[] = [
  ["stage1_conv_embed.0.weight", cswin], ["patch_embed1.proj.weight", pvt], ["layers.0.blocks.0.attn.qkv.weight", swin], ["blocks.0.attn.qkv.weight", deit],
  ["model.layers.0.self_attn.q_proj.weight", llama], ["layers.0.self_attn.dwc.weight", slabLm],
  ["slab.weights", packed],
];

/** The preset that means the same network; undefined for any other. */
function presetOf(config: Config, known: Known): string | undefined {
  const networkOf = (given: unknown): string => JSON.stringify(configOf(known, given).config.network);
  try {
    const { family: { presets } } = configOf(known, config), network = networkOf(config);
    return Object.keys(presets).find((name) => presets[name]!.model_type === config.model_type && networkOf(name) === network);
  } catch {
    // loading it will say why
    return undefined;
  }
}

/** Names and shapes, asked with an error for what is missing. */
class Seen {
  readonly header: Header;
  readonly assumed: string[] = [];
  constructor(header: Header) {
    this.header = header;
  }

  shape(name: string): readonly number[] | undefined {
    return this.header.info(name)?.shape;
  }

  /** A tensor's shape, of so many dimensions. */
  dims(name: string, count: number): readonly number[] {
    const shape = this.shape(name);
    if (!shape) throw this.fault(`has no ${quote(name)}, which its other tensors call for`);
    if (shape.length !== count || shape.some((dim) => dim < 1)) throw this.fault(`has ${quote(name)} of shape [${shape.join(", ")}], expected ${count} dimensions of at least 1`);
    return shape;
  }

  /** How many there are of `prefix`0, `prefix`1, …, each the beginning of some name. */
  count(prefix: string): number {
    const indices = new Set<number>();
    for (const name of this.header.names()) {
      const index = name.startsWith(prefix) ? /^(\d{1,6})\./.exec(name.slice(prefix.length))?.[1] : undefined;
      if (index !== undefined) indices.add(Number(index));
    }
    for (let i = 0; i < indices.size; i++) if (!indices.has(i)) throw this.fault(`has ${indices.size} of ${quote(prefix)} but not number ${i}`);
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

  /** Whether the blocks of a stage attend linearly: all of them, or none. */
  linear(prefix: string, depth: number, tensor: string): boolean {
    const linear = Array.from({ length: depth }, (_, i) => this.shape(`${prefix}${i}.${tensor}`) !== undefined);
    if (linear.some((is) => is !== linear[0])) throw this.fault(`mixes linear and softmax attention in the blocks of ${quote(prefix)}, which no network known here does`);
    return linear[0] ?? false;
  }

  /** Refuses networks whose norms are not PRepBN's. */
  norm(prefix: string): void {
    if (this.shape(`${prefix}.norm2.alpha`) || this.shape(`${prefix}.alpha`)) return;
    const kind = this.shape(`${prefix}.bias`) ? "a layer norm" : this.shape(`${prefix}.weight`) ? "an RMS norm" : "no norm";
    throw this.fault(`has ${kind} for ${quote(prefix)}, expected PRepBN: this runtime runs networks whose norms are PRepBN's`);
  }

  /** Heads of `dim` channels, each of the size that tensors show, or else of `usual`. */
  heads(dim: number, shown: number | undefined, usual: number): number {
    if (shown === undefined && dim % usual) throw this.fault(`has attention over ${dim} channels, which is no multiple of the usual ${usual} a head: give its config`);
    if (shown === undefined) this.assume(`heads of ${usual} channels`);
    return this.ratio(dim, shown ?? usual, "channels");
  }

  classes(dim: number): number {
    const [classes, from] = this.dims("head.weight", 2) as [number, number];
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

const STAGES = [0, 1, 2, 3];

function deit(seen: Seen): Config {
  const [dim, , patch] = seen.dims("patch_embed.proj.weight", 4) as [number, number, number, number];
  const depth = seen.count("blocks."), linear = seen.linear("blocks.", depth, "attn.dwc.weight");
  const positions = seen.dims("pos_embed", 3)[1]!;
  seen.norm("blocks.0.norm1");
  for (const name of ["dist_token", "head_dist.weight"]) if (seen.shape(name)) throw seen.fault(`has ${quote(name)}: it is a distilled DeiT, which is not supported`);
  return {
    model_type: linear ? "slab_deit" : "deit_prepbn", image_size: seen.side(linear ? positions : positions - 1, "pos_embed") * patch, patch_size: patch,
    hidden_size: dim, num_hidden_layers: depth, num_attention_heads: seen.heads(dim, seen.shape("blocks.0.attn.dwc.weight")?.[0], VISION_HEAD),
    mlp_ratio: seen.ratio(seen.dims("blocks.0.mlp.fc1.weight", 2)[0]!, dim, "channels of its MLP"), num_labels: seen.classes(dim),
  };
}

function pvt(seen: Seen): Config {
  const stages = STAGES.map((s) => {
    const block = `block${s + 1}.`, depth = seen.count(block), dim = seen.dims(`patch_embed${s + 1}.proj.weight`, 4)[0]!;
    return {
      depth, dim, linear: seen.linear(block, depth, "attn.dwc.weight"), heads: seen.heads(dim, seen.shape(`${block}0.attn.dwc.weight`)?.[0], VISION_HEAD),
      mlp: seen.ratio(seen.dims(`${block}0.mlp.fc1.weight`, 2)[0]!, dim, "channels of its MLP"), sr: seen.shape(`${block}0.attn.sr.weight`)?.[2] ?? 1,
    };
  });
  const linear = stages[0]!.linear, overlapping = seen.shape("block1.0.mlp.dwconv.dwconv.weight") !== undefined;
  if (stages.some((stage) => stage.linear !== linear)) throw seen.fault("has linear attention in some stages of a PVT and softmax attention in others, which no network known here has");
  if (overlapping && !linear) throw seen.fault("is a PVTv2 with softmax attention, which is not supported: SLAB-PVTv2 has linear attention");
  seen.norm("block1.0.norm1");
  const table = overlapping ? "block1.0.attn.positional_encoding" : "pos_embed1", tokens = seen.dims(table, 3)[1]! * (overlapping ? stages[0]!.sr ** 2 : 1);
  return {
    model_type: overlapping ? "slab_pvt_v2" : linear ? "slab_pvt" : "pvt_prepbn", image_size: 4 * seen.side(tokens, table), hidden_sizes: stages.map(({ dim }) => dim), depths: stages.map(({ depth }) => depth),
    num_attention_heads: stages.map(({ heads }) => heads), mlp_ratios: stages.map(({ mlp }) => mlp), sr_ratios: stages.map(({ sr }) => sr), num_labels: seen.classes(stages[3]!.dim),
  };
}

function swin(seen: Seen): Config {
  const [dim, , patch] = seen.dims("patch_embed.proj.weight", 4) as [number, number, number, number];
  let window = 7;
  const stages = STAGES.map((s) => {
    const blocks = `layers.${s}.blocks.`, depth = seen.count(blocks), linear = seen.linear(blocks, depth, "attn.dwc.weight");
    if (linear) return { depth, linear, heads: seen.heads(dim * 2 ** s, seen.shape(`${blocks}0.attn.dwc.weight`)?.[0], 32) };
    const [places, heads] = seen.dims(`${blocks}0.attn.relative_position_bias_table`, 2) as [number, number];
    window = (seen.side(places, "relative_position_bias_table") + 1) / 2;
    return { depth, linear, heads };
  });
  seen.norm("layers.0.blocks.0.norm1");
  const kinds = stages.map(({ linear }) => (linear ? "L" : "S")).join("");
  if (kinds !== "SSSS" && kinds !== "LLSS") throw seen.fault(`has attention of the kinds ${kinds} in its stages (L linear, S softmax), expected SSSS or LLSS`);
  const linear = kinds === "LLSS", sizes = { patch_size: patch, hidden_size: dim, depths: stages.map(({ depth }) => depth), num_attention_heads: stages.map(({ heads }) => heads), window_size: window };
  if (!seen.shape("head.weight") && seen.shape("norm0.weight")) return { model_type: linear ? "slab_swin_backbone" : "swin_prepbn_backbone", ...sizes };
  // a linear stage has a position for every token of its map; softmax windows fit maps of any size
  if (!linear) seen.assume("pictures of 224×224");
  const table = "layers.0.blocks.0.attn.positional_encoding";
  return {
    model_type: linear ? "slab_swin" : "swin_prepbn", image_size: linear ? patch * seen.side(seen.dims(table, 3)[1]!, table) : 224, ...sizes,
    mlp_ratio: seen.ratio(seen.dims("layers.0.blocks.0.mlp.fc1.weight", 2)[0]!, dim, "channels of its MLP"), num_labels: seen.classes(8 * dim),
  };
}

function cswin(seen: Seen): Config {
  const dim = seen.dims("stage1_conv_embed.0.weight", 4)[0]!;
  const stages = STAGES.map((s) => {
    const blocks = `stage${s + 1}.`, depth = seen.count(blocks);
    return { depth, linear: seen.linear(blocks, depth, "attns.0.dwc.weight"), heads: seen.heads(dim * 2 ** s, seen.shape(`${blocks}0.attns.0.dwc.weight`)?.[0], CSWIN_HEAD) };
  });
  seen.norm("stage1.0.norm1");
  const kinds = stages.map(({ linear }) => (linear ? "L" : "S")).join("");
  if (kinds !== "LLSS") throw seen.fault(`has attention of the kinds ${kinds} in its stages (L linear, S softmax), expected LLSS, as SLAB-CSWin`);
  const table = "stage1.0.attns.0.positional_encoding";
  return {
    model_type: "slab_cswin", image_size: 4 * seen.side(seen.dims(table, 3)[1]!, table), hidden_size: dim, depths: stages.map(({ depth }) => depth), num_attention_heads: stages.map(({ heads }) => heads),
    mlp_ratio: seen.ratio(seen.dims("stage1.0.mlp.fc1.weight", 2)[0]!, dim, "channels of its MLP"), num_labels: seen.classes(8 * dim),
  };
}

function llama(seen: Seen): Config {
  const [vocab, dim] = seen.dims("model.embed_tokens.weight", 2) as [number, number];
  seen.norm("model.layers.0.input_layernorm");
  const frequencies = seen.shape("model.layers.0.self_attn.rotary_emb.inv_freq")?.[0];
  return {
    model_type: "slab_llama", vocab_size: vocab, hidden_size: dim, num_hidden_layers: seen.count("model.layers."),
    num_attention_heads: seen.heads(dim, frequencies === undefined ? undefined : 2 * frequencies, LLAMA_HEAD), intermediate_size: seen.dims("model.layers.0.mlp.gate_proj.weight", 2)[0],
    tie_word_embeddings: seen.shape("lm_head.weight") === undefined, bos_token_id: 1, eos_token_id: 2,
  };
}

function slabLm(seen: Seen): Config {
  throw seen.fault("is a SLAB-LM, whose decay is in no tensor: it needs its config.json");
}

function packed(seen: Seen): Config {
  throw seen.fault("is packed by slab convert: give its folder, where its config.json is");
}

/** Tensors but those that inference does not read: the schedule and the layer norm of PRepBN's training, and what can be derived or is never used. */
export function leftOver(names: readonly string[]): string[] {
  const known = new Set(names);
  const unread = (name: string): boolean => {
    const norm = /^(.+)\.norm1\.(?:weight|bias)$/.exec(name)?.[1];
    return /(^|\.)(warm|iter|total_step|num_step|num_batches_tracked|relative_position_index|attn_mask|inv_freq)$/.test(name) || name === "cls_token"
      || /\.attns\.\d+\.scale$/.test(name) || (norm !== undefined && known.has(`${norm}.norm2.alpha`));
  };
  return names.filter((name) => !unread(name));
}
