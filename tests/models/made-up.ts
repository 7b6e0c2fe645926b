// Two made-up architectures, each one object, as a file of models/vision or models/language has it.
import { imageModel, languageModel } from "#tasks";
import { meanRows } from "../../bindings/plan/ops/rows.ts";
import type { Linear } from "../../bindings/plan/weights.ts";
import { linearOf } from "../../bindings/plan/weights.ts";
import type { ImageSizes, LanguageSizes } from "../../bindings/config/config.ts";
import { decoder } from "../../models/parts/decoder.ts";
import { size } from "../../bindings/config/fields.ts";
import { swiGlu } from "../../models/parts/mlp.ts";
import { patchEmbed } from "../../models/parts/patches.ts";
import { foldPRepBN } from "../../models/parts/prepbn.ts";

/** Patches, their mean, a head. */
export const patchMean = /* @__PURE__ */ imageModel<ImageSizes & { dim: number; depth: number }>({
  types: ["patch_mean", "mean_of_patches"],
  presets: { patch_mean_xs: { model_type: "patch_mean", image_size: 8, hidden_size: 4, num_labels: 3 } },
  read: (fields) => ({
    imageSize: size(fields, "image_size", 8, 64), channels: 3, classes: size(fields, "num_labels", 3, 10),
    dim: size(fields, "hidden_size", 4, 64), depth: 1,
  }),
  about: {
    describe: () => ({ mixer: "mean", patchSize: 4 }),
    recognise(seen) {
      if (!seen.shape("patches.proj.weight")) return undefined;
      const [dim] = seen.dims("patches.proj.weight", 4);
      seen.assume("pictures of 8×8");
      return { model_type: "patch_mean", image_size: 8, hidden_size: dim, num_labels: seen.classes(dim) };
    },
  },
  record(plan, tensors, { imageSize, channels, classes, dim }) {
    const image = plan.input([channels, imageSize, imageSize]);
    const x = patchEmbed(plan, image, tensors.scope("patches"), { channels, size: imageSize, patch: 4, dim });
    return plan.linear(meanRows(plan, x), linearOf(tensors, "head", dim, classes));
  },
});

/** A decoder without a token mixer: what a token says next depends on it alone. */
export const bigram = /* @__PURE__ */ languageModel<LanguageSizes & { hidden: number }>({
  types: ["bigram"],
  presets: {},
  read: (fields) => ({
    vocab: size(fields, "vocab_size", 11, 100), dim: size(fields, "hidden_size", 8, 64), depth: 2, hidden: 16,
  }),
  about: { describe: () => ({ mixer: "no", memory: "one token" }) },
  record(plan, tensors, { vocab, dim, depth, hidden }, rows) {
    const embedding = tensors.tensor("embed.weight", [vocab, dim]);
    const output = linearOf(tensors, "head", dim, vocab, { bias: false });
    return decoder(plan, { embedding, output, depth }, rows, (_, x, i) => {
      const normed = (layer: Linear) => foldPRepBN(tensors.scope(`layers.${i}.norm`), 1e-5, layer);
      swiGlu(plan, x, tensors.scope(`layers.${i}.mlp`), { hidden, normed });
    });
  },
});
