// What the commands share on the way in: options, the models that come with a clone, errors for the user.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ParseArgsConfig } from "node:util";
import { parseArgs } from "node:util";
import { nearestNames, quote } from "../bindings/checkpoint/names.ts";
import type { WeightType } from "../bindings/plan/dtype.ts";
import { WEIGHT_TYPES } from "../bindings/plan/dtype.ts";
import type { LoadOptions } from "../bindings/index.ts";
import { cachedModel } from "../bindings/platform/cache.ts";
import { installedModel } from "../bindings/platform/installed.ts";
import { MODELS_PACKAGE, PACKAGED, RELEASES } from "../models/releases.ts";

type OptionSpecs = NonNullable<ParseArgsConfig["options"]>;

export interface Parsed {
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
  /** Values of the options that may be given several times, in order. */
  readonly lists: Readonly<Record<string, readonly string[]>>;
  readonly positionals: readonly string[];
}

/** Every command takes these. */
const COMMON: OptionSpecs = {
  help: { type: "boolean", short: "h" }, json: { type: "boolean" }, quiet: { type: "boolean", short: "q" },
};

/** Options of the commands that load a model. */
export const MODEL_OPTIONS: OptionSpecs = {
  threads: { type: "string" }, deterministic: { type: "boolean" }, config: { type: "string" },
  dtype: { type: "string" },
};

/** What helps say of options that several commands take. */
export const HELP_OF = {
  config: "  --config NAME  a preset of slab list, or the path of a config.json, where there is none or instead of it",
  context: "  --context N  most tokens of a LLaMA session; default: its positions, at most 2048",
  dtype: "  --dtype TYPE  how weights are kept: f32 (default), int8 or int4",
  threads: "  --threads N  default: one for every core",
  deterministic: "  --deterministic  the same bits on every runtime and for any number of threads",
  all: "  --json  one JSON document\n  -q, --quiet  no progress\n  -h, --help  this text",
};

/** The arguments of a command. Throws one line for an unknown option or a missing value. */
export function parse(command: string, specs: OptionSpecs, args: readonly string[]): Parsed {
  const options = { ...COMMON, ...specs };
  const { tokens } = parseArgs({ args: [...args], options, allowPositionals: true, strict: false, tokens: true });
  const help = `slab ${command} --help`;
  const values: Record<string, string | boolean> = {}, lists: Record<string, string[]> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const { name, rawName, value } = token;
    const spec = Object.hasOwn(options, name) ? options[name] : undefined;
    if (!spec)
      throw new RangeError(
        `${command} has no option ${quote(rawName)}: ${didYouMean(name, Object.keys(options), "--") ?? `see ${help}`}`,
      );
    if (spec.type === "boolean" && value !== undefined)
      throw new RangeError(`${rawName} takes no value, got ${quote(value)}: leave it out`);
    if (spec.type === "string" && (value === undefined || (value.startsWith("--") && !token.inlineValue))) {
      throw new RangeError(`${rawName} needs a value: see ${help}`);
    }
    if (spec.multiple) (lists[name] ??= []).push(value!);
    else values[name] = value ?? true;
  }
  return { values, lists, positionals };
}

/** "did you mean …?" for a name that is not one of `names`. */
export function didYouMean(name: string, names: readonly string[], prefix = ""): string | undefined {
  const near = [...names.filter((n) => name.length > 1 && n.startsWith(name)), ...nearestNames(name, names)][0];
  return near && `did you mean ${prefix}${near}?`;
}

export function wholeNumber(
  option: string, text: string | boolean | undefined, least: number, most: number,
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,15}$/.test(String(text)) ? Number(text) : NaN;
  if (!(value >= least && value <= most)) {
    throw new RangeError(
      `--${option} is ${quote(String(text))}, expected a whole number `
        + `${most < 1e9 ? `from ${least} to ${most}` : `of at least ${least}`}`,
    );
  }
  return value;
}

