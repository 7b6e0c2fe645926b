// What a server may answer: a script of answers, in which everything may be a lie, told by a server on this machine.
import { rmSync } from "node:fs";
import type { AddressInfo, Server, Socket } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { load } from "../../../bindings/index.ts";
import { download } from "../../../cli/download.ts";
import { tinyConfig, tinyFile, tinyPixels } from "../../bindings/tiny.ts";
import { mutate, mutateJson, pick, utf8 } from "../mutate.ts";
import type { Target } from "../target.ts";

/** One answer; the last of a script is given to all requests that follow. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  /** Of the file, from `from`: how many bytes are sent, whatever the headers say. */
  readonly from?: number;
  readonly bytes?: number;
  readonly chunked?: boolean;
}
interface Script {
  /** Answers to requests of each file; "*" is any other. */
  readonly [path: string]: readonly Answer[];
}

const FILES: Readonly<Record<string, Uint8Array>> = {
  "config.json": utf8.encode(JSON.stringify(tinyConfig)), "model.safetensors": tinyFile,
};
const length = tinyFile.length;
const absent: Answer = { status: 404, headers: { "content-length": 0 }, bytes: 0 };
const config: Answer = { status: 200, headers: { "content-length": FILES["config.json"]!.length } };

const wholeRange = `bytes 0-${length - 1}/${length}`;

/** What a server says of ranges, sizes, versions and places. */
const scripts: readonly Script[] = [
  { "config.json": [config], "model.safetensors": [{ status: 200, headers: { "content-length": length } }],
  "*": [absent] },
  {
    "config.json": [config], "*": [absent],
    "model.safetensors": [
      { status: 206, headers: { "content-length": length, "content-range": wholeRange, etag: '"1"' } },
    ],
  },
  {
    "config.json": [config], "*": [absent],
    "model.safetensors": [
      { status: 206, headers: { "content-length": 5000, "content-range": `bytes 0-4999/${length}`, etag: '"1"',
        "last-modified": "Mon, 01 Jan 2024 00:00:00 GMT" }, bytes: 5000 },
      { status: 206, headers: { "content-length": length - 5000, "content-range": `bytes 5000-${length - 1}/${length}`,
        etag: '"1"' }, from: 5000 },
    ],
  },
  {
    "config.json": [config], "*": [absent],
    "model.safetensors": [{ status: 302, headers: { location: "/other.safetensors", "content-length": 0 }, bytes: 0 }],
    "other.safetensors": [{ status: 200, headers: { "transfer-encoding": "chunked" }, chunked: true }],
  },
  {
    "config.json": [config], "*": [absent],
    "model.safetensors": [
      { status: 416, headers: { "content-range": `bytes */${length}`, "content-length": 0 }, bytes: 0 },
      { status: 200, headers: { "content-length": length } },
    ],
  },
];

const values = [
  "200", "204", "206", "301", "302", "304", "307", "401", "403", "404", "416", "429", "500", "503", "100", "999",
  String(length), String(length - 1), String(length + 1),
  `"bytes 0-${length - 1}/${length}"`, `"bytes 0-0/${length}"`, `"bytes 5-9/${length}"`, '"bytes */0"', '"bytes 0-9/*"',
  '"bytes 9-0/10"', '"bytes 0-8999999999999/9000000000000"', '"W/\\"1\\""', '"\\"2\\""',
  '"gzip"', '"br"', '"identity"', '"chunked"', '"text/html"', '"/model.safetensors"', '"http://127.0.0.1:1/x"',
  '"http://["', '"file:///etc/passwd"', '"//"', "true",
  '{"location":"/model.safetensors"}', '{"content-encoding":"gzip"}',
  '{"transfer-encoding":"chunked","content-length":5}', '{"content-length":9007199254740993}',
    '{"content-length":-1}',
];

const FETCH_ASSERTS = Number.parseInt(process.versions.node) >= 24;
let script: Script = {};
let asked: Record<string, number> = {};
let requests = 0;
let server: Promise<Server> | undefined;
const sockets = new Set<Socket>();

/** What is no number is 0. */
const numeric = (value: unknown): number => (typeof value === "number" ? Math.max(value, 0) : 0);
/** What is no text or number is sent as its kind. */
const inWords = (value: unknown): string => (typeof value === "object" ? "an object" : String(value).slice(0, 2000));
const listed = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};

