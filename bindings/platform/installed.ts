// Models of the npm package slab-wasm-models, where it is installed, found by name.
import { fs, modules, path } from "./builtins.ts";

/** Where to look: from the folder that a program runs in, from the program, from this package. */
const from = (): string[] => [path.resolve("app.js"), process.argv[1] ?? "", import.meta.url].filter(Boolean);

/** The package's folder, or undefined where there is none. */
export function installedModels(): string | undefined {
  for (const place of from()) {
    try {
      return path.dirname(modules.createRequire(place).resolve("slab-wasm-models/package.json"));
    } catch {
      // the next place may have it
    }
  }
  return undefined;
}

/** The folder of an installed model; undefined for a name of none, and for what is no plain name. */
export function installedModel(name: string): string | undefined {
  const all = /^\w[\w.-]*$/.test(name) ? installedModels() : undefined, folder = all && path.join(all, name);
  return folder !== undefined && fs.existsSync(path.join(folder, "config.json")) ? folder : undefined;
}
