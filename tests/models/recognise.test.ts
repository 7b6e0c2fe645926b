import { existsSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Tensors } from "../../bindings/checkpoint/index.ts";
import { findTensor, scopeOf } from "../../bindings/checkpoint/tensors.ts";
import { Plan } from "../../bindings/plan/plan.ts";
import { build, KNOWN, parseConfig } from "../../models/all.ts";
import { leftOver, recognise } from "../../models/recognise.ts";
import { rejects } from "../bindings/checkpoint/fixtures.ts";
import { cswinShapes, deitShapes, headerOf, llamaShapes, pvtShapes, swinShapes } from "./state-dicts.ts";
import type { Shapes } from "./state-dicts.ts";

const TINY = [2, 2, 2, 2];
const SMALL = [3, 4, 6, 3];
const MEDIUM = [3, 4, 18, 3];
const PVT = [64, 128, 320, 512];
const heads = [1, 2, 5, 8];
const swinHeads = [3, 6, 12, 24];
const image = { image_size: 224, num_labels: 1000 };
const deit = (type: string, dim: number) => ({
  model_type: type, ...image, patch_size: 16, hidden_size: dim, num_hidden_layers: 12, num_attention_heads: dim / 64,
  mlp_ratio: 4,
});
const pvt = (type: string, depths: number[], sr = [1, 1, 1, 1], dims = PVT, ratios = [8, 8, 4, 4]) => ({
  model_type: type, ...image, hidden_sizes: dims, depths, num_attention_heads: heads, mlp_ratios: ratios, sr_ratios: sr,
});
const swin = (type: string, depths: number[], dim = 96, h = swinHeads) => ({
  model_type: type, ...image, patch_size: 4, hidden_size: dim, depths, num_attention_heads: h, window_size: 7,
  mlp_ratio: 4,
});
const cswin = (depths: number[]) => ({
  model_type: "slab_cswin", ...image, hidden_size: 64, depths, num_attention_heads: [2, 4, 8, 16], mlp_ratio: 4,
});

