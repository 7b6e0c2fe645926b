// slab generate: continues a text with a language model, shown as it comes.
import { addAbortSignal } from "node:stream";
import { quote } from "../bindings/checkpoint/names.ts";
import type { GenerateOptions, Model, Session } from "../bindings/index.ts";
import { isLanguageModel } from "../bindings/config/config.ts";
import { loadModel } from "./load-model.ts";
import type { Parsed } from "./options.ts";
import { decimal, LANGUAGE_MODEL, loadOptions, MODEL_OPTIONS, modelSource, parse, wholeNumber } from "./options.ts";
import { bytes, complain, help, milliseconds, out, outJson, plural, printable, Progress, quantile, waitFor } from "./report.ts";
import { checkWritable, readSession, writeSession } from "./session-file.ts";

export const summary = "a text continued by a language model";

const HELP = `slab generate PROMPT [options]: ${summary}

PROMPT is one argument, or - for standard input (a newline at its end is left out). The text is shown as it comes,
without the prompt.
Ctrl-C stops after the token at hand; the exit code is then 130.

  --model FOLDER|URL        config.json and tokenizer.json beside model.safetensors, or a name of slab list; default:
                            slab-lm-stories
  --max-tokens N            most tokens to generate; default 256. 0: only reads the prompt, for --save
  --temperature T           0: always the most likely token; default 0.8
  --top-k N                 only the N most likely tokens
  --top-p P                 only the most likely tokens that together reach the probability P
  --min-p P                 only tokens at least P times as likely as the most likely one
  --repetition-penalty R    above 1: tokens of the prompt and of the answer become less likely
  --seed N                  decides every draw; default: a random one, which --json and --stats tell
  --stop TEXT               ends the answer before TEXT; may be given several times
  --save FILE               writes the session and its text at the end, also after Ctrl-C: a new file, or over a session
  --resume FILE             goes on with a saved session of the same model: PROMPT is added to it and may be left out
  --show                    with --resume: shows the text so far and the prompt, too
  --echo                    shows the prompt too
  --stats                   speed and memory, to stderr
  --dtype TYPE              how weights are kept: f32 (default), int8 or int4
  --config NAME             a preset of slab list, or the path of a config.json, for a folder without one (or instead
                            of it)
  --context N             most tokens of a LLaMA session; default: its positions, at most 2048
  --threads N               default: one for every core
  --deterministic           the same bits on every runtime and for any number of threads
  --json                    one JSON document at the end
  -q, --quiet               no progress
  -h, --help                this text`;

const STDIN = "-";
/** Exit code of a command that Ctrl-C ended: 128 and the signal's number. */
const INTERRUPTED = 130;

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse("generate", {
    ...MODEL_OPTIONS, model: { type: "string" }, "max-tokens": { type: "string" }, temperature: { type: "string" },
    "top-k": { type: "string" }, "top-p": { type: "string" }, "min-p": { type: "string" },
    "repetition-penalty": { type: "string" }, seed: { type: "string" }, stop: { type: "string", multiple: true }, save: { type: "string" }, resume: { type: "string" },
    echo: { type: "boolean" }, show: { type: "boolean" }, context: { type: "string" }, stats: { type: "boolean" },
  }, args);
  const { values } = parsed;
  if (values.help) return help(HELP);
  const interrupt = new AbortController(), { signal } = interrupt;
  const onInterrupt = (): void => interrupt.abort();
  // a second Ctrl-C ends the process at once
  process.once("SIGINT", onInterrupt);
  try {
    await generate(parsed, signal);
  } catch (error) {
    if (!(signal.aborted && error instanceof Error && error.name === "AbortError")) throw error;
  } finally {
    process.off("SIGINT", onInterrupt);
  }
  if (signal.aborted) process.exitCode ||= INTERRUPTED;
}

