// slab pull: downloads a checkpoint that the paper's authors released, converts it, and keeps it where models are found
// by name.
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { quote } from "../bindings/checkpoint/names.ts";
import { openFolder } from "../bindings/load/folder.ts";
import { cachedModel, cachedModels, cacheFolder } from "../bindings/platform/cache.ts";
import { KNOWN } from "../models/all.ts";
import { RELEASES, RELEASES_URL } from "../models/releases.ts";
import { describe, warningsOf, withLabels, writeRest, writeUnpacked } from "./convert.ts";
import type { Downloaded } from "./download.ts";
import { download, sha256Of } from "./download.ts";
import { didYouMean, HELP_OF, parse } from "./options.ts";
import { bytes, complain, help, out, outJson, printable, Progress, table } from "./report.ts";

export const summary = "downloads a checkpoint of the paper by name";

const HELP = `slab pull NAME [options]: ${summary}

NAME is one of the list that slab pull prints. The file is downloaded, its network recognised, and its tensors written
as safetensors to a folder of the cache; then the name stands for that folder, e.g. slab classify cat.jpg --model
${Object.keys(RELEASES)[2]}. Whatever was downloaded before the network failed is kept, and the next call goes on from
there.

  --sha256 HEX      what the file must be; default: what it was when it was first downloaded here (checksums.sha256 in
                    the cache)
  --from URL        another place with the same files; default: SLAB_RELEASES, or the authors' release
  --labels FILE     names of the classes, one a line in the order of ImageNet's folders; without it they are "class 0"
                    and so on
  --force           again, although it is here
  --keep            the downloaded .pth too
${HELP_OF.all}

The cache is SLAB_CACHE, or slab-wasm in the system's place for caches (XDG_CACHE_HOME). Proxies: HTTPS_PROXY,
HTTP_PROXY, NO_PROXY.`;

export async function run(args: readonly string[]): Promise<void> {
  const {
    values, positionals: [given, ...more],
  } = parse(
    "pull",
    {
      sha256: { type: "string" }, from: { type: "string" }, labels: { type: "string" }, force: { type: "boolean" },
      keep: { type: "boolean" },
    },
    args,
  );
  if (values.help) return help(HELP);
  if (given === undefined) return list(values.json === true);
  if (more.length > 0) throw new RangeError(`one checkpoint at a time: ${printable(more.join(" "))} is one too many`);
  const name = nameOf(given);
  const file = RELEASES[name]!;
  const wanted = values.sha256 === undefined ? undefined : String(values.sha256).toLowerCase();
  if (wanted !== undefined && !/^[0-9a-f]{64}$/.test(wanted))
    throw new RangeError(`--sha256 is ${quote(String(values.sha256))}, expected 64 hexadecimal digits`);
  const folder = join(cachedModels(), name), there = cachedModel(name);
  if (there && !values.force) {
    if (values.json) return outJson({ name, folder, downloaded: false });
    return out(`${name} is here already, in ${printable(there)} (--force downloads it again)`);
  }

  const url = address(values.from ?? process.env.SLAB_RELEASES ?? RELEASES_URL, file);
  const target = join(cacheFolder(), "downloads", file);
  const progress = new Progress(values);
  const note = (text: string): void => {
    progress.clear();
    if (!values.quiet) complain(new Error(text), name);
  };
  try {
    // one that could not be converted then is not downloaded again
    const kept = existsSync(target) && !values.force ? await sha256Of(target) : undefined;
    const onProgress = (done: number, total: number | undefined): void => progress.bytes(file, done, total);
    const got = kept ?? (await download(url, target, { onNote: note, onProgress }));
    progress.clear();
    const verified = await verify(file, target, got, wanted);
    const onWrite = (done: number, total: number): void => progress.bytes("writing", done, total);
    const say = (line: string): void => void (values.json || (progress.clear(), out(line)));
    const warnings = await convert(name, target, folder, values.labels, onWrite, say);
    progress.clear();
    if (!values.keep) await rm(target, { force: true });
    for (const warning of warnings) complain(new Error(warning), "warning");
    if (values.json)
      return outJson({
        name, folder, downloaded: kept === undefined, url, bytes: got.bytes, sha256: got.sha256, verified, warnings,
      });
    out(
      `${file}: ${bytes(got.bytes)}, sha256 ${got.sha256}, `
        + `${{ given: "as asked for", recorded: "as at its first download", first: "recorded now" }[verified]}`,
    );
    out(`${name} is in ${printable(folder)}`);
  } finally {
    progress.clear();
  }
}

