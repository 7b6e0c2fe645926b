// WebKitGTK's MiniBrowser through its WebDriver, which no driver from npm speaks to: a page is opened, and what it
// leaves is waited for.
// @ts-check
import { spawn, spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { setTimeout } from "node:timers/promises";

const { stdout: browser } = spawnSync(
  "sh",
  ["-c", "ls /usr/lib/*/webkit2gtk-4.*/MiniBrowser /usr/libexec/webkit2gtk-4.*/MiniBrowser 2>/dev/null | head -n 1"],
  { encoding: "utf8" },
);

/** Why it cannot be tested here. */
export function webkitMissing() {
  const lacking = ["WebKitWebDriver", "xvfb-run"].filter(
    (name) => spawnSync("sh", ["-c", `command -v ${name}`]).status !== 0,
  );
  return lacking.length > 0 || !browser.trim()
    ? `${lacking[0] ?? "MiniBrowser"} is not installed: apt-get install webkit2gtk-driver xvfb xauth`
    : undefined;
}

/** A port that nobody listens on. */
async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Opens `url` and waits until `expression` is there. @param {string} url @param {string} expression @param {number}
 * timeoutMs
 */
export async function webkit(url, expression, timeoutMs) {
  const port = await freePort(), end = performance.now() + timeoutMs;
  const driver = spawn("xvfb-run", ["-a", "WebKitWebDriver", `--port=${port}`], { stdio: "ignore", detached: true });
  /** @param {string} method @param {string} path @param {object} [body] */
  const ask = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method, ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const { value } = /** @type {any} */ (await response.json());
    if (!response.ok) throw new Error(`WebKitWebDriver: ${value?.message ?? response.status}`);
    return value;
  };
  try {
    while (!(await ask("GET", "/status").catch(() => undefined))) {
      if (performance.now() > end) throw new Error("WebKitWebDriver did not start");
      await setTimeout(100);
    }
    const { sessionId } = await ask("POST", "/session", {
      capabilities: { alwaysMatch: { "webkitgtk:browserOptions": { binary: browser.trim(), args: ["--automation"] } } },
    });
    try {
      await ask("POST", `/session/${sessionId}/url`, { url });
      for (;;) {
        const value = await ask("POST", `/session/${sessionId}/execute/sync`, {
          script: `return ${expression} ?? null`, args: [],
        });
        if (value !== null) return value;
        if (performance.now() > end) throw new Error(`${url} has no ${expression} after ${timeoutMs / 1000} s`);
        await setTimeout(200);
      }
    } finally {
      await ask("DELETE", `/session/${sessionId}`).catch(() => {});
    }
  } finally {
    process.kill(-(/** @type {number} */ (driver.pid)), "SIGTERM");
  }
}
