// examples/deno on the Deno that npm installs, as its deno.json starts it.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { root } from "./worker.ts";

const deno = join(root, "tests/platforms/node_modules/deno/bin.cjs"), { CI, SLAB_AGAIN } = process.env;
const why =
  SLAB_AGAIN ?? (existsSync(deno) ? undefined : "deno is not installed: npm install --prefix tests/platforms");
const skip = SLAB_AGAIN !== undefined || (why !== undefined && !CI);
if (skip) console.log(`skipped: examples/deno: ${why}`);

(skip ? test.skip : test)("the server classifies, completes, and says what was wrong", async () => {
  if (why) throw new Error(why);
  const { FORCE_COLOR, ...env } = process.env;
  const child = spawn(process.execPath, [deno, "task", "start", "0"], {
    cwd: join(root, "examples/deno"), env: { ...env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    detached: process.platform !== "win32", stdio: ["ignore", "pipe", "pipe"],
  });
  const end = (): void => void (process.platform === "win32" ? child.kill() : process.kill(-child.pid!, "SIGKILL"));
  process.once("exit", end);
  try {
    let output = "";
    const url = await new Promise<string>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => {
        const port = /Listening on \S+:(\d+)/.exec((output += text))?.[1];
        if (port) resolve(`http://127.0.0.1:${port}`);
      });
      child.on("error", reject);
      child.on("close", () => reject(new Error(`the server ended:\n${output}`)));
    });
    const post = (path: string, body: BodyInit, init: RequestInit = {}): Promise<Response> =>
      fetch(url + path, { method: "POST", body, ...init });

    const labels = (await (await post("/classify", readFileSync(join(root, "models/samples/cat.png")))).json()) as {
      label: string;
    }[];
    assert.is(labels[0]!.label, "cat");
    const story = await post("/complete", "It was a dark and stormy");
    assert.ok((await story.text()).length > 100);

    // a reader that goes away ends the story, and the server goes on
    const stop = new AbortController(), left = await post("/complete", "It was", { signal: stop.signal });
    await left.body!.getReader().read();
    stop.abort();
    assert.is((await (await post("/complete", "")).text()).length > 0, true);

    const wrong = await post("/classify", "no picture");
    assert.is(wrong.status, 400);
    assert.match((await wrong.json() as { error: string }).error, /expected PNG, JPEG or WebP/);
    assert.is((await fetch(url)).status, 404);
  } finally {
    process.off("exit", end);
    end();
  }
});

test.run();
