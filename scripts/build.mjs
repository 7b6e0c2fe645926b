// Builds everything that a user runs: the WebAssembly modules (wasm/) and the JavaScript and types (dist/).
// Usage: node scripts/build.mjs [wasm | js | debug]   without an argument: wasm and js
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";
import { build as esbuild } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
process.chdir(root);
const what = process.argv[2] ?? "all";

async function compile(args) {
  const { error, stderr } = await asc.main(args);
  if (error) {
    process.stderr.write(stderr.toString());
    throw new Error(`asc ${args.join(" ")}: ${error.message}`);
  }
}

if (what === "all" || what === "wasm") {
  mkdirSync("wasm", { recursive: true });
  for (const target of ["simd", "relaxed"]) {
    await compile(["assembly/index.ts", "--target", target]);
    await compile(["assembly/threads.ts", "--target", `${target}-threads`]);
    await compile(["assembly/peak.ts", "--target", target, "--outFile", `wasm/peak-${target}.wasm`]);
  }
}
if (what === "debug") await compile(["assembly/index.ts", "--target", "debug"]);
if (what === "all" || what === "js") {
  rmSync("dist", { recursive: true, force: true });
  const tsc = createRequire(import.meta.url).resolve("typescript/package.json");
  const result = spawnSync(process.execPath, [join(dirname(tsc), "bin", "tsc"), "-p", ".", "--emitDeclarationOnly", "--outDir", "dist/types"], { stdio: "inherit" });
  if (result.status !== 0) process.exit(result.status ?? 1);
  // a few files in place of forty: importing the package takes a third of the time. They lie as deep below dist/ as
  // bindings/platform/ lies below the root, so that literal URLs of wasm/ hold in both
  const common = {
    outdir: "dist/js/node", chunkNames: "chunk-[hash]", bundle: true, splitting: true, format: "esm", platform: "node", target: "node20",
    minifyWhitespace: true, minifySyntax: true, external: ["@huggingface/tokenizers", "@jsquash/*"], logLevel: "warning",
  };
  await esbuild({
    ...common,
    entryPoints: {
      "index": "bindings/index.ts", "checkpoint": "bindings/checkpoint/index.ts", "image": "bindings/image/index.ts", "tokenizer": "bindings/tokenizer/index.ts",
      "node-thread": "bindings/platform/node-thread.js",
    },
  });
  await esbuild({ ...common, entryPoints: { "slab": "cli/slab.ts", "demo": "cli/demo.ts" } });
  mkdirSync("dist/wasm", { recursive: true });
  for (const module of ["slab-simd", "slab-relaxed", "slab-simd-threads", "slab-relaxed-threads", "peak-simd", "peak-relaxed"]) {
    cpSync(`wasm/${module}.wasm`, `dist/wasm/${module}.wasm`);
  }
  for (const command of ["slab", "demo"]) chmodSync(`dist/js/node/${command}.js`, 0o755);
}
