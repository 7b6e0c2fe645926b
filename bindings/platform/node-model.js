// A model of its own under node:worker_threads.
// @ts-check
import { load } from "../index.ts";
import { serve } from "../worker/serve.ts";
import { toOwner } from "./owner-node.ts";

serve(load, toOwner());
