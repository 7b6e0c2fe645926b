// Parts of a model that are given as addresses. Loaded when there is one, without what load() has already.
import type { folderAt, FolderOptions } from "./folder.ts";
import type { ModelParts } from "./parts.ts";

/** Parts of which none is an address. */
export type Here = Omit<ModelParts, "weights"> & { readonly weights: Exclude<ModelParts["weights"], URL> };

/** Opens the weights, and reads the tokenizer: tokenizer.json as text, or the bytes of tokenizer.model. */
export async function located(
  parts: ModelParts, options: FolderOptions, open: typeof folderAt, most: number,
): Promise<Here> {
  const { weights, tokenizer } = parts;
  // first: nothing is open yet when it is not there
  const words = tokenizer instanceof URL ? await vocabulary(tokenizer, options, open, most) : tokenizer;
  if (!(weights instanceof URL)) return { ...parts, weights, tokenizer: words };
  const { name, single } = await open(weights, options);
  if (!single) throw new RangeError(`weights is the address of a folder, ${name}: give load() that, or the file's`);
  return { ...parts, weights: await single(), tokenizer: words };
}

async function vocabulary(url: URL, options: FolderOptions, open: typeof folderAt, most: number): Promise<unknown> {
  const folder = await open(new URL(".", url), options), file = decodeURI(url.pathname.replace(/.*\//, ""));
  const bytes = await folder.bytes(file + url.search, most);
  if (!bytes) throw new RangeError(`${folder.name} has no ${file}, the tokenizer: check its address`);
  return file.endsWith(".json") ? new TextDecoder().decode(bytes) : bytes;
}
