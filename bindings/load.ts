// load(): from a folder, a URL or objects to a model that is ready to run.
import { platform } from "#platform";
import type { Recognised } from "../models/recognise.ts";
import type { BackboneConfig, ImageModelConfig, LanguageModelConfig, ModelConfig } from "../models/config.ts";
import { isBackbone, isLanguageModel, parseConfig } from "../models/config.ts";
import type { LanguageTensors } from "../models/decoder.ts";
import { slabCswin } from "../models/slab-cswin.ts";
import { slabDeit } from "../models/slab-deit.ts";
import { cacheBytes, slabLlama } from "../models/slab-llama.ts";
import { slabLm } from "../models/slab-lm.ts";
import { slabPvt } from "../models/slab-pvt.ts";
import { slabSwin, swinFeatures } from "../models/slab-swin.ts";
import type { ByteSource, Tensors } from "./checkpoint/index.ts";
import { blobSource, bytesSource, Checkpoint, streamSource } from "./checkpoint/index.ts";
import { Classifier } from "./classifier.ts";
import type { Download } from "./folder.ts";
import { openFile, openFolder, parseJson, recognised } from "./folder.ts";
import type { WasmSource } from "./given-module.ts";
import { givenModule } from "./given-module.ts";
import type { Caps } from "./kernels.ts";
import { chooseBuild, trustedBytes } from "./kernels.ts";
import type { WeightType } from "./dtype.ts";
import { WEIGHT_TYPES } from "./dtype.ts";
import type { ImageSize, LayOut } from "./features.ts";
import { Features, wholePatches } from "./features.ts";
import { Language } from "./language.ts";
import type { MaterialiseOptions } from "./memory.ts";
import { materialise } from "./memory.ts";
import { Model } from "./model.ts";
import { namesOnly, packedOf, readPacked } from "./packed.ts";
import type { Tensor } from "./plan.ts";
import { Plan } from "./plan.ts";
import type { Build } from "./platform/platform.ts";
import { describe, Runtime } from "./runtime.ts";
import type { Tokenizer } from "./tokenizer/index.ts";

/** What to load when there is no folder: objects, bytes or streams. */
export interface ModelParts {
  /** What config.json holds, its text, or a preset's name; left out, the network is recognised from the tensors, where that can be. */
  readonly config?: unknown;
  /** A safetensors or PyTorch file, or an opened checkpoint, which stays open. */
  readonly weights: Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array> | ByteSource | Checkpoint;
  /** What tokenizer.json holds, or its text, or the bytes of a SentencePiece tokenizer.model; without it a language model takes token ids only. */
  readonly tokenizer?: unknown;
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
  /** In pages, what was downloaded is kept in the Cache API, so that a download that was cut off goes on where it was; false: it is not. */
  readonly cache?: boolean;
  /** The kernels, where this host or a bundler cannot find them: one of the files slab-wasm/wasm/*.wasm, compiled, as bytes, or where to fetch it. */
  readonly wasm?: WasmSource;
  /** Forces a build; for tests and benchmarks. */
  readonly build?: Build;
}

/** What a folder or the parts come down to. */
export interface OpenedModel {
  readonly config: ModelConfig;
  /** The config as it was given, read or recognised: a preset's name or an object. */
  readonly json: unknown;
  /** How the config was found where there was none. */
  readonly recognised?: Recognised;
  readonly checkpoint: Checkpoint;
  /** Whether load() opened the checkpoint, and so closes it. */
  readonly owned: boolean;
  /** tokenizer.json as text or parsed, or tokenizer.model's bytes. */
  readonly tokenizer?: unknown;
}

/** Tokens that one prefill run reads: enough for the matrix products to run at full speed. */
const PREFILL_ROWS = 256;

/**
 * Loads a model.
 * @param source  a folder's path or URL (config.json, model.safetensors or its index, tokenizer.json), one file of weights, or the parts
 * @throws one Error that names the file or field, what was expected, what came and what to do; everything opened is closed again
 */
