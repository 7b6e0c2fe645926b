// Downloads from a local server with the faults of real ones.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { download } from "../../cli/download.ts";
import type { DownloadOptions } from "../../cli/download.ts";
import { pthOf } from "../bindings/checkpoint/pth-writer.ts";
import { rejects } from "../bindings/checkpoint/fixtures.ts";
import { tinyEntries, writeEntries } from "../bindings/tiny.ts";
import { inFolder, samples, slab } from "./command.ts";

const content = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 255);
const hashOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const quick = { waitMs: 1 };

/** How a server answers its nth request, from 0; the ranges that it was asked for come back. */
type Answer = (response: ServerResponse, range: number | undefined, n: number, request: IncomingMessage) => void;

async function serving(
  answer: Answer, use: (url: string, ranges: (number | undefined)[]) => Promise<void>,
): Promise<void> {
  const ranges: (number | undefined)[] = [];
  const server = createServer((request, response) => {
    const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1];
    ranges.push(range === undefined ? undefined : Number(range));
    answer(response, ranges.at(-1), ranges.length - 1, request);
  });
  await listening(server, (port) => use(`http://127.0.0.1:${port}/x.pth`, ranges));
}

async function listening(server: Server, use: (port: number) => Promise<void>): Promise<void> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

/** The file, or what a range asks of it; cut off after `most` bytes. */
function send(
  response: ServerResponse,
  body: Uint8Array,
  {
    from, most = Infinity, headers = {},
  }: { from?: number | undefined; most?: number; headers?: Record<string, string> },
): void {
  const begin = from ?? 0, rest = body.subarray(begin);
  const range: Record<string, string> =
    from === undefined ? {} : { "content-range": `bytes ${begin}-${body.length - 1}/${body.length}` };
  response.writeHead(from === undefined ? 200 : 206, { "content-length": rest.length, ...range, ...headers });
  if (rest.length <= most) return void response.end(rest);
  // the client may take its time to have these bytes before the connection breaks
  response.write(rest.subarray(0, most), () => setTimeout(() => response.destroy(), 200));
}

/**
 * After the first, every request goes on from further than the one before. How far depends on the machine: what had not
 * been read is lost.
 */
function goesOn(ranges: readonly (number | undefined)[]): void {
  assert.ok(
    ranges.length > 1 && ranges[0] === undefined && ranges.slice(1).every((range, i) => range! > (ranges[i] ?? 0)),
    String(ranges),
  );
}

const fetched = (url: string, file: string, options: DownloadOptions = {}): ReturnType<typeof download> =>
  download(url, file, { ...quick, ...options });

test("goes on where a server cuts the connection, again and again", async () => {
  await inFolder((folder) =>
    serving(
      (response, from) => send(response, content, { from, most: 80_000, headers: { etag: '"1"' } }),
      async (url, ranges) => {
        const file = join(folder, "deep", "x.pth"), seen: number[] = [];
        assert.equal(await fetched(url, file, { tries: 2, onProgress: (done) => void seen.push(done) }), {
          bytes: content.length, sha256: hashOf(content),
        });
        assert.equal(new Uint8Array(readFileSync(file)), content);
        goesOn(ranges);
        assert.is(seen.at(-1), content.length);
        assert.equal(readdirSync(join(folder, "deep")), ["x.pth"]);
      },
    ),
  );
});

test("a later run goes on with what an earlier one left", async () => {
  await inFolder((folder) =>
    serving(
      (response, from, n) =>
        n === 1 ? response.destroy() : send(response, content, { from, most: n === 0 ? 100_000 : Infinity }),
      async (url, ranges) => {
        const file = join(folder, "x.pth");
        await rejects(
          () => fetched(url, file, { tries: 1 }),
          /could not be downloaded: .*; 97\.7 KiB of 293\.0 KiB are kept, run it again to go on from there$/,
        );
        assert.equal(readdirSync(folder).sort(), ["x.pth.part", "x.pth.part.json"]);
        await rejects(() => fetched(url, file, { tries: 1 }), /are kept/);
        assert.is((await fetched(url, file)).sha256, hashOf(content));
        goesOn(ranges.slice(0, 2));
        assert.is(ranges[2], ranges[1]);
      },
    ),
  );
});

