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

type Common = "runtime" | "cores" | "distrustRelaxed" | "tileRows" | "breathe" | "pauses" | "disk" | "base";

export const webHost: Pick<Platform, Common> = {
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
  pauses: runtimeName() !== "workerd",
  disk: undefined,
  // a page's base element counts, as for its own fetches
  base: globalThis.document?.baseURI ?? globalThis.location?.href,
};
