// SLAB-Swin (arXiv:2405.11582): Swin with simplified linear attention over large windows in its first stages and PRepBN as the norm; and
// Swin with PRepBN alone. As a classifier every norm folds away; as a detector's backbone, four LayerNorms on the outputs are left.
import type { Tensors } from "../bindings/checkpoint/index.ts";
import type { Windows } from "../bindings/ops/attention.ts";
import { keyValueState, linearAttention, windowAttention } from "../bindings/ops/attention.ts";
import { depthwiseConv } from "../bindings/ops/convolution.ts";
import { gatherRows, layerNorm, meanRows } from "../bindings/ops/rows.ts";
import type { Plan, Tensor } from "../bindings/plan.ts";
import type { Linear } from "../bindings/weights.ts";
import { foldBefore, linearOf } from "../bindings/weights.ts";
import { biasOfHeads, float32, mlp, patchEmbed, scaleQueries, simplifiedLinearAttention, SLA_EPS, splitQkv } from "./blocks.ts";
import { foldPRepBN, repBN } from "./prepbn.ts";
import { mergedPatches, unwindowed, windowsOf } from "./windows.ts";

export interface SlabSwinConfig {
  /** Of a classifier: its pictures. Of a backbone: what it is laid out for until it meets another size. */
  readonly imageSize: number;
  readonly patchSize: number;
  readonly channels: number;
  readonly classes: number;
  /** One of each for every stage. */
  readonly dims: readonly number[];
  readonly depths: readonly number[];
  readonly heads: readonly number[];
  readonly mixers: readonly ("linear" | "softmax")[];
  /** Side of the windows. */
  readonly windows: readonly number[];
  readonly mlpRatio: number;
  readonly normEps: number;
}

/** A stage's tokens, [height·width, channels]. */
export interface FeatureMap {
  readonly tokens: Tensor;
  readonly height: number;
  readonly width: number;
}

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
export function slabSwin(plan: Plan, tensors: Tensors, config: SlabSwinConfig): Tensor {
  const { imageSize, classes, normEps } = config;
  const { tokens } = stages(plan, tensors, config, { height: imageSize, width: imageSize, backbone: false });
  plan.scope("head");
  // the last norm is affine too: it commutes with the mean over tokens and folds into the head
  return plan.linear(meanRows(plan, tokens), foldPRepBN(tensors.scope("norm"), normEps, linearOf(tensors, "head", tokens.columns, classes)));
}

/**
 * Image f32 [channels, height, width], sides multiples of the patch → the map of every stage, through a LayerNorm of its own.
 * Windows are as a detector's: never clipped to the map but padded, and shifted in every second block.
 */
export function swinFeatures(plan: Plan, tensors: Tensors, config: SlabSwinConfig, size: { height: number; width: number }): FeatureMap[] {
  const maps: FeatureMap[] = [];
  stages(plan, tensors, config, { ...size, backbone: true }, ({ tokens, ...shape }, stage) => {
    const norm = tensors.scope(`norm${stage}`), dim = tokens.columns;
    const [weight, bias] = (["weight", "bias"] as const).map((name) => plan.table(`norm${stage}.${name}`, 1, dim, norm.tensor(name, [dim]))) as [Tensor, Tensor];
    // the next stage goes on with the tokens as they were
    maps.push({ tokens: layerNorm(plan, tokens, weight, bias, config.normEps), ...shape });
  });
  return maps;
}

interface Surroundings {
  readonly height: number;
  readonly width: number;
  readonly backbone: boolean;
}

/** Every stage in turn; `each` sees its tokens before they are merged. Returns the last. */
function stages(plan: Plan, tensors: Tensors, config: SlabSwinConfig, { height, width, backbone }: Surroundings, each?: (map: FeatureMap, stage: number) => void): FeatureMap {
  const { patchSize: patch, channels, dims, depths, heads, mixers, windows, mlpRatio, normEps } = config;
  const embed = tensors.scope("patch_embed");
  plan.scope("embed");
  let x = patchEmbed(plan, plan.input([channels, height, width]), embed, { channels, height, size: width, patch, dim: dims[0]!, norm: repBN(embed.scope("norm"), dims[0]!, normEps) });
  let map: FeatureMap = { tokens: x, height: height / patch, width: width / patch };
  plan.mark("embed", x);
  dims.forEach((dim, s) => {
    const stage = tensors.scope(`layers.${s}`);
    for (let i = 0; i < depths[s]!; i++) {
      const block = stage.scope(`blocks.${i}`), attn = block.scope("attn"), headDim = dim / heads[s]!;
      plan.scope(`layers.${s}.blocks.${i}`);
      const qkv = foldPRepBN(block.scope("norm1"), normEps, linearOf(block, "attn.qkv", dim, 3 * dim));
      const inWindows = blockWindows(map, windows[s]!, i, backbone);
      if (mixers[s] === "softmax") windowedSoftmaxAttention(plan, x, qkv, attn, { windows: inWindows, side: windowSide(inWindows), heads: heads[s]!, headDim });
      else if (!backbone && isWholeMap(inWindows, x)) simplifiedLinearAttention(plan, x, splitQkv(qkv), attn, { heads: heads[s]!, side: map.width, residual: x });
      else windowedLinearAttention(plan, x, qkv, attn, { windows: inWindows, side: windowSide(inWindows), heads: heads[s]!, headDim });
      mlp(plan, x, block, { norm: repBN(block.scope("norm2"), dim, normEps), hidden: dim * mlpRatio });
    }
    plan.mark(`stage${s + 1}`, x);
    each?.(map, s);
    if (s === dims.length - 1) return;
    plan.scope(`layers.${s}.downsample`);
    x = mergePatches(plan, map, stage.scope("downsample"), normEps);
    map = { tokens: x, height: Math.ceil(map.height / 2), width: Math.ceil(map.width / 2) };
  });
  return map;
}

