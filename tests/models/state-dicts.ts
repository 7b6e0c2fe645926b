// Names and shapes of the official state dicts, as section by section the published networks have them; no values.
import type { TensorInfo } from "../../bindings/checkpoint/index.ts";
import type { Header } from "../../models/recognise.ts";

export type Shapes = Map<string, readonly number[]>;
type Layout = "FULL" | "BARE" | "DET" | "LM";

/** A state dict under construction. */
class Dict {
  readonly shapes: Shapes = new Map();
  readonly layout: Layout;
  constructor(layout: Layout) {
    this.layout = layout;
  }
  add(name: string, ...shape: number[]): void {
    this.shapes.set(name, shape);
  }
  layer(name: string, outDim: number, ...inDims: number[]): void {
    this.add(`${name}.weight`, outDim, ...inDims);
    this.add(`${name}.bias`, outDim);
  }
  norm(prefix: string, dim: number): void {
    const { layout } = this;
    const counters = {
      FULL: ["warm", "iter", "total_step"], DET: ["iter", "total_step"], LM: ["num_step", "warm", "iter", "total_step"],
      BARE: [],
    }[layout];
    for (const counter of counters) this.add(`${prefix}.${counter}`);
    if (layout !== "BARE") this.add(`${prefix}.norm1.weight`, dim);
    if (layout === "FULL" || layout === "DET") this.add(`${prefix}.norm1.bias`, dim);
    const repbn = layout === "BARE" ? prefix : `${prefix}.norm2`;
    this.add(`${repbn}.alpha`, 1);
    for (const part of ["weight", "bias", "running_mean", "running_var"]) this.add(`${repbn}.bn.${part}`, dim);
    this.add(`${repbn}.bn.num_batches_tracked`);
  }
  dwc(prefix: string, headDim: number, tokens: number, dim: number): void {
    this.add(`${prefix}.positional_encoding`, 1, tokens, dim);
    this.layer(`${prefix}.dwc`, headDim, 1, 5, 5);
  }
  mlp(prefix: string, dim: number, ratio: number): void {
    this.layer(`${prefix}.mlp.fc1`, dim * ratio, dim);
    this.layer(`${prefix}.mlp.fc2`, dim, dim * ratio);
  }
}

export function deitShapes({
  dim, linear, layout = "FULL", classes = 1000,
}: {
  dim: number;
  linear: boolean;
  layout?: Layout;
  classes?: number;
}): Shapes {
  const dict = new Dict(layout);
  dict.add("cls_token", 1, 1, dim);
  dict.add("pos_embed", 1, linear ? 196 : 197, dim);
  dict.layer("patch_embed.proj", dim, 3, 16, 16);
  for (let i = 0; i < 12; i++) {
    dict.norm(`blocks.${i}.norm1`, dim);
    dict.layer(`blocks.${i}.attn.qkv`, 3 * dim, dim);
    dict.layer(`blocks.${i}.attn.proj`, dim, dim);
    if (linear) dict.dwc(`blocks.${i}.attn`, 64, 196, dim);
    dict.norm(`blocks.${i}.norm2`, dim);
    dict.mlp(`blocks.${i}`, dim, 4);
  }
  dict.norm("norm", dim);
  dict.layer("head", classes, dim);
  return dict.shapes;
}

export function pvtShapes({
  dims = [64, 128, 320, 512], depths, kind, heads = [1, 2, 5, 8], ratios = [8, 8, 4, 4],
}: {
  dims?: readonly number[];
  depths: readonly number[];
  kind: "linear" | "softmax" | "v2";
  heads?: readonly number[];
  ratios?: readonly number[];
}): Shapes {
  const dict = new Dict("FULL"), reduce = [8, 4, 2, 1];
  dims.forEach((dim, s) => {
    const tokens = (56 / 2 ** s) ** 2, kernel = kind === "v2" ? (s === 0 ? 7 : 3) : s === 0 ? 4 : 2, sr = reduce[s]!;
    if (kind !== "v2") dict.add(`pos_embed${s + 1}`, 1, tokens, dim);
    dict.layer(`patch_embed${s + 1}.proj`, dim, dims[s - 1] ?? 3, kernel, kernel);
    dict.norm(`patch_embed${s + 1}.norm`, dim);
    for (let i = 0; i < depths[s]!; i++) {
      const block = `block${s + 1}.${i}`;
      dict.norm(`${block}.norm1`, dim);
      dict.layer(`${block}.attn.q`, dim, dim);
      dict.layer(`${block}.attn.kv`, 2 * dim, dim);
      dict.layer(`${block}.attn.proj`, dim, dim);
      if (kind !== "softmax") dict.dwc(`${block}.attn`, dim / heads[s]!, tokens, dim);
      else if (sr > 1) {
        dict.layer(`${block}.attn.sr`, dim, dim, sr, sr);
        dict.norm(`${block}.attn.norm`, dim);
      }
      dict.norm(`${block}.norm2`, dim);
      dict.mlp(block, dim, ratios[s]!);
      if (kind === "v2") dict.layer(`${block}.mlp.dwconv.dwconv`, dim * ratios[s]!, 1, 3, 3);
    }
    if (kind === "v2") dict.norm(`norm${s + 1}`, dim);
  });
  dict.layer("head", 1000, dims[3]!);
  return dict.shapes;
}