// entries: how many the official state dicts have
const networks: readonly [name: string, entries: number, shapes: Shapes, config: Readonly<Record<string, unknown>>][] =
  [
    ["deit_t_prepbn", 252, deitShapes({ dim: 192, linear: false, layout: "BARE" }), deit("deit_prepbn", 192)],
    ["deit_s_prepbn", 377, deitShapes({ dim: 384, linear: false }), deit("deit_prepbn", 384)],
    ["slab_deit_t", 413, deitShapes({ dim: 192, linear: true }), deit("slab_deit", 192)],
    ["slab_deit_s", 413, deitShapes({ dim: 384, linear: true }), deit("slab_deit", 384)],
    ["pvt_t_prepbn", 392, pvtShapes({ depths: TINY, kind: "softmax" }), pvt("pvt_prepbn", TINY, [8, 4, 2, 1])],
    ["pvt_s_prepbn", 739, pvtShapes({ depths: SMALL, kind: "softmax" }), pvt("pvt_prepbn", SMALL, [8, 4, 2, 1])],
    ["pvt_m_prepbn", 1279, pvtShapes({ depths: MEDIUM, kind: "softmax" }), pvt("pvt_prepbn", MEDIUM, [8, 4, 2, 1])],
    ["slab_pvt_t", 338, pvtShapes({ depths: TINY, kind: "linear" }), pvt("slab_pvt", TINY)],
    ["slab_pvt_s", 618, pvtShapes({ depths: SMALL, kind: "linear" }), pvt("slab_pvt", SMALL)],
    ["slab_pvt_m", 1038, pvtShapes({ depths: MEDIUM, kind: "linear" }), pvt("slab_pvt", MEDIUM)],
    [
      "slab_pvt_v2_b0", 394, pvtShapes({ depths: TINY, kind: "v2", dims: [32, 64, 160, 256] }),
      pvt("slab_pvt_v2", TINY, undefined, [32, 64, 160, 256]),
    ],
    ["slab_pvt_v2_b1", 394, pvtShapes({ depths: TINY, kind: "v2" }), pvt("slab_pvt_v2", TINY)],
    ["slab_pvt_v2_b2", 690, pvtShapes({ depths: SMALL, kind: "v2" }), pvt("slab_pvt_v2", SMALL)],
    ["slab_pvt_v2_b3", 1134, pvtShapes({ depths: MEDIUM, kind: "v2" }), pvt("slab_pvt_v2", MEDIUM)],
    ["slab_pvt_v2_b4", 1615, pvtShapes({ depths: [3, 8, 27, 3], kind: "v2" }), pvt("slab_pvt_v2", [3, 8, 27, 3])],
    [
      "slab_pvt_v2_b5", 2022, pvtShapes({ depths: [3, 6, 40, 3], kind: "v2", ratios: [4, 4, 4, 4] }),
      pvt("slab_pvt_v2", [3, 6, 40, 3], undefined, PVT, [4, 4, 4, 4]),
    ],
    ["swin_t_prepbn", 306, swinShapes({ depths: [2, 2, 6, 2], linear: false }), swin("swin_prepbn", [2, 2, 6, 2])],
    ["slab_swin_t", 453, swinShapes({ depths: [2, 2, 6, 2], linear: true }), swin("slab_swin", [2, 2, 6, 2])],
    ["slab_swin_s", 843, swinShapes({ depths: [2, 2, 18, 2], linear: true }), swin("slab_swin", [2, 2, 18, 2])],
    [
      "slab_swin_b", 843, swinShapes({ depths: [2, 2, 18, 2], linear: true, dim: 128 }),
      swin("slab_swin", [2, 2, 18, 2], 128, [4, 8, 16, 32]),
    ],
    ["slab_cswin_t", 925, cswinShapes({ depths: [2, 4, 18, 1] }), cswin([2, 4, 18, 1])],
    ["slab_cswin_s", 1433, cswinShapes({ depths: [2, 4, 32, 2] }), cswin([2, 4, 32, 2])],
    [
      "slab_llama_350m",
      553,
      llamaShapes(),
      {
        model_type: "slab_llama", vocab_size: 32000, hidden_size: 1024, num_hidden_layers: 18, num_attention_heads: 8,
        intermediate_size: 4096, tie_word_embeddings: false, bos_token_id: 1, eos_token_id: 2,
      },
    ],
  ];

/** The tensors that a network asks for, each with the shape that it has. */
function askedFor(shapes: Shapes, config: unknown): string[] {
  const asked: string[] = [];
  const stored = new Map(
    [...shapes].map(([name, shape]) => [
      name,
      {
        name, dtype: "F32", shape, byteLength: 0, file: "x.pth",
        read: () => Promise.reject(new Error("nothing is read")),
      },
    ]),
  );
  const tensors: Tensors = {
    prefix: "", has: (name) => stored.has(name), scope: (prefix) => scopeOf(tensors, prefix),
    tensor(name, shape) {
      asked.push(name);
      return findTensor("x.pth", stored, name, shape);
    },
  };
  build(new Plan({ type: "f32", relaxed: false }), tensors, parseConfig(config));
  // DeiT reads its class token, SLAB-DeiT has one that it does not
  return [...new Set(asked)].filter((name) => name !== "cls_token").sort();
}

for (const [name, entries, shapes, config] of networks) {
  test(`${name} by its tensors, each of which it reads`, async () => {
    assert.is(shapes.size, entries);
    const found = await recognise(headerOf(shapes), KNOWN);
    assert.equal(found.config, config);
    assert.is(found.preset, name);
    assert.equal(askedFor(shapes, found.config), leftOver([...shapes.keys()]).sort());
  });
}

