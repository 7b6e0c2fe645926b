// The peers that results are compared with, from bench/peers/ (its own package.json). Missing ones are
// reported, never guessed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export interface Peer {
  readonly name: string;
  run(): Promise<unknown>;
  close(): Promise<void>;
}

/** Why peers are left out of this run, for the report. */
export const missingPeers: string[] = [];

let directory: string | undefined;

/** The folder of ONNX files, packed with xz or not. */
export function setPeerDirectory(path: string): void {
  directory = path;
}

function networkFile(name: string): Uint8Array | undefined {
  if (!directory) return undefined;
  const plain = `${directory}/${name}.onnx`;
  const packed = `${plain}.xz`;
  const cache = here("peers/cache");
  const unpacked = `${cache}/${name}.onnx`;
  if (existsSync(plain)) return readFileSync(plain);
  if (!existsSync(unpacked)) {
    if (!existsSync(packed)) return undefined;
    const { stdout, status } = spawnSync("xz", ["-dc", packed], { maxBuffer: 1 << 30 });
    if (status !== 0) return undefined;
    mkdirSync(cache, { recursive: true });
    writeFileSync(unpacked, stdout);
  }
  return readFileSync(unpacked);
}

/** Where onnxruntime-web lies, once it is installed. */
export function onnxRuntimeFiles(): { entry: string; folder: string } | undefined {
  const folder = here("peers/node_modules/onnxruntime-web/dist/"), entry = `${folder}ort.wasm.min.mjs`;
  return existsSync(entry) ? { entry, folder } : undefined;
}

/** onnxruntime-web, WebAssembly on one thread; undefined when it is not installed. */
export async function onnxRuntime() {
  const files = onnxRuntimeFiles();
  if (!files) return void missingPeers.push("onnxruntime-web: not installed (npm install --prefix bench/peers)");
  const ort = await import(files.entry);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = files.folder;
  ort.env.logLevel = "error";
  return ort;
}

/** @param write  makes the network when its file is not at hand */
async function openNetwork(name: string, write?: () => Promise<Uint8Array>) {
  const stored = networkFile(name), model = stored ?? (await write?.());
  if (!model) {
    return void missingPeers.push(
      `onnxruntime-web on ${name}: no ${name}.onnx(.xz) in `
        + `${directory ? "the peers' folder" : "any folder: give --peers DIR"}`,
    );
  }
  const ort = await onnxRuntime();
  if (!ort) return undefined;
  const session = await ort.InferenceSession.create(
    model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" },
  );
  return {
    ort, session, title: `onnxruntime-web ${ort.env.versions.web ?? ""} ${name}${stored ? "" : ", written here"}`,
  };
}

/** onnxruntime-web (WebAssembly, one thread) on an image network of the peers' folder, or on one that `write` makes. */
export async function openPeer(
  name: string, { input, shape }: { input: Float32Array; shape: number[] }, write?: () => Promise<Uint8Array>,
): Promise<Peer | undefined> {
  const network = await openNetwork(name, write);
  if (!network) return undefined;
  const { ort, session, title } = network;
  const feeds = { [session.inputNames[0]]: new ort.Tensor("float32", input, shape) };
  return { name: title, run: () => session.run(feeds), close: () => session.release() };
}

/**
 * The same on one decoding step of a language network: a token and its states in, logits and
 * states out, which go in again.
 */
export async function openStepPeer(name: string): Promise<Peer | undefined> {
  const network = await openNetwork(name);
  if (!network) return undefined;
  const { ort, session, title } = network;
  const feeds: Record<string, unknown> = {};
  for (const { name: input, type, shape } of session.inputMetadata) {
    const count = shape.reduce((a: number, b: number) => a * b, 1);
    feeds[input] = new ort.Tensor(
      type, type === "int64" ? new BigInt64Array(count).fill(17n) : new Float32Array(count), shape,
    );
  }
  const states = session.inputNames.slice(1) as string[], results = session.outputNames.slice(1) as string[];
  return {
    name: title,
    async run() {
      const out = await session.run(feeds);
      states.forEach((state, i) => (feeds[state] = out[results[i]!]));
    },
    close: () => session.release(),
  };
}
