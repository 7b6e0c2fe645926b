// The conformance suite under Node, Deno and Bun: script.mjs FIXTURE MODELS RESULT
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { load } from "slab-wasm";
import { load as loadInWorker, loader } from "slab-wasm/worker";
import { conformance } from "./conformance.js";

const [fixture, models, result] = process.argv.slice(2);
writeFileSync(result, JSON.stringify(await conformance({
  load, loadInWorker,
  loadServed: loader(() => new Worker(new URL("./serving.js", import.meta.url))),
  vision: () => `${models}/pretrained/slab-deit-cifar10`,
  language: () => `${models}/pretrained/slab-lm-books`,
  packaged: (name) => name,
  wasm: () => readFileSync(fileURLToPath(import.meta.resolve("slab-wasm/wasm/slab-simd.wasm"))),
  picture: async (name) => new Uint8Array(readFileSync(`${models}/samples/${name}`)),
  fixture: JSON.parse(readFileSync(fixture, "utf8")),
})));