// trained numbers of the official modules
const PARAMETERS: Readonly<Record<string, number>> = {
  deit_t_prepbn: 5_717_441, deit_s_prepbn: 22_069_889, slab_deit_t: 6_198_401, slab_deit_s: 22_992_641,
  swin_t_prepbn: 28_288_383, slab_swin_t: 29_216_605, slab_swin_s: 50_552_965, slab_swin_b: 89_029_373,
  slab_cswin_t: 21_227_807, slab_cswin_s: 35_494_205, slab_pvt_v2_b0: 3_599_968, slab_pvt_t: 12_157_692,
  pvt_t_prepbn: 13_239_554, slab_pvt_s: 21_683_788, pvt_s_prepbn: 24_507_801, slab_pvt_m: 37_267_300,
  pvt_m_prepbn: 44_253_117, slab_pvt_v2_b1: 12_941_504, slab_pvt_v2_b2: 22_564_880, slab_pvt_v2_b3: 38_301_992,
  slab_pvt_v2_b4: 51_875_330, slab_pvt_v2_b5: 67_111_640,
};
const BACKBONES = { slab_swin_t_backbone: 28_447_412, swin_t_prepbn_backbone: 27_543_958 };

const trained = (shapes: Shapes): number => {
  const buffer = /running_|num_batches|attn_mask|relative_position_index|\.(warm|iter|total_step)$/;
  const sizes = [...shapes].map(([name, shape]) => (buffer.test(name) ? 0 : shape.reduce((a, b) => a * b, 1)));
  return sizes.reduce((a, b) => a + b, 0);
};

test("the state dicts have the sizes of the official ones", () => {
  for (const [name, , shapes] of networks) if (name in PARAMETERS) assert.is(trained(shapes), PARAMETERS[name], name);
  for (const [name, parameters] of Object.entries(BACKBONES)) {
    const shapes = swinShapes({ depths: [2, 2, 6, 2], linear: name.startsWith("slab"), detection: true });
    assert.is(trained(shapes), parameters, name);
  }
});

test("a golden folder's config is the one recognised", () => {
  const fileOf = (name: string): URL => new URL(`../golden/${name}/config.json`, import.meta.url);
  const found = networks.filter(([name]) => existsSync(fileOf(name)));
  assert.ok(found.length > 0);
  for (const [name, , , config] of found) assert.equal(JSON.parse(readFileSync(fileOf(name), "utf8")), config, name);
});

test("detection backbones are told apart from classifiers", async () => {
  const slab = swinShapes({ depths: [2, 2, 6, 2], linear: true, detection: true });
  const plain = swinShapes({ depths: [2, 2, 6, 2], linear: false, detection: true });
  assert.equal([slab.size, plain.size], [417, 413]);
  for (const [shapes, preset] of [[slab, "slab_swin_t_backbone"], [plain, "swin_t_prepbn_backbone"]] as const) {
    const found = await recognise(headerOf(shapes), KNOWN);
    assert.is(found.preset, preset);
    assert.equal(askedFor(shapes, found.config), leftOver([...shapes.keys()]).sort());
  }
});

test("other sizes than the paper's, and what was assumed", async () => {
  const found = await recognise(headerOf(deitShapes({ dim: 256, linear: false, classes: 10 })), KNOWN);
  assert.equal([found.config.num_labels, found.config.num_attention_heads, found.preset], [10, 4, undefined]);
  assert.equal(found.assumed, ["heads of 64 channels"]);
  assert.equal((await recognise(headerOf(deitShapes({ dim: 192, linear: true })), KNOWN)).assumed, []);
  assert.equal((await recognise(headerOf(llamaShapes({ frequencies: false })), KNOWN)).assumed, [
    "heads of 128 channels",
  ]);
});

