// Node, Deno and Bun: codecs from files, their glue when the first picture comes.
import type { Codecs, EmscriptenFactory } from "../image/codecs.ts";
import { fs } from "./builtins.ts";

const FILES = {
  jpeg: new URL("../../wasm/codec-jpeg.wasm", import.meta.url),
  png: new URL("../../wasm/codec-png.wasm", import.meta.url),
  webp: new URL("../../wasm/codec-webp.wasm", import.meta.url),
};

export const codecs: Codecs = {
  compiled: async (name) => WebAssembly.compile(fs.readFileSync(FILES[name])),
  async factory(name) {
    const glue =
      name === "jpeg"
        ? await import("@jsquash/jpeg/codec/dec/mozjpeg_dec.js")
        : await import("@jsquash/webp/codec/dec/webp_dec.js");
    return glue.default as unknown as EmscriptenFactory;
  },
};
