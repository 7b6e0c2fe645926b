// What every web host has: browsers, their workers, edge workers.
import type { Platform } from "./platform.ts";

/** "chromium 156", "firefox 153", "webkit 605", "workerd", … */
export function runtimeName(): string {
  const agent = globalThis.navigator?.userAgent ?? "";
  if (agent === "Cloudflare-Workers") return "workerd";
  for (const [pattern, name] of [[/Firefox\/(\d+)/, "firefox"], [/Chrom(?:e|ium)\/(\d+)/, "chromium"], [/AppleWebKit\/(\d+)/, "webkit"]] as const) {
    const version = pattern.exec(agent)?.[1];
    if (version) return `${name} ${version}`;
  }
  return "web";
}

/** The compiled module of an answer; streamed where its content-type allows. */
export async function compileResponse(response: Response, name: string): Promise<WebAssembly.Module> {
  const remedy = "serve the package's dist/wasm beside its JavaScript, give load() the module as the option wasm, or import slab-wasm/inline";
  if (!response.ok) throw new Error(`cannot load ${name}: the server answered ${response.status}: ${remedy}`);
  try {
    if (/^application\/wasm\b/i.test(response.headers.get("content-type") ?? "")) return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    // such as the page that a server sends for every unknown address
    throw new Error(`${name} is no WebAssembly module that this engine takes (${(error as Error).message}): ${remedy}`, { cause: error });
  }
}

export async function fetchModule(url: URL): Promise<WebAssembly.Module> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(`cannot load ${url.href} (${(error as Error).message}): serve the package's dist/wasm beside its JavaScript, or import slab-wasm/inline`, { cause: error });
  }
  return compileResponse(response, url.href);
}

/** Of an import that the build turned into bytes. */
export const compileInline = (bytes: unknown): Promise<WebAssembly.Module> => WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>);

/** The same promise for the same name; forgotten when it fails. */
export function once<Key, Value>(make: (key: Key) => Promise<Value>): (key: Key) => Promise<Value> {
  const made = new Map<Key, Promise<Value>>();
  return (key) => {
    let value = made.get(key);
    if (!value) {
      value = make(key);
      made.set(key, value);
      value.catch(() => made.delete(key));
    }
    return value;
  };
}

export const webHost: Pick<Platform, "runtime" | "cores" | "distrustRelaxed" | "tileRows" | "breathe" | "disk" | "base"> = {
  runtime: runtimeName(),
  cores: () => globalThis.navigator?.hardwareConcurrency ?? 1,
  distrustRelaxed: undefined,
  tileRows: (relaxed) => (relaxed ? 6 : 5),
  breathe: () => new Promise((resolve) => {
    // timers wait for 4 ms in pages
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  }),
  disk: undefined,
  // a page's base element counts, as for its own fetches
  base: globalThis.document?.baseURI ?? globalThis.location?.href,
};
