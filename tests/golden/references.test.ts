// References that this project computes for itself, in float64: the ones stored are still those.
// SLAB_WRITE=1 node --import tsx tests/golden/references.test.ts stores them.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import { parseConfig } from "../../models/all.ts";
import { assertSummary, assertWithin } from "./compare.ts";
import { GOLDEN, readGolden } from "./folders.ts";
import type { Text } from "./folders.ts";
import type { NaiveLlama } from "./naive-llama.ts";
import { naiveLlama } from "./naive-llama.ts";
import type { NaiveLm } from "./naive-lm.ts";
import { naiveSlabLm } from "./naive-lm.ts";
import { namedWeights } from "./named-weights.ts";

/** Tokens of a text: two chunks of 64 and some more. */
const LENGTH = 130;

/** The network of a folder, as its config says it. */
const networkOf = (name: string): unknown =>
  parseConfig(JSON.parse(readFileSync(join(GOLDEN, name, "config.json"), "utf8"))).network;
const weightsOf = (name: string) => namedWeights(name, ["norm2.alpha"]);

async function lm(name: string, ids: ArrayLike<number>): Promise<Float64Array> {
  const network = networkOf(name) as NaiveLm, all = new Float64Array(ids.length * network.vocab);
  await naiveSlabLm(weightsOf(name), network, ids, (t, logits) => all.set(logits, t * network.vocab));
  return all;
}

const llama = (name: string, ids: ArrayLike<number>): Promise<Float64Array> =>
  naiveLlama(weightsOf(name), networkOf(name) as NaiveLlama, ids);

async function textOf(name: string): Promise<Text> {
  const golden = await readGolden(name);
  if ("absent" in golden || !("text" in golden.task)) throw new Error(`${name} has no text`);
  return golden.task.text;
}

for (const [name, logits] of [["slab_lm", lm], ["slab_llama_long", llama]] as const) {
  test(`${name} is what float64 gives`, async () => {
    const { vocab } = networkOf(name) as { vocab: number };
    const ids = Int32Array.from({ length: LENGTH }, (_, t) => (7 * t * t + 3 * t + 5) % vocab);
    const rows = Float32Array.from(await logits(name, ids));
    if (process.env.SLAB_WRITE) {
      writeFileSync(join(GOLDEN, name, "golden.safetensors"), safetensorsBytes([
        { name: "ids", dtype: "I32", shape: [LENGTH], data: new Uint8Array(ids.buffer) },
        { name: "logits", dtype: "F32", shape: [LENGTH, vocab], data: new Uint8Array(rows.buffer) },
      ]));
    }
    const text = await textOf(name);
    assert.equal(text.ids, ids);
    // another release's exp() may round otherwise
    assertWithin("logits", rows, text.rows!, 1e-7);
  });
}

test("the float64 reference of LLaMA is the official code's network", async () => {
  const { ids, logits, last } = await textOf("slab_llama"), all = Float32Array.from(await llama("slab_llama", ids));
  assertSummary("logits", all, logits!, 5e-6);
  assertSummary("the last row", all.slice(-97), last!, 5e-6);
});

test.run();
