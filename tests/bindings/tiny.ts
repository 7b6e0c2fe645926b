// A network small enough to load in a few milliseconds, as objects, as a file and as a folder.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { safetensorsBytes } from "../../bindings/checkpoint/index.ts";
import type { DType, MemoryEntry, WriteEntry } from "../../bindings/checkpoint/index.ts";
import { deitEntries, syntheticInput } from "../golden/synthetic.ts";
import type { Entries } from "../golden/synthetic.ts";

export const tinyConfig = {
  model_type: "slab_deit", image_size: 32, patch_size: 8, hidden_size: 24, num_hidden_layers: 2, num_attention_heads: 2,
  num_labels: 5, id2label: { 0: "ant", 1: "bee", 2: "cow", 3: "dog", 4: "elk" },
};
const sizes = { dim: 24, heads: 2, mixer: "linear", depth: 2, tokens: 16, patch: 8, classes: 5 } as const;
export const tinyEntries: Readonly<Entries> = deitEntries(sizes);
export const tinyPixels = syntheticInput("input", 3 * 32 * 32);

/** The little-endian bytes of floats; halves are exact for values that they hold. */
function encode(values: ArrayLike<number>, dtype: "F32" | "F16" | "BF16" | "F64"): Uint8Array {
  if (dtype === "F64") return new Uint8Array(Float64Array.from(values).buffer);
  const floats = Float32Array.from(values);
  if (dtype === "F32") return new Uint8Array(floats.buffer);
  const bits = new Uint32Array(floats.buffer);
  const half = (b: number): number => {
    const sign = (b >>> 16) & 0x8000, exponent = ((b >>> 23) & 255) - 127, mantissa = (b >>> 13) & 1023;
    return (b & 0x7fffffff) === 0
      ? sign
      : exponent === 128
        ? sign | 0x7c00 | mantissa
        : sign | ((exponent + 15) << 10) | mantissa;
  };
  return new Uint8Array(Uint16Array.from(bits, (b) => (dtype === "BF16" ? b >>> 16 : half(b))).buffer);
}

export function writeEntries(entries: Readonly<Entries>, dtype: "F32" | "F16" | "BF16" | "F64" = "F32"): WriteEntry[] {
  return Object.entries(entries).map(([name, entry]: [string, MemoryEntry]) =>
    "dtype" in entry
      ? { name, dtype: entry.dtype as DType, shape: entry.shape, data: entry.data }
      : { name, dtype, shape: entry.shape, data: encode(entry.data, dtype) });
}

export const tinyFile = safetensorsBytes(writeEntries(tinyEntries));

/** The file with some values of a tensor replaced. */
export function fileWith(
  name: string, index: number, value: number, dtype: "F32" | "F16" | "BF16" | "F64" = "F32",
): Uint8Array<ArrayBuffer> {
  const entry = tinyEntries[name]!;
  const data = Float32Array.from(entry.data as Float32Array, (v) => Math.round(v * 128) / 128);
  data[index] = value;
  return safetensorsBytes(writeEntries({ ...tinyEntries, [name]: { shape: entry.shape, data } }, dtype));
}

/** Makes a folder of files for the time of `use`. */
export async function withFolder<T>(
  files: Readonly<Record<string, string | Uint8Array>>, use: (folder: string) => Promise<T>,
): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "slab-test-"));
  try {
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const tinyFolder = { "config.json": JSON.stringify(tinyConfig), "model.safetensors": tinyFile };

/** Files below `folder` that this process holds open; known on Linux only. */
export function openFiles(folder: string): string[] {
  if (process.platform !== "linux") return [];
  const target = (fd: string): string => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return "";
    }
  };
  return readdirSync("/proc/self/fd").map(target).filter((path) => path.startsWith(folder));
}

/**
 * Runs a module in a process of its own that has `load`; its exit code (null when it had to be killed) and what it
 * printed.
 */
export async function runScript(script: string): Promise<{ code: number | null; text: string }> {
  const index = new URL("../../bindings/index.ts", import.meta.url).href;
  // Node strips types itself from 22.18 on
  const flags = "typescript" in process.features && process.features.typescript ? [] : ["--import", "tsx"];
  const child = spawn(
    process.execPath,
    [...flags, "--input-type=module", "--eval", `import { load } from ${JSON.stringify(index)};\n${script}`],
    {
      cwd: fileURLToPath(new URL("../..", import.meta.url)), stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const code = await new Promise<number | null>((exited) => child.on("close", exited));
  clearTimeout(timer);
  return { code, text: text.trim() };
}
