// What a user downloads: the WebAssembly of one build, the JavaScript around it, and the
// dependencies that are built in.
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
const size = (what: string, bytes: Uint8Array): Size => ({
  what, bytes: bytes.length, gzip: gzipSync(bytes).length, brotli: brotliCompressSync(bytes).length,
});

export const benchSizes = (): Size[] => ["simd", "relaxed", "simd-threads", "relaxed-threads"].map(
  (name) => size(name, readFileSync(`${root}wasm/slab-${name}.wasm`)),
);

/** Readers of pictures and of tokenizers, and what they depend on: they have entries of their own. */
const READERS = /\/(image|tokenizer)\/|#codecs|@jsquash|@huggingface/;

/**
 * What an app's bundler ships for browsers in the first download: what is imported later is left
 * out, and what `leave` names.
 */
async function bundled(contents: string, leave?: RegExp) {
  const without: Plugin = {
    name: "without",
    setup: (b) => b.onResolve({ filter: /./ }, ({ path, kind }) => (kind === "dynamic-import"
      || (kind !== "entry-point" && leave?.test(path)) ? { path, external: true } : undefined)),
  };
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: root, loader: "ts" }, absWorkingDir: root, bundle: true, minify: true, format: "esm",
    platform: "neutral", mainFields: ["module", "main"], conditions: ["browser"],
    target: "es2022", write: false, metafile: true, logLevel: "silent", plugins: [without],
  });
  return { bytes: outputFiles[0]!.contents, inputs: Object.values(metafile.outputs)[0]!.inputs };
}

/** Apps that use one architecture, which have a target, and one that uses all. */
const oneOf = (name: string): string =>
  `import { loader, ${name} } from "./bindings/core.ts"; globalThis.load = loader([${name}]);`;
const APPS = {
  "slab-wasm/core, slabDeit": oneOf("slabDeit"), "slab-wasm/core, slabLm": oneOf("slabLm"),
  "slab-wasm": 'export * from "./bindings/index.ts";',
};

export const CORES: readonly string[] = ["slab-wasm/core, slabDeit", "slab-wasm/core, slabLm"];

/** The codec of each package. */
const CODECS: Readonly<Record<string, string>> = {
  "@jsquash/jpeg": "jpeg", "@jsquash/png": "png", "@jsquash/webp": "webp",
};

/** What an app consists of, by path; the first that fits. */
const PARTS = [
  [
    /^models\/|^bindings\/(config\/|tasks\/(architecture|image-model|language-model|backbone|index)\.)/,
    "networks and their configs",
  ],
  [/^bindings\/plan\/op/, "their ops"], [/^bindings\/(checkpoint|load)\//, "folders and checkpoints"],
  [/node_modules\//, "dependencies"],
  [/^bindings\/tasks\/(session|sampler|text-stream|snapshot|language)/, "sessions, sampling, snapshots"],
  [/./, "plans, weights, memory, threads, platforms"],
] as const;

export interface ScriptSizes {
  readonly scripts: Size[];
  /** Of each app, without readers of pictures and tokenizers. */
  readonly parts: { readonly what: string; readonly parts: { readonly part: string; readonly bytes: number }[] }[];
  readonly dependencies: DependencySize[];
}

export async function benchScripts(): Promise<ScriptSizes> {
  const shares = new Map<string, number>();
  const own: Size[] = [];
  const withReaders: Size[] = [];
  const parts: ScriptSizes["parts"][number][] = [];
  for (const [what, contents] of Object.entries(APPS)) {
    const without = await bundled(contents, READERS);
    const all = await bundled(contents);
    const bytesOf = new Map<string, number>();
    own.push(size(what, without.bytes));
    withReaders.push(size(`${what}, with readers of pictures and tokenizers`, all.bytes));
    for (const [path, { bytesInOutput }] of Object.entries(without.inputs)) {
      const part = PARTS.find(([pattern]) => pattern.test(path))![1];
      bytesOf.set(part, (bytesOf.get(part) ?? 0) + bytesInOutput);
    }
    parts.push({
      what, parts: [...bytesOf].map(([part, bytes]) => ({ part, bytes })).sort((a, b) => b.bytes - a.bytes),
    });
    if (what !== "slab-wasm") continue;
    for (const [path, { bytesInOutput }] of Object.entries(all.inputs)) {
      const name = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
      if (name) shares.set(name, (shares.get(name) ?? 0) + bytesInOutput);
    }
  }
  const dependencies = [...new Set([...shares.keys(), ...Object.keys(CODECS)])].sort().map((name): DependencySize => {
    const scriptBytes = shares.get(name) ?? 0;
    const { version } = JSON.parse(
      readFileSync(`${root}node_modules/${name}/package.json`, "utf8"),
    ) as { version: string };
    const codec = CODECS[name];
    return {
      name, version, scriptBytes,
      wasmBrotli: codec ? brotliCompressSync(readFileSync(`${root}wasm/codec-${codec}.wasm`)).length : 0,
    };
  });
  return { scripts: [...own, ...withReaders], parts, dependencies };
}
