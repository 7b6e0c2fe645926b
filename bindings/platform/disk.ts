// Folders on disk: Node, Deno and Bun.
import type { Stats } from "node:fs";
import { fileSource } from "../checkpoint/file.ts";
import { isWeights, quote } from "../checkpoint/names.ts";
import type { Folder, FolderOptions } from "../load/folder.ts";
import { cachedModel } from "./cache.ts";
import { installedModel } from "./installed.ts";
import { fs, path as paths, url as urls } from "./builtins.ts";

/** What is at a path; undefined for nothing. */
function statOf(path: string): Stats | undefined {
  try {
    // an error costs more than the question
    return fs.statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Nothing is at a path: what it may have meant, and how to get it. */
async function missing(path: string): Promise<RangeError> {
  const { MODELS_PACKAGE, PACKAGED, RELEASES } = await import("../../models/releases.ts");
  const address = `https://huggingface.co/${path}/resolve/main/`, isHub = /^\w[\w.-]*\/[\w.-]+$/.test(path);
  if (Object.hasOwn(RELEASES, path)) {
    return new RangeError(`${path} is not on this machine: slab pull ${path} downloads it`);
  }
  if (PACKAGED.includes(path)) {
    return new RangeError(`${path} is not on this machine: npm i ${MODELS_PACKAGE} installs it`);
  }
  if (isWeights(path)) return new RangeError(`there is no file ${quote(path)}: check the path`);
  const remedy = "give the folder that holds config.json and model.safetensors";
  return new RangeError(`there is no folder ${quote(path)}: ${remedy}${isHub ? `, or the address ${address}` : ""}`);
}

export async function diskFolder(given: string | URL, { signal }: FolderOptions): Promise<Folder> {
  let path = typeof given === "string" ? given : urls.fileURLToPath(given), found = statOf(path);
  if (!found) {
    // what is here goes before what was downloaded, and that before what is installed
    path = cachedModel(path) ?? installedModel(path) ?? path;
    found = statOf(path);
  }
  if (!found) throw await missing(path);
  if (!found.isDirectory() && path.endsWith(".json"))
    throw new RangeError(`"${path}" is a file: give the folder that holds config.json and model.safetensors`);
  const options = signal ? { signal } : {}, folder = found.isDirectory() ? path : paths.dirname(path);
  return {
    name: path, ...(found.isDirectory() ? {} : { single: () => fileSource(path, options) }),
    async bytes(file, most) {
      const place = paths.join(folder, file);
      if (!statOf(place)) return undefined;
      const source = await fileSource(place, options), { size } = source;
      try {
        if (size > most) throw new RangeError(`${place} has ${size} bytes, expected at most ${most}: check what it is`);
        return await source.read(0, size);
      } finally {
        await source.close();
      }
    },
    open: (file) => fileSource(paths.join(folder, file), options),
  };
}
