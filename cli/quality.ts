// slab quality: what quantised weights change, measured against f32 on the same pictures or the same text.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { quote } from "../bindings/checkpoint/names.ts";
import { decodeImage, preprocess } from "../bindings/image/index.ts";
import type { Model, WeightType } from "../bindings/index.ts";
import { load } from "../bindings/index.ts";
import { isBackbone, isLanguageModel } from "../bindings/config/config.ts";
import { expand, read } from "./classify.ts";
import { fileFault, HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, packageRoot, parse } from "./options.ts";
import { weightType, wholeNumber } from "./options.ts";
import { bytes, complain, help, line, outJson, percent, plural, printable, Progress } from "./report.ts";

export const summary = "what quantised weights change, against f32";

const HELP = `slab quality MODEL --dtype int8|int4 [options]: ${summary}

MODEL is a folder or URL of config.json beside model.safetensors, or a name of slab list.
Image models: how often both have the same label first, and how far their logits are apart.
Language models: the perplexity of both over a text, and how often both have the same next token first.

  --dtype TYPE      int8 or int4: what is compared with f32
  --images FOLDER   pictures of an image model; default: models/samples of a clone
  --text FILE       text of a language model, UTF-8; default: models/samples/harbour.txt of a clone
  --limit N         most pictures (default: all) or tokens (default: 2048), at least 2
${HELP_OF.config}
${HELP_OF.threads}
${HELP_OF.deterministic}
${HELP_OF.all}`;

const QUANTISED: readonly WeightType[] = ["int8", "int4"];

/** Tokens whose logits are compared at once. */
const CHUNK = 256;

/** The same model twice. */
interface Pair {
  readonly f32: Model;
  readonly quantised: Model;
}

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse(
    "quality",
    { ...MODEL_OPTIONS, images: { type: "string" }, text: { type: "string" }, limit: { type: "string" } },
    args,
  );
  const { values, positionals: [given, ...more] } = parsed;
  if (values.help) return help(HELP);
  if (given === undefined)
    throw new RangeError(
      "no model was given: name a folder, a URL or one of slab list, e.g. slab quality slab-deit-cifar10 --dtype int8",
    );
  if (more.length > 0) throw new RangeError(`one model at a time: ${printable(more.join(" "))} is one too many`);
  const dtype = weightType(values.dtype, QUANTISED);
  if (!dtype) throw new RangeError("no dtype was given: say what to compare with f32, --dtype int8 or --dtype int4");
  const limit = wholeNumber("limit", values.limit, 2, 1e12);
  const options = await loadOptions(parsed), source = modelSource(given), progress = new Progress(values);
  using f32 = await load(source, { ...options, dtype: "f32", ...progress.loading() }).finally(() => progress.clear());
  const language = isLanguageModel(f32.config);
  if (language && values.images !== undefined)
    throw new TypeError(`${printable(f32.config.name)} is a language model: give --text instead of --images`);
  if (!language && values.text !== undefined)
    throw new TypeError(`${printable(f32.config.name)} is an image model: give --images instead of --text`);
  const again = progress.loading(`loading the model as ${dtype}`);
  using quantised = await load(source, { ...options, dtype, ...again }).finally(() => progress.clear());
  const pair = { f32, quantised }, { build, threads, deterministic, runtime } = quantised.caps;
  const weightBytes = { f32: f32.memory().weights, [dtype]: quantised.memory().weights };
  const share = quantised.memory().weights / f32.memory().weights;
  const about = { model: f32.config.name, build, threads, deterministic, runtime, dtype, weightBytes };
  const [f32Bytes, dtypeBytes] = [f32, quantised].map((each) => bytes(each.memory().weights));
  const weights = `${f32Bytes} as f32, ${dtypeBytes} as ${dtype}: ${percent(share)}`;

  if (language) {
    const file = values.text === undefined ? ofClone("models/samples/harbour.txt", "--text FILE") : String(values.text);
    const result = await compareText(pair, await tokensOf(f32, file, limit ?? 2048), progress).finally(() =>
      progress.clear(),
    );
    if (values.json) return outJson({ ...about, text: file, ...result });
    const { tokens, perplexity, difference, agreement } = result;
    line("model", `${printable(f32.config.name)}, ${build} on ${runtime}, ${plural(threads, "thread")}`);
    line("text", `${plural(tokens, "token")} of ${printable(file)}`);
    line("weights", weights);
    line(
      "perplexity",
      `${perplexity.f32.toFixed(3)} with f32, ${perplexity.quantised.toFixed(3)} with ${dtype}: ${signed(difference)}`,
    );
    line("next token", `the same one first after ${percent(agreement)} of ${tokens - 1} tokens`);
    return;
  }
  const folder =
    values.images === undefined ? ofClone(join("models", "samples"), "--images FOLDER") : String(values.images);
  const result = await comparePictures(pair, folder, limit ?? Infinity, progress).finally(() => progress.clear());
  if (values.json) return outJson({ ...about, images: folder, ...result });
  const { pictures, same, largest, rms } = result;
  line("model", `${printable(f32.config.name)}, ${build} on ${runtime}, ${plural(threads, "thread")}`);
  line("pictures", `${pictures} of ${printable(folder)}`);
  line("weights", weights);
  line("labels", `the same one first for ${same} of ${pictures}: ${percent(same / pictures)}`);
  line("logits", `at most ${hundredths(largest)} apart, ${hundredths(rms)} RMS, of a picture's largest logit`);
}

