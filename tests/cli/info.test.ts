import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { root, slab } from "./command.ts";

const folder = join(root, "models", "pretrained", "slab-deit-cifar10");

test("info --json: every norm was folded, no normalisation op is left", async () => {
  const { code, stdout, stderr } = await slab(["info", folder, "--json"]);
  assert.is(stderr, "");
  assert.is(code, 0);
  const info = JSON.parse(stdout);
  assert.is(info.norms, 25);
  assert.is(info.folded, 25);
  assert.equal(info.left, []);
  assert.is(info.normalisationOps, 0);
  assert.is(info.folds.length, 25);
  for (const { norm, into, change } of info.folds) {
    assert.match(norm, /^(blocks\.\d+\.norm[12]|norm)$/);
    assert.is(into.length, norm.endsWith("norm1") ? 3 : 1, norm);
    assert.ok(change > 0 && change < 100, `${norm}: ${change}`);
  }
  const { total, ...regions } = info.memory as Record<string, number>;
  assert.is(Object.values(regions).reduce((a, b) => a + b), total);
  assert.ok(info.caps.threads >= 1 && info.memory.weights >= 4 * info.parameters * 0.9);
  assert.is(info.network.depth, 12);
});

test("info says the same in words, with the plan when asked", async () => {
  const { code, stdout, stderr } = await slab(["info", "slab-deit-cifar10", "--plan", "--threads", "1"]);
  assert.is(stderr, "");
  assert.is(code, 0);
  assert.match(stdout, "\n25 norms folded, 0 left\nthe plan has no normalisation op among its ");
  assert.match(stdout, /^blocks\.11\.norm1 +blocks\.11\.attn\.qkv\.q, .*\d$/m);
  assert.match(stdout, /^build +(simd|relaxed) on node .*1 thread on \d+ core/m);
  assert.match(stdout, "one thread: as asked");
  assert.match(stdout, /^ +0 embed +gatherPatches/m);
});

test("info of a language model: programs one by one, state, and every norm folded", async () => {
  const { code, stdout, stderr } = await slab(["info", "slab-lm-books", "--json"]);
  assert.is(stderr, "");
  assert.is(code, 0);
  const info = JSON.parse(stdout);
  assert.equal([info.norms, info.folded, info.left, info.normalisationOps, info.slots], [21, 21, [], 0, 16]);
  const [prefill, decode, head] = info.programs;
  assert.equal([prefill.name, decode.name, head.name], ["prefill", "decode", "head"]);
  assert.is(prefill.ops + decode.ops + head.ops, info.ops);
  // a decoded token multiplies with every weight once, and with its state
  assert.is(head.flops, 2 * 320 * 4096);
  assert.is(info.flops, decode.flops);
  assert.ok(decode.flops > 2 * 0.98 * info.parameters && decode.flops < 2.2 * info.parameters, String(decode.flops));
  assert.is(info.stateBytes * info.slots, info.memory.state);
  for (const { norm, into } of info.folds) {
    assert.is(into.length, norm === "norm" ? 1 : norm.endsWith("input_layernorm") ? 3 : 2, norm);
  }
  const text = (await slab(["info", "slab-lm-books"])).stdout;
  assert.match(text, /^programs +prefill +\d+ ops, [\d.]+ MFLOP a token$/m);
  assert.match(text, /^sessions +851\.3 KiB of state each.* 16 at once/m);
  assert.match(text, /^norm +embed_tokens as output /m);
  assert.match(text, "\n21 norms folded, 0 left\nthe plan has no normalisation op");
});

test("a preset has sizes without weights; 5.72 M parameters is DeiT-T with its norms as RepBN", async () => {
  const { code, stdout } = await slab(["info", "deit_t_prepbn", "--json"]);
  assert.is(code, 0);
  const { weights, network, norms, parameters } = JSON.parse(stdout);
  assert.is(weights, null);
  assert.equal([network.dim, network.depth, network.heads, norms], [192, 12, 3, 25]);
  // timm's deit_tiny_patch16_224 has 5717416; each RepBN adds its α
  assert.is(parameters, 5717416 + 25);
  assert.match(
    (await slab(["info", "slab_deit_t"])).stdout,
    /^weights +none: a preset is a network only; .*--config slab_deit_t$/m,
  );
});

test("list: presets with sizes, and the clone's models", async () => {
  const { code, stdout, stderr } = await slab(["list", "--json"]);
  assert.is(stderr, "");
  assert.is(code, 0);
  const { presets, models } = JSON.parse(stdout);
  assert.ok(
    presets.some(
      ({ name, network }: { name: string; network: { dim: number } }) => name === "slab_deit_s" && network.dim === 384,
    ),
  );
  const trained = models.find(({ name }: { name: string }) => name === "slab-deit-cifar10");
  assert.is(trained.network.imageSize, 32);
  assert.ok(trained.bytes > 1e6);
  const language = models.find(({ name }: { name: string }) => name === "slab-lm-books");
  assert.ok(language.stateBytes > 8e5 && language.flops < 3e7 && language.parameters > 1.3e7);
  const text = (await slab(["list"])).stdout;
  assert.match(text, /^slab-lm-books +320 +10 +5 +text +linear +13\.7 M +28\.2 MFLOP a token/m);
  for (const { name } of [...presets, ...models]) assert.match(text, new RegExp(`^${name} `, "m"));
});

test.run();