test("a server that ignores ranges: from the beginning, and whole", async () => {
  await inFolder((folder) =>
    serving(
      (response, _, n) => send(response, content, { most: n === 0 ? 50_000 : Infinity }),
      async (url, ranges) => {
        const notes: string[] = [];
        assert.is(
          (await fetched(url, join(folder, "x.pth"), { onNote: (note) => void notes.push(note) })).sha256,
          hashOf(content),
        );
        goesOn(ranges);
        assert.match(notes.join("\n"), /cannot go on from byte \d+, so it begins anew/);
      },
    ),
  );
});

test("a file that changed on the server is not pieced together from two", async () => {
  const newer = content.map((byte) => byte ^ 1);
  const answers: Readonly<Record<string, Answer>> = {
    // asks with If-Range, and a server that knows it sends the whole new file
    "if-range": (response, from, n, request) =>
      n === 0
        ? send(response, content, { most: 50_000, headers: { etag: '"old"' } })
        : send(response, newer, {
            from: request.headers["if-range"] === '"new"' ? from : undefined,
            headers: { etag: '"new"' },
          }),
    // one that does not sends a part of it, under a new tag, or of another size
    "tag": (response, from, n) =>
      send(response, n === 0 ? content : newer, {
        from, most: n === 0 ? 50_000 : Infinity, headers: { etag: n === 0 ? '"old"' : '"new"' },
      }),
    "size": (response, from, n) =>
      send(response, n === 0 ? content : newer.subarray(0, 200_000), { from, most: n === 0 ? 50_000 : Infinity }),
    "another range": (response, from, n) =>
      n === 1
        ? response.writeHead(206, { "content-range": "bytes 7-9/300000" }).end("abc")
        : send(response, n === 0 ? content : newer, { from, most: n === 0 ? 50_000 : Infinity }),
    "shorter now": (response, from, n) =>
      n === 1
        ? response.writeHead(416, { "content-range": "bytes */20" }).end()
        : send(response, n === 0 ? content : newer, { from, most: n === 0 ? 50_000 : Infinity }),
  };
  for (const [what, answer] of Object.entries(answers)) {
    await inFolder((folder) => serving(answer, async (url) => {
      const file = join(folder, "x.pth"), expected = what === "size" ? newer.subarray(0, 200_000) : newer;
      assert.is((await fetched(url, file)).sha256, hashOf(expected), what);
      assert.equal(new Uint8Array(readFileSync(file)), new Uint8Array(expected), what);
    }));
  }
});

test("the last byte was there already", async () => {
  await inFolder((folder) =>
    serving(
      (response, from, n) =>
        n === 0
          ? send(response, content, { from })
          : response.writeHead(416, { "content-range": `bytes */${content.length}` }).end(),
      async (url) => {
        const file = join(folder, "x.pth");
        writeFileSync(`${file}.part`, content);
        writeFileSync(`${file}.part.json`, JSON.stringify({ url, total: content.length }));
        assert.is((await fetched(url, file)).bytes, content.length);
      },
    ),
  );
});

test("a server in trouble is tried again; one that stalls is left", async () => {
  await inFolder((folder) =>
    serving(
      (response, from, n) =>
        n < 2
          ? response.writeHead(n === 0 ? 503 : 429).end()
          : n === 2
            ? response.writeHead(200, { "content-length": 10 }).write("abc")
            : send(response, content, { from }),
      async (url) => {
        const notes: string[] = [];
        assert.is(
          (await fetched(url, join(folder, "x.pth"), { stallMs: 300, onNote: (note) => void notes.push(note) })).bytes,
          content.length,
        );
        assert.match(
          notes.join("\n"), /answered 503; trying again\n.*answered 429; trying again\n.*sent nothing for 0 s/,
        );
      },
    ),
  );
});

test("two processes do not write one file; one that died does not stand in the way", async () => {
  await inFolder((folder) => serving((response, from) => send(response, content, { from }), async (url, ranges) => {
    const file = join(folder, "x.pth"), lock = `${file}.lock`;
    writeFileSync(lock, String(process.ppid));
    await rejects(
      () => fetched(url, file),
      new RegExp(`process ${process.ppid} is downloading this file already: wait for it, or remove .*x\\.pth\\.lock`),
    );
    assert.is(ranges.length, 0);
    writeFileSync(lock, "999999999");
    await fetched(url, file);
    assert.equal(readdirSync(folder), ["x.pth"]);
  }));
});