function remedy(unknown: string): string {
  const names = Object.keys(RELEASES);
  return didYouMean(unknown, [...names, ...Object.values(RELEASES)]) ?? `use one of ${names.join(", ")}`;
}

/** A name of the list; the released files' own names are understood too. */
function nameOf(given: string): string {
  const plain = given.replace(/\.pth$/, "");
  const found = Object.keys(RELEASES).find((name) => name === plain || RELEASES[name] === `${plain}.pth`);
  if (!found)
    throw new RangeError(`no release is called ${quote(given)}: ${remedy(plain)}`);
  return found;
}

function list(json: boolean): void {
  const releases = Object.entries(RELEASES).map(([name, file]) => ({ name, file, folder: cachedModel(name) ?? null }));
  if (json) return outJson({ releases, from: process.env.SLAB_RELEASES ?? RELEASES_URL, cache: cacheFolder() });
  for (const line of table(
    ["name", "released as", "here"], releases.map(({ name, file, folder }) => [name, file, printable(folder ?? "no")]),
  ))
    out(line);
}

function address(base: string | boolean, file: string): string {
  const given = String(base);
  if (!/^https?:\/\//.test(given) || !URL.canParse(given))
    throw new RangeError(`${quote(given)} is no place to download from: expected an address like ${RELEASES_URL}`);
  return new URL(file, given.endsWith("/") ? given : `${given}/`).href;
}

/** Compares a download with what it should be, or records what it is, in a file that sha256sum --check reads. */
async function verify(
  file: string, path: string, { sha256 }: Downloaded, wanted: string | undefined,
): Promise<"given" | "recorded" | "first"> {
  const record = join(cacheFolder(), "downloads", "checksums.sha256");
  const lines = (await readFile(record, "utf8").catch(() => "")).split("\n").filter(Boolean);
  const known = lines.find((line) => line.slice(66) === file)?.slice(0, 64), expected = wanted ?? known;
  if (expected !== undefined && expected !== sha256) {
    await rm(path, { force: true });
    const why =
      wanted === undefined
        ? `as ${record} has it from its first download; if it was released anew, give its --sha256`
        : "as --sha256 says";
    throw new Error(`${file} has the sha256 ${sha256}, expected ${expected}, ${why}: the download was thrown away`);
  }
  if (known !== sha256) {
    await writeFile(
      `${record}.tmp`, `${[...lines.filter((line) => line.slice(66) !== file), `${sha256}  ${file}`].join("\n")}\n`,
    );
    await rename(`${record}.tmp`, record);
  }
  return wanted !== undefined ? "given" : known === undefined ? "first" : "recorded";
}

/** Writes the model's folder, which appears once it is whole. */
async function convert(
  name: string, source: string, folder: string, labels: string | boolean | undefined,
  onProgress: (done: number, total: number) => void, say: (line: string) => void,
): Promise<string[]> {
  const draft = `${folder}.part`;
  await rm(draft, { recursive: true, force: true });
  const opened = await openFolder(source, {}, KNOWN);
  try {
    const { preset } = opened.recognised!, warnings: string[] = [];
    const config = await withLabels(opened, labels);
    say(describe(RELEASES[name]!, opened));
    if (preset !== name)
      warnings.push(
        `${RELEASES[name]} was recognised as ${preset ?? "a network that is none of the paper's"}, not ${name}`,
      );
    await mkdir(draft, { recursive: true });
    await writeUnpacked(opened, draft, onProgress);
    await writeRest(opened, config, draft);
    warnings.push(...(await warningsOf(opened)));
    await rm(folder, { recursive: true, force: true });
    await rename(draft, folder);
    return warnings;
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    throw error;
  } finally {
    await opened.checkpoint.close();
  }
}
