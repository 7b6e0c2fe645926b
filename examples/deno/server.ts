// A server that classifies pictures and continues texts: deno task start
import { load } from "slab-wasm";

const models = new URL("../../models/pretrained/", import.meta.url);
const vision = await load(new URL("slab-deit-cifar10", models));
const language = await load(new URL("slab-lm-stories", models));

Deno.serve({ port: Number(Deno.args[0] ?? 8000) }, async (request) => {
  const wanted = `${request.method} ${new URL(request.url).pathname}`;
  try {
    if (wanted === "POST /classify") return Response.json(await vision.classify(await request.bytes()));
    if (wanted === "POST /complete") {
      // as it comes; it ends when the reader goes away
      const story = language.session().generate(await request.text(), { maxTokens: 100 });
      return new Response(story.stream().pipeThrough(new TextEncoderStream()));
    }
    return Response.json({ error: "POST a picture to /classify or a text to /complete" }, { status: 404 });
  } catch (error) {
    return Response.json({ error: (error as Error).message }, { status: 400 });
  }
});
