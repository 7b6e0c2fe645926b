// How language models are loaded: programs over timelines, room for sessions, and a tokenizer where there is one.
import { tokenizers } from "#platform";
import type { LanguageModelConfig } from "../models/config.ts";
import type { LanguageTensors, Rows } from "../models/decoder.ts";
import type { Opening } from "./architecture.ts";
import type { Tensors } from "./checkpoint/index.ts";
import { Language } from "./language.ts";
import { namesOnly } from "./packed.ts";
import { Plan } from "./plan.ts";
import type { Tokenizer } from "./tokenizer/index.ts";

/** Tokens that one prefill run reads: enough for the matrix products to run at full speed. */
export const PREFILL_ROWS = 256;
/** Sessions in memory, unless asked for otherwise; fewer where their states are larger than this together. */
const SESSIONS = 16, STATES_BYTES = 2 ** 30;
/** Where states grow: most tokens of one, unless asked for otherwise. */
const CONTEXT = 2048;

/**
 * A language model whose programs `record` records.
 * @param grows  whether its states grow: how large they become is then learned by recording it once more
 */
export async function loadLanguageModel(
  config: LanguageModelConfig, { options, plan, tensors, tokenizer, runtime }: Opening,
  record: (rows: Rows, plan: Plan, tensors: Tensors) => LanguageTensors, grows = false,
): Promise<Language> {
  let fitting = SESSIONS;
  if (grows && options.sessions === undefined) {
    const trial = new Plan();
    record({ prefillRows: PREFILL_ROWS, batch: 1 }, trial, namesOnly(() => "F32"));
    fitting = Math.max(1, Math.floor(STATES_BYTES / trial.state!.bytes));
  }
  const { sessions = Math.min(SESSIONS, fitting) } = options;
  if (!(Number.isInteger(sessions) && sessions >= 1 && sessions <= 1024)) {
    throw new RangeError(`sessions is ${sessions}, expected a whole number from 1 to 1024`);
  }
  const words = await tokenizerOf(await tokenizer(), config.network.vocab);
  const recorded = record({ prefillRows: PREFILL_ROWS, batch: sessions }, plan, tensors);
  return new Language(config, await runtime([recorded.hidden, recorded.logits, recorded.prefill.hidden], sessions), recorded, sessions, words);
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
