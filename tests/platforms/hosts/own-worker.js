// A worker of the app's own that loads a model in itself: what it ran on, and the logits of the fixture.
import { load } from "../package/dist/js/browser/index.js";

addEventListener("message", async ({ data: { source, pixels } }) => {
  try {
    const model = await load(source, { deterministic: true });
    // a second run goes on every thread
    await model.forward(pixels);
    postMessage({ caps: model.caps, logits: await model.forward(pixels) });
  } catch (error) {
    postMessage({ error: String(error) });
  }
});
