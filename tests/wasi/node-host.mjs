// Runs a WASI command in node:wasi: node-host.mjs MODULE [argument ...], with the working directory open as ".".
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [module, ...args] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1", args: ["slab-wasi", ...args], preopens: { ".": "." }, returnOnExit: true,
});
process.exitCode = wasi.start(
  new WebAssembly.Instance(new WebAssembly.Module(readFileSync(module)), wasi.getImportObject()),
);
