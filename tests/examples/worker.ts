// Runs examples/cloudflare-worker as a user does, in a copy: npm's links by hand, then its own start.mjs, in the real
// workerd.
import type { ChildProcess } from "node:child_process";
import { spawn, spawnSync } from "node:child_process";
import {
  cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
const platforms = join(root, "tests/platforms/node_modules");
/** node_modules of the copy, by what they link to. */
const LINKS = {
  "slab-wasm": root, "esbuild": join(root, "node_modules/esbuild"), "miniflare": join(platforms, "miniflare"),
  ".bin/slab": join(root, "dist/js/node/slab.js"),
};

/** Why the example cannot run here, or undefined. */
export function cannotRun(): string | undefined {
  if (process.platform === "win32") return "the test kills groups of processes, which Windows has not";
  if (!existsSync(LINKS.miniflare)) return "miniflare is not installed: npm install --prefix tests/platforms";
  if (!existsSync(join(root, "dist/js/workerd/index.js"))) return "dist/js/workerd is missing: npm run build";
  return undefined;
}

/** A copy of the example beside a link to the models; remove() deletes it. */
export function copyExample(): { folder: string; remove(): void } {
  const base = mkdtempSync(join(tmpdir(), "slab-worker-")), folder = join(base, "examples/cloudflare-worker");
  cpSync(join(root, "examples/cloudflare-worker"), folder, {
    recursive: true, filter: (path) => !/[\\/](node_modules|assets|dist|\.state|\.wrangler)$/.test(path),
  });
  mkdirSync(join(folder, "node_modules/.bin"), { recursive: true });
  for (const [name, target] of Object.entries(LINKS))
    symlinkSync(realpathSync(target), join(folder, "node_modules", name));
  symlinkSync(join(root, "models"), join(base, "models"));
  return { folder, remove: () => rmSync(base, { recursive: true, force: true }) };
}

export interface Worker {
  readonly url: string;
  /** Of workerd: CPU time so far, and memory; NaN where there is no /proc. */
  usage(): { cpuMs: number; residentBytes: number };
  /** At once, whatever it is doing. */
  kill(): Promise<void>;
}

const running = new Set<ChildProcess>();
process.once("exit", () => running.forEach((child) => killGroup(child)));

function killGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

export async function startWorker(
  folder: string, state: string, vars: Readonly<Record<string, string | number>> = {},
): Promise<Worker> {
  const { FORCE_COLOR, ...env } = process.env;
  const given = Object.entries(vars).flatMap(([name, value]) => ["--var", `${name}=${value}`]);
  const child = spawn(process.execPath, ["start.mjs", "--port", "0", "--state", state, ...given], {
    cwd: folder, env, detached: true, stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  let output = "";
  const closed = new Promise<void>((resolve) => child.on("close", () => {
    running.delete(child);
    resolve();
  }));
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-20_000);
      const found = /listening on (http\S+)/.exec(output)?.[1];
      if (found) resolve(found.replace(/\/$/, ""));
    });
    child.on("error", reject);
    void closed.then(() => reject(new Error(`the worker ended before it listened:\n${output}`)));
  });
  const workerd = childrenOf(child.pid!).find((pid) => /workerd/.test(readFileSync(`/proc/${pid}/cmdline`, "utf8")));
  return {
    url,
    usage() {
      if (workerd === undefined) return { cpuMs: NaN, residentBytes: NaN };
      // after the name in brackets: utime and stime are the 12th and 13th, in hundredths of a second; pages of memory
      // the 22nd
      const fields = readFileSync(`/proc/${workerd}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
      return { cpuMs: 10 * (Number(fields[11]) + Number(fields[12])), residentBytes: 4096 * Number(fields[21]) };
    },
    async kill() {
      killGroup(child);
      await closed;
    },
  };
}

/** start.mjs to its end, which comes at once when it cannot start. */
export function runStart(folder: string, args: readonly string[]): { code: number | null; output: string } {
  const { FORCE_COLOR, ...env } = process.env;
  const options = { cwd: folder, env, encoding: "utf8", timeout: 60_000 } as const;
  const run = spawnSync(process.execPath, ["start.mjs", ...args], options);
  return { code: run.status, output: run.stdout + run.stderr };
}

function childrenOf(parent: number): string[] {
  if (!existsSync("/proc/self/stat")) return [];
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ")[1] === String(parent);
    } catch {
      // it has just ended
      return false;
    }
  });
}
