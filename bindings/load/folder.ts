// A model's folder, on disk or behind http(s): config.json beside model.safetensors, or beside an index of its shards.
// Or one file of weights, safetensors or PyTorch's, whose network is recognised from its tensors.
import { platform } from "#platform";
import type { Configured, Known } from "../tasks/architecture.ts";
import { configOf } from "../tasks/architecture.ts";
import type { ByteSource, PthOptions } from "../checkpoint/index.ts";
import { Checkpoint } from "../checkpoint/checkpoint.ts";
import { isWeights } from "../checkpoint/names.ts";
import type { RequestOptions } from "../checkpoint/request.ts";
import { discard, get, parseAddress, shown, unreachable } from "../checkpoint/request.ts";
import { collect } from "../checkpoint/source.ts";
import { urlSource } from "../checkpoint/url.ts";

/** What a folder or the parts come down to. */
export interface OpenedModel extends Configured {
  readonly checkpoint: Checkpoint;
  /** Whether load() opened the checkpoint, and so closes it. */
  readonly owned: boolean;
  /** tokenizer.json as text or parsed, or tokenizer.model's bytes; undefined where there is none. */
  tokenizer(): Promise<unknown>;
}

/** The files of a folder by name, or of the folder that one file is in. */
export interface Folder {
  readonly name: string;
  /** A small file's bytes, or undefined when there is no such file; an error where it has more than `most`. */
  bytes(file: string, most: number): Promise<Uint8Array | undefined>;
  open(file: string): Promise<ByteSource>;
  /** Where it is no folder but a file of weights. */
  readonly single?: () => Promise<ByteSource>;
}

export interface FolderOptions extends PthOptions, RequestOptions {
  readonly config?: unknown;
  readonly signal?: AbortSignal;
  /** Pages keep what they download in the Cache API; false: not this model. */
  readonly cache?: boolean;
  readonly onDownload?: (download: Download) => void;
}

/** How far the download of a file of weights is. */
export interface Download {
  /** Its address. */
  readonly name: string;
  /** Bytes that are here, those kept from an earlier visit included. */
  readonly done: number;
  /** Undefined where the server does not say. */
  readonly total: number | undefined;
}

/** Whether a file that should be JSON or a tokenizer begins as HTML does. */
const isPage = (bytes: Uint8Array): boolean =>
  /^\s*<(!doctype|html)/i.test(new TextDecoder().decode(bytes.subarray(0, 64)));

async function urlFolder(url: URL, options: FolderOptions): Promise<Folder> {
  const { signal, headers, fetch, cache = true, onDownload } = options;
  const base = await parseAddress(url), single = isWeights(url.pathname);
  if (single) base.pathname = base.pathname.replace(/[^/]*$/, "");
  else if (!base.pathname.endsWith("/")) base.pathname += "/";
  const asking = { ...(signal ? { signal } : {}), ...(headers ? { headers } : {}), ...(fetch ? { fetch } : {}) };
  const weights = (address: URL): Promise<ByteSource> => urlSource(address, {
    ...asking, ...(cache && platform.keep ? { keep: platform.keep } : {}),
    ...(onDownload ? { onBytes: (done, total) => onDownload({ name: shown(address), done, total }) } : {}),
  });
  return {
    name: shown(base), ...(single ? { single: () => weights(url) } : {}),
    async bytes(file, most) {
      const address = new URL(file, base), where = shown(address), response = await get(address, asking, [404]);
      if (response.status === 404 || !response.body) {
        await discard(response);
        return undefined;
      }
      const lost = (error: unknown): Error => unreachable(where, error);
      const limit = { bytes: most, said: `${most >> 20} MiB, which no such file has` };
      const { size, read } = await collect(where, response.body, limit, { ...asking, lost });
      const bytes = await read(0, size);
      // servers of single-page applications send their page for every address that they do not know
      return isPage(bytes) ? undefined : bytes;
    },
    open: (file) => weights(new URL(file, base)),
  };
}

export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(`${where} is not JSON (${(error as Error).message}): check it, or download it again`);
  }
}

export async function folderAt(source: string | URL, options: FolderOptions): Promise<Folder> {
  const { disk, base } = platform;
  // one letter and a colon is a drive of Windows
  const isUrl = source instanceof URL || /^[a-z][a-z\d+.-]+:/i.test(source);
  if (!isUrl && disk) return disk(source, options);
  const url = isUrl || base !== undefined ? new URL(source, base) : undefined;
  if (url?.protocol === "http:" || url?.protocol === "https:") return urlFolder(url, options);
  if (url?.protocol === "file:" && disk) return disk(url, options);
  throw (await import("../extras.ts")).addressFault(source, url, platform);
}

/** Most bytes of a small file; the largest vocabularies take tens of megabytes. */
const JSON_BYTES = 16 << 20;
export const VOCABULARY_BYTES = 256 << 20;

async function textOf(folder: Folder, file: string, most = JSON_BYTES): Promise<string | undefined> {
  const bytes = await folder.bytes(file, most);
  return bytes && new TextDecoder().decode(bytes);
}

/** The config given, checked, or what the checkpoint's tensors are recognised as. */
export async function described(checkpoint: Checkpoint, given: unknown, known: Known): Promise<Configured> {
  if (given !== undefined) return configOf(known, given);
  const { configured } = await import("../../models/recognise.ts");
  return configured(checkpoint, known);
}

/** A checkpoint with its config, recognised unless given; an error closes it. */
export async function openFile(
  source: ByteSource, given: unknown, options: PthOptions, known: Known,
): Promise<Omit<OpenedModel, "tokenizer">> {
  const checkpoint = await Checkpoint.open(source, options);
  try {
    return { ...(await described(checkpoint, given, known)), checkpoint, owned: true };
  } catch (error) {
    await checkpoint.close().catch(() => {});
    throw error;
  }
}

/** A folder's one file of weights, safetensors or, where there is none, what PyTorch's trainers write. */
async function openWeights(folder: Folder, options: PthOptions): Promise<Checkpoint> {
  let source: ByteSource;
  try {
    source = await folder.open("model.safetensors");
  } catch (error) {
    source = await folder.open("pytorch_model.bin").catch(() => {
      throw error;
    });
  }
  return Checkpoint.open(source, options);
}

/**
 * Opens the checkpoint of a folder, or one file, and reads its config, or takes the one given, or recognises it from
 * the tensors.
 */
export async function openFolder(source: string | URL, options: FolderOptions, known: Known): Promise<OpenedModel> {
  const folder = await folderAt(source, options);
  const tokenizer = async (): Promise<unknown> =>
    (await textOf(folder, "tokenizer.json", VOCABULARY_BYTES))
      ?? (await folder.bytes("tokenizer.model", VOCABULARY_BYTES));
  if (folder.single) return { ...(await openFile(await folder.single(), options.config, options, known)), tokenizer };
  const where = `${folder.name.replace(/\/$/, "")}/config.json`;
  let given = options.config;
  if (given === undefined) {
    const text = await textOf(folder, "config.json");
    if (text === undefined) throw (await import("../extras.ts")).noConfig(folder.name);
    given = parseJson(text, where);
  }
  const config = await configOf(known, given, where), index = await textOf(folder, "model.safetensors.index.json");
  const checkpoint =
    index === undefined
      ? await openWeights(folder, options)
      : await Checkpoint.openSharded(
          parseJson(index, "model.safetensors.index.json"),
          (file) => folder.open(file),
          folder.name,
        );
  return { ...config, checkpoint, owned: true, tokenizer };
}