test("no file, a web page, no server: one error at once", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "x.pth");
    for (const [answer, message] of [
      [
        (response: ServerResponse) => void response.writeHead(404).end("no"),
        /x\.pth cannot be downloaded: the server answered 404: check the name/,
      ],
      [
        (response: ServerResponse) =>
          void response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end("<html>"),
        /x\.pth is a web page, no checkpoint/,
      ],
      [(response: ServerResponse) => void response.writeHead(403).end(), /answered 403/],
    ] as const)
      await serving(answer, async (url, ranges) => {
        await rejects(() => fetched(url, file), message);
        assert.is(ranges.length, 1);
      });
    let gone = "";
    await serving(() => {}, async (url) => void (gone = url));
    await rejects(
      () => fetched(gone, file),
      /cannot reach 127\.0\.0\.1:\d+ \(.*ECONNREFUSED.*\): this machine seems to be offline; behind a proxy set HTTPS_PROXY, or fetch http.*x\.pth elsewhere/,
    );
    assert.equal(readdirSync(folder), []);
  });
});

const checkpoint = pthOf(writeEntries(tinyEntries), { wrap: (dict) => ({ model: dict, epoch: 1 }) });
const env = (folder: string, url: string) => ({
  SLAB_CACHE: join(folder, "cache"), SLAB_RELEASES: url.replace("x.pth", ""),
});

test("slab pull: downloads, converts, and the name loads from then on", async () => {
  await inFolder((folder) =>
    serving(
      (response, from, _, request) =>
        request.url === "/slab_deit_tiny.pth"
          ? send(response, checkpoint, { from, most: (checkpoint.length >> 1) + 1 })
          : response.writeHead(404).end(),
      async (url, ranges) => {
        const options = { env: env(folder, url), cwd: folder }, model = join(folder, "cache", "models", "slab_deit_t");
        const before = await slab(["classify", join(samples, "cat.png"), "--model", "slab_deit_t"], options);
        assert.equal(
          [before.code, before.stderr],
          [1, "slab: slab_deit_t is not on this machine: slab pull slab_deit_t downloads it\n"],
        );
        writeFileSync(join(folder, "names.txt"), "ant\nbee\ncow\ndog\nelk\n");
        const pulled = await slab(["pull", "slab_deit_tiny.pth", "--labels", "names.txt"], options);
        assert.is(pulled.code, 0, pulled.stderr);
        assert.match(
          pulled.stdout,
          new RegExp(
            `^slab_deit_tiny\\.pth: slab_deit, 32×32, 24 channels, 2 blocks, tensors of `
              + `"model"\\nslab_deit_tiny\\.pth: .* KiB, sha256 ${hashOf(checkpoint)}, recorded now\\nslab_deit_t `
              + `is in ${model}\\n$`,
          ),
        );
        assert.match(
          pulled.stderr,
          /slab: slab_deit_t: .*; trying again\n.*slab: warning: slab_deit_tiny\.pth was recognised as a network that is none of the paper's, not slab_deit_t\n$/s,
        );
        goesOn(ranges);
        assert.equal(readdirSync(join(folder, "cache", "downloads")), ["checksums.sha256"]);
        assert.equal(
          readFileSync(join(folder, "cache", "downloads", "checksums.sha256"), "utf8"),
          `${hashOf(checkpoint)}  slab_deit_tiny.pth\n`,
        );
        const seen = await slab(
          ["classify", join(samples, "cat.png"), "--model", "slab_deit_t", "--dtype", "int8", "--json"],
          options,
        );
        assert.is(seen.code, 0, seen.stderr);
        assert.match(seen.stdout, /"label": "(ant|bee|cow|dog|elk)"/);
        assert.match((await slab(["list"], options)).stdout, /\nslab_deit_t +24 +2 +2 +32×32/);
        assert.match((await slab(["info", "slab_deit_t"], options)).stdout, /norms? folded/);
        // and by load() itself
        process.env.SLAB_CACHE = join(folder, "cache");
        const { load } = await import("../../bindings/index.ts");
        using loaded = await load("slab_deit_t", { threads: 1 });
        assert.is(loaded.config.architecture, "slab_deit");
        delete process.env.SLAB_CACHE;
        const requests = ranges.length, again = await slab(["pull", "slab_deit_t", "--json"], options);
        assert.equal(
          [JSON.parse(again.stdout), ranges.length],
          [{ name: "slab_deit_t", folder: model, downloaded: false }, requests],
        );
        const forced = await slab(["pull", "slab_deit_t", "--force", "--keep", "--json"], options);
        const { verified, sha256, downloaded } = JSON.parse(forced.stdout);
        assert.equal([verified, sha256, downloaded], ["recorded", hashOf(checkpoint), true]);
        assert.ok(existsSync(join(folder, "cache", "downloads", "slab_deit_tiny.pth")));
      },
    ),
  );
});

