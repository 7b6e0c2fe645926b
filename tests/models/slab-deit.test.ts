// What is special to DeiT beside its folders in tests/golden.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { memoryCheckpoint } from "../../bindings/checkpoint/index.ts";
import { load } from "../../bindings/index.ts";
import type { Entries } from "../golden/synthetic.ts";
import { deitEntries } from "../golden/synthetic.ts";
import { tinyConfig, tinyPixels } from "../bindings/tiny.ts";

const sizes = { dim: 24, heads: 2, depth: 2, tokens: 16, patch: 8, classes: 5 };
const types = [["slab_deit", "linear"], ["deit_prepbn", "softmax"]] as const;

/** RepBN without the LayerNorm beside it and its schedule: the same values under other names. */
function bare(entries: Entries): Entries {
  const dead = /norm[12]?\.(warm|iter|total_step|norm1\.(weight|bias))$/, repbn = /(norm[12]?)\.norm2\.(alpha|bn\.)/;
  const kept = Object.entries(entries).filter(([key]) => !dead.test(key));
  return Object.fromEntries(kept.map(([key, entry]) => [key.replace(repbn, "$1.$2"), entry]));
}

for (const [type, mixer] of types) {
  test(`${type}: either layout of its norms is accepted`, async () => {
    const full = deitEntries({ ...sizes, mixer }), logits: Float32Array[] = [];
    for (const entries of [full, bare(full)]) {
      assert.is("norm.norm2.alpha" in entries, entries === full);
      const config = { ...tinyConfig, model_type: type }, weights = memoryCheckpoint(entries);
      using model = await load({ config, weights }, { threads: 1 });
      logits.push(await model.forward(tinyPixels));
    }
    assert.equal(logits[1], logits[0]);
  });
}

test.run();
