// Where downloaded models are kept on this machine, and found again by name.
import { fs, os, path } from "./builtins.ts";

/** SLAB_CACHE, or slab-wasm in the place that the system has for such files. */
export function cacheFolder(): string {
  const { env, platform } = process;
  if (env.SLAB_CACHE) return path.resolve(env.SLAB_CACHE);
  // as XDG says, a path that is not absolute is none
  const xdg = env.XDG_CACHE_HOME && path.isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : undefined;
  const own =
    platform === "darwin"
      ? path.join(os.homedir(), "Library", "Caches")
      : platform === "win32" && env.LOCALAPPDATA
        ? env.LOCALAPPDATA
        : path.join(os.homedir(), ".cache");
  return path.join(xdg ?? own, "slab-wasm");
}

/** The folder of models, one below it each. */
export const cachedModels = (): string => path.join(cacheFolder(), "models");

/** The folder of a model that was downloaded; undefined for a name of none, and for what is no plain name. */
export function cachedModel(name: string): string | undefined {
  if (!/^\w[\w.-]*$/.test(name)) return undefined;
  const folder = path.join(cachedModels(), name);
  return fs.existsSync(path.join(folder, "config.json")) ? folder : undefined;
}
