// Downloads one large file: goes on where it was cut off, also in a later run, and knows what it got by its SHA-256.
import type { Hash } from "node:crypto";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { bytes as size } from "./report.ts";

export interface DownloadOptions {
  readonly onProgress?: (done: number, total: number | undefined) => void;
  /** Told of what is not as it should be, but goes on. */
  readonly onNote?: (note: string) => void;
  /** Tries in a row that bring no byte before giving up; default 5. */
  readonly tries?: number;
  /** Before the second try, doubled before each further one; default 500. */
  readonly waitMs?: number;
  /** Longest silence; default 60,000. */
  readonly stallMs?: number;
}

export interface Downloaded {
  readonly bytes: number;
  readonly sha256: string;
}

/** A failure that trying again may mend. */
class Cut extends Error {}

type Fetch = (url: string, init: { headers: Record<string, string>; signal: AbortSignal }) => Promise<Response>;

/** What tells one version of a file on a server from another, kept beside a part of it. */
interface Version {
  readonly url: string;
  readonly tag?: string;
  readonly total?: number;
}

/**
 * Downloads `url` to `file`, which appears once it is whole; until then `file`.part grows, and a later call goes on
 * from there.
 */
export async function download(url: string, file: string, options: DownloadOptions = {}): Promise<Downloaded> {
  await mkdir(dirname(file), { recursive: true });
  const release = await claim(`${file}.lock`);
  try {
    return await fetchInto(url, file, options);
  } finally {
    await release();
  }
}

/** Keeps other processes from writing the same file; one that has ended without a word is no hindrance. */
async function claim(lock: string): Promise<() => Promise<void>> {
  for (let again = true; ; again = false) {
    try {
      await writeFile(lock, String(process.pid), { flag: "wx" });
      return () => rm(lock, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const owner = Number(await readFile(lock, "utf8").catch(() => ""));
      if (!again || (owner > 0 && isRunning(owner)))
        throw new Error(`process ${owner} is downloading this file already: wait for it, or remove ${lock}`);
      await rm(lock, { force: true });
    }
  }
}

function isRunning(id: number): boolean {
  try {
    return process.kill(id, 0);
  } catch (error) {
    // there is one, of someone else
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function fetchInto(
  url: string,
  file: string,
  { onProgress, onNote, tries = 5, waitMs = 500, stallMs = 60_000 }: DownloadOptions,
): Promise<Downloaded> {
  const fetch = await fetcher(), part = `${file}.part`, versionFile = `${part}.json`, host = new URL(url).host;
  let version = await readVersion(versionFile);
  let have = 0;
  let hash = createHash("sha256");
  let received = 0;
  let failed = 0;
  let wait = waitMs;
  if (version?.url === url) ({ have, hash } = await measured(part));
  else await discard();

  async function discard(): Promise<void> {
    version = undefined;
    await Promise.all([part, versionFile].map((path) => rm(path, { force: true })));
    [have, hash] = [0, createHash("sha256")];
  }

  /** One request; returns when the file is whole. */
  async function attempt(): Promise<void> {
    const stop = new AbortController(), headers: Record<string, string> = { "accept-encoding": "identity" };
    if (have > 0) headers.range = `bytes=${have}-`;
    if (have > 0 && version?.tag) headers["if-range"] = version.tag;
    let timer = setTimeout(() => stop.abort(), stallMs);
    const alive = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), stallMs);
    };
    let response: Response | undefined;
    try {
      response = await fetch(url, { headers, signal: stop.signal });
      alive();
      const total = await begin(response);
      if (total === have) return;
      await receive(response, total, alive);
    } catch (error) {
      if (stop.signal.aborted) throw new Cut(`${host} sent nothing for ${Math.round(stallMs / 1000)} s`);
      throw isNetwork(error) ? new Cut(reasonOf(error), { cause: error }) : error;
    } finally {
      clearTimeout(timer);
      // frees the connection of an answer that was not read
      await response?.body?.cancel().catch(() => {});
    }
  }

  /** Checks an answer and makes ready for its bytes; returns how many the whole file has. */
  async function begin(response: Response): Promise<number | undefined> {
    const { status } = response;
    const range = /^bytes (?:(\d+)-(\d+)|\*)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
    if (status === 416 && have > 0) {
      if (range && Number(range[3]) === have) return have;
      await discard();
      throw new Cut(`${host} has no more of the file than there is here already: it changed`);
    }
    if (status === 429 || status >= 500) throw new Cut(`${host} answered ${status}`);
    if (!response.ok)
      throw new Error(
        `${url} cannot be downloaded: the server answered ${status}: check the name, or give another place with --from`,
      );
    if (/^text\/html\b/i.test(response.headers.get("content-type") ?? "")) {
      throw new Error(
        `${url} is a web page, no checkpoint: check the address, and whether a proxy or a login stands between`,
      );
    }
    const tag = strongTag(response);
    if (status === 206) {
      const [, from, , total] = range ?? [], same = version?.total === undefined || Number(total) === version.total;
      if (have > 0 && Number(from) === have && same && (!version?.tag || !tag || tag === version.tag))
        return Number(total);
      await discard();
      throw new Cut(`${host} sent another part than was asked for`);
    }
    if (have > 0) {
      onNote?.(`${host} cannot go on from byte ${have}, so it begins anew`);
      await discard();
    }
    const length = Number(response.headers.get("content-length") ?? NaN);
    const total = Number.isSafeInteger(length) && !response.headers.get("content-encoding") ? length : undefined;
    version = { url, ...(tag === undefined ? {} : { tag }), ...(total === undefined ? {} : { total }) };
    await writeFile(versionFile, JSON.stringify(version));
    return total;
  }

  async function receive(response: Response, total: number | undefined, alive: () => void): Promise<void> {
    const handle: FileHandle = await open(part, "a");
    try {
      for await (const chunk of response.body ?? []) {
        alive();
        await handle.writeFile(chunk);
        hash.update(chunk);
        have += chunk.length;
        received += chunk.length;
        // bytes that came make up for tries that failed
        [failed, wait] = [0, waitMs];
        onProgress?.(have, total);
        if (total !== undefined && have > total)
          throw new RangeError(`${url} sent more than the ${total} bytes that it announced: try again`);
      }
    } finally {
      await handle.close();
    }
    if (total !== undefined && have < total)
      throw new Cut(`${host} cut the connection after ${have} of ${total} bytes`);
  }

  for (;;) {
    try {
      await attempt();
      break;
    } catch (error) {
      if (!(error instanceof Cut)) throw error;
      // waiting brings no network back
      if (++failed >= tries || (received === 0 && isUnreachable(error)))
        throw givenUp(url, error, have, version?.total);
      onNote?.(`${error.message}; trying again`);
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait *= 2;
    }
  }
  await rename(part, file).catch(async (error: NodeJS.ErrnoException) => {
    // an empty file has no part
    if (error.code !== "ENOENT") throw error;
    await writeFile(file, "");
  });
  await rm(versionFile, { force: true });
  return { bytes: have, sha256: hash.digest("hex") };
}

