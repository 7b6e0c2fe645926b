import { load, presets, type Model, type Session } from "slab-wasm";
import { load as loadInWorker, loader as loaderInWorker, type StartedWorker, type WorkerModel } from "slab-wasm/worker";
import { load as loadInline } from "slab-wasm/inline";
import { loader, serve, slabDeit, slabLm, type Architecture, type Load } from "slab-wasm/core";
import { decodeImage, type Image } from "slab-wasm/image";
import { tokenizerFrom, type Tokenizer } from "slab-wasm/tokenizer";
import models from "slab-wasm-models";
import { Checkpoint, bytesSource } from "slab-wasm/checkpoint";

export async function main(signal: AbortSignal): Promise<string> {
  const model: Model = await load("folder", {
    threads: 2, dtype: "int8", signal, onProgress: ({ done, total }) => void (done / total),
  });
  const session: Session = model.session();
  let text = "";
  for await (const token of session.generate("prompt", { maxTokens: 3 })) text += token.text;
  const remote: WorkerModel = await loadInWorker(new URL("https://example.org/model/"));
  const teller: Model = await load(models["slab-lm-stories"]);
  teller.dispose();
  const saved: Uint8Array = await (await remote.session()).save();
  const image: Image = await decodeImage(saved);
  const tokenizer: Tokenizer = tokenizerFrom({});
  const checkpoint = await Checkpoint.open(bytesSource("file", saved));
  const architectures: Architecture[] = [slabDeit, slabLm], loadSome: Load = loader(architectures);
  const packed: Uint8Array = await (await loadSome("folder", { threads: 1 })).pack();
  using other = await loadInline({ config: "slab_deit_t", weights: packed });
  const [label] = await other.classify(image);
  serve(architectures);
  const owned: WorkerModel = await loaderInWorker(() => ({}) as StartedWorker)("folder", { threads: 2 });
  owned.dispose();
  // @ts-expect-error a number is no source
  await load(3);
  // @ts-expect-error architectures are for loader() of slab-wasm/core
  loaderInWorker(architectures);
  return (
    `${text} ${label?.label} ${tokenizer.vocabSize} ${checkpoint.names().length} ${Object.keys(presets).length} `
    + `${remote.caps.threads satisfies number}`
  );
}
