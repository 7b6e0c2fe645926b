// A model's folder, on disk or behind http(s): config.json beside model.safetensors, or beside an index of its shards.
import type { Stats } from "node:fs";
import { parseConfig } from "../models/config.ts";
import { fileSource } from "./checkpoint/file.ts";
import type { ByteSource } from "./checkpoint/index.ts";
import { Checkpoint, urlSource } from "./checkpoint/index.ts";
import type { OpenedModel } from "./load.ts";
import { fs, path as paths, url as urls } from "./platform/builtins.ts";

/** The files of a folder by name. */
interface Folder {
  readonly name: string;
  /** A small file's text, or undefined when there is no such file. */
  text(file: string): Promise<string | undefined>;
  open(file: string): Promise<ByteSource>;
}

interface FolderOptions {
  readonly config?: unknown;
  readonly signal?: AbortSignal;
}

/** A config.json of this size is not one. */
const LARGEST_JSON = 64 << 20;

/** What is at a path; undefined for nothing. */
function statOf(path: string): Stats | undefined {
  try {
    return fs.statSync(path);
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}

function diskFolder(path: string, { signal }: FolderOptions): Folder {
  const found = statOf(path);
  if (!found) throw new RangeError(`there is no folder "${path}": give the folder that holds config.json and model.safetensors`);
  if (!found.isDirectory()) throw new RangeError(`"${path}" is a file: give the folder that holds config.json and model.safetensors`);
  return {
    name: path,
    async text(file) {
      const info = statOf(paths.join(path, file));
      if (!info) return undefined;
      if (info.size > LARGEST_JSON) throw new RangeError(`${paths.join(path, file)} has ${info.size} bytes, expected a small JSON file`);
      return fs.readFileSync(paths.join(path, file), "utf8");
    },
    open: (file) => fileSource(paths.join(path, file), signal ? { signal } : {}),
  };
}

function urlFolder(url: URL, { signal }: FolderOptions): Folder {
  const base = new URL(url.href.endsWith("/") ? url : `${url.href}/`);
  const options = signal ? { signal } : {};
  return {
    name: base.href,
    async text(file) {
      const address = new URL(file, base), where = address.origin + address.pathname;
      let response: Response;
      try {
        response = await fetch(address, options);
        if (response.ok) return await response.text();
      } catch (error) {
        signal?.throwIfAborted();
        const { message } = ((error as Error).cause as Error | undefined) ?? (error as Error);
        throw new Error(`cannot read ${where}: ${message || "the connection failed"}: check the address and the network`, { cause: error });
      }
      // frees the connection
      await response.body?.cancel();
      if (response.status === 404) return undefined;
      throw new Error(`cannot read ${where}: the server answered ${response.status} ${response.statusText}: check the address, or try again later`);
    },
    open: (file) => urlSource(new URL(file, base), options),
  };
}

export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(`${where} is not JSON (${(error as Error).message}): check it, or download it again`);
  }
}

/** Opens the checkpoint of a folder and reads its config, or takes the one given. */
export async function openFolder(source: string | URL, options: FolderOptions): Promise<OpenedModel> {
  const url = source instanceof URL ? source : /^[a-z]{2,}:/i.test(source) ? new URL(source) : undefined;
  if (url && !["file:", "http:", "https:"].includes(url.protocol)) throw new RangeError(`"${url.href}" is not a file:, http: or https: URL`);
  const folder = url && url.protocol !== "file:" ? urlFolder(url, options) : diskFolder(url ? urls.fileURLToPath(url) : (source as string), options);
  const where = `${folder.name.replace(/\/$/, "")}/config.json`;
  let given = options.config;
  if (given === undefined) {
    const text = await folder.text("config.json");
    if (text === undefined) throw new RangeError(`${folder.name} has no config.json: add it, or name the network with the option config, e.g. "slab_deit_t"`);
    given = parseJson(text, where);
  }
  const config = parseConfig(given, where);
  const tokenizer = config.architecture === "slab_lm" ? await folder.text("tokenizer.json") : undefined;
  const index = await folder.text("model.safetensors.index.json");
  const checkpoint = index === undefined
    ? await Checkpoint.open(await folder.open("model.safetensors"))
    : await Checkpoint.openSharded(parseJson(index, "model.safetensors.index.json"), (file) => folder.open(file), folder.name);
  return { config, checkpoint, owned: true, tokenizer };
}