/** The windows of a stage's i-th block: as wide as the map in a classifier whose map is no wider; every second block's are shifted. */
function blockWindows({ height, width }: FeatureMap, window: number, i: number, backbone: boolean): Windows {
  const side = backbone ? window : Math.min(window, height), shift = i % 2 && (backbone || height > window) ? side >> 1 : 0;
  return windowsOf({ height, width, windowHeight: side, windowWidth: side, shiftY: shift, shiftX: shift });
}

const windowSide = ({ size }: Windows): number => Math.sqrt(size);
const isWholeMap = ({ groups, size, regions, members }: Windows, x: Tensor): boolean => groups === 1 && size === x.rows && !regions && !members.includes(-1);

/** [height·width, dim] → [⌈height/2⌉·⌈width/2⌉, 2·dim]. Odd maps are padded before the norm, so that it folds exactly; the layer gains a bias. */
function mergePatches(plan: Plan, { tokens, height, width }: FeatureMap, downsample: Tensors, eps: number): Tensor {
  const dim = tokens.columns, padding = plan.table(`${dim} zeros`, 1, dim, async () => new Float32Array(dim));
  const merged = gatherRows(plan, tokens, mergedPatches(height, width), { beside: 4, padding });
  return plan.linear(merged, foldPRepBN(downsample.scope("norm"), eps, linearOf(downsample, "reduction", 4 * dim, 2 * dim, { bias: false })));
}

interface InWindows {
  readonly windows: Windows;
  /** Of a window. */
  readonly side: number;
  readonly heads: number;
  readonly headDim: number;
}

/** What tokens outside the map are after q, k and v: a map is padded after its norm, so their biases alone, nothing of the norm. */
const paddingOf = (plan: Plan, { name, outDim, bias }: Linear): Tensor => plan.table(`${name}, outside`, 1, outDim, bias!);

/** x + softmax attention with relative position bias inside windows, in place. */
function windowedSoftmaxAttention(plan: Plan, x: Tensor, qkv: Linear, attn: Tensors, { windows, side, heads, headDim }: InWindows): void {
  const dim = heads * headDim;
  const relative = attn.tensor("relative_position_bias_table", [(2 * side - 1) ** 2, heads]);
  const bias = plan.table(relative.name, heads * windows.size, windows.size, async () => relativeBias(await float32(relative)(), side, heads));
  const mixed = windowAttention(plan, plan.linear(x, scaleQueries(qkv, heads)), windows, heads, headDim, { bias, padding: paddingOf(plan, qkv) });
  plan.linear(mixed, linearOf(attn, "proj", dim, dim), { add: x, out: x });
}

/** A table by relative position [(2·side − 1)², heads] → a bias for every pair of a window's tokens, [heads, query, key]. */
export function relativeBias(table: Float32Array, side: number, heads: number): Float32Array {
  const tokens = side * side, across = 2 * side - 1, out = new Float32Array(heads * tokens * tokens);
  for (let i = 0; i < tokens; i++) {
    for (let j = 0; j < tokens; j++) {
      const y = Math.floor(i / side) - Math.floor(j / side) + side - 1, x = (i % side) - (j % side) + side - 1;
      for (let h = 0; h < heads; h++) out[(h * tokens + i) * tokens + j] = table[(y * across + x) * heads + h]!;
    }
  }
  return out;
}

/** x + simplified linear attention inside windows, in place. It knows no mask: what a shift or padding brings into a window takes part. */
function windowedLinearAttention(plan: Plan, x: Tensor, qkv: Linear, attn: Tensors, { windows, side, heads, headDim }: InWindows): void {
  const dim = heads * headDim, projected = plan.linear(x, qkv), padding = paddingOf(plan, qkv), position = attn.tensor("positional_encoding", [1, windows.size, dim]);
  const queries = gatherRows(plan, projected, windows, { padding, columns: dim, act: "relu" });
  const keys = gatherRows(plan, projected, windows, { padding, first: dim, columns: dim, act: "relu", table: plan.table(position.name, windows.size, dim, position), panels: true });
  const values = gatherRows(plan, projected, windows, { padding, first: 2 * dim, columns: dim, panels: true });
  const mixed = linearAttention(plan, queries, keyValueState(plan, keys, values, windows.groups * heads, headDim), heads, headDim, SLA_EPS, windows.groups);
  const dwc = attn.scope("dwc"), taps = dwc.tensor("weight", [headDim, 1, 5, 5]);
  depthwiseConv(plan, mixed, values, { name: taps.name, read: float32(taps) }, side, side, heads, headDim, windows.groups);
  const proj = foldBefore(biasOfHeads(dwc.tensor("bias", [headDim]), heads), linearOf(attn, "proj", dim, dim));
  plan.linear(gatherRows(plan, mixed, unwindowed(windows, x.rows)), proj, { add: x, out: x });
}