export async function load(source: string | URL | ModelParts, options: LoadOptions = {}): Promise<Model> {
  options.signal?.throwIfAborted();
  const { dtype } = options;
  if (dtype !== undefined && !WEIGHT_TYPES.includes(dtype)) throw new RangeError(`dtype is ${describe(dtype)}, expected one of ${WEIGHT_TYPES.join(", ")}`);
  const given = options.wasm === undefined ? undefined : await givenModule(options.wasm);
  const chosen = chooseBuild(platform, options, given);
  const opened = typeof source === "string" || source instanceof URL ? await openFolder(source, options) : await openParts(source, options);
  try {
    const { config, checkpoint } = opened, packed = packedOf(checkpoint), type = packed?.type ?? dtype ?? "f32";
    if (packed && dtype !== undefined && dtype !== packed.type) {
      throw new RangeError(`${checkpoint.name} is packed as ${packed.type}, asked for was ${dtype}: load the original checkpoint`);
    }
    const caps = type === "f32" ? chosen : await trustedBytes(chosen, platform, given);
    if (packed && packed.layout !== "any" && (packed.layout === "relaxed") !== caps.relaxed) {
      throw new RangeError(`${checkpoint.name} is packed for ${packed.layout} builds, this host runs ${caps.build} (${caps.reasons[0] ?? "as asked"}): load the original checkpoint, or convert it here`);
    }
    const plan = new Plan({ type, relaxed: caps.relaxed });
    const context: Context = {
      plan, caps, options, tensors: packed ? namesOnly((name) => packed.tables[name] ?? "F32") : checkpoint,
      ...(given ? { module: given.module } : {}),
      ...(packed ? { packed: { fingerprint: packed.fingerprint, read: (into) => readPacked(checkpoint, packed, plan, into) } } : {}),
    };
    if (isLanguageModel(config)) return await loadLanguage(config, opened.tokenizer, context);
    return isBackbone(config) ? await loadBackbone(config, context) : await loadImages(config, context);
  } finally {
    if (opened.owned) await opened.checkpoint.close();
  }
}

/** What loading an image model and a language model have in common. */
interface Context {
  readonly plan: Plan;
  readonly caps: Caps;
  readonly options: LoadOptions;
  readonly tensors: Tensors;
  readonly module?: WebAssembly.Module;
  readonly packed?: NonNullable<MaterialiseOptions["packed"]>;
}

/** Records the network of a config, a backbone's for pictures of the config's size; returns its last tensor. */
export function build(plan: Plan, tensors: Tensors, config: ModelConfig): ReturnType<typeof slabDeit> {
  if (isLanguageModel(config)) return buildLanguage(plan, tensors, config, { batch: 1 }).logits;
  if (isBackbone(config)) return swinFeatures(plan, tensors, config.network, squareOf(config)).at(-1)!.tokens;
  if (config.architecture === "slab_cswin") return slabCswin(plan, tensors, config.network);
  if (config.architecture === "slab_pvt") return slabPvt(plan, tensors, config.network);
  if (config.architecture === "slab_swin") return slabSwin(plan, tensors, config.network);
  return slabDeit(plan, tensors, config.network);
}

/** Where states grow: most tokens of one, unless asked for otherwise. */
const DEFAULT_CONTEXT = 2048;

/** Records the programs of a language model. */
function buildLanguage(plan: Plan, tensors: Tensors, config: LanguageModelConfig, { batch, context }: { batch: number; context?: number | undefined }): LanguageTensors {
  const rows = { prefillRows: PREFILL_ROWS, batch };
  if (config.architecture === "slab_lm") return slabLm(plan, tensors, config.network, rows);
  return slabLlama(plan, tensors, config.network, { ...rows, context: contextOf(config, context) });
}

function contextOf({ network }: Extract<LanguageModelConfig, { architecture: "slab_llama" }>, asked: number | undefined): number {
  const { positions } = network;
  if (asked === undefined) return Math.min(positions, DEFAULT_CONTEXT);
  if (Number.isInteger(asked) && asked >= 1 && asked <= positions) return asked;
  throw new RangeError(`context is ${asked}, expected a whole number from 1 to ${positions}, the config's max_position_embeddings`);
}

/** Sessions in memory, unless asked for otherwise. */
function sessionsOf(config: LanguageModelConfig, context: number | undefined): number {
  if (config.architecture === "slab_lm") return 16;
  return Math.min(16, Math.max(1, Math.floor(2 ** 30 / cacheBytes(config.network, contextOf(config, context)))));
}

const materialiseOptions = ({ options: { signal, onProgress }, module, packed }: Context): MaterialiseOptions => ({
  ...(module ? { module } : {}), ...(signal ? { signal } : {}), ...(packed ? { packed } : {}),
  onWeight: (done: number, total: number, name: string) => onProgress?.({ stage: "weights", done, total, name }),
});

