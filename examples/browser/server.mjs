// Serves the page, the built package and the pretrained models of this clone. Options: --port N,
// --isolated (threads need it).
import { createReadStream, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const here = fileURLToPath(new URL(".", import.meta.url)), clone = join(here, "..", "..");
/** First part of a path → the folder it stands for; anything else is a file of this folder. */
const FOLDERS = new Map([
  ["slab-wasm", join(clone, "dist")],
  ["models", join(clone, "models", "pretrained")],
  ["samples", join(clone, "models", "samples")],
]);
const TYPES = {
  ".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".json": "application/json",
  ".wasm": "application/wasm",
  ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".svg": "image/svg+xml",
};
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/** The file that a request means; undefined for an address that is none. */
function fileOf(address) {
  let path;
  try {
    path = normalize(decodeURIComponent(new URL(address, "http://localhost").pathname));
  } catch {
    return undefined;
  }
  const [, first = "", ...rest] = path.split("/"), folder = FOLDERS.get(first);
  return folder ? join(folder, ...rest) : join(here, path === "/" ? "index.html" : path);
}

/** Undefined where there is no file, or where its name is none, such as one with a zero in it. */
function infoOf(file) {
  try {
    const info = statSync(file, { throwIfNoEntry: false });
    return info?.isFile() ? info : undefined;
  } catch {
    return undefined;
  }
}

/** @returns {Promise<{ url: string, close(): void }>} */
export async function serve({ port = 8080, isolated = false } = {}) {
  const server = createServer((request, response) => {
    const file = fileOf(request.url ?? "/"), info = file && infoOf(file);
    const headers = {
      "content-security-policy": "script-src 'self' 'wasm-unsafe-eval'", ...(isolated ? ISOLATION : {}),
    };
    if (!file || !info) return response.writeHead(404, headers).end();
    const [from, to] = (/^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? []).slice(1);
    const begin = Number(from ?? 0), end = Math.min(to ? Number(to) + 1 : info.size, info.size);
    if (begin > end) return response.writeHead(416, headers).end();
    response.writeHead(from === undefined ? 200 : 206, {
      ...headers, "content-type": TYPES[extname(file)] ?? "application/octet-stream", "content-length": end - begin,
      "accept-ranges": "bytes",
      ...(from === undefined ? {} : { "content-range": `bytes ${begin}-${end - 1}/${info.size}` }),
      "etag": `"${info.size}-${info.mtimeMs}"`,
    });
    if (begin === end) return response.end();
    createReadStream(file, { start: begin, end: end - 1 }).on("error", () => response.destroy()).pipe(response);
  });
  await new Promise(
    (resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", () => resolve(undefined)),
  );
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { url: `http://localhost:${address.port}/`, close: () => void (server.closeAllConnections(), server.close()) };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: { port: { type: "string", default: "8080" }, isolated: { type: "boolean", default: false } },
  });
  try {
    const { url } = await serve({ port: Number(values.port), isolated: values.isolated });
    console.log(`${url}${values.isolated ? "  (cross-origin isolated: threads are on)" : ""}`);
  } catch (error) {
    const reasons = { EADDRINUSE: "in use", EACCES: "not for everyone", ERR_SOCKET_BAD_PORT: "none" };
    const why = reasons[error.code] ?? error.message;
    console.error(`port ${values.port} is ${why}: give another, npm start -- --port N`);
    process.exitCode = 1;
  }
}
