import { test } from "uvu";
import * as assert from "uvu/assert";
import { sizesOf } from "../../cli/sizes.ts";
import { parseConfig } from "../../models/all.ts";
import { slab } from "./command.ts";

// norms, and billions of multiply-adds of a picture as the papers count them: convolutions, layers and products of
// attention
const networks = {
  slab_deit_t: [25, 1.139], deit_s_prepbn: [25, 4.599], slab_pvt_t: [20, 2.036], slab_pvt_s: [36, 4.028],
  slab_pvt_m: [60, 7.034], pvt_t_prepbn: [26, 1.926], pvt_s_prepbn: [49, 3.806], pvt_m_prepbn: [85, 6.649],
  slab_pvt_v2_b0: [24, 0.58], slab_pvt_v2_b1: [24, 2.218], slab_pvt_v2_b5: [112, 12.433], swin_t_prepbn: [29, 4.491],
  slab_swin_b: [53, 15.421], slab_cswin_t: [55, 4.324], slab_cswin_s: [85, 6.783],
} as const;

for (const [name, [norms, billions]] of Object.entries(networks)) {
  test(`${name} has the paper's norms and work`, () => {
    const sizes = sizesOf(parseConfig(name)), got = sizes.flops / 2e9;
    assert.is(sizes.norms.length, norms);
    assert.ok(Math.abs(got / billions - 1) < 0.01, `${got} billion multiply-adds, expected ${billions}`);
  });
}

test("bench times a preset, with random weights", async () => {
  const { code, stdout, stderr } = await slab(["bench", "slab_pvt_v2_b0", "--rounds", "1", "--threads", "1", "--json"]);
  assert.is(stderr, "");
  assert.is(code, 0);
  const { model, weights, timings } = JSON.parse(stdout);
  assert.equal([model, weights], ["slab_pvt_v2_b0", "random"]);
  assert.ok(timings[0].bestMs > 0);
});

test.run();
