// Downloads in the Cache API: what a visit has fetched, the next one need not. Pages of one content of a file lie under
// its address.
import type { Pages } from "../checkpoint/url.ts";

const NAME = "slab-wasm";

/**
 * Pages of this version of a file; those of others are deleted. Undefined where there is no Cache API, as on pages
 * without https.
 */
export async function cachePages(address: string, version: string): Promise<Pages | undefined> {
  if (typeof caches !== "object") return undefined;
  try {
    const cache = await caches.open(NAME), base = new URL(address);
    base.hash = "";
    base.searchParams.append("slab-version", version);
    // without the page's number, so that every other version of the file is found by what comes before
    const here = `${base.href}&slab-page=`, anyVersion = here.slice(0, here.lastIndexOf("slab-version="));
    for (const { url } of await cache.keys())
      if (url.startsWith(anyVersion) && url.includes("&slab-page=") && !url.startsWith(here)) await cache.delete(url);
    return {
      async get(index) {
        const found = await cache.match(here + index);
        return found && new Uint8Array(await found.arrayBuffer());
      },
      async put(index, bytes) {
        // when the browser has no room left this throws, and the file is read without
        await cache.put(here + index, new Response(bytes as Uint8Array<ArrayBuffer>));
        return true;
      },
    };
  } catch {
    return undefined;
  }
}
