// WASI hosts, each made by others than the next: Node's own, a shim in JavaScript for browsers, and Wasmtime, which has
// no JavaScript at all.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { File, OpenFile, PreopenDirectory, WASI } from "@bjorn3/browser_wasi_shim";

export interface Ran {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

type Module = "slab-wasi" | "slab-wasi-relaxed";

export interface Host {
  readonly name: string;
  /** Runs the command with `folder` open as "."; throws when the program traps. */
  run(args: readonly string[], options: { folder: string; stdin?: Uint8Array | string; module?: Module }): Ran;
}

function pathOf(module: Module): string {
  const path = fileURLToPath(new URL(`../../dist/${module}.wasm`, import.meta.url));
  if (!existsSync(path)) throw new Error(`dist/${module}.wasm is missing: run npm run build`);
  return path;
}

/** A host that is a program of its own: `command`, then the module and its arguments. */
function separate(command: readonly string[], script: string, env: NodeJS.ProcessEnv = process.env): Host["run"] {
  const host = fileURLToPath(new URL(script, import.meta.url));
  return (args, { folder, stdin = "", module = "slab-wasi" }) => {
    const { status, signal, stdout, stderr } = spawnSync(
      command[0]!,
      [...command.slice(1), host, pathOf(module), ...args],
      { cwd: folder, input: stdin, env, maxBuffer: 1 << 26, timeout: 60_000 },
    );
    const errors = stderr.toString();
    if (status === null || /RuntimeError|Traceback/.test(errors))
      throw new Error(`${script}: ${errors || `ended by ${signal}`}`);
    return { code: status, stdout, stderr: errors };
  };
}

// before Node 24, node:wasi may collect garbage in the middle of a fast call from WebAssembly, and one run in forty
// crashes (nodejs/node#46777)
const safeCalls = Number.parseInt(process.versions.node) < 24 ? ["--no-turbo-fast-api-calls"] : [];

// a process each: node:wasi keeps what it opens
export const node: Host = {
  name: `node:wasi of Node ${process.versions.node}`,
  run: separate([process.execPath, "--no-warnings", ...safeCalls], "./node-host.mjs"),
};

const compiled = new Map<Module, WebAssembly.Module>();

/** Runs the command in this process, with these files in ".". */
export function runInShim(
  args: readonly string[], files: Readonly<Record<string, Uint8Array>>, stdin: Uint8Array | string = "",
  module: Module = "slab-wasi",
): Ran {
  if (!compiled.has(module)) compiled.set(module, new WebAssembly.Module(readFileSync(pathOf(module))));
  const [input, output, errors] = [new File(Buffer.from(stdin)), new File([]), new File([])];
  const folder = new PreopenDirectory(
    ".", new Map(Object.entries(files).map(([name, bytes]) => [name, new File(bytes)])),
  );
  const wasi = new WASI(
    ["slab-wasi", ...args],
    [],
    [new OpenFile(input), new OpenFile(output), new OpenFile(errors), folder],
    { debug: false },
  );
  const instance = new WebAssembly.Instance(compiled.get(module)!, { wasi_snapshot_preview1: wasi.wasiImport });
  const code = wasi.start(instance as Parameters<typeof wasi.start>[0]);
  return { code, stdout: Buffer.from(output.data), stderr: Buffer.from(errors.data).toString() };
}

const browserShim: Host = {
  name: "@bjorn3/browser_wasi_shim",
  run(args, { folder, stdin, module }) {
    const names = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name);
    return runInShim(
      args, Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))])), stdin, module,
    );
  },
};

const python = { ...process.env, PYTHONPATH: fileURLToPath(new URL("../platforms/python", import.meta.url)) };
const version = spawnSync(
  "python3",
  ["-c", "import wasmtime; from importlib.metadata import version; print(version('wasmtime'))"],
  { encoding: "utf8", env: python },
);

// neither npm nor apt has it, so it is a host only where somebody has put it: python3 -m pip install --target
// tests/platforms/python wasmtime
const wasmtime: Host = {
  name: `Wasmtime ${version.stdout?.trim()}`,
  run: separate(["python3"], "./wasmtime-host.py", python),
};

export const hosts: readonly Host[] = [node, browserShim, ...(version.status === 0 ? [wasmtime] : [])];
