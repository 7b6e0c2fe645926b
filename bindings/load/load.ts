// load(): from a folder, a URL or objects to a model that is ready to run.
import { platform } from "#platform";
import type { Known } from "../tasks/architecture.ts";
import type { RequestOptions } from "../checkpoint/request.ts";
import type { WeightType } from "../plan/dtype.ts";
import { WEIGHT_TYPES } from "../plan/dtype.ts";
import type { Download } from "./folder.ts";
import { openFolder } from "./folder.ts";
import type { WasmSource } from "./given-module.ts";
import { chooseBuild, trustedBytes } from "../run/kernels.ts";
import type { MaterialiseOptions } from "../run/memory.ts";
import { materialise } from "../run/memory.ts";
import { Model } from "../tasks/model.ts";
import { namesOnly } from "../checkpoint/tensors.ts";
import { packedOf, readPacked } from "./packed.ts";
import { checkOptions, LOAD } from "../config/options.ts";
import type { ModelParts } from "./parts.ts";
import { openParts } from "./parts.ts";
import { Plan } from "../plan/plan.ts";
import type { Build } from "../platform/platform.ts";
import { Runtime } from "../run/runtime.ts";

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
  /** How weights are kept: "f32" (default), "int8" (a quarter of the memory), "int4" (a seventh, for decoding). */
  readonly dtype?: WeightType;
  /** A preset's name or config object, for a folder without config.json (or instead of it). */
  readonly config?: unknown;
  /**
   * Language models: sessions whose state stays in the model's memory, and most of one decodeBatch step. More are parked. Default 16, or as
   * many as fit into 1 GiB where states grow.
   */
  readonly sessions?: number;
  /** Language models whose state grows (slab_llama): most tokens of a session; default: the config's max_position_embeddings, at most 2048. */
  readonly context?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: Progress) => void;
  /** Told of bytes as they arrive, when the source is an address. */
  readonly onDownload?: (download: Download) => void;
  /**
   * Sent with every request for the model's files, when the source is an address: `{ authorization: "Bearer …" }` for a
   * gated model. Where a redirect leads to another origin, fetch leaves out `authorization` but no header of another
   * name: put what is secret there.
   */
  readonly headers?: RequestOptions["headers"];
  /** In place of the host's fetch for the model's files, such as one that goes through a proxy. */
  readonly fetch?: RequestOptions["fetch"];
  /** In pages, what was downloaded is kept in the Cache API, so that a download that was cut off goes on where it was; false: it is not. */
  readonly cache?: boolean;
  /** The kernels, where this host or a bundler cannot find them: one of the files slab-wasm/wasm/*.wasm, compiled, as bytes, or where to fetch it. */
  readonly wasm?: WasmSource;
  /** Forces a build; for tests and benchmarks. */
  readonly build?: Build;
}

/**
 * Loads a model.
 * @param source  a folder's path or URL (config.json, model.safetensors or its index, tokenizer.json), one file of weights, or the parts
 * @throws one Error that names the file or field, what was expected, what came and what to do; everything opened is closed again
 */
export type Load = (source: string | URL | ModelParts, options?: LoadOptions) => Promise<Model>;

/** load() for models of the architectures that are known. */
export const loadOf = (known: Known): Load => async (source, options = {}) => {
  await checkOptions("load", options, LOAD);
  const { dtype, signal, onProgress, sessions, context } = options;
  signal?.throwIfAborted();
  if (dtype !== undefined && !WEIGHT_TYPES.includes(dtype)) throw (await import("../extras.ts")).dtypeFault(dtype);
  const wasm = options.wasm;
  const given = wasm === undefined ? undefined : await (await import("./given-module.ts")).givenModule(wasm);
  const module = given?.module;
  const chosen = chooseBuild(platform, options, given);
  if (!chosen) throw (await import("../extras.ts")).buildFault(platform, options, given);
  const opened = typeof source === "string" || source instanceof URL ? await openFolder(source, options, known) : await openParts(source, options, known);
  try {
    const { config, checkpoint, architecture, tokenizer } = opened;
    const packed = await packedOf(checkpoint), type = packed?.type ?? dtype ?? "f32";
    const other = packed && dtype !== undefined && dtype !== packed.type;
    const caps = other || type === "f32" ? chosen : await trustedBytes(chosen, platform, given);
    if (packed && (other || (packed.layout !== "any" && (packed.layout === "relaxed") !== caps.relaxed))) {
      throw (await import("../extras.ts")).packedMisfit(checkpoint.name, packed, dtype, caps);
    }
    const plan = new Plan({ type, relaxed: caps.relaxed });
    const filling: MaterialiseOptions = {
      ...(module ? { module } : {}), ...(signal ? { signal } : {}),
      ...(packed ? { packed: { fingerprint: packed.fingerprint, read: (into) => readPacked(checkpoint, packed, plan, into) } } : {}),
      onWeight: (done, total, name) => onProgress?.({ stage: "weights", done, total, name }),
    };
    const task = await architecture.load(config, {
      options, caps, plan, module, tokenizer, tensors: packed ? namesOnly((name) => packed.tables[name] ?? "F32") : checkpoint,
      runtime: async (outputs, slots = 0) => {
        const grows = plan.state !== undefined && plan.state.mostTokens < Infinity;
        const stray = slots === 0 && sessions !== undefined ? "sessions"
          : context !== undefined && !grows ? "context"
          : undefined;
        if (stray) throw (await import("../extras.ts")).otherKind(stray, config);
        return new Runtime(plan, caps, await materialise(plan, outputs, caps, platform, { ...filling, slots }));
      },
    });
    return new Model(task);
  } finally {
    if (opened.owned) await opened.checkpoint.close();
  }
};
