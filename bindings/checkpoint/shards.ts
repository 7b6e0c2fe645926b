// Checkpoints of many files under one index, model.safetensors.index.json.
import { checkShardName, quote } from "./names.ts";
import { readHeader } from "./safetensors.ts";
import type { ByteSource } from "./source.ts";
import { closeAll, storedIn } from "./stored.ts";
import type { Stored } from "./tensors.ts";

interface Shards {
  readonly stored: Map<string, Stored>;
  readonly metadata: Map<string, string>;
  readonly sources: readonly ByteSource[];
}

/** Opens each file once and checks every header; an error closes them all. */
export async function openShards(
  indexJson: unknown, open: (file: string) => Promise<ByteSource>, name: string,
): Promise<Shards> {
  const files = readWeightMap(indexJson, name);
  const stored = new Map<string, Stored>();
  const metadata = new Map<string, string>();
  const sources: ByteSource[] = [];
  try {
    for (const [file, tensors] of files) {
      const source = await open(file);
      sources.push(source);
      const header = await readHeader(source);
      for (const [key, text] of header.metadata) metadata.set(key, text);
      for (const tensor of tensors) {
        const entry = header.entries.get(tensor);
        if (!entry)
          throw new RangeError(
            `${name} says that ${quote(tensor)} is in ${file}, which has no such tensor: download both again`,
          );
        stored.set(tensor, storedIn(source, entry));
      }
    }
    return { stored, metadata, sources };
  } catch (error) {
    await closeAll(sources).catch(() => {});
    throw error;
  }
}

/** File name → the tensors in it. */
function readWeightMap(indexJson: unknown, name: string): Map<string, string[]> {
  const weightMap = typeof indexJson === "object" && indexJson !== null && Object.hasOwn(indexJson, "weight_map")
    ? (indexJson as { weight_map: unknown }).weight_map
    : undefined;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new TypeError(`${name} has no "weight_map" object: expected a model.safetensors.index.json`);
  }
  const files = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(weightMap)) {
    checkShardName(file, name);
    const tensors = files.get(file);
    if (tensors) tensors.push(tensor);
    else files.set(file, [tensor]);
  }
  if (files.size === 0) throw new RangeError(`${name} has an empty "weight_map": download it again`);
  return files;
}
