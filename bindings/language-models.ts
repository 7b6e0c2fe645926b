// How language models are loaded: programs over timelines, room for sessions, and a tokenizer where there is one.
import { tokenizers } from "#platform";
import type { LanguageModelConfig } from "../models/config.ts";
import type { LanguageTensors, Rows } from "../models/decoder.ts";
import type { Opening } from "./architecture.ts";
import { Language } from "./language.ts";
import type { Tokenizer } from "./tokenizer/index.ts";

/** Tokens that one prefill run reads: enough for the matrix products to run at full speed. */
export const PREFILL_ROWS = 256;
/** Sessions in memory, unless asked for otherwise; fewer where their states are larger than this together. */
const SESSIONS = 16, STATES_BYTES = 2 ** 30;
/** Where states grow: most tokens of one, unless asked for otherwise. */
const CONTEXT = 2048;

/**
 * A language model whose programs `record` records.
 * @param stateBytes  of one timeline, where states grow
 */
export async function loadLanguageModel(config: LanguageModelConfig, { options, tokenizer, runtime }: Opening, record: (rows: Rows) => LanguageTensors, stateBytes?: number): Promise<Language> {
  const fitting = stateBytes === undefined ? SESSIONS : Math.max(1, Math.floor(STATES_BYTES / stateBytes)), { sessions = Math.min(SESSIONS, fitting) } = options;
  if (!(Number.isInteger(sessions) && sessions >= 1 && sessions <= 1024)) throw new RangeError(`sessions is ${sessions}, expected a whole number from 1 to 1024`);
  const words = await tokenizerOf(await tokenizer(), config.network.vocab), tensors = record({ prefillRows: PREFILL_ROWS, batch: sessions });
  return new Language(config, await runtime([tensors.hidden, tensors.logits, tensors.prefill.hidden], sessions), tensors, sessions, words);
}

/** Most tokens of a timeline whose state grows. */
export function contextOf(positions: number, asked?: number): number {
  if (asked === undefined) return Math.min(positions, CONTEXT);
  if (Number.isInteger(asked) && asked >= 1 && asked <= positions) return asked;
  throw new RangeError(`context is ${asked}, expected a whole number from 1 to ${positions}, the config's max_position_embeddings`);
}

async function tokenizerOf(given: unknown, vocab: number): Promise<Tokenizer | undefined> {
  if (given === undefined) return undefined;
  const { tokenizerFrom } = await tokenizers(), tokenizer = tokenizerFrom(given);
  if (tokenizer.vocabSize <= vocab) return tokenizer;
  throw new RangeError(`${given instanceof Uint8Array ? "tokenizer.model" : "tokenizer.json"} has ${tokenizer.vocabSize} tokens, the config's vocab_size is ${vocab}: they belong to different models`);
}
