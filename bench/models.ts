// Whole image models: ms a picture at one and two threads, GFLOP/s, the fraction of the multiply-add peak, and the
// ratio to onnxruntime-web on the same network, all in one run.
import { load } from "../bindings/index.ts";
import type { Model, WeightType } from "../bindings/index.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { randomCheckpoint } from "../cli/random-checkpoint.ts";
import { build, parseConfig } from "../models/all.ts";
import { loadPeak } from "./limits.ts";
import { timeInTurn } from "./measure.ts";
import { openPeer } from "./peers.ts";
import { slabCswinNetwork } from "./peers/slab-cswin.ts";
import { slabDeitNetwork } from "./peers/slab-deit.ts";
import { slabPvtNetwork } from "./peers/slab-pvt.ts";
import { slabSwinNetwork } from "./peers/slab-swin.ts";

export interface ModelResult {
  readonly model: string;
  readonly build: string;
  readonly dtype: WeightType;
  readonly threads: number;
  readonly bestMs: number;
  readonly medianMs: number;
  readonly gflops: number;
  /** How many times faster than f32 of the same build on one thread. */
  readonly overF32: number;
  /** Of one thread's f32 peak, times the threads: above 1 where bytes are multiplied. */
  readonly fraction: number;
  /** How many times faster than the faster peer, by best and by median; undefined without a peer. */
  readonly peer?: {
    readonly name: string; readonly bestMs: number; readonly ratio: number; readonly medianRatio: number;
  };
}

/** What the paper's repository says of its networks: ImageNet-1K top-1 in percent, throughput on an unnamed GPU. */
export const PAPER: Readonly<Record<string, { readonly top1: number; readonly gpuImagesPerSecond?: number }>> = {
  deit_t_prepbn: { top1: 73.6 }, slab_deit_t: { top1: 74.3 }, slab_deit_s: { top1: 80.0 }, pvt_t_prepbn: { top1: 76.0 },
  slab_pvt_t: { top1: 76.5 },
  swin_t_prepbn: { top1: 81.4 }, slab_swin_t: { top1: 81.8, gpuImagesPerSecond: 690 }, slab_cswin_t: { top1: 82.8 },
};

/** The networks compared, and the peer's: the same network, and the one of its size that people have today. */
const MODELS = [
  { config: "slab_deit_t", peers: ["slab_deit_tiny_folded", "deit_tiny_ln_softmax"] },
  { config: "slab_deit_s", peers: ["slab_deit_small_folded", "deit_small_ln_softmax"] },
  { config: "deit_t_prepbn", peers: ["deit_tiny_ln_softmax"] },
  { config: "swin_t_prepbn", peers: ["swin_tiny_folded"] },
  { config: "slab_swin_t", peers: ["slab_swin_tiny_folded"] },
  { config: "pvt_t_prepbn", peers: ["pvt_tiny_folded"] },
  { config: "slab_pvt_t", peers: ["slab_pvt_tiny_folded"] },
  { config: "slab_cswin_t", peers: ["slab_cswin_tiny_folded"] },
] as const;

/** The first of a model's peers is the network itself, as ONNX, where we can write it. */
async function writeNetwork(config: string): Promise<Uint8Array> {
  const { network, architecture } = parseConfig(config);
  const writers = {
    slab_deit: slabDeitNetwork, slab_pvt: slabPvtNetwork, slab_swin: slabSwinNetwork, slab_cswin: slabCswinNetwork,
  };
  if (!(architecture in writers)) throw new RangeError(`${config} is not written as ONNX here`);
  return (await writers[architecture as keyof typeof writers](randomCheckpoint(config), network as never)).encode();
}

const flopsOf = (config: string): number => {
  const plan = new Plan();
  build(plan, randomCheckpoint(config), parseConfig(config));
  return plan.flops;
};

/** @param models  how many of the list: the short form measures the first only */
export async function benchModels(budgetMs: number, models: number, relaxed: boolean): Promise<ModelResult[]> {
  const results: ModelResult[] = [];
  for (const { config, peers: peerNames } of MODELS.slice(0, models)) {
    const flops = flopsOf(config);
    const variants: { key: string; kind: "relaxed" | "simd"; dtype: WeightType; model: Model }[] = [];
    for (const kind of relaxed ? (["relaxed", "simd"] as const) : (["simd"] as const)) {
      for (const [threads, dtype] of [[1, "f32"], [2, "f32"], [1, "int8"]] as const) {
        const model = await load(
          { config, weights: randomCheckpoint(config) },
          { threads, dtype, build: threads > 1 ? `${kind}-threads` : kind },
        );
        variants.push({ key: `${kind} ${threads} ${dtype}`, kind, dtype, model });
      }
    }
    const { network } = variants[0]!.model.config;
    if (!("imageSize" in network)) throw new RangeError(`${config} is no image model`);
    const { imageSize } = network;
    const pixels = new Float32Array(3 * imageSize * imageSize).fill(0.3);
    const peers = (await Promise.all(peerNames.map((name) =>
      openPeer(
        name, { input: pixels, shape: [1, 3, imageSize, imageSize] },
        name.endsWith("_folded") ? () => writeNetwork(config) : undefined,
      )))).filter((p) => p !== undefined);
    const peak = loadPeak(relaxed ? "relaxed" : "simd"), plain = loadPeak("simd");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const times = await timeInTurn({
      peak: () => peak.compute(), plain: () => plain.compute(),
      ...Object.fromEntries(variants.map(({ key, model }) => [key, () => model.forward(pixels)])),
      ...Object.fromEntries(peers.map((p) => [p.name, () => p.run()])),
    }, budgetMs);
    const peer = peers.toSorted((a, b) => times[a.name]!.bestMs - times[b.name]!.bestMs)[0];
    const theirs = peer && times[peer.name];
    for (const { key, kind, dtype, model } of variants) {
      const { bestMs, medianMs } = times[key]!;
      const [limit, flopsOfPeak] = key.startsWith("relaxed") ? [times.peak!, peak.flops] : [times.plain!, plain.flops];
      results.push({
        model: config, build: model.caps.build, dtype, overF32: times[`${kind} 1 f32`]!.bestMs / bestMs,
        threads: model.caps.threads, bestMs, medianMs, gflops: flops / bestMs / 1e6,
        fraction: flops / bestMs / (flopsOfPeak / limit.bestMs) / model.caps.threads,
        ...(theirs ? { peer: {
          name: peer.name, bestMs: theirs.bestMs, ratio: theirs.bestMs / bestMs,
          medianRatio: theirs.medianMs / medianMs,
        } } : {}),
      });
      model.dispose();
    }
    for (const p of peers) await p.close();
  }
  return results;
}
