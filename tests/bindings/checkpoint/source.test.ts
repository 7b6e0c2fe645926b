import { test } from "uvu";
import * as assert from "uvu/assert";
import fs from "node:fs";
import { mkdtemp, readdir, readlink, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fileSource } from "../../../bindings/checkpoint/file.ts";
import {
  Checkpoint, blobSource, bytesSource, safetensorsBytes, streamSource,
} from "../../../bindings/checkpoint/index.ts";
import type { ByteSource, SourceOptions } from "../../../bindings/checkpoint/index.ts";
import { readAhead } from "../../../bindings/checkpoint/read-ahead.ts";
import { drain, UNTOLD } from "../../../bindings/checkpoint/source.ts";
import { rejects, seeded, smallFile } from "./fixtures.ts";

const noise = Uint8Array.from({ length: 3_500_000 }, (_, i) => (i * 2654435761) >>> 24);
const data = safetensorsBytes([{ name: "noise", dtype: "U8", shape: [noise.length], data: noise }]);
let folder: string;
let path: string;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), "checkpoint-"));
  path = join(folder, "data.bin");
  await writeFile(path, data);
});
test.after(() => rm(folder, { recursive: true }));

function streamOf(bytes: Uint8Array, chunkBytes: number): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + chunkBytes));
      at += chunkBytes;
    },
  });
}

const sources: Record<string, (options?: SourceOptions) => Promise<ByteSource>> = {
  bytes: async (options) => bytesSource("data", data, options),
  "an ArrayBuffer": async (options) => bytesSource("data", data.buffer, options),
  "a blob": async (options) => blobSource("data", new Blob([data]), options),
  "a stream": (options) => streamSource("data", streamOf(data, 70_001), options),
  "a stream of large chunks": (options) => streamSource("data", streamOf(data, 3_000_000), options),
  "a file": (options) => fileSource(path, options),
  "a file: URL": (options) => fileSource(pathToFileURL(path), options),
};

/** How often this process holds `file` open; undefined where /proc does not say. */
async function handles(file: string): Promise<number | undefined> {
  const fds = await readdir("/proc/self/fd").catch(() => undefined);
  if (!fds) return undefined;
  const targets = await Promise.all(fds.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => "")));
  return targets.filter((target) => target === file).length;
}

async function assertReleased(file = path): Promise<void> {
  const count = await handles(file);
  if (count !== undefined) assert.is(count, 0, "a handle stayed open");
}

for (const [what, open] of Object.entries(sources)) {
  test(`${what}: reads in order, in any order, at once`, async () => {
    const source = await open();
    assert.is(source.size, data.length);
    const random = seeded(7);
    const ranges = Array.from({ length: 200 }, (_, i) => {
      const begin = random(data.length);
      return [begin, Math.min(data.length, begin + random(i % 10 === 0 ? 2_500_000 : 40_000))];
    });
    ranges.push(
      [0, data.length], [0, 0], [data.length, data.length], [data.length - 1, data.length], [1 << 20, 1 << 21],
      [(1 << 20) - 1, (1 << 20) + 1],
    );
    for (const [begin, end] of ranges)
      assert.is(Buffer.compare(await source.read(begin, end), data.subarray(begin, end)), 0);
    const all = await Promise.all(ranges.map(([begin, end]) => source.read(begin, end)));
    for (const [i, [begin, end]] of ranges.entries()) assert.is(Buffer.compare(all[i], data.subarray(begin, end)), 0);
    await source.close();
    await assertReleased();
  });

  test(`${what}: refuses ranges outside, reads after close()`, async () => {
    const source = await open();
    for (const [begin, end] of [[-1, 1], [2, 1], [0, data.length + 1], [0.5, 1], [NaN, 1], [0, Infinity]]) {
      await rejects(() => source.read(begin, end), /cannot read bytes/, RangeError);
    }
    assert.is((await source.read(0, 4)).length, 4);
    await source.close();
    await source.close();
    await rejects(() => source.read(0, 4), /is closed/);
    await assertReleased();
  });

  test(`${what}: an abort fails reads with its reason and closes`, async () => {
    const reason = new Error("enough");
    const abort = new AbortController();
    const source = await open({ signal: abort.signal });
    const pending = source.read(0, 3_000_000);
    abort.abort(reason);
    for (const read of [pending, source.read(0, 4)])
      assert.is(
        await read.then(
          () => undefined, (error) => error,
        ),
        reason,
      );
    await assertReleased();
  });
}

