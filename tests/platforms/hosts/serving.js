// A worker of the app's own that serves one architecture.
import { serve, slabDeit } from "slab-wasm/core";

serve([slabDeit]);
