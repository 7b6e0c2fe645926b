import jpeg from "../../wasm/codec-jpeg.wasm";
import png from "../../wasm/codec-png.wasm";
import webp from "../../wasm/codec-webp.wasm";
import type { Codecs } from "../image/codecs.ts";
import { factory } from "./codecs-glue.ts";
import { compileInline } from "./compile.ts";

const BYTES = { jpeg, png, webp };

export const codecs: Codecs = { compiled: (name) => compileInline(BYTES[name]), factory };
