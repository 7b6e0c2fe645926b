// The installed models: the bundler takes their files along.
import models from "slab-wasm-models";
import { load } from "slab-wasm";
import { load as loadInWorker } from "slab-wasm/worker";

async function main(samples) {
  const picture = new Uint8Array(await (await fetch(`${samples}/cat.png`)).arrayBuffer());
  const model = await load(models["slab-deit-cifar10"]);
  const teller = await loadInWorker(models["slab-lm-stories"]);
  let story = "";
  for await (const { text } of (await teller.session()).generate("Once upon a time", {
    maxTokens: 4, temperature: 0,
  })) {
    story += text;
  }
  return {
    labels: [(await model.classify(picture, { topK: 1 }))[0].label, story.startsWith(", there was") ? "cat" : story],
  };
}

const samples = new URL("/isolated/models/samples", location.href).href;
main(samples).then((result) => (window.result = result), (error) => (window.result = { error: String(error.stack) }));
