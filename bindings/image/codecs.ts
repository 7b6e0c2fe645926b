// Where the codecs come from: what a platform says of them, behind `#codecs` in package.json.
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

export interface Codecs {
  /** The compiled WebAssembly module of a codec. */
  compiled(name: CodecName): Promise<WebAssembly.Module>;
  /** The glue that Emscripten made for a codec; each call of the factory is a new instance. */
  factory(name: "jpeg" | "webp"): Promise<EmscriptenFactory>;
}
