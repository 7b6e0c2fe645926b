// What a model can do beside running. Loaded when first asked for, as one piece: every piece would take what it shares with load() out of it.
export { activation, evidence } from "./tasks/inside.ts";
export { packedFile } from "./load/packed-file.ts";
export { profileOps, profileProgram } from "./run/profile.ts";
export { standaloneFile } from "./tasks/standalone.ts";
