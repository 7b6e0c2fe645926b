// What a refactoring must not change, as hashes: the WebAssembly files, encoded plans, a snapshot, a packed and a
// standalone file, and deterministic logits. `node --import tsx scripts/lock.ts` compares with tests/golden/lock.json;
// with --write it records them anew.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Tensors } from "../bindings/checkpoint/index.ts";
import type { WeightType } from "../bindings/plan/dtype.ts";
import { WEIGHT_TYPES } from "../bindings/plan/dtype.ts";
import { load } from "../bindings/index.ts";
import { layOut } from "../bindings/run/memory.ts";
import { namesOnly } from "../bindings/checkpoint/tensors.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { build, parseConfig, PRESETS } from "../models/all.ts";
import { tinyConfig, tinyFile, tinyPixels } from "../tests/bindings/tiny.ts";
import { tinyLlama, tinyLlamaConfig } from "../tests/golden/tiny-llama.ts";
import { tinyLm, tinyLmConfig } from "../tests/golden/tiny-lm.ts";

const FILE = new URL("../tests/golden/lock.json", import.meta.url), root = new URL("..", import.meta.url);
const found: Record<string, string> = {};

const hashOf = (bytes: Uint8Array | Float32Array): string =>
  createHash("sha256").update(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    .digest("hex").slice(0, 16);
const lock = (name: string, bytes: Uint8Array | Float32Array): void => void (found[name] = hashOf(bytes));

for (const name of [
  "slab-simd", "slab-relaxed", "slab-simd-threads", "slab-relaxed-threads", "slab-wasi", "slab-wasi-relaxed",
]) {
  lock(`wasm/${name}.wasm`, readFileSync(new URL(`wasm/${name}.wasm`, root)));
}

/** Records a network and lays it out as for one thread and one session. */
function encoded(config: unknown, type: WeightType, relaxed: boolean): Uint8Array {
  const plan = new Plan({ type, relaxed }), last = build(plan, namesOnly(() => "F32") as Tensors, parseConfig(config));
  layOut(plan, [last], 1, plan.state ? 1 : 0);
  return plan.encode();
}

const networks: Readonly<Record<string, unknown>> = {
  ...Object.fromEntries(Object.keys(PRESETS).map((name) => [name, name])), "tiny SLAB-LM": tinyLmConfig,
  "tiny LLaMA": tinyLlamaConfig,
};
for (const [name, config] of Object.entries(networks)) {
  for (const type of WEIGHT_TYPES) {
    for (const relaxed of [false, true]) {
      lock(`plan of ${name}, ${type}${relaxed ? ", relaxed" : ""}`, encoded(config, type, relaxed));
    }
  }
}

const vision = await load({ config: tinyConfig, weights: tinyFile }, { deterministic: true, threads: 1 });
lock("logits of a tiny SLAB-DeiT", await vision.forward(tinyPixels));
lock("standalone file of a tiny SLAB-DeiT", await vision.standalone());
for (const [name, tiny] of [["SLAB-LM", tinyLm], ["LLaMA", tinyLlama]] as const) {
  for (const dtype of WEIGHT_TYPES) {
    const model = await load(tiny(), { deterministic: true, threads: 1, sessions: 2, dtype });
    const session = model.session();
    lock(`logits of a tiny ${name}, ${dtype}`, await session.logits([1, 5, 9, 14, 60, 3, 2]));
    await session.decode(7);
    lock(`snapshot of a tiny ${name}, ${dtype}`, session.save());
    lock(`packed file of a tiny ${name}, ${dtype}`, await model.pack());
    lock(`standalone file of a tiny ${name}, ${dtype}`, await model.standalone());
    model.dispose();
  }
}
vision.dispose();

if (process.argv.includes("--write")) {
  writeFileSync(FILE, `${JSON.stringify(found, null, 1)}\n`);
  console.log(`${Object.keys(found).length} hashes written`);
} else {
  const before = existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Record<string, string>) : {};
  const changed = [...new Set([...Object.keys(before), ...Object.keys(found)])]
    .filter((name) => before[name] !== found[name]);
  for (const name of changed) console.log(`${name}: ${before[name] ?? "new"} → ${found[name] ?? "gone"}`);
  console.log(`${Object.keys(found).length - changed.length} of ${Object.keys(found).length} hashes as recorded`);
  process.exitCode = changed.length ? 1 : 0;
}
