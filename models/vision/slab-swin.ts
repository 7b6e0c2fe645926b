// SLAB-Swin (arXiv:2405.11582): Swin with simplified linear attention over large windows in its first stages and PRepBN
// as the norm; and Swin with PRepBN alone. As a classifier every norm folds away; as a detector's backbone, four
// LayerNorms on the outputs are left.
import { backbone, imageModel } from "#tasks";
import type { About } from "../../bindings/tasks/architecture.ts";
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import type { ImageSize, StageMap } from "../../bindings/tasks/features.ts";
import type { Windows } from "../../bindings/plan/ops/attention.ts";
import { windowAttention } from "../../bindings/plan/ops/attention.ts";
import { addLocalBranch, windowedReluLinearAttention } from "../../bindings/plan/ops/projected-attention.ts";
import { gatherRows, layerNorm, meanRows } from "../../bindings/plan/ops/rows.ts";
import type { Plan, Tensor } from "../../bindings/plan/plan.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import { foldBefore, linearOf } from "../../bindings/plan/weights.ts";
import { scaleQueries, splitQkv } from "../mixers/qkv.ts";
import { biasOfHeads, simplifiedLinearAttention, SLA_EPS } from "../mixers/simplified-linear-attention.ts";
import type { Fields, Json } from "../../bindings/config/fields.ts";
import { fault, headDim, size, sizes } from "../../bindings/config/fields.ts";
import { mlp } from "../parts/mlp.ts";
import { patchEmbed } from "../parts/patches.ts";
import { epsOf, foldPRepBN, repBN } from "../parts/prepbn.ts";
import { float32 } from "../parts/values.ts";
import { mergedPatches, unwindowed, windowsOf } from "../parts/windows.ts";
import type { Seen } from "../recognise.ts";

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

const WIDTH = 96, TINY = [2, 2, 6, 2], SMALL = [2, 2, 18, 2], HEADS = [3, 6, 12, 24];

