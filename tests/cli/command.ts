// Runs the built commands as a user does: as a child process, its output through pipes.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));
export const samples = join(root, "models", "samples");

export const COMMANDS = ["bench", "classify", "convert", "eval", "generate", "info", "list", "pack", "pull", "quality"];

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly input?: Uint8Array | string;
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Closes the reading end of stdout at once, as `| true` does. */
  readonly deaf?: boolean;
}

export function runScript(
  script: string, args: readonly string[], { input, cwd = root, env, deaf }: RunOptions = {},
): Promise<Ran> {
  const file = join(root, "dist", "js", "node", script);
  if (!existsSync(file)) throw new Error(`dist/js/node/${script} is missing: run npm run build`);
  return new Promise((resolve, reject) => {
    // uvu sets FORCE_COLOR, and Node warns of it beside NO_COLOR
    const { FORCE_COLOR, NO_COLOR, ...inherited } = process.env;
    const child = spawn(process.execPath, [file, ...args], { cwd, env: { ...inherited, SLAB_DEBUG: "", ...env } });
    let stdout = "", stderr = "";
    if (deaf) child.stdout.destroy();
    else child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    child.stdin.on("error", () => {});
    child.stdin.end(input);
  });
}

export const slab = (args: readonly string[], options?: RunOptions): Promise<Ran> =>
  runScript("slab.js", args, options);

export interface Terminal {
  readonly columns: number;
  readonly env?: Record<string, string>;
  /** Ends what is typed; until then standard input waits. */
  readonly typed?: string;
}

/** Why no terminal can be had here, or undefined. */
export const noTerminal = ((): string | undefined => {
  if (process.platform !== "linux") return "the command script takes other options here";
  return spawnSync("script", ["--version"]).status === 0 ? undefined : "the command script is missing";
})();

/** What a command shows on a terminal, standard error and what is drawn over included. */
export function onTerminal(args: readonly string[], { columns, env, typed }: Terminal): Promise<string> {
  const command = [process.execPath, join(root, "dist", "js", "node", "slab.js"), ...args];
  const quoted = command.map((arg) => `'${arg}'`).join(" ");
  const { FORCE_COLOR, NO_COLOR, CI, ...inherited } = process.env;
  const child = spawn("script", ["-qec", `stty cols ${columns} rows 40; ${quoted}`, "/dev/null"], {
    cwd: root, env: { ...inherited, SLAB_DEBUG: "", TERM: "xterm-256color", ...env },
  });
  let text = "";
  return new Promise((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
      // Ctrl-D, once it is waited for
      if (typed !== undefined && /Ctrl-D/.test(piece)) child.stdin.write(`${typed}\x04`);
    });
    child.on("error", reject);
    child.on("close", () => resolve(text.replace(/\r\n/g, "\n")));
  });
}

/** A folder that is gone when `use` is done. */
export async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "slab-cli-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
