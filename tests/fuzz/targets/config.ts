// config.json, with a checkpoint that it was meant for: checked, and its network recorded.
import { bytesSource, Checkpoint, safetensorsBytes } from "../../../bindings/checkpoint/index.ts";
import { isBackbone } from "../../../bindings/config/config.ts";
import { parseJson } from "../../../bindings/load/folder.ts";
import { Plan } from "../../../bindings/plan/plan.ts";
import { build, parseConfig, PRESETS } from "../../../models/all.ts";
import { tinyConfig, tinyEntries, writeEntries } from "../../bindings/tiny.ts";
import { lmEntries, tinyLmConfig } from "../../golden/tiny-lm.ts";
import { llamaEntries, tinyLlamaConfig } from "../../golden/tiny-llama.ts";
import { mutate, mutateJson, pick, utf8 } from "../mutate.ts";
import type { Target } from "../target.ts";

const text = new TextDecoder();
const entries = { ...tinyEntries, ...lmEntries(tinyLmConfig), ...llamaEntries(tinyLlamaConfig) };
const checkpoint = await Checkpoint.open(bytesSource("m.safetensors", safetensorsBytes(writeEntries(entries))));
const values = [
  "16384", "4096", "1024", "1048576", '"slab_swin"', '"slab_pvt"', '"slab_llama"', '"slab_lm"', '"slab_cswin"', '"gla"',
  '"slab_swin_backbone"',
  '"slab_deit"', "[1024,1024,1024,1024]", "[2,2,6,2]", "[0.9,0.5]", '{"0":"ant"}', '"silu"', '"gelu"', '"rms"',
  '"float16"',
];
const tokens = ['"', "{", "}", "[", "]", ",", ":", "-1", "e9", "null", "1e999", '"__proto__":', '"hidden_size":16384',
  '"image_size":4096', '"num_hidden_layers":1024', '"patch_size":1'].map((token) => utf8.encode(token));

const config: Target = {
  name: "config",
  share: 15,
  ours: /^config\.json|^no preset is called "|^m\.safetensors has no tensor|^"[^\n]*" has (shape|dtype)/,
  async seeds() {
    return [tinyConfig, tinyLmConfig, tinyLlamaConfig, ...Object.values(PRESETS)].map((each) =>
      utf8.encode(JSON.stringify(each)));
  },
  mutate(seeds, random) {
    const seed = random(3) ? seeds[random(3)]! : pick(seeds, random);
    return random(3) ? utf8.encode(mutateJson(text.decode(seed), random, values)) : mutate(seed, random, tokens, seeds);
  },
  async read(bytes) {
    const parsed = parseConfig(parseJson(text.decode(bytes), "config.json"), "config.json");
    if (!isBackbone(parsed)) build(new Plan({ type: "f32", relaxed: false }), checkpoint, parsed);
  },
};

export const configs: readonly Target[] = [config];
