// A file server for the browser tests: ranges, tags, and the headers of isolation below /isolated/. It can be told to
// misbehave.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { readFileSync, statSync } from "node:fs";
import { join, normalize } from "node:path";

const TYPES = {
  html: "text/html", js: "text/javascript", mjs: "text/javascript", json: "application/json", wasm: "application/wasm",
};
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/**
 * @param {Record<string, string>} roots  first part of a path, "models", to the folder that it stands for
 * @param {(request: { path: string, range?: string }) => undefined | { status?: number, cutAfter?: number, delayMs?:
 *        number, tag?: string }} [trouble]
 */
export async function serve(roots, trouble = () => undefined) {
  /** @type {{ path: string, range?: string }[]} */
  const requests = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    const isolated = url.pathname.startsWith("/isolated/");
    const path = normalize(decodeURIComponent(url.pathname)).replace(/^\/(isolated|plain)/, "");
    const [, first = "", ...rest] = path.split("/");
    const { range } = request.headers;
    requests.push({ path, ...(range ? { range } : {}) });
    const odd = trouble({ path, range }) ?? {};
    const headers = { "cache-control": "no-store", ...(isolated ? ISOLATION : {}) };
    const file = roots[first] && join(roots[first], ...rest);
    if (odd.status || !file || !statSync(file, { throwIfNoEntry: false })?.isFile()) {
      response.writeHead(odd.status ?? 404, headers).end();
      return;
    }
    const bytes = readFileSync(file), extension = /\.(\w+)$/.exec(file)?.[1] ?? "";
    const tag = odd.tag ?? `"${createHash("sha1").update(bytes).digest("hex").slice(0, 16)}"`;
    Object.assign(headers, {
      "content-type": TYPES[extension] ?? "application/octet-stream", "accept-ranges": "bytes", "etag": tag,
    });
    const [from, to] = (/^bytes=(\d+)-(\d*)$/.exec(range ?? "") ?? []).slice(1);
    const begin = Number(from ?? 0), end = Math.min(to ? Number(to) + 1 : bytes.length, bytes.length);
    if (range) Object.assign(headers, { "content-range": `bytes ${begin}-${end - 1}/${bytes.length}` });
    response.writeHead(range ? 206 : 200, { ...headers, "content-length": end - begin });
    const body = bytes.subarray(begin, end);
    const send = () => {
      if (odd.cutAfter === undefined || odd.cutAfter >= body.length) response.end(body);
      else response.write(body.subarray(0, odd.cutAfter), () => response.destroy());
    };
    if (odd.delayMs) setTimeout(send, odd.delayMs);
    else send();
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    origin: `http://localhost:${port}`,
    port,
    requests,
    close: () => new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    }),
  };
}