test("nothing is left over of the official networks but what is read", () => {
  for (const [name, , shapes] of networks) {
    const left = leftOver([...shapes.keys()]);
    assert.not(
      left.some((tensor) =>
        /iter|total_step|num_batches|relative_position_index|attn_mask|inv_freq|\.scale|\.norm1\.weight$|cls_token/.test(
          tensor,
        ),
      ),
      name,
    );
    assert.ok(left.includes(name.includes("llama") ? "lm_head.weight" : "head.weight"));
  }
  // a block's own norm1 is no dead layer norm
  assert.equal(leftOver(["blocks.0.norm1.weight", "blocks.0.norm2.weight"]).length, 2);
});

const changed = (shapes: Shapes, change: (shapes: Shapes) => void): Shapes => {
  change(shapes);
  return shapes;
};
for (const [what, shapes, message] of [
  [
    "no network",
    new Map([
      ["conv1.weight", [64, 3, 7, 7]], ["fc.weight", [1000, 512]],
    ]),
    /^x\.pth has 2 tensors, such as "conv1\.weight", "fc\.weight": of no network known here/,
  ],
  ["no tensors", new Map(), /^x\.pth has 0 tensors: of no network/],
  [
    "layer norms",
    changed(deitShapes({ dim: 192, linear: false }), (s) => {
      for (const name of [...s.keys()]) if (/^blocks\.\d+\.norm/.test(name)) s.delete(name);
      s.set("blocks.0.norm1.weight", [192]).set("blocks.0.norm1.bias", [192]);
    }),
    /has a layer norm for "blocks\.0\.norm1", expected PRepBN/,
  ],
  [
    "a distilled DeiT", changed(deitShapes({ dim: 192, linear: false }), (s) => void s.set("dist_token", [1, 1, 192])),
    /has "dist_token": it is a distilled DeiT/,
  ],
  [
    "a hole",
    changed(deitShapes({ dim: 192, linear: true }), (s) => {
      for (const name of [...s.keys()]) if (name.startsWith("blocks.3.")) s.delete(name);
    }),
    /has 11 of "blocks\." but not number 3/,
  ],
  [
    "no head", changed(deitShapes({ dim: 192, linear: true }), (s) => void s.delete("head.weight")),
    /has no "head\.weight", which its other tensors call for/,
  ],
  [
    "a flat patch embedding",
    changed(deitShapes({ dim: 192, linear: true }), (s) => void s.set("patch_embed.proj.weight", [192, 768])),
    /"patch_embed\.proj\.weight" of shape \[192, 768\], expected 4 dimensions/,
  ],
  [
    "no square", changed(deitShapes({ dim: 192, linear: true }), (s) => void s.set("pos_embed", [1, 195, 192])),
    /"pos_embed" for 195 tokens, which are no square map/,
  ],
  [
    "blocks of both kinds",
    changed(pvtShapes({ depths: TINY, kind: "linear" }), (s) => void s.delete("block3.1.attn.dwc.weight")),
    /mixes linear and softmax attention in the blocks of "block3\."/,
  ],
  [
    "a stage of the other kind",
    changed(pvtShapes({ depths: [1, 1, 1, 1], kind: "linear" }), (s) => void s.delete("block3.0.attn.dwc.weight")),
    /attention of the kinds LLSL in its stages .*, expected LLLL or SSSS/,
  ],
  [
    "heads of none",
    changed(
      deitShapes({ dim: 192, linear: true }),
      (s) => void [...Array(12).keys()].forEach((i) => s.set(`blocks.${i}.attn.dwc.weight`, [0, 1, 5, 5])),
    ),
    /has channels of 192, which is no multiple of 0/,
  ],
  [
    "packed weights", new Map([["slab.weights", [100]]]),
    /is packed by slab convert: give its folder, where its config\.json is/,
  ],
  [
    "a SLAB-LM", new Map([["layers.0.self_attn.dwc.weight", [64, 1, 4]]]),
    /is a SLAB-LM, whose decay is in no tensor: give its config\.json/,
  ],
] as const) {
  test(`refused: ${what}`, () => rejects(() => recognise(headerOf(shapes as Shapes), KNOWN), message, RangeError));
}

test.run();