/** An answer as it goes over the wire, and the end of the connection. */
function answer(socket: Socket, head: string): void {
  const path = /^GET \/([^ ?]*)/.exec(head)?.[1] ?? "", count = asked[path] ?? 0;
  asked[path] = count + 1;
  const given = Object.hasOwn(script, path) ? script[path] : listed(script)["*"];
  const list = Array.isArray(given) ? given : [given], next = list[Math.min(count, list.length - 1)];
  // a server that leads on for ever is the same after forty
  const { status = 404, headers, from = 0, bytes = Infinity, chunked } = listed(++requests > 40 ? absent : next);
  const file = Object.hasOwn(FILES, path) ? FILES[path]! : tinyFile;
  const at = numeric(from), most = Math.min(numeric(bytes), 1 << 20);
  const body = file.subarray(at, at + most);
  const lines = Object.entries(listed(headers)).map(([name, value]) => `${name}: ${inWords(value)}`);
  const said = [`HTTP/1.1 ${inWords(status)} x`, ...lines, "connection: close", "", ""].join("\r\n");
  socket.write(Buffer.from(said, "latin1"));
  if (chunked === true) socket.write(`${body.length.toString(16)}\r\n`);
  socket.write(body);
  if (chunked === true) socket.write("\r\n0\r\n\r\n");
  // fetch of Node 24 ends the process by an assertion where the connection ends before its reader has caught up
  setTimeout(() => socket.end(), FETCH_ASSERTS ? 100 : 0);
}

async function started(): Promise<number> {
  server ??= new Promise((resolve) => {
    const made = createServer((socket) => {
      sockets.add(socket);
      let head = "";
      socket.on("data", (chunk) => {
        if (head.includes("\r\n\r\n")) return;
        head += chunk.toString("latin1");
        if (head.includes("\r\n\r\n")) answer(socket, head);
      }).on("error", () => {}).on("close", () => void sockets.delete(socket));
    });
    made.listen(0, "127.0.0.1", () => resolve(made));
  });
  return ((await server).address() as AddressInfo).port;
}

/** Runs `use` against a server that follows the script, if it is one. */
async function following(bytes: Uint8Array, use: (base: string) => Promise<void>): Promise<void> {
  try {
    script = listed(JSON.parse(new TextDecoder().decode(bytes))) as unknown as Script;
  } catch {
    throw new TypeError("the script is not JSON");
  }
  [asked, requests] = [{}, 0];
  await use(`http://127.0.0.1:${await started()}/`);
}

async function close(): Promise<void> {
  const open = server;
  server = undefined;
  sockets.forEach((socket) => socket.destroy());
  (await open)?.close();
}

const common: Pick<Target, "seeds" | "mutate" | "close"> = {
  seeds: async () => scripts.map((each) => utf8.encode(JSON.stringify(each))),
  mutate(seeds, random) {
    const seed = pick(seeds, random);
    if (random(8) === 0) return mutate(seed, random, [], seeds);
    return utf8.encode(mutateJson(new TextDecoder().decode(seed), random, values));
  },
  close,
};

const http: Target = {
  ...common,
  name: "http",
  share: 0.5,
  ours: /^(the script|cannot read http:|http:|"[^\n]*" (in http|has|holds)|what http|model\.safetensors\.index\.json)/,
  read: (bytes) => following(bytes, async (base) => {
    using model = await load(base, { threads: 1, build: "simd" });
    await model.forward(tinyPixels);
  }),
};

const file = join(tmpdir(), `slab-fuzz-${process.pid}.safetensors`);

const downloads: Target = {
  ...common,
  name: "download",
  share: 0.3,
  ours: /^(the script|cannot reach|http:\/\/127)/,
  read: (bytes) => following(bytes, async (base) => {
    try {
      await download(`${base}model.safetensors`, file, { tries: 2, waitMs: 1, stallMs: 900 });
    } finally {
      for (const end of ["", ".part", ".part.json", ".lock"]) rmSync(`${file}${end}`, { force: true });
    }
  }),
};

export const servers: readonly Target[] = [http, downloads];
