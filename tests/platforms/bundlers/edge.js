// An edge worker.
import { load } from "slab-wasm";

export default {
  async fetch(request) {
    try {
      const models = new URL(request.url).searchParams.get("models");
      const model = await load(`${models}/pretrained/slab-deit-cifar10`);
      const picture = new Uint8Array(await (await fetch(`${models}/samples/cat.png`)).arrayBuffer());
      return Response.json({ labels: [(await model.classify(picture, { topK: 1 }))[0].label] });
    } catch (error) {
      return Response.json({ error: String(error.stack) });
    }
  },
};
