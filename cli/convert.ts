// slab convert: a checkpoint folded, packed and perhaps quantised once, so that loading it is one read; or its tensors
// alone, as safetensors.
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { OpenedModel } from "../bindings/load/folder.ts";
import { openFolder } from "../bindings/load/folder.ts";
import { load } from "../bindings/index.ts";
import { packedOf } from "../bindings/load/packed.ts";
import { Plan } from "../bindings/plan/plan.ts";
import { build, KNOWN, parseConfig, PRESETS } from "../models/all.ts";
import { isLanguageModel } from "../bindings/config/config.ts";
import { leftOver } from "../models/recognise.ts";
import { unfinished } from "../models/training-state.ts";
import { fileFault, HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, parse } from "./options.ts";
import { bytes, complain, help, out, outJson, plural, printable, Progress } from "./report.ts";
import { writeBytes, writeRounded, writeTensors } from "./tensors-file.ts";
import { watched } from "./watched.ts";

export const summary = "a checkpoint packed or quantised, to load without that work";

const HELP = `slab convert MODEL OUT [options]: ${summary}

MODEL is a PyTorch or safetensors file (.pth, .pt, .bin, .safetensors), whose network is recognised from its tensors,
or a folder or URL of config.json beside model.safetensors, or a name of slab list; OUT is a new folder for
config.json and model.safetensors.

${HELP_OF.dtype}
  --layout KIND     of int8: relaxed or plain, the builds that will load it; default: this host's
  --unpacked        the tensors as they are, for any --dtype later; with --dtype int8 in seven bits a weight, for the
                    same
  --config NAME     a preset of slab list, or the path of a config.json, instead of what is there or recognised
  --dict NAME       of a PyTorch file with several: the dict of tensors to take, e.g. state_dict_ema
  --labels FILE     names of the classes, one a line, for config.json
${HELP_OF.all}`;

export interface Converted {
  readonly files: readonly string[];
  readonly bytes: number;
  readonly warnings: readonly string[];
}

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse(
    "convert",
    {
      ...MODEL_OPTIONS, layout: { type: "string" }, unpacked: { type: "boolean" }, dict: { type: "string" },
      labels: { type: "string" },
    },
    args,
  );
  const { values, positionals: [given, target, ...more] } = parsed;
  if (values.help) return help(HELP);
  if (given === undefined || target === undefined || more.length > 0)
    throw new RangeError(
      "convert takes two names: the model's file or folder and a new folder, e.g. slab convert "
        + "slab_deit_tiny.pth slab-deit-tiny",
    );
  const { layout, unpacked } = values;
  if (layout !== undefined && layout !== "relaxed" && layout !== "plain")
    throw new RangeError(`--layout is ${JSON.stringify(layout)}, expected relaxed or plain`);
  if (unpacked && (layout !== undefined || !["int8", undefined].includes(values.dtype as string | undefined))) {
    throw new RangeError(
      "--unpacked keeps tensors as they are, or rounds them with --dtype int8: leave out --layout and any "
        + "other --dtype",
    );
  }
  const options = await loadOptions(parsed);
  const file = join(target, "model.safetensors");
  if (existsSync(file)) throw new RangeError(`${printable(file)} exists already: give a new folder, or remove it`);

  const progress = new Progress(values);
  const opened = await openFolder(
    modelSource(given),
    {
      ...(options.config === undefined ? {} : { config: options.config }),
      ...(values.dict === undefined ? {} : { dict: String(values.dict) }),
    },
    KNOWN,
  );
  try {
    const json = await withLabels(opened, values.labels);
    // told before the work, as it may take a while
    if (opened.recognised && !values.json) out(describe(given, opened));
    let packed:
      { readonly dtype: string; readonly build: string; readonly folds: number; readonly norms: number } | undefined;
    let size: number;
    if (unpacked) {
      const write = values.dtype ? writeRounded : writeTensors;
      size = await writeUnpacked(opened, target, (done, total) => progress.bytes("writing", done, total), write);
    } else {
      const weights = watched(opened.checkpoint, (done, total) => progress.bytes("packing", done, total));
      using model = await load(
        { config: opened.json, weights, tokenizer: await tokenizerOf(opened) },
        {
          ...options, threads: 1,
          ...(layout ? { build: layout === "plain" ? ("simd" as const) : ("relaxed" as const) } : {}),
        },
      );
      await mkdir(target, { recursive: true });
      const content = await model.pack();
      await writeBytes(file, content, (done, total) => progress.bytes("writing", done, total));
      size = content.length;
      packed = {
        dtype: model.plan.type, build: model.caps.build, folds: model.plan.folds.length,
        norms: new Set(model.plan.folds.map(({ norm }) => norm)).size,
      };
    }
    const files = ["model.safetensors", ...(await writeRest(opened, json, target))];
    const warnings = await warningsOf(opened);
    progress.clear();
    for (const warning of warnings) complain(new Error(warning), "warning");
    if (values.json) {
      const { recognised, checkpoint: { metadata } } = opened, dict = metadata.get("pth.dict");
      return outJson({
        model: given,
        out: target,
        dtype: packed?.dtype ?? null,
        build: packed?.build ?? null,
        bytes: size,
        files,
        folds: packed?.folds ?? 0,
        warnings,
        ...(recognised
          ? {
              recognised: { preset: recognised.preset ?? null, config: recognised.config, assumed: recognised.assumed },
            }
          : {}),
        ...(dict === undefined ? {} : { dict }),
      });
    }
    const weights = packed
      ? `weights ${packed.dtype}, ${bytes(size)}, ${plural(packed.norms, "norm")} folded in`
      : `tensors ${values.dtype ? "rounded to int8" : "as they were"}, ${bytes(size)}`;
    out(`${printable(target)}: ${files.map(printable).join(", ")}; ${weights}`);
  } finally {
    progress.clear();
    await opened.checkpoint.close();
  }
}

