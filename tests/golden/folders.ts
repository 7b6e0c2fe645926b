// The folders beside this file, each a network with its reference. README.md says what they hold; nothing else passes.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Checkpoint } from "../../bindings/checkpoint/index.ts";
import { bytesSource } from "../../bindings/checkpoint/index.ts";
import { readExactly, readHeader } from "../../bindings/checkpoint/safetensors.ts";
import type { ModelParts } from "../../bindings/index.ts";
import type { Summary } from "./compare.ts";
import { SUMMARY } from "./compare.ts";
import { namedWeights } from "./named-weights.ts";

/** Of max|logit|: what float32 sums in any order stay well within. */
const TOLERANCE = 1e-4;
/** Of f32's logits, in the root mean square. */
const QUANTISED = { int8: 0.025, int4: 0.1 };

/** A tensor at a mark of the plan. */
export interface Trace extends Summary {
  readonly at: string;
  /** A RepBN of the checkpoint that the reference had applied, and the network has folded into what comes next. */
  readonly through?: { readonly repbn: string; readonly eps: number };
}

/** A classifier: the logits of the picture [3, size, size] that a name makes. */
export interface Picture {
  readonly input: string;
  readonly logits: Summary;
  readonly trace?: readonly Trace[];
}

/** A backbone: the maps [channels, height, width] of the picture [3, height, width] that a name makes. */
export interface FeatureMaps {
  readonly input: string;
  readonly height: number;
  readonly width: number;
  readonly maps: readonly (Summary & { readonly stride: number })[];
}

/** A language model: its logits after every token of a text. */
export interface Text {
  readonly ids: Int32Array;
  /** f32 [T, vocab]. */
  readonly rows?: Float32Array;
  readonly logits?: Summary;
  /** Of the last row alone. */
  readonly last?: Summary;
  /** The beginning of `ids`, and what a greedy reader goes on with. */
  readonly greedy?: Int32Array;
}

export type Task =
  | { readonly picture: Picture }
  | { readonly features: readonly FeatureMaps[] }
  | { readonly text: Text };

/** What both logits.json and source.json may say. */
interface Settings {
  readonly tolerance: number;
  readonly quantised: Readonly<typeof QUANTISED>;
  readonly like?: string;
  readonly stateBytes?: number;
  readonly normalisationOps?: number;
}
const SETTINGS = ["from", "tolerance", "quantised", "why", "like", "stateBytes", "normalisationOps"];

export interface Golden extends Settings {
  readonly name: string;
  readonly task: Task;
  /** config.json, as text. */
  readonly config: string;
  /** Fields of the config that make the network a small one. */
  readonly small?: Json;
  /** What load() takes; of weights made from names, also with other fields in the config. */
  source(changes?: Json): string | ModelParts;
}

/** A folder whose files are beside the project, in a place that this machine does not have. */
export interface Absent {
  readonly name: string;
  readonly absent: string;
}

type Json = Readonly<Record<string, unknown>>;
type Files = readonly string[];

export const GOLDEN = fileURLToPath(new URL(".", import.meta.url));
const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

