// The story-teller, whose weights are kept in seven bits, against PyTorch's logits of the weights as they were trained.
import { readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fileSource } from "../../bindings/checkpoint/file.ts";
import { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { load } from "../../bindings/index.ts";
import { runs } from "./builds.ts";

const folder = fileURLToPath(new URL("../../models/pretrained/slab-lm-stories", import.meta.url));
const VOCAB = 4096, STEP = 16;

/** 256 ids, and PyTorch's logits after the first, and after every sixteenth from there. */
const probe = await Checkpoint.open(await fileSource(`${folder}/probe.safetensors`));
const buffer = async (name: string): Promise<ArrayBuffer> => Uint8Array.from(await probe.raw(name).read()).buffer;
const ids = new Int32Array(await buffer("ids")), expected = new Float32Array(await buffer("logits"));
await probe.close();

const best = (row: Float32Array): number => row.reduce((best, logit, i) => (logit > row[best]! ? i : best), 0);

for (const { build, threads } of runs) {
  test(`slab-lm-stories: PyTorch's logits within 2 %, the same token first: ${build}, threads=${threads}`, async () => {
    const model = await load(folder, { build, threads }), got = await model.session().logits(ids);
    let squares = 0, all = 0;
    for (let i = 0; i * VOCAB < expected.length; i++) {
      const rowOf = (logits: Float32Array, t: number): Float32Array => logits.subarray(t * VOCAB, (t + 1) * VOCAB);
      const wanted = rowOf(expected, i), row = rowOf(got, i * STEP);
      assert.is(best(row), best(wanted), `after token ${i * STEP}`);
      for (const [v, logit] of wanted.entries()) [squares, all] = [squares + (row[v]! - logit) ** 2, all + logit ** 2];
    }
    const relative = Math.sqrt(squares / all);
    assert.ok(relative < 0.02, `${relative}`);
    model.dispose();
  });
}

test("its tokenizer gives back the text, and the model ends a story", async () => {
  const model = await load(folder), text = 'Once upon a time, there was a fox. "Hello," said Tim.\n';
  assert.is(model.tokenizer!.decode(model.tokenizer!.encode(text)), text);
  const story = model.session().generate(text, { maxTokens: 600, seed: 3, temperature: 0.6 });
  let step = await story.next();
  while (!step.done) step = await story.next();
  assert.is(step.value.finish, "eos");
  model.dispose();
});

test("its card says how many bytes it has", () => {
  const card = readFileSync(`${folder}/README.md`, "utf8"), { size } = statSync(`${folder}/model.safetensors`);
  assert.match(card, new RegExp(`${(size / 1e6).toFixed(1)} MB where f16 takes 14\\.9`));
});

test.run();
