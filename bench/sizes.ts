// What a user downloads: the WebAssembly of one build, the JavaScript around it, and the dependencies that are built in.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Plugin } from "esbuild";
import { build } from "esbuild";

export interface Size {
  readonly what: string;
  readonly bytes: number;
  readonly gzip: number;
  readonly brotli: number;
}

export interface DependencySize {
  readonly name: string;
  readonly version: string;
  /** Minified JavaScript in what `import "slab-wasm"` brings. */
  readonly scriptBytes: number;
  /** WebAssembly fetched when it is first used, compressed with brotli. */
  readonly wasmBrotli: number;
}

const root = fileURLToPath(new URL("../", import.meta.url));
const size = (what: string, bytes: Uint8Array): Size => ({ what, bytes: bytes.length, gzip: gzipSync(bytes).length, brotli: brotliCompressSync(bytes).length });

export const benchSizes = (): Size[] => ["simd", "relaxed", "simd-threads", "relaxed-threads"].map((name) => size(name, readFileSync(`${root}wasm/slab-${name}.wasm`)));

/** The API for browsers as an app's bundler would ship it; `leave` names modules to leave out. */
async function bundled(leave?: RegExp) {
  const without: Plugin = { name: "without", setup: (b) => leave && b.onResolve({ filter: /./ }, ({ path, kind }) => (kind !== "entry-point" && leave.test(path) ? { path, external: true } : undefined)) };
  const { outputFiles, metafile } = await build({
    entryPoints: [`${root}bindings/index.ts`], absWorkingDir: root, bundle: true, minify: true, format: "esm", platform: "neutral", mainFields: ["module", "main"], conditions: ["browser"],
    target: "es2022", write: false, metafile: true, logLevel: "silent", plugins: [without],
  });
  return { bytes: outputFiles[0]!.contents, inputs: Object.values(metafile.outputs)[0]!.inputs };
}

/** Readers of pictures and of tokenizers, and what they depend on: they have entries of their own. */
const READERS = /\/(image|tokenizer)\/|#codecs|@jsquash|@huggingface/;

/** The codec of each package. */
const CODECS: Readonly<Record<string, string>> = { "@jsquash/jpeg": "jpeg", "@jsquash/png": "png", "@jsquash/webp": "webp" };

/** What the core consists of, by path; the first that fits. */
const PARTS = [
  [/^models\//, "architectures and their configs"], [/^bindings\/checkpoint\//, "checkpoints"], [/^node_modules\//, "dependencies"],
  [/^bindings\/(session|sampler|text-stream|snapshot|language)/, "language: sessions, sampling, snapshots"], [/./, "plans, weights, memory, threads, platforms"],
] as const;

export async function benchScripts(): Promise<{ scripts: Size[]; parts: { part: string; bytes: number }[]; dependencies: DependencySize[] }> {
  const all = await bundled(), core = await bundled(READERS), shares = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(all.inputs)) {
    const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
    if (name) shares.set(name, (shares.get(name) ?? 0) + bytesInOutput);
  }
  const dependencies = [...new Set([...shares.keys(), ...Object.keys(CODECS)])].sort().map((name): DependencySize => {
    const scriptBytes = shares.get(name) ?? 0, { version } = JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, "utf8")) as { version: string }, codec = CODECS[name];
    return { name, version, scriptBytes, wasmBrotli: codec ? brotliCompressSync(readFileSync(`${root}wasm/codec-${codec}.wasm`)).length : 0 };
  });
  const parts = new Map<string, number>();
  for (const [path, { bytesInOutput }] of Object.entries(core.inputs)) {
    const part = PARTS.find(([pattern]) => pattern.test(path))![1];
    parts.set(part, (parts.get(part) ?? 0) + bytesInOutput);
  }
  return {
    scripts: [size("the core: models, sessions, checkpoints", core.bytes), size("with pictures and tokenizers, as imported", all.bytes)],
    parts: [...parts].map(([part, bytes]) => ({ part, bytes })).sort((a, b) => b.bytes - a.bytes), dependencies,
  };
}
