// What SLAB's own architectures have beside them, out of the first download; all others hold theirs themselves.
import type { About, Architecture } from "../bindings/tasks/architecture.ts";
import type { ModelConfig } from "../bindings/config/config.ts";
import { aboutLlama } from "./language/slab-llama.ts";
import { aboutLm } from "./language/slab-lm.ts";
import { aboutCswin } from "./vision/slab-cswin.ts";
import { aboutDeit } from "./vision/slab-deit.ts";
import { aboutPvt } from "./vision/slab-pvt.ts";
import { aboutSwin, aboutSwinBackbone } from "./vision/slab-swin.ts";

type AboutAny = About<ModelConfig["network"]>;

const OWN: Readonly<Record<string, AboutAny>> = {
  slab_deit: aboutDeit, slab_pvt: aboutPvt, slab_swin: aboutSwin, slab_swin_backbone: aboutSwinBackbone,
  slab_cswin: aboutCswin, slab_lm: aboutLm, slab_llama: aboutLlama,
};

export const aboutOf = ({ types, about }: Architecture): AboutAny => about ?? OWN[types[0]!] ?? {};
