// slab list: the networks by name, and the trained models of a clone, of slab pull and of slab-wasm-models.
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { cachedModels } from "../bindings/platform/cache.ts";
import { installedModels } from "../bindings/platform/installed.ts";
import { parseConfig, PRESETS } from "../models/all.ts";
import type { ModelConfig } from "../bindings/config/config.ts";
import { isLanguageModel } from "../bindings/config/config.ts";
import { parse, pretrainedFolder } from "./options.ts";
import { bytes, count, help, out, outJson, printable, table, work } from "./report.ts";
import { shapeOf, sizesOf } from "./sizes.ts";

export const summary = "presets, and the trained models on this machine";

const HELP = `slab list [options]: ${summary}

A preset is a network without weights: give its name as --config for a folder that has no config.json.
A model's name can be given wherever a folder is expected.

  --json        one JSON document
  -q, --quiet   accepted for uniformity: there is no progress to hide
  -h, --help    this text`;

interface Found {
  readonly name: string;
  readonly folder: string;
  readonly bytes: number;
  readonly config: ModelConfig;
}

/** A folder that this version cannot load, and why. */
interface Unknown {
  readonly name: string;
  readonly folder: string;
  readonly error: string;
}

export async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parse("list", {}, args);
  if (values.help) return help(HELP);
  if (positionals.length > 0)
    throw new RangeError(
      `list takes no arguments, got ${printable(positionals.join(" "))}: for one model use slab info `
        + `${printable(positionals[0]!)}`,
    );
  const presets = Object.keys(PRESETS).map((name) => ({ name, config: parseConfig(name) }));
  const parents = [pretrainedFolder, cachedModels(), installedModels()].filter((parent) => parent !== undefined);
  const folders = (await Promise.all(parents.map(modelsIn))).flat();
  const models = folders.filter((found) => "config" in found), unknown = folders.filter((found) => "error" in found);
  if (values.json) {
    return outJson({
      presets: presets.map(({ name, config }) => ({ name, ...facts(config) })),
      models: models.map(({ name, folder, bytes, config }) => ({ name, folder, bytes, ...facts(config) })),
      unknown,
    });
  }
  const head = ["dim", "depth", "heads", "input", "attention", "parameters", "work"];
  for (const line of table(["preset", ...head], presets.map(({ name, config }) => [name, ...cells(config)]))) out(line);
  out("");
  if (folders.length === 0)
    return out("no trained models here: npm i slab-wasm-models installs two, slab pull downloads the paper's");
  const rows = models.map(({ name, folder, bytes: size, config }) => [
    printable(name), ...cells(config), bytes(size), printable(shorter(folder)),
  ]);
  for (const line of table(["model", ...head, "file", "folder"], rows)) out(line);
  for (const { name, error } of unknown) out(`${printable(name)} cannot be loaded: ${printable(error)}`);
}

function facts(config: ModelConfig) {
  const { parameters, flops, stateBytes } = sizesOf(config);
  return {
    architecture: config.architecture, network: config.network, parameters, flops,
    ...(isLanguageModel(config) ? { stateBytes } : {}),
  };
}

function cells(config: ModelConfig): string[] {
  const { dim, depth, heads, mixer } = shapeOf(config), { parameters, flops } = sizesOf(config);
  const square = (side: number): string => `${side}×${side}`;
  return [
    dim, depth, heads, isLanguageModel(config) ? "text" : square(config.network.imageSize), mixer,
    count(parameters), `${work(flops)} a ${isLanguageModel(config) ? "token" : "picture"}`,
  ];
}

/** A folder as one would type it here. */
function shorter(folder: string): string {
  const from = relative(process.cwd(), folder);
  return from.length < folder.length ? from : folder;
}

/** Folders below `parent` that hold a config.json. */
async function modelsIn(parent: string): Promise<(Found | Unknown)[]> {
  const names = await readdir(parent).catch(() => []);
  const found: (Found | Unknown)[] = [];
  for (const name of names.sort()) {
    const folder = join(parent, name);
    const text = await readFile(join(folder, "config.json"), "utf8").catch(() => undefined);
    if (text === undefined) continue;
    try {
      const config = parseConfig(JSON.parse(text));
      const { size } = await stat(join(folder, "model.safetensors"));
      found.push({ name, folder, bytes: size, config });
    } catch (error) {
      found.push({ name, folder, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return found;
}