export const slabSwin = /* @__PURE__ */ imageModel<SlabSwinConfig>({
  types: ["slab_swin", "swin_prepbn"],
  presets: {
    slab_swin_t: { model_type: "slab_swin", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
    slab_swin_s: { model_type: "slab_swin", hidden_size: WIDTH, depths: SMALL, num_attention_heads: HEADS },
    slab_swin_b: { model_type: "slab_swin", hidden_size: 128, depths: SMALL, num_attention_heads: [4, 8, 16, 32] },
    swin_t_prepbn: { model_type: "swin_prepbn", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS },
  },
  read: (fields) => read(fields, false),
  record: swin,
});

/** Without a head: a map of features from every stage, for a detector. */
export const slabSwinBackbone = /* @__PURE__ */ backbone<SlabSwinConfig>({
  types: ["slab_swin_backbone", "swin_prepbn_backbone"],
  presets: {
    slab_swin_t_backbone: {
      model_type: "slab_swin_backbone", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS,
    },
    slab_swin_s_backbone: {
      model_type: "slab_swin_backbone", hidden_size: WIDTH, depths: SMALL, num_attention_heads: HEADS,
    },
    swin_t_prepbn_backbone: {
      model_type: "swin_prepbn_backbone", hidden_size: WIDTH, depths: TINY, num_attention_heads: HEADS,
    },
    swin_s_prepbn_backbone: {
      model_type: "swin_prepbn_backbone", hidden_size: WIDTH, depths: SMALL, num_attention_heads: HEADS,
    },
  },
  read: (fields) => read(fields, true),
  record: swinFeatures,
});

/** Stages of SLAB-Swin with linear attention, and the side of the first one's windows. */
const LINEAR_STAGES = 2, LINEAR_WINDOW = 56;

function read(fields: Fields, backbone: boolean): SlabSwinConfig {
  const slab = String(fields.json.model_type).startsWith("slab"), window = size(fields, "window_size", 7, 64);
  const dim = size(fields, "hidden_size", WIDTH, 4096), depths = sizes(fields, "depths", TINY, 1024);
  const mixers = depths.map((_, s) => (slab && s < LINEAR_STAGES ? "linear" : "softmax"));
  const network: SlabSwinConfig = {
    imageSize: size(fields, "image_size", 224, 4096), patchSize: size(fields, "patch_size", 4, 64), channels: 3,
    classes: size(fields, "num_labels", 1000, 1 << 20), dims: depths.map((_, s) => dim << s), depths,
    heads: sizes(fields, "num_attention_heads", HEADS, 1024), mixers,
    // a detector's linear windows cover the same part of the picture in every stage, a classifier's whole map is one
    windows: mixers.map((mixer, s) => (mixer === "softmax" ? window : backbone ? LINEAR_WINDOW >> s : LINEAR_WINDOW)),
    mlpRatio: size(fields, "mlp_ratio", 4, 64), normEps: epsOf(fields),
  };
  const { imageSize, patchSize, dims, heads, windows } = network;
  dims.forEach((dim, s) => {
    const stage = ` of stage ${s + 1}`, side = imageSize / patchSize / 2 ** s, window = windows[s]!;
    headDim(fields, dim, heads[s]!, stage);
    if (backbone) return;
    if (!Number.isInteger(side)) {
      throw fault(fields, `"image_size" ${imageSize} is not a multiple of ${patchSize * 2 ** s}: `
        + `the map${stage} would not be whole`);
    }
    if (side % Math.min(side, window)) {
      throw fault(fields, `windows of ${window} do not divide the map of ${side}×${side}${stage}: `
        + 'change "image_size" or "window_size"');
    }
  });
  return network;
}

export const aboutSwin: About<SlabSwinConfig> = { recognise: (seen) => recognise(seen, false) };
export const aboutSwinBackbone: About<SlabSwinConfig> = { recognise: (seen) => recognise(seen, true) };

function recognise(seen: Seen, backbone: boolean): Json | undefined {
  const isBackbone = !seen.shape("head.weight") && seen.shape("norm0.weight") !== undefined;
  if (!seen.shape("layers.0.blocks.0.attn.qkv.weight") || isBackbone !== backbone) return undefined;
  const [dim, , patch] = seen.dims("patch_embed.proj.weight", 4), dims = [1, 2, 4, 8].map((times) => dim * times);
  const blocks = (s: number): string => `layers.${s}.blocks.`;
  const { linear, depths, heads, mlpRatios } = seen.pyramid(blocks, dims, 32, ["LLSS", "SSSS"]);
  const [places] = seen.dims(`${blocks(3)}0.attn.relative_position_bias_table`, 2);
  const sizes = {
    model_type: `${linear ? "slab_swin" : "swin_prepbn"}${backbone ? "_backbone" : ""}`, patch_size: patch,
    hidden_size: dim, depths, num_attention_heads: heads,
    window_size: (seen.side(places, "relative_position_bias_table") + 1) / 2,
  };
  if (backbone) return sizes;
  // a linear stage has a position for every token of its map; softmax windows fit maps of any size
  if (!linear) seen.assume("pictures of 224×224");
  const table = `${blocks(0)}0.attn.positional_encoding`;
  return {
    ...sizes, image_size: linear ? patch * seen.side(seen.dims(table, 3)[1], table) : 224, mlp_ratio: mlpRatios[0],
    num_labels: seen.classes(dims[3]!),
  };
}

/** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
function swin(plan: Plan, tensors: Tensors, config: SlabSwinConfig): Tensor {
  const { imageSize, classes, normEps } = config;
  const { tokens } = stages(plan, tensors, config, { height: imageSize, width: imageSize, backbone: false });
  plan.scope("head");
  // the last norm is affine too: it commutes with the mean over tokens and folds into the head
  const head = linearOf(tensors, "head", tokens.columns, classes);
  return plan.linear(meanRows(plan, tokens), foldPRepBN(tensors.scope("norm"), normEps, head));
}

/**
 * Image f32 [channels, height, width], sides multiples of the patch → the map of every stage, through a LayerNorm of
 * its own. Windows are as a detector's: never clipped to the map but padded, and shifted in every second block.
 */
function swinFeatures(plan: Plan, tensors: Tensors, config: SlabSwinConfig, size: ImageSize): StageMap[] {
  const maps: StageMap[] = [];
  stages(plan, tensors, config, { ...size, backbone: true }, ({ tokens, ...shape }, stage) => {
    const norm = tensors.scope(`norm${stage}`), dim = tokens.columns;
    const table = (name: string): Tensor => plan.table(`norm${stage}.${name}`, 1, dim, norm.tensor(name, [dim]));
    const weight = table("weight"), bias = table("bias");
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
function stages(
  plan: Plan, tensors: Tensors, config: SlabSwinConfig, { height, width, backbone }: Surroundings,
  each?: (map: StageMap, stage: number) => void,
): StageMap {
  const { patchSize: patch, channels, dims, depths, heads, mixers, windows, mlpRatio, normEps } = config;
  const embed = tensors.scope("patch_embed");
  plan.scope("embed");
  const norm = repBN(embed.scope("norm"), dims[0]!, normEps), image = plan.input([channels, height, width]);
  let x = patchEmbed(plan, image, embed, { channels, height, size: width, patch, dim: dims[0]!, norm });
  let map: StageMap = { tokens: x, height: height / patch, width: width / patch };
  plan.mark("embed", x);
  dims.forEach((dim, s) => {
    const stage = tensors.scope(`layers.${s}`);
    for (let i = 0; i < depths[s]!; i++) {
      const block = stage.scope(`blocks.${i}`), attn = block.scope("attn"), headDim = dim / heads[s]!;
      plan.scope(`layers.${s}.blocks.${i}`);
      const qkv = foldPRepBN(block.scope("norm1"), normEps, linearOf(block, "attn.qkv", dim, 3 * dim));
      const inWindows = blockWindows(map, windows[s]!, i, backbone);
      const attention = { windows: inWindows, side: windowSide(inWindows), heads: heads[s]!, headDim };
      const whole = { heads: heads[s]!, side: map.width, residual: x };
      if (mixers[s] === "softmax") windowedSoftmaxAttention(plan, x, qkv, attn, attention);
      else if (!backbone && isWholeMap(inWindows, x)) simplifiedLinearAttention(plan, x, splitQkv(qkv), attn, whole);
      else windowedLinearAttention(plan, x, qkv, attn, attention);
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

/**
 * The windows of a stage's i-th block: as wide as the map in a classifier whose map is no wider; every second block's
 * are shifted.
 */
function blockWindows({ height, width }: StageMap, window: number, i: number, backbone: boolean): Windows {
  const side = backbone ? window : Math.min(window, height);
  const shift = i % 2 && (backbone || height > window) ? side >> 1 : 0;
  return windowsOf({ height, width, windowHeight: side, windowWidth: side, shiftY: shift, shiftX: shift });
}

const windowSide = ({ size }: Windows): number => Math.sqrt(size);
const isWholeMap = ({ groups, size, regions, members }: Windows, x: Tensor): boolean =>
  groups === 1 && size === x.rows && !regions && !members.includes(-1);

/**
 * [height·width, dim] → [⌈height/2⌉·⌈width/2⌉, 2·dim]. Odd maps are padded before the norm, so that it folds exactly;
 * the layer gains a bias.
 */
function mergePatches(plan: Plan, { tokens, height, width }: StageMap, downsample: Tensors, eps: number): Tensor {
  const dim = tokens.columns, padding = plan.table(`${dim} zeros`, 1, dim, async () => new Float32Array(dim));
  const merged = gatherRows(plan, tokens, mergedPatches(height, width), { beside: 4, padding });
  const reduction = linearOf(downsample, "reduction", 4 * dim, 2 * dim, { bias: false });
  return plan.linear(merged, foldPRepBN(downsample.scope("norm"), eps, reduction));
}

interface InWindows {
  readonly windows: Windows;
  /** Of a window. */
  readonly side: number;
  readonly heads: number;
  readonly headDim: number;
}

/**
 * What tokens outside the map are after q, k and v: a map is padded after its norm, so their biases alone, nothing of
 * the norm.
 */
const paddingOf = (plan: Plan, { name, outDim, bias }: Linear): Tensor =>
  plan.table(`${name}, outside`, 1, outDim, bias!);

/** x + softmax attention with relative position bias inside windows, in place. */
function windowedSoftmaxAttention(
  plan: Plan, x: Tensor, qkv: Linear, attn: Tensors, { windows, side, heads, headDim }: InWindows,
): void {
  const dim = heads * headDim;
  const relative = attn.tensor("relative_position_bias_table", [(2 * side - 1) ** 2, heads]);
  const values = async (): Promise<Float32Array> => relativeBias(await float32(relative)(), side, heads);
  const bias = plan.table(relative.name, heads * windows.size, windows.size, values);
  const projected = plan.linear(x, scaleQueries(qkv, heads)), padding = paddingOf(plan, qkv);
  const mixed = windowAttention(plan, projected, windows, heads, headDim, { bias, padding });
  plan.linear(mixed, linearOf(attn, "proj", dim, dim), { add: x, out: x });
}

/**
 * A table by relative position [(2·side − 1)², heads] → a bias for every pair of a window's tokens, [heads, query,
 * key].
 */
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

/**
 * x + simplified linear attention inside windows, in place. It knows no mask: what a shift or padding brings into a
 * window takes part.
 */
function windowedLinearAttention(
  plan: Plan, x: Tensor, qkv: Linear, attn: Tensors, { windows, side, heads, headDim }: InWindows,
): void {
  const dim = heads * headDim, projected = plan.linear(x, qkv), padding = paddingOf(plan, qkv);
  const position = attn.tensor("positional_encoding", [1, windows.size, dim]);
  const local = windowedReluLinearAttention(plan, projected, { windows, heads, padding, position, eps: SLA_EPS });
  const dwc = attn.scope("dwc"), taps = dwc.tensor("weight", [headDim, 1, 5, 5]);
  const map = { heads, height: side, side, windows: windows.groups };
  const mixed = addLocalBranch(plan, local, { name: taps.name, read: float32(taps) }, map);
  const proj = foldBefore(biasOfHeads(dwc.tensor("bias", [headDim]), heads), linearOf(attn, "proj", dim, dim));
  plan.linear(gatherRows(plan, mixed, unwindowed(windows, x.rows)), proj, { add: x, out: x });
}
