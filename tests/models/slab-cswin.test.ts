// What is special to CSWin beside its folders in tests/golden.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parseConfig } from "../../models/all.ts";
import { mergedTaps } from "../../models/vision/slab-cswin.ts";
import { assertClose, uniform } from "../harness.ts";
import * as naive from "../naive.ts";

test("the two depthwise convolutions of a linear block are one", () => {
  const [height, side, headDim, heads] = [4, 5, 3, 2], dim = heads * headDim, map = uniform("map", height * side * dim);
  const own = uniform("own", dim * 9);
  const shared = uniform("shared", headDim * 25);
  const everyHead = Float64Array.from({ length: dim * 25 }, (_, i) => shared[i % shared.length]!);
  const merged = mergedTaps(Float64Array.from(own), Float64Array.from(shared));
  const addend = naive.depthwiseConvChannels(map, everyHead, 5, height, side);
  assertClose(
    "merged", naive.depthwiseConvChannels(map, merged, 5, height, side),
    naive.depthwiseConvChannels(map, own, 3, height, side, { addend }),
  );
});

test("configs that no CSWin can have are refused", () => {
  const refused = (fields: object, message: RegExp): void => {
    assert.throws(
      () => parseConfig({ model_type: "slab_cswin", ...fields }), (error: Error) => message.test(error.message),
    );
  };
  refused({ depths: [2, 4] }, /"depths" is \[2,4\], expected 4 numbers, one for each stage/);
  refused({ image_size: 225 }, /"image_size" is 225, expected a multiple of 32/);
  refused(
    { image_size: 256 },
    /stripes of 7 do not divide the map of 16×16 of stage 3: "image_size" must be a multiple of 224/,
  );
  refused(
    { num_attention_heads: [3, 4, 8, 16] }, /64 channels of stage 1 are not a multiple of "num_attention_heads" 3/,
  );
  refused({ num_attention_heads: [16, 4, 8, 16] }, /heads of 4 channels of stage 1, expected a multiple of 8/);
  refused({ num_attention_heads: [2, 4, 1, 16] }, /"num_attention_heads" 1 of stage 3, expected an even number/);
});

test.run();