const hundredths = (share: number): string => `${(100 * share).toFixed(2)}%`;
const signed = (share: number): string => `${share < 0 ? "" : "+"}${hundredths(share)}`;

/** A file or folder that only a clone has. */
function ofClone(path: string, option: string): string {
  const found = join(packageRoot, path);
  if (!existsSync(found)) throw new Error(`nothing to compare on is installed with this package: give ${option}`);
  return found;
}

const argmax = (values: Float32Array): number =>
  values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);

// pictures

/** `largest` and `rms`: differences of logits, each as a share of the largest logit of f32 for that picture. */
async function comparePictures({ f32, quantised }: Pair, folder: string, limit: number, progress: Progress) {
  if (isLanguageModel(f32.config) || isBackbone(f32.config))
    throw new TypeError(
      `${printable(f32.config.name)} has no labels to compare: slab quality takes image classifiers and `
        + "language models",
    );
  const { preprocessing } = f32.config.image;
  const items = (await expand(folder)).slice(0, limit);
  if (items.length === 1 && items[0]!.fault) throw new RangeError(`${printable(folder)}: ${items[0]!.fault.message}`);
  let pictures = 0, same = 0, largest = 0, squares = 0, count = 0;
  for (const [i, item] of items.entries()) {
    progress.show(`${i} of ${items.length}: ${item.path}`);
    let pixels: Float32Array;
    try {
      pixels = preprocess(await decodeImage(await read(item)), preprocessing);
    } catch (error) {
      progress.clear();
      complain(error, item.path);
      process.exitCode = 1;
      continue;
    }
    const expected = await f32.forward(pixels), got = await quantised.forward(pixels);
    const scale = expected.reduce((top, logit) => Math.max(top, Math.abs(logit)), 0) || 1;
    for (let c = 0; c < expected.length; c++) {
      const difference = Math.abs(got[c]! - expected[c]!) / scale;
      largest = Math.max(largest, difference);
      squares += difference ** 2;
    }
    count += expected.length;
    pictures++;
    if (argmax(got) === argmax(expected)) same++;
  }
  if (pictures === 0)
    throw new RangeError(`no picture of ${quote(folder)} can be read: give a folder of PNG, JPEG or WebP files`);
  return { pictures, same, agreement: same / pictures, largest, rms: Math.sqrt(squares / count) };
}

// text

async function tokensOf({ tokenizer }: Model, file: string, limit: number): Promise<Int32Array> {
  if (!tokenizer)
    throw new RangeError(
      "the model has no tokenizer.json, which turns text into tokens: put the model's own beside its config.json",
    );
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await readFile(file));
  } catch (error) {
    if (error instanceof TypeError) throw new TypeError(`the text ${quote(file)} is no UTF-8 text: convert it`);
    throw new Error(`cannot read the text ${quote(file)} (${fileFault(error)}): check the path`, { cause: error });
  }
  const ids = tokenizer.encode(text).subarray(0, limit);
  if (ids.length < 2)
    throw new RangeError(
      `the text ${quote(file)} has ${plural(ids.length, "token")}, expected at least 2: give a longer one`,
    );
  return ids;
}

/** −ln p of a token. */
function surprise(logits: Float32Array, id: number): number {
  const top = logits[argmax(logits)]!;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - top);
  return Math.log(total) + top - logits[id]!;
}

/** Every token but the first is predicted from those before it. */
async function compareText({ f32, quantised }: Pair, ids: Int32Array, progress: Progress) {
  if (!isLanguageModel(f32.config)) throw new TypeError("expected a language model");
  const { vocab } = f32.config.network;
  const reference = f32.session();
  const session = quantised.session();
  const predictions = ids.length - 1;
  const nll = { f32: 0, quantised: 0 };
  let same = 0;
  for (let from = 0; from < predictions; from += CHUNK) {
    progress.show(`${from} of ${ids.length} tokens`);
    const chunk = ids.subarray(from, Math.min(from + CHUNK, predictions)), expected = await reference.logits(chunk);
    // int4 rounds activations only where it reads one token, as in generation: prompts would look better than what
    // users get
    const all = quantised.plan.type === "int4" ? undefined : await session.logits(chunk);
    for (let t = 0; t < chunk.length; t++) {
      const next = ids[from + t + 1]!, want = expected.subarray(t * vocab, (t + 1) * vocab);
      const got = all?.subarray(t * vocab, (t + 1) * vocab) ?? (await session.decode(chunk[t]!));
      nll.f32 += surprise(want, next);
      nll.quantised += surprise(got, next);
      if (argmax(got) === argmax(want)) same++;
    }
  }
  const perplexity = { f32: Math.exp(nll.f32 / predictions), quantised: Math.exp(nll.quantised / predictions) };
  return {
    tokens: ids.length, perplexity, difference: perplexity.quantised / perplexity.f32 - 1,
    agreement: same / predictions,
  };
}