/** Names of the folders in `at`. */
export const foldersIn = (at: string): string[] =>
  readdirSync(at, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();

/**
 * A folder of `at`, checked.
 * @param project  where the paths of source.json begin
 * @throws Error that names the file and what is wrong with it
 */
export async function readGolden(name: string, at = GOLDEN, project = PROJECT): Promise<Golden | Absent> {
  const files = readdirSync(join(at, name)).sort();
  return files.includes("source.json") ? storedWeights(name, at, files, project) : weightsOfNames(name, at, files);
}

async function weightsOfNames(name: string, at: string, files: Files): Promise<Golden> {
  const folder = join(at, name), where = `${name}/logits.json`;
  checkFiles(name, files, ["config.json", "logits.json"], ["golden.safetensors"]);
  const { picture, features, text, small, optional = [], ...rest } = readJson(folder, "logits.json");
  const stored = files.includes("golden.safetensors") ? await readText(name, folder) : undefined;
  const tasks: Task[] = [
    ...(picture === undefined ? [] : [{ picture: checkPicture(picture, where) }]),
    ...(features === undefined ? [] : [{ features: checkFeatures(features, where) }]),
    ...(text === undefined ? [] : [{ text: checkText(text, where) }]),
    ...(stored === undefined ? [] : [{ text: stored }]),
  ];
  if (tasks.length !== 1) {
    const expected = "expected one: picture, features or text in logits.json, or golden.safetensors";
    throw new RangeError(`${name} has ${tasks.length} references, ${expected}`);
  }
  const config = readFileSync(join(folder, "config.json"), "utf8"), json = readJson(folder, "config.json");
  // by the fields that are changed: a tensor of another shape has other values
  const weights = new Map<string, Checkpoint>();
  return {
    name, task: tasks[0]!, config, ...settings(name, at, rest, where),
    ...(small === undefined ? {} : { small: object(small, `${where}: "small"`) }),
    source(changes = {}) {
      const key = JSON.stringify(changes), made = weights.get(key) ?? namedWeights(name, optional as readonly string[]);
      weights.set(key, made);
      return { config: { ...json, ...changes }, weights: made };
    },
  };
}

async function storedWeights(name: string, at: string, files: Files, project: string): Promise<Golden | Absent> {
  const where = `${name}/source.json`;
  checkFiles(name, files, ["source.json"], []);
  const { folder: path, ...rest } = readJson(join(at, name), "source.json"), set = settings(name, at, rest, where);
  if (typeof path !== "string") {
    throw new TypeError(`${where}: "folder" is ${JSON.stringify(path)}, expected a path from the project's root`);
  }
  const folder = join(project, path);
  if (!existsSync(folder)) return { name, absent: `there is no ${path} beside this project` };
  for (const file of ["config.json", "model.safetensors", "golden.safetensors"]) {
    if (!existsSync(join(folder, file))) throw new RangeError(`${where}: ${path} has no ${file}`);
  }
  const config = readFileSync(join(folder, "config.json"), "utf8");
  return { name, task: { text: await readText(path, folder) }, config, ...set, source: () => folder };
}

// checks

function checkFiles(name: string, files: Files, needed: Files, allowed: Files): void {
  const missing = needed.filter((file) => !files.includes(file));
  const unknown = files.filter((file) => !needed.includes(file) && !allowed.includes(file));
  const see = "see tests/golden/README.md";
  if (missing.length) throw new RangeError(`${name} has no ${missing.join(" and no ")}: ${see}`);
  if (unknown.length) throw new RangeError(`${name} has ${unknown.join(" and ")}, which nothing reads: ${see}`);
}

function readJson(folder: string, file: string): Json {
  const path = join(folder, file);
  try {
    return object(JSON.parse(readFileSync(path, "utf8")), path);
  } catch (error) {
    throw new TypeError(`${path}: ${(error as Error).message}`);
  }
}

function object(given: unknown, where: string, keys?: readonly string[]): Json {
  if (typeof given !== "object" || given === null || Array.isArray(given)) throw new TypeError(`${where} is no object`);
  const unknown = keys && Object.keys(given).filter((key) => !keys.includes(key));
  if (!unknown?.length) return given as Json;
  const said = unknown.map((key) => `"${key}"`).join(" and ");
  throw new RangeError(`${where} has ${said}, which nothing reads: it knows ${keys!.join(", ")}`);
}

function list(given: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(given) || given.length === 0) throw new TypeError(`${where} is no list, or an empty one`);
  return given;
}

