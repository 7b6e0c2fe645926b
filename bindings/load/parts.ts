// A model that is in no folder: a config, weights and a tokenizer as objects, bytes or streams.
import type { Known } from "../tasks/architecture.ts";
import { configOf } from "../tasks/architecture.ts";
import type { ByteSource } from "../checkpoint/index.ts";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { blobSource, bytesSource, streamSource } from "../checkpoint/source.ts";
import type { FolderOptions, OpenedModel } from "./folder.ts";
import type { Here } from "./located.ts";
import { described, folderAt, openFile, parseJson, VOCABULARY_BYTES } from "./folder.ts";

/** What to load when there is no folder: objects, bytes or streams. */
export interface ModelParts {
  /**
   * What config.json holds, its text, or a preset's name; left out, the network is recognised from the tensors, where
   * that can be.
   */
  readonly config?: unknown;
  /** A safetensors or PyTorch file, its address, or an opened checkpoint, which stays open. */
  readonly weights: URL | Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array> | ByteSource | Checkpoint;
  /**
   * What tokenizer.json holds, or its text, or the bytes of a SentencePiece tokenizer.model, or either's address;
   * without it a language model takes token ids only.
   */
  readonly tokenizer?: unknown;
}

/** Opens the weights among the parts, with their config or the one given instead. */
export async function openParts(parts: ModelParts, asked: FolderOptions, known: Known): Promise<OpenedModel> {
  const { signal, config: override } = asked;
  if (typeof parts !== "object" || parts === null || !("weights" in parts)) {
    throw (await import("../extras.ts")).sourceFault();
  }
  let given = override ?? parts.config;
  if (typeof given === "string" && given.trimStart().startsWith("{")) given = parseJson(given, "config");
  // a bad config is said before anything is opened
  if (given !== undefined) await configOf(known, given);
  const { weights, tokenizer: words } = parts.weights instanceof URL || parts.tokenizer instanceof URL
    ? await (await import("./located.ts")).located(parts, asked, folderAt, VOCABULARY_BYTES)
    : (parts as Here);
  const tokenizer = async (): Promise<unknown> => words;
  if (weights instanceof Checkpoint) {
    return { ...(await described(weights, given, known)), checkpoint: weights, owned: false, tokenizer };
  }
  const options = signal ? { signal } : {};
  let source: ByteSource;
  if (weights instanceof Uint8Array || weights instanceof ArrayBuffer)
    source = bytesSource("weights", weights, options);
  else if (weights instanceof Blob) source = blobSource("weights", weights, options);
  else if (weights instanceof ReadableStream) source = await streamSource("weights", weights, options);
  else if (typeof weights === "object" && weights !== null && "read" in weights) source = weights;
  else throw (await import("../extras.ts")).weightsFault(weights);
  return { ...(await openFile(source, given, {}, known)), tokenizer };
}
