// Backbones: the reference's maps of features at every size that it has, and the same numbers whatever came before.
import * as assert from "uvu/assert";
import type { Model } from "../../bindings/index.ts";
import type { Subject } from "./checks.ts";
import type { Readings } from "./compare.ts";
import { assertSummary, assertWithin } from "./compare.ts";
import type { FeatureMaps, Golden } from "./folders.ts";
import { syntheticInput } from "./synthetic.ts";

type Asked = Pick<FeatureMaps, "input" | "height" | "width">;

const SIZES: readonly Asked[] = [
  { input: "input", height: 40, width: 24 }, { input: "another input", height: 33, width: 70 },
];

const nameOf = ({ input, height, width }: Asked, stride: number): string =>
  `${input} of ${height}×${width}, stride ${stride}`;

/** The maps of several pictures, one after the other. */
async function mapsOf(model: Model, asked: readonly Asked[]): Promise<Readings> {
  const maps: Record<string, Float32Array> = {};
  for (const each of asked) {
    const { input, height, width } = each, pixels = syntheticInput(input, 3 * height * width);
    for (const { stride, data } of await model.features(pixels, { height, width })) maps[nameOf(each, stride)] = data;
  }
  return maps;
}

/** The network of the reference. */
export function backbone({ source, tolerance }: Golden, features: readonly FeatureMaps[]): Subject {
  return {
    source,
    observe: (model) => mapsOf(model, features),
    check(_, readings) {
      const named = features.flatMap((each) => each.maps.map((map) => [nameOf(each, map.stride), map] as const));
      assert.equal(Object.keys(readings), named.map(([name]) => name));
      for (const [name, map] of named) assertSummary(name, readings[name]!, map, tolerance);
    },
  };
}

/** A network of the same kind, small enough for all else that is to be tried. */
export function smallBackbone({ source, config, small, tolerance }: Golden): Subject {
  let plain: Readings | undefined;
  return {
    source: () => source(small), config: { ...JSON.parse(config), ...small },
    observe: (model) => mapsOf(model, SIZES),
    check({ plan }, readings) {
      if (plan.type !== "f32") return;
      plain ??= readings;
      for (const [name, map] of Object.entries(readings)) {
        assertWithin(`${name}, as in the first build`, map, plain[name]!, tolerance);
      }
    },
  };
}
