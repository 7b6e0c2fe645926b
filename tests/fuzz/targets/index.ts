// All that is fuzzed.
import type { Target } from "../target.ts";
import { configs } from "./config.ts";
import { servers } from "./http.ts";
import { images } from "./image.ts";
import { standalones } from "./standalone.ts";
import { states } from "./state.ts";
import { tokenizers } from "./tokenizer.ts";
import { weights } from "./weights.ts";

export const targets: readonly Target[] = [...weights, ...configs, ...tokenizers, ...images, ...states, ...standalones,
  ...servers];
