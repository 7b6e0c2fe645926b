// What a user writes for a bundler that understands new URL(…, import.meta.url).
import { load } from "slab-wasm";
import { load as loadInWorker } from "slab-wasm/worker";
import { decodeImage } from "slab-wasm/image";

export async function main(models) {
  const picture = new Uint8Array(await (await fetch(`${models}/samples/cat.png`)).arrayBuffer());
  const { width } = await decodeImage(picture);
  const here = await load(`${models}/pretrained/slab-deit-cifar10`);
  const there = await loadInWorker(`${models}/pretrained/slab-deit-cifar10`);
  const labels = [await here.classify(picture, { topK: 1 }), await there.classify(picture, { topK: 1 })].map(
    ([best]) => best.label,
  );
  return { width, labels, threads: there.caps.threads };
}

if (typeof document !== "undefined") {
  window.models = new URL("/isolated/models", location.href).href;
  main(window.models).then(
    (result) => (window.result = result), (error) => (window.result = { error: String(error.stack) }),
  );
}
