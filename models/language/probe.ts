// A probe.
import { languageModel } from "../../bindings/language-models.ts";
import type { LanguageSizes } from "../config.ts";
import { decoder } from "../parts/decoder.ts";
import { size } from "../parts/fields.ts";
import { swiGlu } from "../parts/mlp.ts";
import { linearOf } from "../../bindings/weights.ts";
export const probe = /* @__PURE__ */ languageModel<LanguageSizes & { hidden: number }>({
  types: ["probe"], presets: { probe_xs: { model_type: "probe" } },
  read: (fields) => ({ vocab: size(fields, "vocab_size", 11, 100), dim: 8, depth: 2, hidden: 16 }),
  about: { describe: () => ({ mixer: "no" }), recognise: (seen) => seen.shape("embed.weight") ? { model_type: "probe" } : undefined },
  record(plan, tensors, { vocab, dim, depth, hidden }, rows) {
    const embedding = tensors.tensor("embed.weight", [vocab, dim]);
    const output = linearOf(tensors, "head", dim, vocab, { bias: false });
    return decoder(plan, { embedding, output, depth }, rows, (i, x) => swiGlu(plan, x, tensors.scope(`layers.${i}.norm`), tensors.scope(`layers.${i}.mlp`), hidden, 1e-5));
  },
});