async function generate(parsed: Parsed, signal: AbortSignal): Promise<void> {
  const { values } = parsed;
  const sampling = samplingOptions(parsed), save = fileName(values.save), resume = fileName(values.resume);
  if (save !== undefined) checkWritable(save);
  if (values.show && resume === undefined) {
    throw new RangeError("--show is for the text of a saved session: give --resume FILE with it");
  }
  const source = modelSource(values.model, LANGUAGE_MODEL);
  const options = await loadOptions(parsed);
  const saved = resume === undefined ? undefined : await readSession(resume);
  if (values.show && saved?.text === undefined) {
    const why = "keeps no text, as it was saved by an earlier release";
    throw new RangeError(`--resume ${quote(resume!)} ${why}: leave out --show`);
  }
  const prompt = await promptOf(parsed, signal);

  const progress = new Progress(values);
  using model = await loadModel(source, { ...options, signal, ...progress.loading() }, 1).finally(() => progress.clear());
  if (!isLanguageModel(model.config)) {
    throw new TypeError(`${printable(model.config.name)} is an image model: slab generate takes language models; use slab classify`);
  }
  if (!model.tokenizer) throw new RangeError(`${quote(source)} has no tokenizer.json, which turns text into tokens: put the model's own beside its config.json`);
  const session = saved ? restored(model, saved.bytes, resume!) : model.session();
  const story = new Story(model, session, saved ? saved.text : "", prompt);

  let unsaved = save !== undefined;
  const keep = (): void => {
    if (!unsaved) return;
    unsaved = false;
    writeSession(save!, session.save(), story.text);
  };
  // a reader that goes away ends the process: the session is kept all the same
  const onExit = (): void => {
    try {
      keep();
    } catch (error) {
      complain(error);
      process.exitCode = 1;
    }
  };
  process.on("exit", onExit);
  try {
    const { timing, ...answer } = await write(story, { ...sampling, signal }, values);
    keep();
    const before = values.show ? { before: story.before } : {};
    if (values.json) {
      const stats = measured(model, session, timing);
      outJson({ ...about(model), ...before, prompt, ...answer, seed: sampling.seed, stats });
    }
    if (values.stats) showStats(model, session, timing, sampling.seed);
  } catch (error) {
    unsaved = false;
    throw error;
  } finally {
    process.off("exit", onExit);
  }
}

/** What a session has read and said, in words. */
class Story {
  readonly session: Session;
  readonly prompt: string;
  /** The prompt's tokens. */
  readonly promptIds: Int32Array;
  /** The answer's tokens. */
  readonly ids: number[] = [];
  /** The text of the session as it was resumed; undefined where nobody knows it. */
  readonly before: string | undefined;
  readonly eos: number | undefined;
  readonly #tokenizer: NonNullable<Model["tokenizer"]>;
  readonly #from: number;

  constructor(model: Model, session: Session, before: string | undefined, prompt: string) {
    [this.session, this.before, this.prompt, this.#tokenizer] = [session, before, prompt, model.tokenizer!];
    this.#from = session.position;
    this.promptIds = this.#tokenizer.encode(prompt, { special: this.#from === 0 });
    this.eos = isLanguageModel(model.config) ? model.config.eos : undefined;
  }

  /** Tokens of the prompt that were read. */
  get promptTokens(): number {
    return this.session.position - this.#from - this.ids.length;
  }

  /** All that the session has read: also of an answer that --stop has cut, the whole. */
  get text(): string | undefined {
    if (this.before === undefined) return undefined;
    // Ctrl-C may have come in the middle of the prompt
    const { promptIds, promptTokens } = this, whole = promptTokens >= promptIds.length;
    const read = whole ? this.prompt : this.#tokenizer.decode(promptIds.subarray(0, promptTokens));
    return this.before + read + this.#tokenizer.decode(this.ids);
  }
}

/** Times of one answer. The first token needs the prompt read, the others one token each. */
interface Timing {
  prefillTokens: number;
  prefillMs: number;
  readonly decodeMs: number[];
}

interface Answer {
  readonly text: string;
  readonly ids: readonly number[];
  readonly finish: "length" | "stop" | "eos" | "abort";
  readonly timing: Timing;
}

/** Generates, shows the text as it comes unless it goes into a document, and stops at Ctrl-C. */
async function write(
  story: Story, options: GenerateOptions, { json, echo, show: all }: Parsed["values"],
): Promise<Answer> {
  const { ids, eos, session, prompt, promptIds } = story;
  const timing: Timing = { prefillTokens: 0, prefillMs: 0, decodeMs: [] };
  let text = "", shown = false, finish: Answer["finish"] = "abort";
  const show = (piece: string): void => {
    if (json || piece === "") return;
    shown = true;
    process.stdout.write(process.stdout.isTTY ? harmless(piece) : piece);
  };
  if (all) show(story.before!);
  if (echo || all) show(prompt);
  const tokens = session.generate(promptIds, options);
  let last = performance.now();
  try {
    for await (const token of tokens) {
      const now = performance.now();
      if (text === "" && ids.length === 0) timing.prefillMs = now - last;
      else timing.decodeMs.push(now - last);
      // the end of a text may come with characters that were held back
      if (token.id !== eos) ids.push(token.id);
      text += token.text;
      show(token.text);
      last = performance.now();
    }
    finish = tokens.finish!;
  } catch (error) {
    if (error !== options.signal?.reason) throw error;
  }
  timing.prefillMs ||= performance.now() - last;
  timing.prefillTokens = story.promptTokens;
  // one newline after the text, whatever it ends with; none after nothing
  if (!json && (shown || finish === "abort")) out("");
  return { text, ids, finish, timing };
}

/** Generated control characters could drive a terminal; lines and tabs are text. */
const harmless = (text: string): string => text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\u{fffd}");

// options

function samplingOptions({ values, lists }: Parsed): GenerateOptions & { seed: number } {
  const positive = (n: number): boolean => n > 0;
  const number = (option: string, good: (n: number) => boolean, expected: string): number | undefined => decimal(option, values[option], good, expected);
  const stop = lists.stop ?? [];
  if (stop.includes("")) throw new RangeError("--stop is empty, expected at least one character: leave it out");
  const maxTokens = wholeNumber("max-tokens", values["max-tokens"], 0, 1e12);
  return {
    ...(maxTokens === undefined ? {} : { maxTokens }), stop,
    temperature: number("temperature", (n) => n >= 0, "a number from 0 (always the most likely token)"),
    topK: wholeNumber("top-k", values["top-k"], 0, 1e12),
    topP: number("top-p", (n) => n > 0 && n <= 1, "a number above 0, up to 1 (all tokens)"),
    minP: number("min-p", (n) => n >= 0 && n <= 1, "a number from 0 (all tokens) to 1"),
    repetitionPenalty: number("repetition-penalty", positive, "a number above 0; 1 is no penalty"),
    seed: number("seed", Number.isSafeInteger, "a whole number") ?? Math.floor(Math.random() * 2 ** 32),
  };
}

async function promptOf({ values, positionals: [given, ...more] }: Parsed, signal: AbortSignal): Promise<string> {
  if (more.length > 0) throw new RangeError(`the prompt is one argument, ${printable(quote(more[0]!))} is one too many: put the prompt in quotes`);
  if (given === undefined && values.resume === undefined) {
    throw new RangeError('no prompt was given: write one in quotes, or - for standard input, e.g. slab generate "It was a dark"');
  }
  if (given !== STDIN) return given ?? "";
  waitFor("a prompt", "type it, or slab generate - < prompt.txt");
  const chunks: Uint8Array[] = [];
  for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk as Uint8Array);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)).replace(/\r?\n$/, "");
  } catch {
    throw new TypeError("the prompt on standard input is no UTF-8 text: convert it");
  }
}

