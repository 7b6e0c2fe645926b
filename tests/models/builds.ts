// Which builds this runtime can be trusted with.
import { chooseBuild } from "../../bindings/run/kernels.ts";
import { platform } from "../../bindings/platform/node.ts";
import type { Build } from "../../bindings/platform/platform.ts";

const { relaxed } = chooseBuild(platform, { threads: 1 })!;
export const builds: readonly Build[] = relaxed
  ? ["simd", "simd-threads", "relaxed", "relaxed-threads"]
  : ["simd", "simd-threads"];

/**
 * Every build with every number of threads worth testing: the builds with threads have three too, more than most chunks
 * divide by.
 */
export const runs: readonly { build: Build; threads: number }[] = builds.flatMap((build) =>
  (build.endsWith("threads") ? [2, 3] : [1]).map((threads) => ({ build, threads })),
);

const best = relaxed ? "relaxed" : "simd";

/** One thread and two, plain and relaxed. */
export const every = runs.filter(({ threads }) => threads < 3);

/**
 * The best build on one thread: enough for a network whose ops a smaller one has too. SLAB_ALL=1 runs those in every
 * build as well.
 */
export const once = process.env.SLAB_ALL ? every : runs.filter(({ build, threads }) => build === best && threads === 1);