async function loadImages(config: ImageModelConfig, context: Context): Promise<Model> {
  const { plan, caps, tensors } = context;
  const logits = build(plan, tensors, config);
  const runtime = new Runtime(plan, caps, await materialise(plan, [logits], caps, platform, materialiseOptions(context)));
  return new Model(config, runtime, new Classifier(config, runtime, logits));
}

const squareOf = ({ network: { imageSize, patchSize } }: BackboneConfig): ImageSize => wholePatches({ height: imageSize, width: imageSize }, patchSize);

async function loadBackbone(config: BackboneConfig, context: Context): Promise<Model> {
  const { plan, caps, tensors } = context, size = squareOf(config), maps = swinFeatures(plan, tensors, config.network, size);
  const outputs = (all: typeof maps): Tensor[] => all.map(({ tokens }) => tokens);
  const runtime = new Runtime(plan, caps, await materialise(plan, outputs(maps), caps, platform, materialiseOptions(context)));
  // which weights there are does not depend on a picture's size: they are copied as they lie
  const layOut: LayOut = async (size, from) => {
    const next = new Plan({ type: plan.type, relaxed: plan.relaxed }), maps = swinFeatures(next, namesOnly(() => "F32"), config.network, size);
    const weights = new Uint8Array(from.memory.buffer, from.weightsAddress, from.weightsBytes);
    next.folds.push(...plan.folds);
    const memory = await materialise(next, outputs(maps), caps, platform, {
      ...(context.module ? { module: context.module } : {}), packed: { fingerprint: from.fingerprint, read: async (into) => into.set(weights) },
    });
    return { size, plan: next, maps, memory };
  };
  return new Model(config, runtime, new Features(config, runtime, { size, plan, maps }, layOut));
}

async function loadLanguage(config: LanguageModelConfig, json: unknown, context: Context): Promise<Model> {
  const { plan, caps, options } = context, { sessions = sessionsOf(config, options.context) } = options;
  if (!(Number.isInteger(sessions) && sessions >= 1 && sessions <= 1024)) throw new RangeError(`sessions is ${sessions}, expected a whole number from 1 to 1024`);
  let tokenizer: Tokenizer | undefined;
  if (json !== undefined) {
    const { tokenizerFrom } = await platform.tokenizers();
    tokenizer = tokenizerFrom(json);
    if (tokenizer.vocabSize > config.network.vocab) {
      throw new RangeError(`${json instanceof Uint8Array ? "tokenizer.model" : "tokenizer.json"} has ${tokenizer.vocabSize} tokens, the config's vocab_size is ${config.network.vocab}: they belong to different models`);
    }
  }
  const tensors = buildLanguage(plan, context.tensors, config, { batch: sessions, context: options.context });
  const memory = await materialise(plan, [tensors.hidden, tensors.logits, tensors.prefill.hidden], caps, platform, { ...materialiseOptions(context), slots: sessions });
  const runtime = new Runtime(plan, caps, memory);
  return new Model(config, runtime, new Language(config, runtime, tensors, sessions, tokenizer));
}

async function openParts(parts: ModelParts, { signal, config: override }: LoadOptions): Promise<OpenedModel> {
  if (typeof parts !== "object" || parts === null || !("weights" in parts)) {
    throw new TypeError("the source is not one that load() knows: expected a folder's path or URL, or { config, weights }");
  }
  let given = override ?? parts.config;
  if (typeof given === "string" && given.trimStart().startsWith("{")) given = parseJson(given, "config");
  // a bad config is said before anything is opened
  if (given !== undefined) parseConfig(given);
  const { weights, tokenizer } = parts;
  if (weights instanceof Checkpoint) {
    const config = given === undefined ? await recognised(weights) : { config: parseConfig(given), json: given };
    return { ...config, checkpoint: weights, owned: false, tokenizer };
  }
  const options = signal ? { signal } : {};
  let source: ByteSource;
  if (weights instanceof Uint8Array || weights instanceof ArrayBuffer) source = bytesSource("weights", weights, options);
  else if (weights instanceof Blob) source = blobSource("weights", weights, options);
  else if (weights instanceof ReadableStream) source = await streamSource("weights", weights, options);
  else if (typeof weights === "object" && weights !== null && "read" in weights) source = weights;
  else throw new TypeError(`weights is ${describe(weights)}, expected the bytes of a safetensors or PyTorch file, a Blob, a stream or a ByteSource`);
  return { ...(await openFile(source, given, {})), tokenizer };
}