export function swinShapes({
  dim = 96, depths, linear, detection = false,
}: {
  dim?: number;
  depths: readonly number[];
  linear: boolean;
  detection?: boolean;
}): Shapes {
  const dict = new Dict(detection ? "DET" : linear ? "FULL" : "BARE");
  dict.layer("patch_embed.proj", dim, 3, 4, 4);
  dict.norm("patch_embed.norm", dim);
  depths.forEach((depth, s) => {
    const width = dim * 2 ** s, side = 56 / 2 ** s;
    for (let i = 0; i < depth; i++) {
      const block = `layers.${s}.blocks.${i}`, softmax = !linear || s > 1;
      if (!detection && softmax && i % 2 === 1 && side > 7) dict.add(`${block}.attn_mask`, (side / 7) ** 2, 49, 49);
      dict.norm(`${block}.norm1`, width);
      dict.layer(`${block}.attn.qkv`, 3 * width, width);
      dict.layer(`${block}.attn.proj`, width, width);
      if (softmax) {
        dict.add(`${block}.attn.relative_position_bias_table`, 169, width / 32);
        dict.add(`${block}.attn.relative_position_index`, 49, 49);
      } else dict.dwc(`${block}.attn`, 32, side * side, width);
      dict.norm(`${block}.norm2`, width);
      dict.mlp(block, width, 4);
    }
    if (s === 3) return;
    dict.add(`layers.${s}.downsample.reduction.weight`, 2 * width, 4 * width);
    dict.norm(`layers.${s}.downsample.norm`, 4 * width);
  });
  if (detection) for (let s = 0; s < 4; s++) dict.layer(`norm${s}`, dim * 2 ** s);
  else {
    dict.norm("norm", 8 * dim);
    dict.layer("head", 1000, 8 * dim);
  }
  return dict.shapes;
}

export function cswinShapes({ dim = 64, depths }: { dim?: number; depths: readonly number[] }): Shapes {
  const dict = new Dict("FULL");
  dict.layer("stage1_conv_embed.0", dim, 3, 7, 7);
  dict.norm("stage1_conv_embed.2", dim);
  depths.forEach((depth, s) => {
    const width = dim * 2 ** s, side = 56 / 2 ** s;
    for (let i = 0; i < depth; i++) {
      const block = `stage${s + 1}.${i}`, branches = s === 2 ? 2 : 1;
      dict.layer(`${block}.qkv`, 3 * width, width);
      dict.norm(`${block}.norm1`, width);
      dict.layer(`${block}.proj`, width, width);
      for (let b = 0; b < branches; b++) {
        dict.layer(`${block}.attns.${b}.get_v`, width / branches, 1, 3, 3);
        if (s > 1) continue;
        dict.add(`${block}.attns.${b}.scale`, 1, 1, width);
        dict.dwc(`${block}.attns.${b}`, 32, side * side, width);
      }
      dict.mlp(block, width, 4);
      dict.norm(`${block}.norm2`, width);
    }
    if (s === 3) return;
    dict.layer(`merge${s + 1}.conv`, 2 * width, width, 3, 3);
    dict.norm(`merge${s + 1}.norm`, 2 * width);
  });
  dict.norm("norm", 8 * dim);
  dict.layer("head", 1000, 8 * dim);
  return dict.shapes;
}

export function llamaShapes({ frequencies = true } = {}): Shapes {
  const dict = new Dict("LM");
  dict.add("model.embed_tokens.weight", 32000, 1024);
  for (let i = 0; i < 18; i++) {
    const layer = `model.layers.${i}`;
    for (const part of ["q", "k", "v", "o"]) dict.add(`${layer}.self_attn.${part}_proj.weight`, 1024, 1024);
    if (frequencies) dict.add(`${layer}.self_attn.rotary_emb.inv_freq`, 64);
    dict.add(`${layer}.mlp.gate_proj.weight`, 4096, 1024);
    dict.add(`${layer}.mlp.down_proj.weight`, 1024, 4096);
    dict.add(`${layer}.mlp.up_proj.weight`, 4096, 1024);
    dict.norm(`${layer}.input_layernorm`, 1024);
    dict.norm(`${layer}.post_attention_layernorm`, 1024);
  }
  dict.norm("model.norm", 1024);
  dict.add("lm_head.weight", 32000, 1024);
  return dict.shapes;
}

export const headerOf = (shapes: Shapes, name = "x.pth"): Header => ({
  name, names: () => [...shapes.keys()],
  info: (tensor): TensorInfo | undefined => {
    const shape = shapes.get(tensor);
    return shape && { name: tensor, dtype: "F32", shape, byteLength: 0 };
  },
});
