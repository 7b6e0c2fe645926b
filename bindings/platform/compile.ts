// Modules that arrive over the network, or as bytes, compiled.

/** The compiled module of an answer; streamed where its content-type allows. */
export async function compileResponse(response: Response, name: string): Promise<WebAssembly.Module> {
  const remedy =
    "serve the package's dist/wasm beside its JavaScript, give load() the module as the option wasm, or import "
    + "slab-wasm/inline";
  if (!response.ok) throw new Error(`cannot load ${name}: the server answered ${response.status}: ${remedy}`);
  try {
    if (/^application\/wasm\b/i.test(response.headers.get("content-type") ?? ""))
      return await WebAssembly.compileStreaming(response);
    return await WebAssembly.compile(await response.arrayBuffer());
  } catch (error) {
    // such as the page that a server sends for every unknown address
    throw new Error(
      `${name} is no WebAssembly module that this engine takes (${(error as Error).message}): ${remedy}`,
      { cause: error },
    );
  }
}

export async function fetchModule(url: URL): Promise<WebAssembly.Module> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new Error(
      `cannot load ${url.href} (${(error as Error).message}): serve the package's dist/wasm beside its `
        + "JavaScript, or import slab-wasm/inline",
      { cause: error },
    );
  }
  return compileResponse(response, url.href);
}

/** Of an import that the build turned into bytes. */
export const compileInline = (bytes: unknown): Promise<WebAssembly.Module> =>
  WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>);

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
