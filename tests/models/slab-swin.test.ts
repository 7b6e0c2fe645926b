import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseConfig } from "../../models/all.ts";
import type { SlabSwinConfig } from "../../models/vision/slab-swin.ts";
import type { Layout } from "../golden/synthetic.ts";
import { swinEntries } from "../golden/synthetic-swin.ts";
import { every, once } from "./builds.ts";
import { allButFeatures, testPyramid } from "./parity.ts";

const networkOf = (name: string): SlabSwinConfig => parseConfig(name).network as SlabSwinConfig;

const CASES: readonly [string, Layout, typeof every][] = [["slab_swin_t", "FULL", every], ["swin_t_prepbn", "BARE", every], ["slab_swin_s", "FULL", once], ["slab_swin_b", "FULL", once]];

for (const [name, layout, cases] of CASES) testPyramid(name, cases, () => swinEntries(networkOf(name), layout, false), allButFeatures);

test("configs that no Swin can have are refused", () => {
  const refused = (fields: object, message: RegExp): void => {
    assert.throws(() => parseConfig({ model_type: "slab_swin", ...fields }), (error: Error) => message.test(error.message));
  };
  refused({ depths: [2, 2] }, /"depths" is \[2,2\], expected 4 numbers, one for each stage/);
  refused({ num_attention_heads: [3, 6, 12, 25] }, /768 channels of stage 4 are not a multiple of "num_attention_heads" 25/);
  refused({ num_attention_heads: [24, 6, 12, 24] }, /heads of 4 channels of stage 1, expected a multiple of 8/);
  refused({ image_size: 225 }, /"image_size" 225 is not a multiple of 4/);
  refused({ image_size: 256 }, /windows of 56 do not divide the map of 64×64 of stage 1/);
  refused({ window_size: 5 }, /windows of 5 do not divide the map of 14×14 of stage 3/);
  refused({ num_channels: 1 }, /"num_channels" is 1, expected 3/);
});

test.run();
