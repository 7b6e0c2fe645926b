// slab classify: the most likely labels of pictures.
import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Label } from "../bindings/index.ts";
import { load } from "../bindings/index.ts";
import { isBackbone, isLanguageModel } from "../bindings/config/config.ts";
import { fileFault, HELP_OF, loadOptions, MODEL_OPTIONS, modelSource, parse, wholeNumber } from "./options.ts";
import { complain, help, out, outJson, percent, printable, Progress, waitFor } from "./report.ts";
import { columnsOf, cut, cutStart, padded, styled, widthOf } from "./terminal.ts";

export const summary = "the most likely labels of pictures";

const HELP = `slab classify IMAGE… [options]: ${summary}

IMAGE is a PNG, JPEG or WebP file, a folder (every picture in it and below), or - for standard input.
One line a picture: its path, then labels with their scores, best first; separated by tabs, or in columns on a terminal.
A picture that cannot be read is reported, the others go on, and the exit code is 1.

  --model FOLDER|URL   config.json beside model.safetensors, or a name of slab list; default: slab-deit-cifar10
${HELP_OF.config}
  --top N              labels a picture; default 5
${HELP_OF.dtype}
${HELP_OF.threads}
${HELP_OF.deterministic}
${HELP_OF.all}`;

export const PICTURES = new Set([".png", ".jpg", ".jpeg", ".webp"]);
const STDIN = "-";

type Result = { readonly path: string; readonly labels: Label[] } | { readonly path: string; readonly error: string };

/** Something to classify, or why it cannot be. */
export interface Item {
  readonly path: string;
  readonly fault?: Error;
}

export async function run(args: readonly string[]): Promise<void> {
  const parsed = parse("classify", { ...MODEL_OPTIONS, model: { type: "string" }, top: { type: "string" } }, args);
  const { values, positionals } = parsed;
  if (values.help) return help(HELP);
  if (positionals.length === 0)
    throw new RangeError(
      "no picture was given: name files or a folder, or - for standard input, e.g. slab classify cat.jpg",
    );
  const topK = wholeNumber("top", values.top, 1, 1e9) ?? 5;
  const options = await loadOptions(parsed);
  const progress = new Progress(values);
  using model = await load(modelSource(values.model), { ...options, ...progress.loading() });
  progress.clear();
  if (isLanguageModel(model.config)) {
    throw new TypeError(
      `${printable(model.config.name)} is a language model: slab classify takes image models; use slab generate`,
    );
  }
  if (isBackbone(model.config)) {
    throw new TypeError(
      `${printable(model.config.name)} is a backbone, which has no labels: slab classify takes image models; `
        + "see model.features()",
    );
  }
  const items = (await Promise.all(positionals.map(expand))).flat();
  const row = rows(items.map(({ path }) => path), model.config.image.labels);
  const results: Result[] = [];
  let next = items[0] && read(items[0]);
  for (const [i, item] of items.entries()) {
    if (items.length > 1) progress.show(`${i} of ${items.length}: ${item.path}`);
    const bytes = next!;
    // the next file is read while this picture is computed
    next = items[i + 1] && read(items[i + 1]!);
    next?.catch(() => {});
    let result: Result;
    try {
      result = { path: item.path, labels: await model.classify(await bytes, { topK }) };
    } catch (error) {
      progress.clear();
      complain(error, item.path);
      process.exitCode = 1;
      result = { path: item.path, error: error instanceof Error ? error.message : String(error) };
    }
    if (values.json) {
      results.push(result);
    } else if ("labels" in result) {
      progress.clear();
      out(row(result.path, result.labels));
    }
  }
  progress.clear();
  if (values.json) {
    const { name } = model.config, { build, threads, deterministic, runtime } = model.caps;
    outJson({ model: name, build, threads, deterministic, runtime, dtype: model.plan.type, pictures: results });
  }
}

/** How results are written: with tabs for programs, and on a terminal in columns, cut to its width. */
function rows(paths: readonly string[], names: readonly string[]): (path: string, labels: readonly Label[]) => string {
  const room = widthOf();
  if (room === Infinity) {
    const cell = ({ label, score }: Label): string => `${printable(label)} ${percent(score)}`;
    return (path, labels) => [printable(path), ...labels.map(cell)].join("\t");
  }
  const widest = (texts: readonly string[]): number => Math.max(...texts.map((text) => columnsOf(printable(text))));
  const pathWidth = Math.min(widest(paths), Math.floor(room / 2)), nameWidth = Math.min(widest(names), 20);
  const cell = ({ label, score }: Label): string =>
    `${padded(cut(printable(label), nameWidth), nameWidth)} ${percent(score).padStart(6)}`;
  return (path, labels) => {
    const begin = `${padded(cutStart(printable(path), pathWidth), pathWidth)}  `;
    const [best = "", ...others] = labels.map(cell);
    const text = cut([begin + best, ...others].join("  "), room), end = begin.length + best.length;
    return text.slice(0, begin.length) + styled("bold", text.slice(begin.length, end)) + text.slice(end);
  };
}

/** The pictures that an argument means: itself, or all below a folder, in the order of their paths. */
export async function expand(path: string): Promise<Item[]> {
  if (path === STDIN) return [{ path }];
  try {
    if (!(await stat(path)).isDirectory()) return [{ path }];
  } catch (error) {
    return [{ path, fault: unreadable(error) }];
  }
  const found = await below(path);
  if (found.length > 0) return found;
  return [
    {
      path,
      fault: new RangeError(`the folder holds no picture: expected files that end in ${[...PICTURES].join(", ")}`),
    },
  ];
}

async function below(folder: string): Promise<Item[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    return [{ path: folder, fault: unreadable(error) }];
  }
  entries.sort((a, b) => (a.name < b.name ? -1 : 1));
  const items: Item[] = [];
  for (const entry of entries) {
    const path = join(folder, entry.name);
    // links to folders are not followed: they may lead in circles
    if (entry.isDirectory()) items.push(...(await below(path)));
    else if (PICTURES.has(extname(entry.name).toLowerCase())) items.push({ path });
  }
  return items;
}

export async function read({ path, fault }: Item): Promise<Uint8Array> {
  if (fault) throw fault;
  if (path === STDIN) {
    waitFor("a picture", "slab classify - < cat.jpg");
    const chunks: Uint8Array[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
    return Buffer.concat(chunks);
  }
  try {
    return await readFile(path);
  } catch (error) {
    throw unreadable(error);
  }
}

const unreadable = (error: unknown): Error =>
  new Error(`it cannot be read (${fileFault(error)}): check the path`, { cause: error });