function settings(name: string, at: string, given: Json, where: string): Settings {
  const { from, tolerance = TOLERANCE, quantised = {}, why, like, ...more } = object(given, where, SETTINGS);
  const bounds = { ...QUANTISED, ...object(quantised, `${where}: "quantised"`, Object.keys(QUANTISED)) };
  if (typeof from !== "string" || from === "") throw new TypeError(`${where}: "from" says where the values are from`);
  if (typeof tolerance !== "number" || !(tolerance > 0)) {
    throw new RangeError(`${where}: "tolerance" is ${JSON.stringify(tolerance)}, expected a part of max|logit|`);
  }
  if (!why && !(tolerance <= TOLERANCE && bounds.int8 <= QUANTISED.int8 && bounds.int4 <= QUANTISED.int4)) {
    const usual = `${TOLERANCE} of max|logit|, ${QUANTISED.int8} in int8 and ${QUANTISED.int4} in int4`;
    throw new RangeError(`${where} allows more than ${usual}: it needs a "why"`);
  }
  if (like !== undefined && (typeof like !== "string" || like === name || !existsSync(join(at, like)))) {
    throw new RangeError(`${where}: "like" is ${JSON.stringify(like)}, expected another folder here`);
  }
  return { tolerance, quantised: bounds, ...(like === undefined ? {} : { like }), ...more };
}

function checkSummary(given: unknown, where: string, more: readonly string[] = []): void {
  const { shape, first } = object(given, where, [...SUMMARY, ...more]);
  list(shape, `${where}: "shape"`);
  if (!Array.isArray(first) || first.length === 0) throw new RangeError(`${where} has no "first": it asserts no value`);
}

function checkPicture(given: unknown, where: string): Picture {
  const { logits, trace = [] } = object(given, `${where}: "picture"`, ["input", "logits", "trace"]);
  checkSummary(logits, `${where}: "logits"`);
  for (const each of trace as Trace[]) checkSummary(each, `${where}: the trace at ${each.at}`, ["at", "through"]);
  return given as Picture;
}

function checkFeatures(given: unknown, where: string): readonly FeatureMaps[] {
  for (const each of list(given, `${where}: "features"`)) {
    const { maps } = object(each, `${where}: "features"`, ["input", "height", "width", "maps"]);
    for (const map of list(maps, `${where}: "maps"`)) checkSummary(map, `${where}: a map`, ["stride"]);
  }
  return given as readonly FeatureMaps[];
}

function checkText(given: unknown, where: string): Text {
  const { ids, logits, last } = object(given, `${where}: "text"`, ["ids", "logits", "last"]);
  if (logits === undefined && last === undefined) {
    throw new RangeError(`${where}: "text" has neither "logits" nor "last": it asserts nothing`);
  }
  if (logits !== undefined) checkSummary(logits, `${where}: "logits"`);
  if (last !== undefined) checkSummary(last, `${where}: "last"`);
  return { ...(given as Text), ids: Int32Array.from(list(ids, `${where}: "ids"`) as number[]) };
}

const TENSORS = { ids: "I32", logits: "F32", greedy: "I32" };

/** golden.safetensors: ids [T], logits [T, vocab], perhaps greedy. */
async function readText(name: string, folder: string): Promise<Text> {
  const file = "golden.safetensors", where = `${name}/${file}`;
  const source = bytesSource(where, readFileSync(join(folder, file)));
  const { entries } = await readHeader(source);
  object(Object.fromEntries(entries), where, Object.keys(TENSORS));
  const read = async (tensor: keyof typeof TENSORS): Promise<ArrayBuffer | undefined> => {
    const entry = entries.get(tensor), type = TENSORS[tensor];
    if (!entry) return undefined;
    if (entry.dtype !== type) throw new TypeError(`${where}: "${tensor}" is ${entry.dtype}, expected ${type}`);
    return Uint8Array.from(await readExactly(source, entry.begin, entry.end)).buffer;
  };
  const ids = await read("ids"), rows = await read("logits"), greedy = await read("greedy");
  const T = entries.get("ids")?.shape[0], shape = entries.get("logits")?.shape;
  if (!ids || !rows || !T || shape?.length !== 2 || shape[0] !== T) {
    throw new RangeError(`${where} has ids of [${T}] and logits of [${shape}], expected [T] and [T, vocab]`);
  }
  const continued = greedy ? { greedy: new Int32Array(greedy) } : {};
  return { ids: new Int32Array(ids), rows: new Float32Array(rows), ...continued };
}
