// How the files of bindings/ and models/ hang together: no circles, and imports point one way.
import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";

const root = new URL("..", import.meta.url);
const filesOf = (folder: string): string[] => readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })
  .map((file) => `${folder}/${file.replaceAll("\\", "/")}`).filter((file) => /\.[jt]s$/.test(file));

/** Files that a file imports at once and for more than their types. */
function imports(file: string): string[] {
  const text = readFileSync(new URL(file, root), "utf8");
  const found = text.matchAll(/^(?:import|export)\s+(?!type\b)(?:[^"';]*?\sfrom\s+)?"(\.[^"]+)";/gm);
  return [...found].map(([, path]) => posix.join(posix.dirname(file), path!));
}

const graph = new Map([...filesOf("bindings"), ...filesOf("models")].map((file) => [file, imports(file)]));

test("no file of bindings/ or models/ imports itself, however far around", () => {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): void => {
    const circle = path.indexOf(file);
    assert.is(circle, -1, `a circle: ${[...path.slice(circle), file].join(" → ")}`);
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
});

/**
 * What the files of a folder may import beside their own: what a plan is knows nothing of runs, runs nothing of tasks.
 */
const BELOW: Readonly<Record<string, RegExp>> = {
  "bindings/plan": /^bindings\/(plan|checkpoint|describe)/,
  "bindings/checkpoint": /^bindings\/(checkpoint|platform|describe)/,
  "bindings/image": /^bindings\/(image|checkpoint\/names|platform)/,
  "bindings/tokenizer": /^bindings\/(tokenizer|checkpoint\/names)/,
  "bindings/run": /^bindings\/(run|plan|config\/options|checkpoint|platform|describe|fingerprint)/,
  "bindings/tasks": /^bindings\/(tasks|run|plan|config|checkpoint|image|extras|describe|fingerprint)/,
  "models": /^(models|bindings\/(plan|config|tasks|checkpoint))/,
};

test("imports point one way", () => {
  for (const [file, list] of graph) {
    const [folder, allowed] = Object.entries(BELOW).find(([folder]) => file.startsWith(`${folder}/`)) ?? [];
    if (!allowed) continue;
    const stray = list.filter((path) => !path.startsWith("assembly/") && !allowed.test(path));
    assert.equal(stray, [], `${file}, in ${folder}`);
  }
});

test.run();
