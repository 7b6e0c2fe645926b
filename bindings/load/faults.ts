// What is wrong with what load() was given. Loaded when it is refused.
import { describe } from "../describe.ts";
import { WEIGHT_TYPES } from "../plan/dtype.ts";
import type { Platform } from "../platform/platform.ts";
import type { BuildOptions, Caps } from "../run/kernels.ts";
import { hasRelaxed } from "../run/kernels.ts";
import type { GivenModule } from "./given-module.ts";
import { isFold, VERSION } from "./packed.ts";
import type { Packed } from "./packed.ts";

export const dtypeFault = (dtype: unknown): RangeError =>
  new RangeError(`dtype is ${describe(dtype)}, expected one of ${WEIGHT_TYPES.join(", ")}`);

/** What is neither a folder's path or URL nor parts. */
export const sourceFault = (): TypeError => new TypeError("the source is not one that load() knows: "
  + "expected a folder's path or URL, or { config, weights }");

export const weightsFault = (weights: unknown): TypeError => new TypeError(`weights is ${describe(weights)}, `
  + "expected the bytes of a safetensors or PyTorch file, a Blob, a stream or a ByteSource");

/** @param url  the address that the source comes down to; undefined where it is none */
export function addressFault(source: string | URL, url: URL | undefined, { disk, runtime }: Platform): RangeError {
  if (url) return new RangeError(`"${url.href}" is not a ${disk ? "file:, http: or https:" : "http: or https:"} URL`);
  return new RangeError(`"${String(source)}" is not a URL, and ${runtime} has no files: `
    + "give a URL, or { config, weights, tokenizer }");
}

export const noConfig = (folder: string): RangeError => new RangeError(`${folder} has no config.json: `
  + 'add it, or name the network with the option config, e.g. "slab_deit_t"');

/** Why there is no build for these options. */
export function buildFault(
  platform: Platform, { threads, deterministic, build }: BuildOptions, given: GivenModule | undefined,
): RangeError {
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
    return new RangeError(`threads is ${threads}, expected a whole number from 1 to 64`);
  }
  const plain = "give slab-simd.wasm or slab-simd-threads.wasm", relaxed = hasRelaxed();
  if (given?.relaxed && deterministic) {
    return new RangeError(`wasm is a relaxed build, and deterministic wants a plain one: ${plain}`);
  }
  if (given?.relaxed && (!relaxed || platform.distrustRelaxed)) {
    const reason = relaxed ? platform.distrustRelaxed : "this engine has no relaxed SIMD";
    return new RangeError(`wasm is a relaxed build (plain SIMD: ${reason}): ${plain}`);
  }
  return new RangeError(`${platform.runtime} has no relaxed SIMD, which the build "${build}" needs: use a plain build, `
    + "or a newer runtime");
}

export const wrongBytes = (): RangeError => new RangeError("this engine computes relaxed products of bytes wrongly, "
  + "and wasm is a relaxed build: give slab-simd.wasm");

/** Why a packed checkpoint does not fit what was asked for, or this host. */
export function packedMisfit(
  name: string, { type, layout }: Packed, dtype: string | undefined, caps: Caps,
): RangeError {
  if (dtype !== undefined && dtype !== type) {
    return new RangeError(`${name} is packed as ${type}, asked for was ${dtype}: load the original checkpoint`);
  }
  const host = `${caps.build} (${caps.reasons[0] ?? "as asked"})`;
  return new RangeError(`${name} is packed for ${layout} builds, this host runs ${host}: load the original checkpoint, `
    + "or convert it here");
}

/** What is wrong with the metadata of a packed checkpoint. */
export function packedFault(name: string, metadata: ReadonlyMap<string, string>, sound: boolean): RangeError {
  const version = metadata.get("slab.packed")!;
  let what = `in version ${JSON.stringify(version.slice(0, 20))}, this release reads ${VERSION}`;
  if (version === VERSION) {
    what = "its metadata is damaged";
    try {
      const folds = JSON.parse(metadata.get("slab.folds") ?? "") as unknown;
      const good = Array.isArray(folds) && folds.every(isFold);
      JSON.parse(metadata.get("slab.tables") ?? "");
      if (sound) what = `its list of ${good ? "tables" : "folds"} is damaged`;
    } catch {
      // no JSON
    }
  }
  return new RangeError(`${name} is packed, but ${what}: convert the original checkpoint again`);
}

export const packedForOther = (name: string): RangeError => new RangeError(`${name} is packed for another network or `
  + "release than config.json asks for: convert the original checkpoint again");

/** A model of more bytes than a memory holds, `stateBytes` of them for sessions. */
export function memoryFault(bytes: number, stateBytes: number): RangeError {
  const fewer = stateBytes > 2 ** 30 ? ", or fewer sessions" : "";
  return new RangeError(`the model needs ${(bytes / 2 ** 30).toFixed(1)} GiB, a WebAssembly memory holds 4: `
    + `use a smaller model or dtype${fewer}`);
}
