// Pictures with their classes: an ImageNet-style folder with one folder a class, or a folder and a file that names the
// class of each.
import type { Dirent } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { extname, join, posix, sep } from "node:path";
import { quote } from "../bindings/checkpoint/names.ts";
import { PICTURES } from "./classify.ts";
import { fileFault } from "./options.ts";
import { printable } from "./report.ts";

export interface Labelled {
  /** Below the folder, with / between its parts. */
  readonly path: string;
  readonly index: number;
}

const remedy = "expected one folder for each class, in the order of the classes or by their names, or --labels FILE";

/** The pictures below the class folders of `folder`, in the order of their paths. */
export async function fromFolders(folder: string, classes: readonly string[]): Promise<Labelled[]> {
  const names = (await entriesOf(folder))
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map(({ name }) => name)
    .sort(byCodeUnits);
  if (names.length === 0) throw new RangeError(`${printable(folder)} holds no folders: ${remedy}`);
  const indices = indicesOf(names, classes, folder), found: Labelled[] = [];
  for (const [i, name] of names.entries())
    for (const path of await below(folder, name)) found.push({ path, index: indices[i]! });
  if (found.length === 0)
    throw new RangeError(
      `the class folders of ${printable(folder)} hold no picture: expected files that end in `
        + `${[...PICTURES].join(", ")}`,
    );
  return found;
}

/**
 * Which class each folder is: by its name or number, or, where there is one for every class, by its place, which is how
 * ImageNet's are numbered.
 */
function indicesOf(names: readonly string[], classes: readonly string[], folder: string): number[] {
  const named = names.map((name) => classes.indexOf(name));
  if (named.every((index) => index >= 0)) return named;
  const numbered = names.map((name) => (/^\d{1,7}$/.test(name) ? Number(name) : -1));
  if (numbered.every((index) => index >= 0 && index < classes.length)) return numbered;
  if (names.length === classes.length) return names.map((_, i) => i);
  const stranger = names[named.findIndex((index) => index < 0)]!;
  throw new RangeError(
    `${printable(folder)} has ${names.length} folders, such as ${quote(stranger)}, the model ${classes.length} `
      + `classes, such as ${quote(classes[0]!)}: ${remedy}`,
  );
}

/**
 * The pictures that a file names: on every line a path below `folder`, then spaces, a tab or a comma, then a class by
 * its number or name.
 */
export async function fromFile(file: string, classes: readonly string[]): Promise<Labelled[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new Error(
      `cannot read --labels ${printable(file)} (${fileFault(error)}): give a text file with a path and a class `
        + "on every line",
    );
  }
  const found: Labelled[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const bad = (what: string): RangeError =>
      new RangeError(`${printable(file)}, line ${i + 1}: ${what}; expected a path and a class, such as "val/1.jpg 7"`);
    // a path may have spaces, and so may a class: the first split whose end is a class counts
    const splits = [...line.matchAll(/[\t,]| +/g)].map(
      (match) => [line.slice(0, match.index).trim(), line.slice(match.index! + match[0].length).trim()] as const,
    );
    const [path, index] =
      splits
        .map(([path, label]) => [path, classOf(label, classes)] as const)
        .find(([path, index]) => path !== "" && index !== undefined) ?? [];
    if (path === undefined || index === undefined)
      throw bad(`${quote(line)} has no class of the model, which has ${classes.length}`);
    if (path.startsWith("/") || path.split(/[/\\]/).includes("..")) throw bad(`${quote(path)} leads out of the folder`);
    found.push({ path, index });
  }
  if (found.length === 0)
    throw new RangeError(`${printable(file)} names no picture: expected a path and a class on every line`);
  return found;
}

function classOf(label: string, classes: readonly string[]): number | undefined {
  const index = /^\d{1,7}$/.test(label) ? Number(label) : classes.indexOf(label);
  return index >= 0 && index < classes.length ? index : undefined;
}

/** `count` of them, spread evenly, so that every class has its share. */
export function spread<T>(all: readonly T[], count: number): readonly T[] {
  return count >= all.length
    ? all
    : Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]!);
}

async function below(root: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of (await entriesOf(join(root, ...folder.split("/")))).sort((a, b) => byCodeUnits(a.name, b.name))) {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) found.push(...(await below(root, path)));
    else if (PICTURES.has(extname(entry.name).toLowerCase())) found.push(path);
  }
  return found;
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    throw new Error(`cannot read the folder ${printable(folder)} (${fileFault(error)}): check the path`, {
      cause: error,
    });
  }
}

/** As Python sorts, whatever the locale. */
const byCodeUnits = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A path of a list as one of this system. */
export const onDisk = (folder: string, path: string): string => join(folder, path.split("/").join(sep));
