// The same in a browser without a bundler, where a worker has no import map.
import { serve, slabDeit } from "../package/dist/js/browser/core.js";

serve([slabDeit]);
