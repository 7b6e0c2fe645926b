// What a model can do beside running, and what a mistake needs. Loaded when first asked for, as one piece: every piece
// would take what it shares with load() out of it.
export { givenModule } from "./given-module.ts";
export { activation, classifyAll, evidence } from "./inside.ts";
export { logProbabilities } from "./logprobs.ts";
export { optionFault, otherKind } from "./option-faults.ts";
export { packedFile } from "./packed-file.ts";
export { profile } from "./profile.ts";
export { standaloneFile } from "./standalone.ts";
