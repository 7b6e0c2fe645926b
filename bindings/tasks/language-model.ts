// Language models: what their configs have in common, and how they are loaded: programs over timelines, room for
// sessions, and a tokenizer where there is one.
import { tokenizers } from "#platform";
import type { LanguageModelConfig, LanguageSizes } from "../config/config.ts";
import type { LanguageTensors, Rows } from "./programs.ts";
import type { Fields } from "../config/fields.ts";
import { fault } from "../config/fields.ts";
import type { Architecture, Named } from "./architecture.ts";
import type { Tensors } from "../checkpoint/index.ts";
import { Language } from "./language.ts";
import { written } from "../checkpoint/names.ts";
import { namesOnly } from "../checkpoint/tensors.ts";
import { Plan } from "../plan/plan.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

/** Tokens that one prefill run reads: enough for the matrix products to run at full speed. */
const PREFILL_ROWS = 256;
/** Sessions in memory, unless asked for otherwise; fewer where their states are larger than this together. */
const SESSIONS = 16, STATES_BYTES = 2 ** 30;

interface LanguageNetworks<Network> extends Named<Network> {
  /** What a config says of the network, checked. */
  read(fields: Fields): Network;
  /** Token ids → logits f32 [vocab], as programs over timelines. */
  record(plan: Plan, tensors: Tensors, network: Network, rows: Rows): LanguageTensors;
  /**
   * Where states grow: most tokens of a timeline, those asked for or else the usual. undefined: this network's do not.
   */
  context?(network: Network, asked: number | undefined): number | undefined;
}

/** An architecture of language models. */
export function languageModel<Network extends LanguageSizes>(
  { read, record, context: roomFor, ...named }: LanguageNetworks<Network>,
): Architecture<LanguageModelConfig<Network>> {
  return {
    ...named,
    read(json, where, name) {
      const fields = { json, where }, network = read(fields), { vocab } = network, architecture = named.types[0]!;
      const token = (key: string) => tokenOf(fields, key, vocab);
      return {
        task: "language", architecture, network, bos: token("bos_token_id"), eos: token("eos_token_id"),
        name: name ?? `${architecture}, ${network.dim} channels, ${network.depth} layers, ${vocab} tokens`,
      };
    },
    build(plan, tensors, { network }) {
      const context = roomFor?.(network, undefined);
      return record(plan, tensors, network, { prefillRows: PREFILL_ROWS, batch: 1, context }).logits;
    },
    async load(config, { options, plan, tensors, tokenizer, runtime }) {
      const { network } = config, context = roomFor?.(network, options.context);
      let fitting = SESSIONS;
      if (context !== undefined && options.sessions === undefined) {
        // how large states become is learned by recording the network once more
        const trial = new Plan();
        record(trial, namesOnly(() => "F32"), network, { prefillRows: PREFILL_ROWS, batch: 1, context });
        fitting = Math.floor(STATES_BYTES / trial.state!.bytes) || 1;
      }
      const { sessions = Math.min(SESSIONS, fitting) } = options;
      if (!(Number.isInteger(sessions) && sessions >= 1 && sessions <= 1024)) {
        throw (await import("../extras.ts")).sessionsFault(sessions);
      }
      const words = await tokenizerOf(await tokenizer(), network.vocab);
      const recorded = record(plan, tensors, network, { prefillRows: PREFILL_ROWS, batch: sessions, context });
      const { hidden, logits, prefill } = recorded;
      return new Language(config, await runtime([hidden, logits, prefill.hidden], sessions), recorded, sessions, words);
    },
  };
}

/** A token that the config names, or undefined. */
function tokenOf(fields: Fields, key: string, vocab: number): number | undefined {
  const id = fields.json[key];
  if (id === undefined || id === null) return undefined;
  if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < vocab) return id;
  throw fault(fields, `"${key}" is ${written(id)}, expected a token id from 0 to ${vocab - 1}`);
}

async function tokenizerOf(given: unknown, vocab: number): Promise<Tokenizer | undefined> {
  if (given === undefined) return undefined;
  const { openTokenizer } = await tokenizers(), tokenizer = await openTokenizer(given);
  if (tokenizer.vocabSize <= vocab) return tokenizer;
  throw (await import("../extras.ts")).vocabFault(given, tokenizer.vocabSize, vocab);
}
