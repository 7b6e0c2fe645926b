// Hand-made safetensors files, also ones that the writer would refuse to write.
import * as assert from "uvu/assert";
import { bytesSource, safetensorsBytes } from "../../../bindings/checkpoint/index.ts";
import type { ByteSource } from "../../../bindings/checkpoint/index.ts";

/** A header, as text or as a value, then `dataBytes` bytes 0, 1, 2, … */
export function rawFile(header: unknown, dataBytes = 0, headerBytes?: number | bigint): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.byteLength + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes ?? json.byteLength), true);
  file.set(json, 8);
  for (let i = 0; i < dataBytes; i++) file[8 + json.byteLength + i] = i;
  return file;
}

export function f32Bytes(...values: number[]): Uint8Array {
  return new Uint8Array(new Float32Array(values).buffer);
}

/** Three float tensors and one of integers. */
export function smallFile(): Uint8Array {
  return safetensorsBytes([
    { name: "blocks.0.attn.qkv.weight", dtype: "F32", shape: [2, 3], data: f32Bytes(1, 2, 3, 4, 5, 6) },
    { name: "blocks.0.norm1.bias", dtype: "BF16", shape: [2], data: new Uint8Array([0x80, 0x3f, 0x00, 0xc0]) },
    { name: "head.scale", dtype: "F16", shape: [], data: new Uint8Array([0x00, 0x3c]) },
    { name: "steps", dtype: "I64", shape: [1], data: new Uint8Array(8) },
  ], { format: "pt" });
}

/** A source that counts its reads and knows whether it is open. */
export function watched(name: string, bytes: Uint8Array): ByteSource & { reads: number; closed: boolean } {
  const inner = bytesSource(name, bytes);
  const source = {
    name,
    size: inner.size,
    reads: 0,
    closed: false,
    read(begin: number, end: number) {
      source.reads++;
      return inner.read(begin, end);
    },
    close() {
      source.closed = true;
      return inner.close();
    },
  };
  return source;
}

export async function rejects(run: () => unknown, expected: RegExp, Kind: Function = Error): Promise<void> {
  let error: unknown;
  try {
    await run();
  } catch (thrown) {
    error = thrown;
  }
  assert.instance(error, Kind, `expected ${Kind.name} ${expected}, got ${String(error)}`);
  assert.match((error as Error).message, expected, `got: ${(error as Error).message}`);
}

/** Deterministic whole numbers in [0, below). */
export function seeded(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
