// The WebAssembly module of the chosen build, instantiated over a model's memory.
import type { GivenModule } from "../load/given-module.ts";
import type { Build, Platform } from "../platform/platform.ts";

/** What every build exports beside the kernels themselves. Addresses in bytes. */
export interface Kernels {
  initialise(): void;
  packPanels(...args: number[]): number;
  unpackTable(...args: number[]): number;
  checksum(from: number, bytes: number): number;
  /** 1 in the relaxed builds. */
  relaxedSimd(): number;
  /** 1 when this engine's relaxed products of bytes are exact. */
  probeInt8(): number;
  runPlan(plan: number, length: number): void;
  /** Only in the threads builds. */
  openRun?(plan: number, length: number): void;
  takePart?(thread: number): number;
}

/**
 * Instantiates a compiled build over `memory`, without the loader: it would be a tenth of the core, and wrap every
 * call.
 */
export function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Kernels;
}

/** f32x4.relaxed_madd on zeros, dropped: 40 bytes that only an engine with relaxed SIMD accepts. */
const RELAXED_PROBE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 20, 1, 18, 0, 65, 0, 253, 15, 65, 0, 253, 15, 65, 0,
  253, 15, 253, 133, 2, 26, 11,
]);

export const hasRelaxed = (): boolean => WebAssembly.validate(RELAXED_PROBE);

/** What a model runs on, and why not on more. */
export interface Caps {
  readonly build: Build;
  readonly runtime: string;
  /** Threads a run may use, this one included. */
  readonly threads: number;
  readonly cores: number;
  readonly relaxed: boolean;
  readonly deterministic: boolean;
  /** Why not relaxed SIMD, why not more threads: one sentence each. */
  readonly reasons: readonly string[];
}

export interface BuildOptions {
  readonly threads?: number;
  readonly deterministic?: boolean;
  readonly build?: Build;
}

/**
 * Chooses the best build that the host can run, or takes the `given` one. `threads` is from 1 to 64; default: one for
 * every core. undefined: there is none for these options, of which buildFault() tells more.
 */
export function chooseBuild(
  platform: Platform, { threads, deterministic = false, build }: BuildOptions, given?: GivenModule,
): Caps | undefined {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) return undefined;
  const reasons: string[] = [];
  const cores = platform.cores();
  let wanted = threads ?? Math.min(cores, 64);
  let relaxed = !deterministic;
  if (deterministic) reasons.push("plain SIMD: deterministic was asked for");
  else if (!hasRelaxed())
    [relaxed] = [false, reasons.push("plain SIMD: this engine has no relaxed SIMD")];
  else if (platform.distrustRelaxed) [relaxed] = [false, reasons.push(`plain SIMD: ${platform.distrustRelaxed}`)];
  else if (given && !given.relaxed)
    [relaxed] = [false, reasons.push("plain SIMD: the module given as wasm is built without relaxed SIMD")];
  if (given?.relaxed && !relaxed) return undefined;
  const noThreads =
    given && !given.threads ? "the module given as wasm is built without threads" : platform.noThreads();
  if (threads !== 1 && noThreads) [wanted] = [1, reasons.push(`one thread: ${noThreads}`)];
  else if (wanted === 1) reasons.push(threads === 1 ? "one thread: as asked" : "one thread: this host has one core");
  if (build) {
    relaxed = build.startsWith("relaxed");
    if (relaxed && !hasRelaxed()) return undefined;
    wanted = build.endsWith("threads") ? wanted : 1;
  }
  const shared = given?.threads ?? wanted > 1;
  return {
    build: build ?? `${relaxed ? "relaxed" : "simd"}${shared ? "-threads" : ""}`, runtime: platform.runtime,
    threads: wanted, cores, relaxed, deterministic, reasons,
  };
}

/**
 * For quantised weights: the same build, or the plain one when this engine computes relaxed products of bytes wrongly,
 * which some baseline compilers do. Measured on extreme values, not looked up.
 */
export async function trustedBytes(caps: Caps, platform: Platform, given?: GivenModule): Promise<Caps> {
  if (!caps.relaxed) return caps;
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: given?.threads ?? false });
  const kernels = instantiate(given?.module ?? (await platform.kernels("relaxed")), memory);
  kernels.initialise();
  if (kernels.probeInt8() === 1) return caps;
  if (given) throw (await import("../extras.ts")).wrongBytes();
  return {
    ...caps, relaxed: false, build: caps.build.replace("relaxed", "simd") as Build,
    reasons: [...caps.reasons, "plain SIMD: this engine computes relaxed products of bytes wrongly"],
  };
}
