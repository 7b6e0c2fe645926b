// One architecture, in a worker of the app's own.
import { loader } from "slab-wasm/worker";

async function main(models) {
  const load = loader(() => new Worker(new URL("./served-worker.js", import.meta.url), { type: "module" }));
  const model = await load(`${models}/pretrained/slab-deit-cifar10`);
  const picture = new Uint8Array(await (await fetch(`${models}/samples/cat.png`)).arrayBuffer());
  return { labels: [(await model.classify(picture, { topK: 1 }))[0].label], threads: model.caps.threads };
}

main(new URL("/isolated/models", location.href).href).then(
  (result) => (window.result = result), (error) => (window.result = { error: String(error.stack) }),
);
