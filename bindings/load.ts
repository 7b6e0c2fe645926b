// load(): from a folder, a URL or objects to a model that is ready to run.
import type { ModelConfig } from "../models/config.ts";
import { parseConfig } from "../models/config.ts";
import { slabDeit } from "../models/slab-deit.ts";
import type { ByteSource, Tensors } from "./checkpoint/index.ts";
import { blobSource, bytesSource, Checkpoint, streamSource } from "./checkpoint/index.ts";
import { chooseBuild } from "./kernels.ts";
import { materialise } from "./memory.ts";
import { Model } from "./model.ts";
import { Plan } from "./plan.ts";
import { platform } from "./platform/node.ts";
import type { Build } from "./platform/platform.ts";
import { openFolder } from "./folder.ts";

/** What to load when there is no folder: objects, bytes or streams. */
export interface ModelParts {
  /** What config.json holds, its text, or a preset's name. */
  readonly config: unknown;
  /** A safetensors file, or an opened checkpoint. */
  readonly weights: Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array> | ByteSource | Checkpoint;
}

export interface Progress {
  readonly stage: "weights";
  /** Layers packed, of `total`. */
  readonly done: number;
  readonly total: number;
  readonly name: string;
}

export interface LoadOptions {
  /** Threads of a run, the caller's included; default: one for every core. */
  readonly threads?: number;
  /** The same bits on every runtime and for any number of threads: the plain SIMD build. */
  readonly deterministic?: boolean;
  /** A preset's name or config object, for a folder without config.json (or instead of it). */
  readonly config?: unknown;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Forces a build; for tests and benchmarks. */
  readonly build?: Build;
}

/**
 * Loads a model.
 * @param source  a folder's path or URL (config.json, model.safetensors or its index), or the parts
 * @throws one Error that names the file or field, what was expected, what came and what to do; everything opened is closed again
 */
export async function load(source: string | URL | ModelParts, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress } = options;
  signal?.throwIfAborted();
  const caps = chooseBuild(platform, options);
  const { config, checkpoint } = typeof source === "string" || source instanceof URL ? await openFolder(source, options) : await openParts(source, options);
  try {
    const plan = new Plan();
    const logits = build(plan, checkpoint, config);
    const memory = await materialise(plan, [logits], caps, platform, {
      ...(signal ? { signal } : {}),
      onWeight: (done, total, name) => onProgress?.({ stage: "weights", done, total, name }),
    });
    return new Model(config, caps, plan, logits, memory);
  } finally {
    await checkpoint.close();
  }
}

/** Records the network of a config. */
export function build(plan: Plan, tensors: Tensors, config: ModelConfig): ReturnType<typeof slabDeit> {
  return slabDeit(plan, tensors, config.network);
}

async function openParts(parts: ModelParts, { signal, config: override }: LoadOptions): Promise<{ config: ModelConfig; checkpoint: Checkpoint }> {
  if (typeof parts !== "object" || parts === null || !("weights" in parts)) {
    throw new TypeError("the source is not one that load() knows: expected a folder's path or URL, or { config, weights }");
  }
  let given = override ?? parts.config;
  if (typeof given === "string" && given.trimStart().startsWith("{")) given = JSON.parse(given);
  const config = parseConfig(given);
  const { weights } = parts;
  if (weights instanceof Checkpoint) return { config, checkpoint: weights };
  const options = signal ? { signal } : {};
  let source: ByteSource;
  if (weights instanceof Uint8Array || weights instanceof ArrayBuffer) source = bytesSource("weights", weights, options);
  else if (weights instanceof Blob) source = blobSource("weights", weights, options);
  else if (weights instanceof ReadableStream) source = await streamSource("weights", weights, options);
  else if (typeof weights === "object" && weights !== null && "read" in weights) source = weights;
  else throw new TypeError(`weights is ${weights === null ? "null" : typeof weights}, expected the bytes of a safetensors file, a Blob, a stream or a ByteSource`);
  return { config, checkpoint: await Checkpoint.open(source) };
}
