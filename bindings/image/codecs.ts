// Where the codecs come from. This file is all that depends on the host: here Node, Deno and Bun, which cannot fetch file: URLs.
export type CodecName = "jpeg" | "png" | "webp";

/** The part of an Emscripten module that we use: it returns null, exits or traps when the data is bad. */
export interface EmscriptenCodec {
  decode(bytes: Uint8Array, preserveOrientation?: boolean): ImageData | null;
}
export type EmscriptenFactory = (options: {
  noInitialRun: boolean;
  instantiateWasm(imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void): WebAssembly.Exports;
  print(line: string): void;
  printErr(line: string): void;
}) => Promise<EmscriptenCodec>;

const files = {
  jpeg: "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm",
  png: "@jsquash/png/codec/pkg/squoosh_png_bg.wasm",
  webp: "@jsquash/webp/codec/dec/webp_dec.wasm",
};

/** The compiled WebAssembly module of a codec. */
export async function compiledCodec(name: CodecName): Promise<WebAssembly.Module> {
  const [{ createRequire }, { readFile }] = await Promise.all([import("node:module"), import("node:fs/promises")]);
  return WebAssembly.compile(await readFile(createRequire(import.meta.url).resolve(files[name])));
}

/** The glue that Emscripten made for a codec; each call of the factory is a new instance. */
export async function codecFactory(name: "jpeg" | "webp"): Promise<EmscriptenFactory> {
  const glue = name === "jpeg" ? await import("@jsquash/jpeg/codec/dec/mozjpeg_dec.js") : await import("@jsquash/webp/codec/dec/webp_dec.js");
  return glue.default as unknown as EmscriptenFactory;
}
