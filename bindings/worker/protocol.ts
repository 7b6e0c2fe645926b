// What a model in a worker and its owner say to each other. Everything here can be cloned.
import type { ModelConfig } from "../config/config.ts";
import type { Download } from "../load/folder.ts";
import type { Generated, GeneratedToken, GenerationProgress } from "../tasks/generation.ts";
import type { Caps } from "../run/kernels.ts";
import type { Progress } from "../load/load.ts";

/**
 * Asks for a method of the model (`of` is 0), or of the session or generator that the request `of` made.
 * Three methods are none of theirs: "abort" is about the request `of`, "drop" lets go of what it made, "dispose" comes
 * before the worker's end; nobody waits for their answers.
 */
export interface Request {
  readonly id: number;
  readonly of: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** Answers a request, once; progress may come before. What a session answers says where it is then. */
export type Reply =
  | { readonly id: number; readonly value: unknown; readonly position: number | undefined }
  | { readonly id: number; readonly error: RemoteError; readonly position: number | undefined }
  | { readonly id: number; readonly progress: Progress }
  | { readonly id: number; readonly download: Download };

/** What a generator answers "next" with. */
export interface Step extends Omit<GenerationProgress, "seed"> {
  readonly step: IteratorResult<GeneratedToken, Generated>;
}

export interface RemoteError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
}

/** What load() answers with. */
export interface Loaded {
  readonly config: ModelConfig;
  readonly caps: Caps;
  /** Of language models; else 0. */
  readonly stateBytes: number;
  readonly context: number;
  /** Tokens of tokenizer.json, where there is one. */
  readonly vocabSize: number | undefined;
}
