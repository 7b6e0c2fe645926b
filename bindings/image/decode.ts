// Encoded bytes to pixels. A codec is loaded when the first picture of its format comes, and kept until it fails or has
// grown large.
import { codecs as host } from "#codecs";
import type { CodecName } from "./codecs.ts";
import { orient } from "./exif.ts";
import { corrupt, readHeader, type Format } from "./header.ts";
import { kindOf, type Image } from "./image.ts";

export interface DecodeOptions {
  /** Refuse larger pictures before decoding them; 64 million unless told. */
  maxPixels?: number;
}

interface Decoder {
  readonly memory: WebAssembly.Memory;
  decode(bytes: Uint8Array): Image;
}

const codecs: Record<Format, { name: CodecName; instantiate: () => Promise<Decoder> }> = {
  PNG: { name: "png", instantiate: instantiatePng },
  JPEG: { name: "jpeg", instantiate: () => instantiateEmscripten("jpeg") },
  WebP: { name: "webp", instantiate: () => instantiateEmscripten("webp") },
};
const modules = new Map<CodecName, Promise<WebAssembly.Module>>();
const decoders = new Map<Format, Promise<Decoder>>();
/** Memories of the decoders that are kept. */
const memories = new Map<Format, WebAssembly.Memory>();

/** WebAssembly memory never shrinks: after a picture this large the codec is dropped. */
const keptPixels = 4e6;

/**
 * Decodes a PNG, JPEG or WebP file to RGBA, turned upright as its EXIF orientation says.
 * 16-bit samples keep their high byte; grey and palette pictures become RGBA; an embedded colour profile is not
 * applied.
 */
export async function decodeImage(bytes: Uint8Array, { maxPixels = 64e6 }: DecodeOptions = {}): Promise<Image> {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(
      `the picture is ${kindOf(bytes)}; expected a Uint8Array with the bytes of a PNG, JPEG or WebP file: read `
        + "the file first",
    );
  }
  if (!(maxPixels >= 1))
    throw new RangeError(`maxPixels is ${maxPixels}; expected a number from 1: leave it out for 64 megapixels`);
  const { format, width, height, orientation } = readHeader(bytes, maxPixels);
  let pending: Promise<Decoder>;
  let decoder: Decoder;
  // again if another picture broke this codec while we waited for it
  do decoder = await (pending = decoderFor(format));
  while (decoders.get(format) !== pending);
  let image: Image;
  try {
    image = decoder.decode(bytes);
  } catch (error) {
    // a codec that trapped or exited has left its stack and heap as they were: never use it again
    drop(format);
    throw corrupt(format, error instanceof CodecError ? error.message : "its pixels cannot be decoded", error);
  }
  if (width * height > keptPixels) drop(format);
  if (image.width !== width || image.height !== height || image.data.length !== 4 * width * height) {
    throw corrupt(format, `a header of ${width} x ${height} pixels, but ${image.width} x ${image.height} came out`);
  }
  return orient(image, orientation);
}

/** Bytes of WebAssembly memory that the codecs keep for the next picture. */
export const codecBytes = (): number => [...memories.values()].reduce((sum, { buffer }) => sum + buffer.byteLength, 0);

function decoderFor(format: Format): Promise<Decoder> {
  let decoder = decoders.get(format);
  if (!decoder) {
    decoder = codecs[format].instantiate();
    decoders.set(format, decoder);
    decoder.then(({ memory }) => memories.set(format, memory), () => drop(format));
  }
  return decoder;
}

function drop(format: Format): void {
  decoders.delete(format);
  memories.delete(format);
}

function moduleFor(name: CodecName): Promise<WebAssembly.Module> {
  let module = modules.get(name);
  if (!module) {
    module = host.compiled(name);
    modules.set(name, module);
    module.catch(() => modules.delete(name));
  }
  return module;
}

/** What the codec itself printed about the data. */
class CodecError extends Error {}

async function instantiateEmscripten(name: "jpeg" | "webp"): Promise<Decoder> {
  const [module, factory] = await Promise.all([moduleFor(name), host.factory(name)]);
  let printed: string[] = [], memory: WebAssembly.Memory | undefined;
  const codec = await withImageData(() => factory({
    noInitialRun: true,
    instantiateWasm(imports, receive) {
      const instance = new WebAssembly.Instance(module, imports);
      memory = Object.values(instance.exports).find((value) => value instanceof WebAssembly.Memory);
      receive(instance);
      return instance.exports;
    },
    print: () => {},
    printErr: (line) => printed.push(line),
  }));
  return { memory: memory!, decode(bytes) {
    printed = [];
    let image: Image | null = null;
    try {
      // false: the JPEG codec leaves the pixels as stored, and orient turns them, as for the other formats
      image = withImageData(() => (name === "jpeg" ? codec.decode(bytes, false) : codec.decode(bytes)));
    } catch (error) {
      throw printed.length > 0 ? new CodecError(printed.at(-1), { cause: error }) : error;
    }
    // libjpeg fills what it cannot read with grey and only warns; stray bytes between segments do no harm
    const warning = printed.find((line) => /corrupt|premature/i.test(line) && !/extraneous/i.test(line));
    if (warning || !image)
      throw new CodecError(warning?.replace("Corrupt JPEG data: ", "") ?? "its pixels cannot be decoded");
    return image;
  } };
}

/**
 * The codecs return their pixels in a global ImageData, which Node lacks: lent to them for one synchronous call, so
 * that none is left behind.
 */
function withImageData<T>(call: () => T): T {
  if (typeof globalThis.ImageData === "function") return call();
  const scope = globalThis as { ImageData?: unknown };
  scope.ImageData = function (data: Uint8ClampedArray, width: number, height: number): Image {
    return { data, width, height };
  };
  try {
    return call();
  } finally {
    delete scope.ImageData;
  }
}

interface PngExports extends WebAssembly.Exports {
  memory: WebAssembly.Memory;
  decode(pointer: number, length: number): number;
  __wbindgen_malloc(length: number, align: number): number;
  __wbindgen_free(pointer: number, length: number, align: number): void;
}

/**
 * The package's own glue keeps one instance for ever, and bad data traps it: so the one function that we call is bound
 * here.
 */
async function instantiatePng(): Promise<Decoder> {
  const module = await moduleFor("png");
  let image: Image | undefined;
  const imports: Record<string, WebAssembly.ImportValue> = {};
  for (const { name } of WebAssembly.Module.imports(module)) {
    // the names end in a hash of their signature
    imports[name] = !name.startsWith("__wbg_newwithownedu8clampedarray")
      ? () => { throw new Error(`the PNG codec called ${name}`); }
      : (pointer: number, length: number, width: number, height: number) => {
          image = {
            data: new Uint8ClampedArray(exports.memory.buffer, pointer >>> 0, length >>> 0).slice(), width: width >>> 0,
            height: height >>> 0,
          };
          exports.__wbindgen_free(pointer, length, 1);
          return 0;
        };
  }
  const { exports } = (await WebAssembly.instantiate(module, { wbg: imports })) as { exports: PngExports };
  return { memory: exports.memory, decode(bytes) {
    const pointer = exports.__wbindgen_malloc(bytes.length, 1) >>> 0;
    new Uint8Array(exports.memory.buffer, pointer, bytes.length).set(bytes);
    image = undefined;
    exports.decode(pointer, bytes.length);
    const decoded = image as Image | undefined;
    image = undefined;
    if (!decoded) throw new Error("the PNG codec returned no picture");
    return decoded;
  } };
}