/** What a file was taken for, and which of its dicts. */
export function describe(given: string, { config, recognised, checkpoint: { metadata } }: OpenedModel): string {
  const { preset, assumed = [] } = recognised ?? {};
  const kind = recognised && preset !== undefined ? `${preset}: ${parseConfig(recognised.config).name}` : config.name;
  const [dict, dicts = ""] = [metadata.get("pth.dict"), metadata.get("pth.dicts")];
  const others = dicts.split(", ").filter((name) => name !== dict && name !== "");
  const from = dict ? `, tensors of "${dict}"${others.length > 0 ? ` (it has ${others.join(", ")} too)` : ""}` : "";
  // of the paper's networks all is known
  const open = preset === undefined && assumed.length > 0 ? `; assumed: ${assumed.join(", ")}` : "";
  return printable(`${given}: ${kind}${from}${open}`);
}

/** The tensors that the network reads, as safetensors in `target`. */
export async function writeUnpacked(
  { checkpoint, config }: OpenedModel, target: string, onProgress: (done: number, total: number) => void,
  write = writeTensors,
): Promise<number> {
  if (await packedOf(checkpoint))
    throw new RangeError(`${checkpoint.name} is packed already, its tensors are folded: give the original checkpoint`);
  // asks for every tensor by name and shape, and reads none
  build(new Plan({ type: "f32", relaxed: false }), checkpoint, config);
  const unasked = new Set(checkpoint.unasked());
  await mkdir(target, { recursive: true });
  const names = checkpoint.names().filter((name) => !unasked.has(name));
  return write(join(target, "model.safetensors"), checkpoint, names, onProgress);
}

/** What is beside a language model's weights. */
const tokenizerOf = async ({ config, tokenizer }: OpenedModel): Promise<unknown> =>
  isLanguageModel(config) ? await tokenizer() : undefined;

/** config.json and the tokenizer, beside the weights. */
export async function writeRest(opened: OpenedModel, config: unknown, target: string): Promise<string[]> {
  const { json } = opened;
  const object = config ?? (typeof json === "string" ? PRESETS[json] : json);
  const tokenizer = await tokenizerOf(opened);
  await writeFile(join(target, "config.json"), `${JSON.stringify(object, null, 1)}\n`);
  if (tokenizer === undefined) return ["config.json"];
  const [file, content] =
    tokenizer instanceof Uint8Array
      ? (["tokenizer.model", tokenizer] as const)
      : (["tokenizer.json", typeof tokenizer === "string" ? tokenizer : JSON.stringify(tokenizer)] as const);
  await writeFile(join(target, file), content);
  return ["config.json", file];
}

/** What someone who uses the result should know. */
export async function warningsOf({ checkpoint }: OpenedModel): Promise<string[]> {
  const warnings: string[] = [], { name } = checkpoint;
  const rest = (await packedOf(checkpoint)) ? [] : leftOver(checkpoint.names());
  const unasked = new Set(checkpoint.unasked()), unread = rest.filter((tensor) => unasked.has(tensor));
  if (unread.length > 0)
    warnings.push(
      `${name} has ${plural(unread.length, "tensor")} that this network does not read, such as `
        + `${unread.slice(0, 3).join(", ")}: is it of another kind?`,
    );
  const left = await unfinished(checkpoint);
  if (left) {
    const steps =
      left.warm > 0
        ? `${left.norm} has ${left.warm} steps to go before RepBN begins`
        : `${left.norm} has ${left.left}${left.total ? ` of ${left.total}` : ""} steps left in which LayerNorm `
          + "has a share";
    warnings.push(
      `${name} is from the middle of training: ${steps}; RepBN alone is evaluated, so its accuracy is poor`,
    );
  }
  return warnings;
}

/** The config with names for its classes, or undefined without --labels. */
export async function withLabels({ json, config }: OpenedModel, file: string | boolean | undefined): Promise<unknown> {
  if (file === undefined) return undefined;
  if (!("image" in config)) throw new RangeError(`--labels names the classes of pictures, ${config.name} has none`);
  let text: string;
  try {
    text = await readFile(String(file), "utf8");
  } catch (error) {
    throw new Error(
      `cannot read --labels ${printable(String(file))} (${fileFault(error)}): give a text file with the name `
        + "of a class on every line",
    );
  }
  const labels = text.trimEnd().split(/\r?\n/).map((line) => line.trim()), { classes } = config.network;
  if (labels.length !== classes || labels.includes(""))
    throw new RangeError(
      `--labels ${printable(String(file))} has ${labels.filter(Boolean).length} names on ${labels.length} `
        + `lines, expected ${classes}: one class a line`,
    );
  const labelled = {
    ...((typeof json === "string" ? PRESETS[json] : json) as object),
    id2label: Object.fromEntries(labels.map((label, i) => [i, label])),
  };
  parseConfig(labelled);
  return labelled;
}
