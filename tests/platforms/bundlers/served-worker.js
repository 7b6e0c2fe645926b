import { serve, slabDeit } from "slab-wasm/core";

serve([slabDeit]);
