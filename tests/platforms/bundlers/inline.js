// The same with everything inside.
import { load } from "slab-wasm/inline";

async function main(models) {
  const model = await load(`${models}/pretrained/slab-deit-cifar10`);
  const picture = new Uint8Array(await (await fetch(`${models}/samples/cat.png`)).arrayBuffer());
  return { labels: [(await model.classify(picture, { topK: 1 }))[0].label], reasons: model.caps.reasons };
}

main(new URL("/isolated/models", location.href).href).then(
  (result) => (window.result = result), (error) => (window.result = { error: String(error.stack) }),
);
