// A model of its own as a web worker.
// @ts-check
import { load } from "../index.ts";
import { serve } from "../worker/serve.ts";
import { toOwner } from "./owner-browser.ts";

serve(load, toOwner());
