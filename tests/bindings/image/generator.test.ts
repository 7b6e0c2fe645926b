import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { seedOf, uniform01 } from "../../../cli/synthetic.ts";

const { generator_check: expected } = JSON.parse(
  readFileSync(new URL("../../golden/slab-vectors.json", import.meta.url), "utf8"),
);

test("seedOf is FNV-1a", () => {
  assert.is(seedOf("input"), expected['fnv1a32("input")']);
  assert.is(seedOf("head.weight"), expected['fnv1a32("head.weight")']);
});

test("uniform01 is mulberry32", () => {
  assert.equal([...uniform01("input", 3)], expected['u("input")[0..2]']);
});

test.run();
