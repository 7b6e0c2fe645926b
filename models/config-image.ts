// What the configs of image classifiers have in common: how pictures come in, and what the classes are called.
import type { Preprocessing } from "../bindings/image/index.ts";
import { fieldsOf } from "./config-fields.ts";
import type { Json } from "./family.ts";

/** How an image classifier is fed and read. */
export interface ImageTask {
  readonly preprocessing: Preprocessing;
  /** Class names by index; "class 7" where the config has none. */
  readonly labels: readonly string[];
}

interface Sizes {
  readonly imageSize: number;
  readonly channels: number;
  readonly classes: number;
}

type Shape = { readonly dim: number; readonly depth: number } | { readonly dims: readonly number[]; readonly depths: readonly number[] };

const IMAGENET_MEAN = [0.485, 0.456, 0.406], IMAGENET_STD = [0.229, 0.224, 0.225];

/** What a classifier is called, and its pictures and labels. */
export function imageTask(network: Sizes & Shape, json: Json, where: string, name: string | undefined): { name: string; image: ImageTask } {
  const fields = fieldsOf(json, where), { imageSize, channels, classes } = network;
  checkChannels(channels, where);
  // ImageNet evaluation crops the middle 0.875 of a picture; small-picture data sets use all of it
  const cropFraction = fields.positive("crop_pct", imageSize === 224 ? 0.875 : 1);
  if (cropFraction > 1) throw new RangeError(`${where}: "crop_pct" is ${cropFraction}, expected at most 1`);
  const mean = fields.triple("image_mean", IMAGENET_MEAN), std = fields.triple("image_std", IMAGENET_STD);
  if (!std.every((s) => s > 0)) throw new RangeError(`${where}: "image_std" is ${JSON.stringify(std)}, expected positive numbers`);
  return {
    name: name ?? `${json.model_type}, ${imageSize}×${imageSize}, ${shapeOf(network)}`,
    image: { preprocessing: { size: imageSize, resize: Math.floor(imageSize / cropFraction), mean, std }, labels: labelsOf(json, classes, where) },
  };
}

export function checkChannels(channels: number, where: string): void {
  if (channels !== 3) throw new RangeError(`${where}: "num_channels" is ${channels}, expected 3: pictures are RGB`);
}

/** Channels and blocks in words. */
export function shapeOf(network: Shape): string {
  if ("dim" in network) return `${network.dim} channels, ${network.depth} blocks`;
  return `${network.dims.join("-")} channels, ${network.depths.join("-")} blocks`;
}

function labelsOf(from: Json, classes: number, where: string): string[] {
  const labels = Array.from({ length: classes }, (_, i) => `class ${i}`);
  const given = from.id2label;
  if (given === undefined || given === null) return labels;
  if (typeof given !== "object") throw new TypeError(`${where}: "id2label" is ${JSON.stringify(given)}, expected an object of names by class number`);
  for (const [id, label] of Object.entries(given)) {
    const index = Number(id);
    if (!Number.isInteger(index) || index < 0 || index >= classes || typeof label !== "string") {
      throw new RangeError(`${where}: "id2label" has ${JSON.stringify(id)}: ${JSON.stringify(label)}, expected names for 0 to ${classes - 1}`);
    }
    labels[index] = label;
  }
  return labels;
}