/** A number that `good` accepts; `expected` says which those are. */
export function decimal(
  option: string, text: string | boolean | undefined, good: (n: number) => boolean, expected: string,
): number | undefined {
  if (text === undefined) return undefined;
  const value = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(String(text)) ? Number(text) : NaN;
  if (!(Number.isFinite(value) && good(value)))
    throw new RangeError(`--${option} is ${quote(String(text))}, expected ${expected}`);
  return value;
}

/** How weights are to be kept, one of `types`. */
export function weightType(text: string | boolean | undefined, types = WEIGHT_TYPES): WeightType | undefined {
  if (text === undefined) return undefined;
  const type = types.find((t) => t === text);
  if (!type)
    throw new RangeError(
      `--dtype is ${quote(String(text))}, expected ${types.slice(0, -1).join(", ")} or ${types.at(-1)}`,
    );
  return type;
}

/** load()'s options from the command line. --config names a preset, or a file like config.json. */
export async function loadOptions({ values }: Parsed): Promise<LoadOptions> {
  const threads = wholeNumber("threads", values.threads, 1, 64);
  const context = wholeNumber("context", values.context, 1, 1 << 20);
  const dtype = weightType(values.dtype);
  const config = values.config === undefined ? undefined : await readConfig(String(values.config));
  return {
    ...(threads === undefined ? {} : { threads }), ...(values.deterministic ? { deterministic: true } : {}),
    ...(config === undefined ? {} : { config }), ...(dtype === undefined ? {} : { dtype }),
    ...(context === undefined ? {} : { context }),
  };
}

async function readConfig(name: string): Promise<unknown> {
  if (!name.endsWith(".json")) return name;
  let text: string;
  try {
    text = await readFile(name, "utf8");
  } catch (error) {
    throw new Error(
      `cannot read --config ${quote(name)} (${fileFault(error)}): give a preset of slab list, or the path of a `
        + "config.json",
    );
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(
      `--config ${quote(name)} is not JSON (${(error as Error).message}): give a preset of slab list, or the `
        + "path of a config.json",
    );
  }
}

/** The folder of package.json: somewhere above this file, in the sources as in dist. */
export const packageRoot = ((): string => {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json")) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
})();

/** Trained models of a clone; the published package has none, slab-wasm-models two. */
export const pretrainedFolder = join(packageRoot, "models", "pretrained");

/** What commands use when no model is given. */
export const CLASSIFIER = "slab-deit-cifar10", LANGUAGE_MODEL = "slab-lm-stories";

/** A model's folder, file or URL: as given, or a name of `slab list`; without any, `fallback`. */
export function modelSource(given: string | boolean | undefined, fallback = CLASSIFIER): string {
  if (typeof given === "string") {
    const named = join(pretrainedFolder, given);
    if (!/^[\w.-]+$/.test(given) || existsSync(given)) return given;
    if (existsSync(join(named, "config.json"))) return named;
    const found = cachedModel(given) ?? installedModel(given), absent = `${given} is not on this machine`;
    if (!found && Object.hasOwn(RELEASES, given)) throw new RangeError(`${absent}: slab pull ${given} downloads it`);
    if (!found && PACKAGED.includes(given)) throw new RangeError(`${absent}: npm i ${MODELS_PACKAGE} installs it`);
    return found ?? given;
  }
  const ofClone = join(pretrainedFolder, fallback);
  const source = existsSync(join(ofClone, "config.json")) ? ofClone : installedModel(fallback);
  if (!source) {
    throw new Error(`no model was given, and none is installed: npm i ${MODELS_PACKAGE}, `
      + "or give one with --model FOLDER or --model URL (config.json beside model.safetensors)");
  }
  return source;
}

/** Why a file cannot be read, in words. */
export function fileFault(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  const words: Record<string, string> = {
    ENOENT: "no such file", EACCES: "permission denied", EISDIR: "it is a folder", ENOTDIR: "no such file",
    ELOOP: "too many links",
  };
  return words[code ?? ""] ?? message;
}
