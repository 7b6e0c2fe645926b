import { test } from "uvu";
import * as assert from "uvu/assert";
import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Checkpoint, safetensorsBytes, urlSource } from "../../../bindings/checkpoint/index.ts";
import type { UrlOptions } from "../../../bindings/checkpoint/index.ts";
import { rejects, seeded } from "./fixtures.ts";

const values = Uint8Array.from({ length: 30_000 * 4 }, (_, i) => (i * 2654435761) >>> 24);
const file = safetensorsBytes(
  Array.from({ length: 60 }, (_, i) => ({ name: `t${i}`, dtype: "F32" as const, shape: [30_000], data: values })),
);

type Range = { begin: number; end: number };
type Handler = (request: IncomingMessage, response: ServerResponse, range: Range | undefined) => void;

let server: Server;
let base: string;
let handler: Handler;
let requests: IncomingMessage[];
test.before(async () => {
  server = createServer((request, response) => {
    requests.push(request);
    const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    handler(
      request, response,
      match ? { begin: Number(match[1]), end: Math.min(Number(match[2]) + 1, file.length) } : undefined,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
test.after(() => {
  server.closeAllConnections();
  server.close();
});
test.before.each(() => {
  requests = [];
});

const partial: Handler = (_, response, range) => {
  const { begin, end } = range!;
  response
    .writeHead(206, {
      "content-range": `bytes ${begin}-${end - 1}/${file.length}`, "content-length": end - begin, etag: '"1"',
    })
    .end(file.subarray(begin, end));
};
const whole: Handler = (_, response) => response.writeHead(200, { "content-length": file.length }).end(file);
const open = (options?: UrlOptions) => urlSource(`${base}/model.safetensors?token=secret#f`, options);

async function assertReads(): Promise<void> {
  const ckpt = await Checkpoint.open(await open());
  assert.is(ckpt.name, `${base}/model.safetensors`);
  for (const name of ckpt.names()) assert.is(Buffer.compare(await ckpt.tensor(name, [30_000]).read(), values), 0);
  await ckpt.close();
}

test("with Range: few requests for many tensors", async () => {
  handler = partial;
  await assertReads();
  assert.is(requests.length, Math.ceil(file.length / (1 << 21)));
  assert.ok(requests.every(({ headers }) => headers.range));
});

test("with Range: any ranges, many at once, at most six requests together", async () => {
  let [running, most] = [0, 0];
  handler = (request, response, range) => {
    most = Math.max(most, ++running);
    response.on("close", () => running--);
    setTimeout(() => partial(request, response, range), 2);
  };
  const source = await open();
  const random = seeded(5);
  await Promise.all(Array.from({ length: 40 }, async (_, i) => {
    const begin = random(file.length);
    const end = Math.min(file.length, begin + random(i % 4 === 0 ? 5_000_000 : 50_000));
    assert.is(Buffer.compare(await source.read(begin, end), file.subarray(begin, end)), 0);
  }));
  assert.ok(most <= 6, `${most} requests at once`);
  await source.close();
});

test("a server that sends less than was asked for", async () => {
  handler = (request, response, range) =>
    partial(request, response, { begin: range!.begin, end: Math.min(range!.end, range!.begin + 700_000) });
  await assertReads();
});

test("without Range: one download, in one request", async () => {
  handler = whole;
  await assertReads();
  assert.is(requests.length, 1);
});

test("without Range and without a length: chunked", async () => {
  handler = (_, response) => {
    for (let at = 0; at < file.length; at += 300_000) response.write(file.subarray(at, at + 300_000));
    response.end();
  };
  await assertReads();
});

test("a total that is unknown, a range that is wrong, enormous or compressed: one whole download instead", async () => {
  for (const headers of [
    { "content-range": `bytes 0-9/*` },
    { "content-range": `bytes 5-9/${file.length}` },
    { "content-range": "bytes 0-8999999999999/9000000000000" },
    {},
    { "content-range": `bytes 0-9/${file.length}`, "content-encoding": "br" },
  ] as Record<string, string>[]) {
    handler = (request, response, range) =>
      range ? response.writeHead(206, headers).end(file.subarray(0, 10)) : whole(request, response, range);
    await assertReads();
  }
});

test("an empty file", async () => {
  handler = (_, response) => response.writeHead(416, { "content-range": "bytes */0" }).end();
  const source = await open();
  assert.is(source.size, 0);
  await rejects(() => Checkpoint.open(source), /has 0 bytes, too few/, RangeError);
});

test("headers go with every request, and the address in errors has no query", async () => {
  handler = partial;
  const source = await open({ headers: { authorization: "Bearer x" } });
  await source.read(3_000_000, 3_000_010);
  assert.ok(requests.length === 2 && requests.every(({ headers }) => headers.authorization === "Bearer x"));
  await source.close();
  for (const [status, remedy] of [
    [404, /check the address/], [401, /headers\.authorization/], [503, /try again later/],
  ] as const) {
    handler = (_, response) => response.writeHead(status).end("no");
    await rejects(
      () => open(), new RegExp(`^cannot read http://127[^?]*/model\\.safetensors: the server answered ${status}: `),
    );
    await rejects(() => open(), remedy);
  }
});

test("a download that is cut off: whole, in the first range, in a later one", async () => {
  const cut: Handler = (_, response, range) => {
    const { begin, end } = range ?? { begin: 0, end: file.length };
    response.writeHead(range ? 206 : 200, {
      "content-range": `bytes ${begin}-${end - 1}/${file.length}`, "content-length": end - begin,
    });
    response.write(file.subarray(begin, begin + 100_000), () => response.destroy());
  };
  handler = (request, response) => cut(request, response, undefined);
  await rejects(() => open(), /^cannot read http.*: check the address and the network, then try again$|was cut off/);
  handler = cut;
  await rejects(() => open(), /^cannot read http.*try again$|was cut off/);
  handler = partial;
  const source = await open();
  handler = cut;
  await rejects(() => source.read(3_000_000, 6_000_000), /^cannot read http.*try again$|was cut off/);
  await rejects(() => source.read(0, 10), /is closed/);
});

test("an answer that is shorter or longer than its range says, without a length", async () => {
  for (const [sent, expected] of [
    [9, /sent 9 of 2097152 bytes/], [(1 << 21) + 1, /sent more than the 2097152 bytes/],
  ] as const) {
    handler = (_, response, range) => {
      response.writeHead(206, { "content-range": `bytes ${range!.begin}-${range!.end - 1}/${file.length}` });
      response.end(file.subarray(0, sent));
    };
    await rejects(() => open(), expected);
  }
});

test("a file that changes while it is read", async () => {
  const changes: Record<string, string>[] = [
    { etag: '"2"' }, { "content-range": `bytes 3000000-3000009/${file.length + 1}` },
    { "content-range": `bytes 0-9/${file.length}` },
  ];
  for (const headers of changes) {
    handler = partial;
    const source = await open();
    handler = (_, response, range) => {
      response
        .writeHead(206, {
          "content-range": `bytes ${range!.begin}-${range!.end - 1}/${file.length}`, etag: '"1"', ...headers,
        })
        .end(file.subarray(range!.begin, range!.end));
    };
    await rejects(() => source.read(3_000_000, 3_000_010), /changed on the server while it was read/);
  }
  handler = partial;
  const source = await open();
  handler = whole;
  await rejects(() => source.read(3_000_000, 3_000_010), /changed on the server/);
});

test("an abort: before, while waiting for an answer, in the middle of a body, later", async () => {
  const reason = new Error("enough");
  const caught = (promise: Promise<unknown>) => promise.then(() => undefined, (error) => error);
  handler = partial;
  assert.is(await caught(open({ signal: AbortSignal.abort(reason) })), reason);
  assert.is(requests.length, 0);
  const stallInBody: Handler = (_, response, range) => {
    const { begin, end } = range!;
    response.writeHead(206, { "content-range": `bytes ${begin}-${end - 1}/${file.length}` }).write("x");
  };
  const stallInWhole: Handler = (_, response) => void response.writeHead(200).write("x");
  const stallAtOnce: Handler = () => {};
  for (const stall of [stallAtOnce, stallInBody, stallInWhole]) {
    handler = stall;
    const abort = new AbortController();
    setTimeout(() => abort.abort(reason), 20);
    assert.is(await caught(open({ signal: abort.signal })), reason);
  }
  for (const stall of [stallAtOnce, stallInBody]) {
    const later = new AbortController();
    handler = partial;
    const source = await open({ signal: later.signal });
    handler = stall;
    setTimeout(() => later.abort(reason), 20);
    assert.is(await caught(source.read(3_000_000, 6_000_000)), reason);
    assert.is(await caught(source.read(0, 10)), reason);
  }
});

test("close() ends requests under way", async () => {
  handler = partial;
  const source = await open();
  handler = () => {};
  const pending = rejects(() => source.read(3_000_000, 6_000_000), /is closed/);
  await new Promise((resolve) => setTimeout(resolve, 20));
  await source.close();
  await pending;
});

/** Sends for as long as it is listened to. */
const endless = (begin: Uint8Array): Handler => (_, response) => {
  response.writeHead(200);
  response.write(begin);
  const more = (): void => {
    while (!response.destroyed && response.write(new Uint8Array(1 << 20)));
  };
  response.on("drain", more);
  more();
};

test("a body without end is let go of where its first bytes prove it wrong", async () => {
  const wrong: [begin: Uint8Array, message: RegExp][] = [
    [new Uint8Array(8), /model\.safetensors is not a safetensors file, its header would have 0 bytes/],
    [new TextEncoder().encode("GGUF\x03\0\0\0"), /model\.safetensors is a GGUF file/],
    [file, /model\.safetensors sent more than the 7\d+ bytes that its header tells of: download it again/],
  ];
  for (const [begin, message] of wrong) {
    let ended: Promise<void> | undefined;
    handler = (request, response, range) => {
      ended = new Promise((resolve) => void response.on("close", resolve));
      endless(begin)(request, response, range);
    };
    await rejects(() => open(), message, RangeError);
    await ended;
  }
});

test("a connection that was closed while it lay idle is made anew, once", async () => {
  let fail = 1;
  handler = (request, response, range) => (fail-- > 0 ? void response.destroy() : partial(request, response, range));
  const source = await open();
  assert.is(requests.length, 2);
  fail = 1;
  await source.read(3_000_000, 3_000_010);
  fail = 2;
  await rejects(() => source.read(5_000_000, 5_000_010), /^cannot read http.*try again$/);
  assert.is(requests.length, 6);
});

test("the option fetch is asked in place of the host's, with the headers", async () => {
  handler = partial;
  const asked: string[] = [];
  const fetching: UrlOptions["fetch"] = (address, init) => {
    asked.push(`${address.pathname} ${init.headers.get("authorization")} ${init.headers.get("range")}`);
    return fetch(address, init);
  };
  await (await open({ fetch: fetching, headers: { Authorization: "Bearer x", Range: "bytes=7-" } })).close();
  assert.equal(asked, ["/model.safetensors Bearer x bytes=0-2097151"]);
  assert.is(requests.length, 1);
  await rejects(() => open({ fetch: "no" as never }), /^fetch is no function/, TypeError);
  for (const headers of [{ "a b": "x" }, { a: "sec\nret" }, 5]) {
    const refused = /^headers has a name or a value that HTTP does not allow, expected strings such as/;
    await rejects(() => open({ headers: headers as never }), refused, TypeError);
  }
});

test("a redirect to another origin: no authorization", async () => {
  const other = createServer((request, response) => {
    requests.push(request);
    partial(request, response, { begin: 0, end: 1 << 21 });
  });
  await new Promise<void>((listening) => other.listen(0, "127.0.0.1", listening));
  const { port } = other.address() as AddressInfo;
  handler = (_, response) => response.writeHead(302, { location: `http://127.0.0.1:${port}/cdn` }).end();
  await (await open({ headers: { authorization: "Bearer x" } })).close();
  const seen = requests.map(({ url, headers }) => [url, headers.authorization]);
  assert.equal(seen, [["/model.safetensors?token=secret", "Bearer x"], ["/cdn", undefined]]);
  other.closeAllConnections();
  other.close();
});

test("addresses that are none", async () => {
  await rejects(() => urlSource("model.safetensors"), /is no URL/, TypeError);
  await rejects(
    () => urlSource("file:///model.safetensors"), /begins with file:, expected https: or http:/, RangeError,
  );
  await rejects(
    () => urlSource("https://user:secret@h.example/x"), /^the address of https:\/\/h\.example\/x holds a password/,
    RangeError,
  );
  const port = (server.address() as AddressInfo).port;
  await rejects(() => urlSource(`http://127.0.0.1:${port === 1 ? 2 : 1}/x`), /^cannot read http:\/\/127/);
});

/** Pages in memory, of one version; `full` refuses more. */
function shelf({ full = false } = {}) {
  const pages = new Map<number, Uint8Array>(), versions: string[] = [];
  let puts = 0;
  const keep: NonNullable<UrlOptions["keep"]> = async (address, version) => {
    if (version !== versions.at(-1)) pages.clear();
    versions.push(version);
    return {
      get: async (index) => pages.get(index),
      async put(index, bytes) {
        puts++;
        if (full) throw new Error("no room");
        pages.set(index, bytes);
        return true;
      },
    };
  };
  return { keep, pages, versions, puts: () => puts };
}

/** Reads everything, in pieces of unequal sizes across the borders of pages. */
async function readAll(options: UrlOptions): Promise<void> {
  const source = await open(options);
  for (let at = 0, length = 1; at < file.length; at += length, length = (length * 7 + 13) % 3_000_000) {
    const end = Math.min(at + length, file.length);
    assert.is(Buffer.compare(await source.read(at, end), file.subarray(at, end)), 0, `bytes ${at} to ${end}`);
  }
  await source.close();
}

test("a download that was cut off goes on with the pages that are kept", async () => {
  const { keep, pages } = shelf();
  handler = (request, response, range) => {
    if (requests.length < 3) return partial(request, response, range);
    response.writeHead(206, {
      "content-range": `bytes ${range!.begin}-${range!.end - 1}/${file.length}`,
      "content-length": range!.end - range!.begin, etag: '"1"',
    });
    response.write(file.subarray(range!.begin, range!.begin + 1000), () => response.destroy());
  };
  await rejects(() => readAll({ keep }), /model\.safetensors/);
  assert.equal([...pages.keys()], [1]);
  handler = partial;
  requests = [];
  await readAll({ keep });
  assert.equal(
    requests.map(({ headers }) => headers.range),
    ["bytes=0-2097151", "bytes=4194304-6291455", `bytes=6291456-${file.length - 1}`],
  );
  requests = [];
  await readAll({ keep });
  assert.is(requests.length, 1);
});

test("pages are of one content: another tag, or date, is another version; without either nothing is kept", async () => {
  const { keep, versions } = shelf();
  for (const headers of [
    { etag: '"1"' }, { etag: '"2"' }, { "last-modified": "Sat, 01 Jan 2022 00:00:00 GMT" }, { etag: 'W/"3"' },
  ] as Record<string, string>[]) {
    handler = (_, response, range) =>
      response
        .writeHead(206, { "content-range": `bytes ${range!.begin}-${range!.end - 1}/${file.length}`, ...headers })
        .end(file.subarray(range!.begin, range!.end));
    await readAll({ keep });
  }
  assert.equal(versions, [`"1" ${file.length}`, `"2" ${file.length}`, `Sat, 01 Jan 2022 00:00:00 GMT ${file.length}`]);
});

test("where there is no room, or what is kept is of another size, the file is read all the same", async () => {
  handler = partial;
  const full = shelf({ full: true });
  await readAll({ keep: full.keep });
  assert.is(full.puts(), 1);
  const wrong = shelf();
  await readAll({ keep: wrong.keep });
  wrong.pages.set(1, new Uint8Array(5));
  await readAll({ keep: wrong.keep });
  await readAll({ keep: async () => undefined });
});

test("bytes are counted as they arrive, from pages and from whole answers", async () => {
  for (const [answer, total] of [[partial, file.length], [whole, file.length]] as const) {
    handler = answer;
    const seen: number[] = [];
    await readAll({ keep: shelf().keep, onBytes: (done, of) => (assert.is(of, total), seen.push(done)) });
    assert.ok(seen.length >= 4, String(seen.length));
    assert.ok(seen.every((done, i) => i === 0 || done > seen[i - 1]!), String(seen));
    assert.is(seen.at(-1), file.length);
  }
});

test.run();
