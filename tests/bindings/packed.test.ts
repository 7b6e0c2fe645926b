import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Checkpoint, bytesSource, safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import type { Model, WeightType } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";

const pretrained = (name: string): string => fileURLToPath(new URL(`../../models/pretrained/${name}`, import.meta.url));
const deit = pretrained("slab-deit-cifar10"), books = pretrained("slab-lm-books");
const configOf = (folder: string): Record<string, unknown> => JSON.parse(readFileSync(`${folder}/config.json`, "utf8"));
const pixels = Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => ((i * 7919) % 200) / 100 - 1);

async function rejects(work: Promise<unknown>, message: RegExp): Promise<void> {
  let caught: unknown;
  await work.catch((error: unknown) => (caught = error));
  assert.instance(caught, Error);
  assert.match((caught as Error).message, message);
}

/** A packed file with other metadata, and perhaps other weights. */
async function changed(bytes: Uint8Array, metadata: Record<string, string>, cut = 0): Promise<Uint8Array> {
  const checkpoint = await Checkpoint.open(bytesSource("packed", bytes));
  const data = (await checkpoint.raw("slab.weights").read()).slice(cut);
  return safetensorsBytes([{ name: "slab.weights", dtype: "U8", shape: [data.length], data }], {
    ...Object.fromEntries(checkpoint.metadata), ...metadata,
  });
}

for (const dtype of ["f32", "int8", "int4"] as const satisfies readonly WeightType[]) {
  test(`a packed image model gives the same bits: ${dtype}`, async () => {
    const original = await load(deit, { dtype, threads: 1 });
    const packed = await load({ config: configOf(deit), weights: await original.pack() }, { threads: 2 });
    assert.equal(await packed.forward(pixels), await original.forward(pixels));
    assert.equal(packed.plan.folds, original.plan.folds);
    assert.is(packed.memory().weights, original.memory().weights);
    // packing what is packed changes nothing
    assert.equal(await packed.pack(), await original.pack());
    original.dispose();
    packed.dispose();
  });
}

test("a packed language model goes on with the original's sessions", async () => {
  const original = await load(books, { threads: 1, sessions: 2, dtype: "int8" });
  const packed = await load({ config: configOf(books), weights: await original.pack() }, { threads: 1, sessions: 2 });
  const session = original.session();
  await session.prefill([5, 17, 99, 4]);
  const again = packed.session(session.save());
  assert.equal(await again.decode(12), await session.decode(12));
  original.dispose();
  packed.dispose();
});

test("packed files that do not fit are refused, and say why", async () => {
  const original: Model = await load(deit, { threads: 1, dtype: "int8" });
  const bytes = await original.pack();
  const config = configOf(deit);
  const from = (weights: Uint8Array, options = {}) => load({ config, weights }, { threads: 1, ...options });
  await rejects(from(bytes, { dtype: "f32" }), /is packed as int8, asked for was f32: load the original/);
  await rejects(
    load({ config: { ...config, num_hidden_layers: 11 }, weights: bytes }, { threads: 1 }),
    /packed for another network or release than config\.json asks for/,
  );
  const other = original.caps.relaxed ? "plain" : "relaxed";
  await rejects(
    from(await changed(bytes, { "slab.layout": other })), new RegExp(`packed for ${other} builds, this host runs`),
  );
  await rejects(from(await changed(bytes, {}, 64)), /packed for another network or release/);
  await rejects(from(await changed(bytes, { "slab.packed": "1" })), /packed, but in version "1", this release reads 4/);
  for (const damage of [
    { "slab.dtype": "int2" }, { "slab.layout": "" }, { "slab.fingerprint": "-1" }, { "slab.folds": "[1]" },
    { "slab.folds": "{" }, { "slab.tables": '{"x":"I8"}' }, { "slab.tables": "null" },
  ]) {
    await rejects(
      from(await changed(bytes, damage)), /is packed, but its .* damaged: convert the original checkpoint again/,
    );
  }
  await rejects(from(bytes.subarray(0, bytes.length - 1)), /cut off/);
  // the process is well: a good one still loads
  const good = await from(bytes);
  assert.equal(await good.forward(pixels), await original.forward(pixels));
  original.dispose();
  good.dispose();
});

test.run();
