// Which builds this runtime can be trusted with.
import { chooseBuild } from "../../bindings/kernels.ts";
import { platform } from "../../bindings/platform/node.ts";
import type { Build } from "../../bindings/platform/platform.ts";

const { relaxed } = chooseBuild(platform, { threads: 1 });
export const builds: readonly Build[] = relaxed ? ["simd", "simd-threads", "relaxed", "relaxed-threads"] : ["simd", "simd-threads"];

/** Every build with every number of threads worth testing: with three, more than most chunks divide by. */
export const runs: readonly { build: Build; threads: number }[] = builds.flatMap((build) => (build.endsWith("threads") ? [1, 2, 3] : [1]).map((threads) => ({ build, threads })));
