// Image classifiers: what their configs have in common, and how they are loaded: one plan, one picture in, logits out.
import type { ImageModelConfig, ImageSizes, ImageTask } from "../config/config.ts";
import type { Fields } from "../config/fields.ts";
import { fault, only, positive, triple, unexpected } from "../config/fields.ts";
import type { Architecture, Named } from "./architecture.ts";
import { inWords } from "./architecture.ts";
import type { Tensors } from "../checkpoint/index.ts";
import { written } from "../checkpoint/names.ts";
import { Classifier } from "./classifier.ts";
import type { Plan, Tensor } from "../plan/plan.ts";

const IMAGENET_MEAN = [0.485, 0.456, 0.406], IMAGENET_STD = [0.229, 0.224, 0.225];

interface ImageNetworks<Network> extends Named<Network> {
  /** What a config says of the network, checked. Pictures have three channels. */
  read(fields: Fields): Network;
  /** Image f32 [channels, imageSize, imageSize] → logits f32 [classes]. */
  record(plan: Plan, tensors: Tensors, network: Network): Tensor;
}

/** An architecture of image classifiers. */
export function imageModel<Network extends ImageSizes>(
  { read, record, ...named }: ImageNetworks<Network>,
): Architecture<ImageModelConfig<Network>> {
  return {
    ...named,
    read(json, where, name) {
      const fields = { json, where }, network = read(fields), { imageSize } = network;
      name ??= `${json.model_type}, ${imageSize}×${imageSize}, ${inWords(network)}`;
      return { task: "images", architecture: named.types[0]!, network, name, image: imageTask(network, fields) };
    },
    build: (plan, tensors, { network }) => record(plan, tensors, network),
    async load(config, { plan, tensors, runtime }) {
      const logits = record(plan, tensors, config.network);
      return new Classifier(config, await runtime([logits]), logits);
    },
  };
}

/** A classifier's pictures and labels. */
function imageTask({ imageSize, classes }: ImageSizes, fields: Fields): ImageTask {
  only(fields, "num_channels", 3, ": pictures are RGB");
  // ImageNet evaluation crops the middle 0.875 of a picture; small-picture data sets use all of it
  const cropFraction = positive(fields, "crop_pct", imageSize === 224 ? 0.875 : 1);
  if (cropFraction > 1) throw fault(fields, `"crop_pct" is ${cropFraction}, expected at most 1`);
  const mean = triple(fields, "image_mean", IMAGENET_MEAN), std = triple(fields, "image_std", IMAGENET_STD);
  if (!std.every((s) => s > 0)) throw fault(fields, `"image_std" is ${JSON.stringify(std)}, expected positive numbers`);
  const preprocessing = { size: imageSize, resize: Math.floor(imageSize / cropFraction), mean, std };
  return { preprocessing, labels: labelsOf(fields, classes) };
}

function labelsOf(fields: Fields, classes: number): string[] {
  const labels = Array.from({ length: classes }, (_, i) => `class ${i}`), given = fields.json.id2label ?? {};
  if (typeof given !== "object") throw unexpected(fields, '"id2label"', given, "an object of names by class number");
  for (const [id, label] of Object.entries(given)) {
    const index = Number(id);
    if (!Number.isInteger(index) || index < 0 || index >= classes || typeof label !== "string") {
      throw fault(fields, `"id2label" has ${written(id)}: ${written(label)}, `
        + `expected names for 0 to ${classes - 1}`);
    }
    labels[index] = label;
  }
  return labels;
}
