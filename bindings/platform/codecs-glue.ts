// Where imports are static: the glue of both codecs.
import jpeg from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import webp from "@jsquash/webp/codec/dec/webp_dec.js";
import type { Codecs, EmscriptenFactory } from "../image/codecs.ts";

const GLUE = { jpeg, webp } as unknown as Record<"jpeg" | "webp", EmscriptenFactory>;

export const factory: Codecs["factory"] = async (name) => GLUE[name];
