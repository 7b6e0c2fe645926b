// Long use: tokens, loads, aborts and many sessions at once, after which a process holds no more than before.
import { readdirSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:http";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Model, Progress } from "../../bindings/index.ts";
import { load } from "../../bindings/index.ts";
import { tinyFolder, tinyPixels, withFolder } from "../bindings/tiny.ts";
import { tinyLm } from "../golden/tiny-lm.ts";
import { randomOf } from "./mutate.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

/** What a process holds, after garbage is collected: bytes, and numbers of things. */
export interface Held {
  readonly rss: number;
  /** Of JavaScript: objects and buffers. */
  readonly heap: number;
  readonly handles: number;
  /** Open files and sockets; known on Linux only. */
  readonly files: number;
}

async function held(): Promise<Held> {
  // what is let go of in a finaliser goes in the next round
  for (let i = 0; i < 4; i++) {
    gc();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  const files = process.platform === "linux" ? readdirSync("/proc/self/fd").length : 0;
  const handles = process.getActiveResourcesInfo().filter((name) => name !== "Timeout").length;
  return { rss, heap: heapUsed + external, handles, files };
}

export interface Soaked {
  readonly before: Held;
  readonly after: Held;
  readonly seconds: number;
}

/** Does `step(i)` for a tenth of `count`, looks, does the rest, and looks again. */
async function soak(count: number, step: (i: number) => Promise<unknown>): Promise<Soaked> {
  const begin = performance.now(), warm = Math.ceil(count / 10);
  for (let i = 0; i < warm; i++) await step(i);
  const before = await held();
  for (let i = warm; i < count; i++) await step(i);
  return { before, after: await held(), seconds: (performance.now() - begin) / 1000 };
}

const options = { threads: 1 } as const;

/** One session reads `count` tokens, by fifties: given ones, then drawn ones. */
async function tokens(count: number): Promise<Soaked> {
  using model = await load(tinyLm(), options);
  const session = model.session(), { total } = model.memory();
  const soaked = await soak(count / 50, async (i) => {
    await session.prefill(Array.from({ length: 25 }, (_, t) => (i + t) % 61));
    for await (const _ of session.generate([], { maxTokens: 25, seed: i }));
  });
  if (session.position !== count || model.memory().total !== total) {
    throw new Error(`position ${session.position}, memory ${total} to ${model.memory().total}`);
  }
  return soaked;
}

/** Models from a folder, run and disposed of; every twentieth with a thread. */
const loads = (count: number): Promise<Soaked> => withFolder(tinyFolder, (folder) => soak(count, async (i) => {
  using model = await load(folder, { threads: i % 20 === 0 ? 2 : 1 });
  await model.forward(tinyPixels);
}));

/** Aborted somewhere in the loading of an address or a folder, in a long prompt, or in a text. */
const aborts = (count: number): Promise<Soaked> => withFolder(tinyFolder, async (folder) => {
  const server = createServer((request, response) => {
    const file = (tinyFolder as Record<string, string | Uint8Array>)[request.url!.slice(1)];
    if (file === undefined) return void response.writeHead(404, { connection: "close" }).end();
    // slow enough to be aborted between pieces
    response.writeHead(200, { "content-length": file.length, connection: "close" }).write(file.slice(0, 20));
    setTimeout(() => response.end(file.slice(20)), 2);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, random = randomOf(1, 1);
  using model = await load(tinyLm(), options);
  const prompt = Array.from({ length: 20_000 }, (_, t) => t % 61);
  /** Whether it came in time. */
  const aborted = async (i: number): Promise<boolean> => {
    const stop = new AbortController(), { signal } = stop, reason = new Error("enough");
    // a folder is loaded before a timer comes: there the place is a layer, or before the first
    const abort = (): void => stop.abort(reason), layer = random(8), timer = setTimeout(abort, random(8));
    const onProgress = ({ done }: Progress): void => void (done === layer && abort());
    try {
      if (i % 4 === 0) {
        (await load(address, { ...options, signal })).dispose();
      } else if (i % 4 === 1) {
        if (layer === 0) setImmediate(abort);
        (await load(folder, { ...options, signal, onProgress })).dispose();
      } else {
        const tokens = model.session().generate(i % 4 === 2 ? prompt : [1], { maxTokens: 2000, signal, seed: i });
        for await (const _ of tokens);
      }
      return false;
    } catch (error) {
      if (error !== reason) throw error;
      return true;
    } finally {
      clearTimeout(timer);
    }
  };
  try {
    return await soak(count, async (i) => {
      while (!(await aborted(i)));
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

async function textOf(model: Model, seed: number, count: number): Promise<string> {
  const session = model.session(), ids: number[] = [];
  for await (const { id } of session.generate([seed % 61], { maxTokens: count, seed })) ids.push(id);
  return ids.join();
}

/** Rounds of 100 sessions at once on 16 slots, each of which says what it says alone. */
async function sessions(rounds: number): Promise<Soaked> {
  using model = await load(tinyLm(), { ...options, sessions: 16 });
  const all = Array.from({ length: 100 }, (_, seed) => seed), alone: string[] = [];
  for (const seed of all) alone.push(await textOf(model, seed, 20));
  const { total } = model.memory();
  const soaked = await soak(rounds, async () => {
    const together = await Promise.all(all.map((seed) => textOf(model, seed, 20)));
    const other = together.findIndex((text, seed) => text !== alone[seed]);
    if (other >= 0) throw new Error(`session ${other} said ${together[other]}, expected ${alone[other]}`);
  });
  if (model.memory().total !== total) throw new Error(`memory went from ${total} to ${model.memory().total}`);
  return soaked;
}

/** By name: what is done `full` times by hand, and `short` times in tests. */
export const steps: Readonly<Record<string, { full: number; short: number; run(count: number): Promise<Soaked> }>> = {
  "tokens": { full: 1_000_000, short: 10_000, run: tokens },
  "loads and disposals": { full: 10_000, short: 200, run: loads },
  "aborts": { full: 1000, short: 100, run: aborts },
  "rounds of 100 sessions": { full: 500, short: 5, run: sessions },
};

/** What has grown that should not; bytes have some room for what an engine compiles and keeps. */
export function grown({ before, after }: Soaked): string | undefined {
  const by = (key: keyof Held): number => after[key] - before[key];
  if (by("files") > 0 || by("handles") > 0) return `${by("files")} more open files, ${by("handles")} more handles`;
  if (by("heap") > 4 << 20) return `${by("heap")} more bytes of JavaScript`;
  return by("rss") > 96 << 20 ? `${by("rss")} more bytes` : undefined;
}