test("a file or a stream is not even opened after an abort", async () => {
  const signal = AbortSignal.abort(new Error("enough"));
  await rejects(() => fileSource(path, { signal }), /^enough$/);
  await rejects(() => streamSource("data", streamOf(data, 1000), { signal }), /^enough$/);
  await assertReleased();
});

test("an abort ends a stream that has stopped sending", async () => {
  let cancelled = false;
  const abort = new AbortController();
  const stalled = new ReadableStream<Uint8Array>({
    start: (c) => c.enqueue(new Uint8Array(7)), cancel: () => void (cancelled = true),
  });
  setTimeout(() => abort.abort(new Error("enough")), 10);
  await rejects(() => streamSource("data", stalled, { signal: abort.signal }), /^enough$/);
  assert.ok(cancelled);
});

test("a stream that fails, or of something else", async () => {
  await rejects(() => streamSource("data", new ReadableStream({ start: (c) => c.error(new Error("lost")) })), /^lost$/);
  await rejects(
    () => streamSource("data", new ReadableStream({ start: (c) => c.enqueue("text") }) as never),
    /data is a stream of string, expected Uint8Array/, TypeError,
  );
});

test("an endless stream ends where its first bytes say so", async () => {
  /** What comes before zeros without end; how many bytes were asked for. */
  const endless = async (begin: Uint8Array, message: RegExp, Kind: Function = RangeError): Promise<number> => {
    let sent = 0, cancelled = false;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        const chunk = sent < begin.length ? begin.subarray(sent, sent + 50_000) : new Uint8Array(100_000);
        sent += chunk.length;
        if (sent > 50_000_000) return controller.error(new Error("read on and on"));
        controller.enqueue(chunk);
      },
      cancel: () => void (cancelled = true),
    }, { highWaterMark: 0 });
    await rejects(() => streamSource("data", stream), message, Kind);
    assert.ok(cancelled);
    return sent;
  };
  const header = (json: string): Uint8Array =>
    Uint8Array.from([json.length & 255, json.length >> 8, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(json)]);
  assert.is(await endless(new Uint8Array(0), /^data is not a safetensors file, its header would have 0/), 100_000);
  assert.is(await endless(new TextEncoder().encode("<!doctype html>"), /^data is a web page/), 15);
  assert.ok(await endless(header('{"a":5}'), /"a" has a number for an entry/, TypeError) < 200_000);
  assert.ok(await endless(header("{".padEnd(60_000)), /its header is no JSON/, TypeError) < 300_000);
  assert.ok(await endless(data, /^data sent more than the 3500\d+ bytes that its header tells of/) < 3_800_000);
});

test("a checkpoint of PyTorch, which does not say how long it is, comes as a stream", async () => {
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i < 4 ? [0x50, 0x4b, 3, 4][i]! : i));
  const source = await streamSource("data", streamOf(bytes, 70_001));
  assert.is(Buffer.compare(await source.read(0, bytes.length), bytes), 0);
});

test("what is no bytes", () => {
  assert.throws(() => bytesSource("data", "text" as never), /data is no Uint8Array or ArrayBuffer/);
});

test("a missing file, a folder, a pipe-like device", async () => {
  await rejects(() => fileSource(join(folder, "none")), /there is no file .*none: check the path/);
  await rejects(() => fileSource(folder), /is not a regular file/, TypeError);
  if ((await handles(path)) !== undefined)
    await rejects(() => fileSource("/dev/null"), /is not a regular file/, TypeError);
});

test("a file that becomes shorter: an error, and no handle stays open", async () => {
  const shrinking = join(folder, "shrinking.bin");
  await writeFile(shrinking, data);
  const source = await fileSource(shrinking);
  await source.read(0, 10);
  await truncate(shrinking, 2_000_000);
  await rejects(() => source.read(3_000_000, 3_000_010), /became shorter while it was read/, RangeError);
  await assertReleased(shrinking);
  await rejects(() => source.read(0, 10), /is closed/);
});