test("slab pull: another file than before, or than asked for, is thrown away", async () => {
  await inFolder((folder) =>
    serving(
      (response, from, n) => send(response, n === 0 ? checkpoint : pthOf([]), { from }),
      async (url) => {
        const options = { env: env(folder, url) };
        assert.is((await slab(["pull", "slab_deit_t", "--sha256", hashOf(checkpoint).toUpperCase()], options)).code, 0);
        const changed = await slab(["pull", "slab_deit_t", "--force"], options);
        assert.is(changed.code, 1);
        assert.match(
          changed.stderr,
          /^slab: slab_deit_tiny\.pth has the sha256 [0-9a-f]{64}, expected [0-9a-f]{64}, as .*checksums\.sha256 has it from its first download; .*: the download was thrown away\n$/,
        );
        assert.equal(readdirSync(join(folder, "cache", "downloads")), ["checksums.sha256"]);
        // the model that was there still is
        assert.ok(existsSync(join(folder, "cache", "models", "slab_deit_t", "model.safetensors")));
        const given = await slab(["pull", "slab_deit_s", "--sha256", "0".repeat(64)], options);
        assert.match(given.stderr, /expected 0{64}, as --sha256 says: the download was thrown away/);
      },
    ),
  );
});

test("slab pull: what cannot be converted is kept, and says why", async () => {
  await inFolder((folder) => serving((response) => void response.end("MSCKPT"), async (url) => {
    const { code, stderr } = await slab(["pull", "slab_cswin_t"], { env: env(folder, url) });
    assert.is(code, 1);
    assert.match(stderr, /slab_cswin_tiny\.pth has 6 bytes, too few for a safetensors file/);
    assert.ok(existsSync(join(folder, "cache", "downloads", "slab_cswin_tiny.pth")));
    assert.equal(existsSync(join(folder, "cache", "models", "slab_cswin_t")), false);
  }));
});

test("slab pull goes through a proxy", async () => {
  let tunnels = 0;
  const sockets: Socket[] = [];
  const proxy = createServer().on("connect", (request, socket: Socket) => {
    tunnels++;
    const [host, port] = request.url!.split(":");
    const onward = connect(Number(port), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      onward.pipe(socket).pipe(onward);
    });
    for (const end of [socket, onward]) end.on("error", () => {});
    sockets.push(socket, onward);
  });
  await inFolder((folder) =>
    serving(
      (response, from) => send(response, checkpoint, { from }),
      (url) =>
        listening(proxy, async (port) => {
          const { code, stderr } = await slab(["pull", "slab_deit_t"], {
            env: { ...env(folder, url), HTTP_PROXY: `http://127.0.0.1:${port}`, NO_PROXY: "" },
          });
          for (const socket of sockets) socket.destroy();
          assert.is(code, 0, stderr);
          assert.ok(tunnels > 0);
        }),
    ),
  );
});

test("slab pull says what it takes", async () => {
  const { code, stdout } = await slab(["pull", "--json"], { env: { SLAB_CACHE: "/nowhere" } });
  assert.is(code, 0);
  assert.is(JSON.parse(stdout).releases.length, 12);
  for (const [args, message] of [
    [["slab_diet_t"], /no release is called "slab_diet_t": did you mean slab_deit_t\?/],
    [["a", "b"], /one checkpoint at a time/],
    [["slab_deit_t", "--sha256", "12"], /--sha256 is "12", expected 64/],
    [["slab_deit_t", "--from", "ftp://x"], /"ftp:\/\/x" is no place to download from/],
  ] as const) {
    const ran = await slab(["pull", ...args], { env: { SLAB_CACHE: "/nowhere" } });
    assert.is(ran.code, 1);
    assert.match(ran.stderr, message);
  }
});

test.run();
