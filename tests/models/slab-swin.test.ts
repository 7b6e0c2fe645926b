// What is special to Swin beside its folders in tests/golden.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseConfig } from "../../models/all.ts";

test("configs that no Swin can have are refused", () => {
  const refused = (fields: object, message: RegExp): void => {
    assert.throws(
      () => parseConfig({ model_type: "slab_swin", ...fields }), (error: Error) => message.test(error.message),
    );
  };
  refused({ depths: [2, 2] }, /"depths" is \[2,2\], expected 4 numbers, one for each stage/);
  refused(
    { num_attention_heads: [3, 6, 12, 25] }, /768 channels of stage 4 are not a multiple of "num_attention_heads" 25/,
  );
  refused({ num_attention_heads: [24, 6, 12, 24] }, /heads of 4 channels of stage 1, expected a multiple of 8/);
  refused({ image_size: 225 }, /"image_size" 225 is not a multiple of 4/);
  refused({ image_size: 256 }, /windows of 56 do not divide the map of 64×64 of stage 1/);
  refused({ window_size: 5 }, /windows of 5 do not divide the map of 14×14 of stage 3/);
  refused({ num_channels: 1 }, /"num_channels" is 1, expected 3/);
});

test.run();