// sessions

function fileName(value: string | boolean | undefined): string | undefined {
  return value === undefined ? undefined : String(value);
}

function restored(model: Model, snapshot: Uint8Array, file: string): Session {
  try {
    return model.session(snapshot);
  } catch (error) {
    throw new RangeError(`--resume ${quote(file)}: ${(error as Error).message}`, { cause: error });
  }
}

// numbers

function about({ config, plan, caps: { build, threads, deterministic, runtime } }: Model) {
  return { model: config.name, build, threads, deterministic, runtime, dtype: plan.type };
}

const perSecond = (tokens: number, ms: number): number => (1000 * tokens) / ms;
const sum = (times: readonly number[]): number => times.reduce((a, b) => a + b, 0);

/** Null in JSON where there was nothing to measure. */
function measured(model: Model, session: Session, { prefillTokens, prefillMs, decodeMs }: Timing) {
  return {
    prefillTokens, prefillMs, prefillTokensPerSecond: prefillTokens > 0 ? perSecond(prefillTokens, prefillMs) : NaN,
    decodeTokensPerSecond: perSecond(decodeMs.length, sum(decodeMs)), tokenMs: { p50: quantile(decodeMs, 0.5), p99: quantile(decodeMs, 0.99) },
    position: session.position, stateBytes: session.stateBytes,
    // Node reports kibibytes
    peakMemoryBytes: 1024 * process.resourceUsage().maxRSS, wasmBytes: model.memory().total,
  };
}

function showStats(model: Model, session: Session, timing: Timing, seed: number): void {
  const stats = measured(model, session, timing), { caps } = model, { p50, p99 } = stats.tokenMs;
  const line = (name: string, text: string): void => void process.stderr.write(`${name.padEnd(9)}${text}\n`);
  line("prefill", `${plural(timing.prefillTokens, "token")} in ${milliseconds(timing.prefillMs)}${timing.prefillTokens > 0 ? `, ${stats.prefillTokensPerSecond.toFixed(0)} tokens/s` : ""}, up to the first new token`);
  if (timing.decodeMs.length > 0) line("decode", `${plural(timing.decodeMs.length, "token")}, ${stats.decodeTokensPerSecond.toFixed(0)} tokens/s: ${milliseconds(p50)} a token (p50), ${milliseconds(p99)} (p99)`);
  const growth = Number.isFinite(session.context) ? `for at most ${session.context} tokens` : "the same after any number of tokens";
  line("state", `${bytes(stats.stateBytes)}, ${growth}; ${stats.position} so far`);
  line("memory", `${bytes(stats.peakMemoryBytes)} at the process's peak, ${bytes(stats.wasmBytes)} of it WebAssembly`);
  line("build", `${caps.build} on ${caps.runtime}, ${plural(caps.threads, "thread")} on ${plural(caps.cores, "core")}`);
  line("seed", String(seed));
}
