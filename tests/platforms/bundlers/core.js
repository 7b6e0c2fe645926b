// One architecture alone.
import { loader, slabDeit } from "slab-wasm/core";

async function main(models) {
  const model = await loader([slabDeit])(`${models}/pretrained/slab-deit-cifar10`);
  const picture = new Uint8Array(await (await fetch(`${models}/samples/cat.png`)).arrayBuffer());
  // evidence is loaded when it is first asked for
  return { labels: [(await model.classify(picture, { topK: 1 }))[0].label, (await model.evidence(picture)).label] };
}

main(new URL("/isolated/models", location.href).href).then(
  (result) => (window.result = result), (error) => (window.result = { error: String(error.stack) }),
);
