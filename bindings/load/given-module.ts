// load()'s option `wasm`: one of the package's own modules, handed over where a host or bundler cannot find it by
// itself.
import { platform } from "#platform";
import { describe } from "../describe.ts";
import { instantiate } from "../run/kernels.ts";
import { compileResponse } from "../platform/compile.ts";

/** A compiled module, its bytes, where it is, or the answer of a fetch. */
export type WasmSource = WebAssembly.Module | Uint8Array | ArrayBuffer | URL | Response | Promise<Response>;

export interface GivenModule {
  readonly module: WebAssembly.Module;
  readonly relaxed: boolean;
  readonly threads: boolean;
}

const EXPECTED = "expected one of slab-wasm/wasm/slab-simd.wasm, slab-relaxed.wasm and their -threads";

/** Compiles what was given and finds out which build it is. */
export async function givenModule(source: WasmSource): Promise<GivenModule> {
  const module = await compiled(await source);
  const exports = new Set(WebAssembly.Module.exports(module).map(({ name }) => name));
  if (!exports.has("runPlan") || !exports.has("relaxedSimd"))
    throw new TypeError(`wasm is a module of something else, or of another release: ${EXPECTED} of this one`);
  const threads = exports.has("takePart");
  const kernels = instantiate(module, new WebAssembly.Memory({ initial: 1, maximum: 1, shared: threads }));
  return { module, threads, relaxed: kernels.relaxedSimd() === 1 };
}

async function compiled(source: Awaited<WasmSource>): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof URL) return platform.compileAt(source);
  if (typeof Response === "function" && source instanceof Response)
    return compileResponse(source, source.url || "the module given as wasm");
  if (!(source instanceof Uint8Array || source instanceof ArrayBuffer))
    throw new TypeError(
      `wasm is ${describe(source)}, ${EXPECTED}, as a WebAssembly.Module, bytes, a URL or a Response`,
    );
  try {
    return await WebAssembly.compile(source as BufferSource);
  } catch (error) {
    throw new RangeError(
      `the bytes given as wasm are no module that this engine takes (${(error as Error).message}): ${EXPECTED}`,
      { cause: error },
    );
  }
}
