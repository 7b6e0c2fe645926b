#!/usr/bin/env node
// The command line: results on stdout, progress and errors on stderr, exit code 0, or 1 with one line that says how to
// mend it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { quote } from "../bindings/checkpoint/names.ts";
import { didYouMean, packageRoot } from "./options.ts";
import { complain, out } from "./report.ts";
import { styled } from "./terminal.ts";

interface Command {
  readonly summary: string;
  run(args: readonly string[]): Promise<void>;
}

// each is loaded when it is called
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  bench: () => import("./bench.ts"),
  classify: () => import("./classify.ts"),
  convert: () => import("./convert.ts"),
  eval: () => import("./eval.ts"),
  generate: () => import("./generate.ts"),
  info: () => import("./info.ts"),
  list: () => import("./list.ts"),
  pack: () => import("./pack.ts"),
  pull: () => import("./pull.ts"),
  quality: () => import("./quality.ts"),
};

/** Columns of what is typed. */
const CALL = "slab COMMAND --help".length;

async function help(): Promise<void> {
  const row = (call: string, text: string): string => `  ${styled("cyan", call.padEnd(CALL))}  ${text}`;
  const commands = Object.entries(COMMANDS).map(async ([name, load]) => row(`slab ${name}`, (await load()).summary));
  const lines = await Promise.all(commands);
  out(`${styled("bold", "slab")}: linear-attention models on ordinary CPUs\n\n${lines.join("\n")}\n
${row("slab COMMAND --help", "what a command takes")}
${row("slab --version", "the version")}

Where the package is not installed globally, npx slab-wasm COMMAND does the same.
All commands take --json (one document on stdout) and --quiet. NO_COLOR and FORCE_COLOR are heeded.
SLAB_DEBUG=1 shows where an error came from.`);
}

async function main([name, ...rest]: readonly string[]): Promise<void> {
  if (name === undefined || name === "--help" || name === "-h") return help();
  if (name === "--version" || name === "-v" || name === "-V")
    return out(JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")).version);
  if (name === "help") return rest[0] === undefined ? help() : main([rest[0], "--help"]);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name]! : undefined;
  if (!command) {
    const what = name.startsWith("-") ? "option" : "command";
    const names = what === "option" ? ["help", "version"] : Object.keys(COMMANDS);
    throw new RangeError(
      `there is no ${what} ${quote(name)}: `
        + `${didYouMean(name.replace(/^-+/, ""), names, what === "option" ? "--" : "slab ") ?? "see slab --help"}`,
    );
  }
  await (await command()).run(rest);
}

// a reader that has seen enough, such as head, is no error
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit();
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  complain(error);
  process.exitCode = 1;
}
