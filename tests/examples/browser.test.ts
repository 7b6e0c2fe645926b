// The server of examples/browser: what it serves, and addresses that no file has. Its page is tests/platforms/page.mjs.
import { spawnSync } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { serve } from "../../examples/browser/server.mjs";
import { root } from "./worker.ts";

/** The status of an answer to an address as it is, which fetch would tidy up. */
function statusOf(port: number, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "localhost");
    let text = "";
    socket.on("error", reject).on("data", (piece) => (text += piece));
    socket.on("close", () => resolve(Number(text.split(" ")[1])));
    socket.write(`GET ${address} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`);
  });
}

test("serves the page, the package and the models, and nothing else", async () => {
  const server = await serve({ port: 0 }), port = Number(new URL(server.url).port);
  try {
    const model = "/models/slab-deit-cifar10/config.json";
    for (const address of ["/", "/app.js", "/slab-wasm/js/browser/index.js", model, "/samples/cat.png"]) {
      assert.equal([address, await statusOf(port, address)], [address, 200]);
    }
    const strange = [
      "/constructor/x", "/constructor", "/__proto__/x", "/toString/../x", "/%00", "/models/%00", "/%", "//", "*",
      "/models", "/samples/", "/server.mjs/x", `/${"a".repeat(5000)}`,
      "/../AGENTS.md", "/..%2fAGENTS.md", "/models/..%2f..%2fAGENTS.md", `/models/${"..%2f".repeat(9)}etc/passwd`,
    ];
    for (const address of strange) assert.equal([address, await statusOf(port, address)], [address, 404]);
    assert.is(await statusOf(port, "/"), 200);
  } finally {
    server.close();
  }
});

test("a port that is in use is one sentence", async () => {
  const server = await serve({ port: 0 }), { port } = new URL(server.url);
  try {
    const args = [join(root, "examples/browser/server.mjs"), "--port", port];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
    assert.equal([status, stdout, stderr], [1, "", `port ${port} is in use: give another, npm start -- --port N\n`]);
  } finally {
    server.close();
  }
});

test.run();