test("a large read in pieces: every byte, also when the source is closed or the file cut under it", async () => {
  const large = join(folder, "large.bin");
  const bytes = Uint8Array.from({ length: 9_000_001 }, (_, i) => (i * 2654435761) >>> 24);
  await writeFile(large, bytes);
  const source = await fileSource(large), into = new Uint8Array(bytes.length - 5).fill(255);
  assert.is(await source.read(3, bytes.length - 2, into), into);
  assert.equal(Buffer.compare(into, bytes.subarray(3, bytes.length - 2)), 0);
  const reading = source.read(0, bytes.length), closing = source.close();
  assert.equal(Buffer.compare(await reading, bytes), 0);
  await closing;
  await assertReleased(large);
  await rejects(() => source.read(0, 10), /is closed/);

  const again = await fileSource(large);
  await truncate(large, 5_000_000);
  await rejects(
    () => again.read(0, bytes.length), /became shorter while it was read, it ends at byte 5000000/, RangeError,
  );
  await assertReleased(large);
  const abort = new AbortController(), aborted = (await fileSource(large, { signal: abort.signal })).read(0, 5_000_000);
  abort.abort(new Error("enough"));
  await rejects(() => aborted, /^enough$/);
  await assertReleased(large);
});

test("a checkpoint from a file; a bad one leaves no handle", async () => {
  const good = join(folder, "model.safetensors");
  await writeFile(good, smallFile());
  const link = join(folder, "link.safetensors");
  await symlink(good, link);
  const ckpt = await Checkpoint.open(await fileSource(link));
  assert.is((await ckpt.tensor("head.scale", []).read()).length, 2);
  await ckpt.close();
  await assertReleased(good);
  const bad = join(folder, "bad.safetensors");
  await writeFile(bad, noise);
  const source = await fileSource(bad);
  await rejects(() => Checkpoint.open(source), /is not a safetensors file/, RangeError);
  await assertReleased(bad);
});

test("read-ahead: one read a page in file order, each page once when all is asked for at once", async () => {
  const asked: number[] = [];
  const raw = async (begin: number, end: number) => (asked.push(begin), data.subarray(begin, end));
  const inOrder = readAhead(raw, data.length, 1 << 16, 2);
  for (let at = 0; at + 1000 <= data.length; at += 1000) await inOrder(at, at + 1000);
  assert.is(asked.length, Math.ceil(data.length / (1 << 16)));
  asked.length = 0;
  const atOnce = readAhead(raw, data.length, 1 << 16, 2);
  const random = seeded(3);
  await Promise.all(Array.from({ length: 2000 }, () => random(data.length - 1000)).map((at) => atOnce(at, at + 1000)));
  assert.is(new Set(asked).size, asked.length);
});

test("read-ahead: a failed page is asked for again", async () => {
  let fail = true;
  const read = readAhead(async (begin, end) => {
    if (fail) throw new Error("lost");
    return data.subarray(begin, end);
  }, data.length, 1 << 16, 2);
  await rejects(() => read(0, 10), /^lost$/);
  fail = false;
  assert.equal(await read(0, 10), data.slice(0, 10));
});

test("a server that falls silent is given up; a stream of one's own is waited for", async () => {
  const silent = () => new ReadableStream<Uint8Array>({ start: (stream) => stream.enqueue(new Uint8Array(3)) });
  const lost = (error: unknown) => new Error(`cannot read w: ${(error as Error).message}`);
  const sizes: number[] = [], take = (chunk: Uint8Array): void => void sizes.push(chunk.byteLength);
  await rejects(
    () => drain("w", silent(), UNTOLD, { lost, silentMs: 30 }, take), /^cannot read w: nothing came for 0\.03 s$/,
  );
  const { signal } = new AbortController(), own = drain("w", silent(), UNTOLD, { signal, silentMs: 30 }, take);
  assert.is(await Promise.race([own, new Promise((done) => setTimeout(done, 90, "waits"))]), "waits");
  assert.equal(sizes, [3, 3]);
});

test("337 tensors of an 11 MB file are read once each", async () => {
  const entries = Array.from({ length: 337 }, (_, i) => ({
    name: `t${i}`, dtype: "F32" as const, shape: [8192], data: data.subarray(i * 1000, i * 1000 + 32768),
  }));
  const large = join(folder, "large.safetensors"), { readSync } = fs;
  await writeFile(large, safetensorsBytes(entries));
  let reads = 0;
  fs.readSync = ((...args: Parameters<typeof readSync>) => (reads++, readSync(...args))) as typeof readSync;
  try {
    for (const order of [entries, [...entries].reverse()]) {
      const ckpt = await Checkpoint.open(await fileSource(large));
      reads = 0;
      for (const { name, data: expected } of order)
        assert.is(Buffer.compare(await ckpt.tensor(name, [8192]).read(), expected), 0);
      assert.ok(reads >= 337 && reads <= 340, `${reads} reads`);
      await ckpt.close();
    }
  } finally {
    fs.readSync = readSync;
  }
});

test.run();
