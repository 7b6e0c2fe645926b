// The same where files are lost: the kernels copied by hand and given, pictures decoded by the page.
import { load } from "slab-wasm";

async function main(models) {
  const model = await load(`${models}/pretrained/slab-deit-cifar10`, {
    wasm: new URL("slab-relaxed.wasm", location.href),
  });
  const bitmap = await createImageBitmap(await (await fetch(`${models}/samples/cat.png`)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  canvas.drawImage(bitmap, 0, 0);
  return {
    labels: [(await model.classify(canvas.getImageData(0, 0, bitmap.width, bitmap.height), { topK: 1 }))[0].label],
  };
}

main(new URL("/isolated/models", location.href).href).then(
  (result) => (window.result = result), (error) => (window.result = { error: String(error.stack) }),
);
