// Every target for a number of inputs, from a fixed seed, and all that was ever found. RESULTS.md tells of the
// campaign.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { past } from "./corpus.ts";
import type { Verdict } from "./judge.ts";
import { judge } from "./judge.ts";
import { randomOf } from "./mutate.ts";
import type { Target } from "./target.ts";
import { targets } from "./targets/index.ts";

/** For a target with a share of 1. */
const INPUTS = 30, SEED = 20240611;

async function passes(target: Target, bytes: Uint8Array, about: string): Promise<Verdict["outcome"]> {
  const { outcome, find } = await judge(target, bytes);
  assert.is(find, undefined, `${target.name}, ${about}: ${find}`);
  return outcome;
}

for (const target of targets) {
  test(`${target.name}: sound and mutated inputs, and past finds`, async () => {
    try {
      const seeds = await target.seeds(), outcomes = { accepted: 0, refused: 0 };
      // the first of each loads and compiles what it needs
      for (const bytes of seeds) await passes(target, bytes, "a sound input");
      for (let index = 0; index < INPUTS * target.share; index++) {
        outcomes[await passes(target, target.mutate(seeds, randomOf(SEED, index)), `seed ${SEED}, input ${index}`)]++;
      }
      assert.ok(outcomes.refused > 0, JSON.stringify(outcomes));
      for (const { name, bytes } of past(target.name)) await passes(target, bytes, name);
    } finally {
      await target.close?.();
    }
  });
}

test.run();
