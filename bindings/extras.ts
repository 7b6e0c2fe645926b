// What a model can do beside running. Loaded when first asked for, as one piece: every piece would take what it shares with load() out of it.
export { activation, evidence } from "./inside.ts";
export { packedFile } from "./packed-file.ts";
export { profileOps, profileProgram } from "./profile.ts";
export { standaloneFile } from "./standalone.ts";
