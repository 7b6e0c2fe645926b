// slab convert: a checkpoint folded, packed and perhaps quantised once, so that loading it is one read.
import { existsSync } from "node:fs";
import { copyFile, mkdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { load } from "../bindings/index.ts";
import { PRESETS } from "../models/config.ts";
import { loadOptions, MODEL_OPTIONS, modelSource, parse } from "./options.ts";
import { bytes, out, outJson, plural, printable, Progress } from "./report.ts";

export const summary = "a checkpoint packed or quantised, to load without that work";

const HELP = `slab convert MODEL OUT [options]: ${summary}

MODEL is a folder of config.json beside model.safetensors, or a name of slab list; OUT is a new folder for the same files.

  --dtype TYPE      f32 (default), int8 or int4
  --layout KIND     of int8: relaxed or plain, the builds that will load it; default: this host's
  --config NAME     a preset of slab list, for a folder without config.json
  --json            one JSON document
  -q, --quiet       no progress
  -h, --help`;

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse("convert", { ...MODEL_OPTIONS, dtype: { type: "string" }, layout: { type: "string" } }, args);
  const { values, positionals: [given, target, ...more] } = parsed;
  if (values.help) return out(HELP);
  if (given === undefined || target === undefined || more.length > 0) throw new RangeError("convert takes two folders: the model's and a new one, e.g. slab convert slab-lm-books books-int8 --dtype int8");
  const { layout } = values;
  if (layout !== undefined && layout !== "relaxed" && layout !== "plain") throw new RangeError(`--layout is ${JSON.stringify(layout)}, expected relaxed or plain`);
  const source = modelSource(given), options = await loadOptions(parsed);
  const file = join(target, "model.safetensors");
  if (existsSync(file)) throw new RangeError(`${printable(file)} exists already: give a new folder, or remove it`);

  const progress = new Progress(values);
  using model = await load(source, {
    ...options, threads: 1, ...(layout ? { build: layout === "plain" ? ("simd" as const) : ("relaxed" as const) } : {}),
    onProgress: ({ done, total }) => progress.show(`packing: ${done} of ${total} layers`),
  });
  progress.clear();
  await mkdir(target, { recursive: true });
  try {
    await writeFile(`${file}.tmp`, model.pack());
    await rename(`${file}.tmp`, file);
  } finally {
    await rm(`${file}.tmp`, { force: true });
  }
  const copied = ["model.safetensors"];
  if (typeof options.config === "string") {
    await writeFile(join(target, "config.json"), `${JSON.stringify(PRESETS[options.config], null, 1)}\n`);
    copied.push("config.json");
  }
  for (const name of ["config.json", "tokenizer.json"]) {
    const from = join(String(source), name);
    if (copied.includes(name) || !existsSync(from) || resolve(from) === resolve(target, name)) continue;
    await copyFile(from, join(target, name));
    copied.push(name);
  }
  const size = (await stat(file)).size;
  if (values.json) return outJson({ model: given, out: target, dtype: model.plan.type, build: model.caps.build, bytes: size, files: copied, folds: model.plan.folds.length });
  out(`${printable(target)}: ${copied.map(printable).join(", ")}; weights ${model.plan.type}, ${bytes(size)}, ${plural(new Set(model.plan.folds.map((f) => f.norm)).size, "norm")} folded in`);
}
