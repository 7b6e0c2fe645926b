import type { Codecs } from "../image/codecs.ts";
import { factory } from "./codecs-glue.ts";
import { fetchModule } from "./compile.ts";

const FILES = {
  jpeg: () => new URL("../../wasm/codec-jpeg.wasm", import.meta.url),
  png: () => new URL("../../wasm/codec-png.wasm", import.meta.url),
  webp: () => new URL("../../wasm/codec-webp.wasm", import.meta.url),
};

export const codecs: Codecs = { compiled: (name) => fetchModule(FILES[name]()), factory };