/** The SHA-256 of a file on disk. */
export async function sha256Of(file: string): Promise<Downloaded> {
  const { have, hash } = await measured(file);
  return { bytes: have, sha256: hash.digest("hex") };
}

/** What there is of a file already. */
async function measured(file: string): Promise<{ have: number; hash: Hash }> {
  const hash = createHash("sha256"), found = await stat(file).catch(() => undefined);
  if (found) for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return { have: found?.size ?? 0, hash };
}

async function readVersion(file: string): Promise<Version | undefined> {
  try {
    const { url, tag, total } = JSON.parse(await readFile(file, "utf8")) as Record<string, unknown>;
    if (typeof url !== "string") return undefined;
    return { url, ...(typeof tag === "string" ? { tag } : {}), ...(typeof total === "number" ? { total } : {}) };
  } catch {
    return undefined;
  }
}

/** What changes with the file's bytes; a weak tag may change without. */
function strongTag(response: Response): string | undefined {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') ? tag : undefined;
}

/** Node's fetch does not know proxies (before 24, or without an option); that of the package it is made from does. */
async function fetcher(): Promise<Fetch> {
  const { env } = process, names = ["HTTPS_PROXY", "HTTP_PROXY"].flatMap((name) => [name, name.toLowerCase()]);
  if (!names.some((name) => env[name])) return fetch as Fetch;
  const { default: undici } = await import("undici"), dispatcher = new undici.EnvHttpProxyAgent();
  return ((url: string, init: object) => undici.fetch(url, { ...init, dispatcher })) as unknown as Fetch;
}

const isNetwork = (error: unknown): boolean =>
  error instanceof TypeError
  || (typeof (error as NodeJS.ErrnoException | undefined)?.code === "string"
    && /^(E(CONN|AI_|PIPE|TIMEDOUT|NET|HOST|NOTFOUND)|UND_ERR)/.test((error as NodeJS.ErrnoException).code!));

function reasonOf(error: unknown): string {
  const { message, code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException;
  return message || code || "the connection failed";
}

const UNREACHABLE = new Set([
  "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Whether there was no server to talk to. */
function isUnreachable({ cause }: Cut): boolean {
  const { code } = ((cause as Error | undefined)?.cause ?? cause ?? {}) as NodeJS.ErrnoException;
  return UNREACHABLE.has(code ?? "");
}

function givenUp(url: string, error: Cut, have: number, total: number | undefined): Error {
  const { host } = new URL(url);
  if (isUnreachable(error)) {
    return new Error(
      `cannot reach ${host} (${error.message}): this machine seems to be offline; behind a proxy set `
        + `HTTPS_PROXY, or fetch ${url} elsewhere and run slab convert on the file`,
      { cause: error },
    );
  }
  const got =
    have > 0
      ? `; ${size(have)}${total ? ` of ${size(total)}` : ""} are kept, run it again to go on from there`
      : ": try again later";
  return new Error(`${url} could not be downloaded: ${error.message}${got}`, { cause: error });
}
