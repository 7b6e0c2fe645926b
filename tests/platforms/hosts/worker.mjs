// The conformance suite in workerd. The address of the files comes with the request.
import { load } from "slab-wasm";
import simd from "slab-wasm/wasm/slab-simd.wasm";
import { conformance } from "./conformance.js";

export default {
  /** @param {Request} request */
  async fetch(request) {
    const base = new URL(request.url).searchParams.get("files");
    const get = async (path) => {
      const response = await fetch(`${base}/${path}`);
      if (!response.ok) throw new Error(`${path}: ${response.status}`);
      return response;
    };
    const language = "models/pretrained/slab-lm-books";
    try {
      const [config, tokenizer] = [
        await (await get(`${language}/config.json`)).text(), await (await get(`${language}/tokenizer.json`)).text(),
      ];
      const weights = await (await get(`${language}/model.safetensors`)).arrayBuffer();
      return Response.json(await conformance({
        load,
        vision: () => `${base}/models/pretrained/slab-deit-cifar10`,
        language: () => ({ config, tokenizer, weights: new Blob([weights]).stream() }),
        packaged: (name) => `${base}/packaged/${name}`,
        wasm: () => simd,
        picture: async (name) => new Uint8Array(await (await get(`models/samples/${name}`)).arrayBuffer()),
        fixture: await (await get("fixture.json")).json(),
      }));
    } catch (error) {
      return Response.json({ checks: [{ name: "worker", error: String(error.stack ?? error) }] });
    }
  },
};
