// Backbones: pixels of any size to a map of features from every stage, for a detector's neck.
import type { BackboneConfig } from "../config/config.ts";
import type { ModelMemory } from "../run/memory.ts";
import type { Interruptible } from "../config/options.ts";
import { checkOptions } from "../config/options.ts";
import type { Plan, Tensor } from "../plan/plan.ts";
import type { Runtime } from "../run/runtime.ts";

/** Sides in pixels. */
export interface ImageSize {
  readonly height: number;
  readonly width: number;
}

export interface FeatureMap {
  /** Pixels of the picture for one of the map, in either direction. */
  readonly stride: number;
  /** [channels, height, width]. */
  readonly shape: readonly [number, number, number];
  readonly data: Float32Array;
}

/** A stage's tokens, [height·width, channels]. */
export interface StageMap {
  readonly tokens: Tensor;
  readonly height: number;
  readonly width: number;
}

/** A plan for pictures of one size, and what it gives. */
export interface Layout {
  readonly size: ImageSize;
  readonly plan: Plan;
  readonly maps: readonly StageMap[];
}

/** A plan and its memory for another size, with the weights of the memory given. */
export type LayOut = (size: ImageSize, from: ModelMemory) => Promise<Layout & { readonly memory: ModelMemory }>;

const LARGEST_SIDE = 1 << 14;

/** A size rounded up to whole patches: what plans are made for. */
export function wholePatches({ height, width }: ImageSize, patch: number): ImageSize {
  const up = (side: number): number => Math.ceil(side / patch) * patch;
  return { height: up(height), width: up(width) };
}

export class Features {
  readonly kind = "backbone";
  readonly config: BackboneConfig;
  readonly runtime: Runtime;
  readonly #layOut: LayOut;
  #layout: Layout;
  /** Settles when the last call so far has: one plan serves one call at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(config: BackboneConfig, runtime: Runtime, layout: Layout, layOut: LayOut) {
    [this.config, this.runtime, this.#layout, this.#layOut] = [config, runtime, layout, layOut];
  }

  async features(pixels: Float32Array, size?: ImageSize, options?: Interruptible): Promise<FeatureMap[]> {
    const { channels, imageSize } = this.config.network, { height, width } = size ?? { height: imageSize, width: imageSize };
    const isSide = (side: number): boolean => Number.isInteger(side) && side >= 1 && side <= LARGEST_SIDE;
    if (
      !(pixels instanceof Float32Array) || !isSide(height) || !isSide(width)
      || pixels.length !== channels * height * width
    ) {
      const { featuresFault } = await import("../extras.ts");
      throw featuresFault(pixels, channels, { height, width }, LARGEST_SIDE, size !== undefined);
    }
    if (options !== undefined) await checkOptions("features", options);
    const copy = pixels.slice(), drop = (): void => options?.signal?.throwIfAborted();
    const run = (): Promise<FeatureMap[]> => this.#run(copy, { height, width }, drop);
    const result = this.#last.then(run, run);
    this.#last = result.catch(() => {});
    return result;
  }

  async #run(pixels: Float32Array, size: ImageSize, drop: () => void): Promise<FeatureMap[]> {
    drop();
    const { patchSize, channels } = this.config.network, padded = wholePatches(size, patchSize), runtime = this.runtime;
    if (padded.height !== this.#layout.size.height || padded.width !== this.#layout.size.width) {
      const { memory, ...layout } = await this.#layOut(padded, runtime.memory);
      runtime.replace(layout.plan, memory);
      this.#layout = layout;
    }
    return runtime.pass({
      enter() {
        const { height, width } = size;
        const input = runtime.floats(runtime.plan.inputs[0]!.address, channels * padded.height * padded.width).fill(0);
        for (let row = 0; row < channels * height; row++) {
          const channel = Math.floor(row / height), y = row % height;
          input.set(pixels.subarray(row * width, (row + 1) * width), (channel * padded.height + y) * padded.width);
        }
      },
      leave: () => this.#layout.maps.map((map, stage) => this.#channelsFirst(map, patchSize << stage)),
    }, drop);
  }

  #channelsFirst({ tokens, height, width }: StageMap, stride: number): FeatureMap {
    const { rows, columns } = tokens, data = new Float32Array(rows * columns);
    for (let n = 0; n < rows; n++) {
      const row = this.runtime.row(tokens, n);
      for (let c = 0; c < columns; c++) data[c * rows + n] = row[c]!;
    }
    return { stride, shape: [columns, height, width], data };
  }
}
