// What a model can do beside running, and what a mistake needs. Loaded when first asked for, as one piece: every piece
// would take what it shares with load() out of it.
export { activation, classifyAll, evidence } from "./tasks/inside.ts";
export { featuresFault, kindFault, pictureFault, pixelsFault, topKFault } from "./tasks/image-faults.ts";
export {
  batchFault, idsFault, maxTokensFault, promptFault, roomFault, samplingFault, sessionsFault, vocabFault,
} from "./tasks/language-faults.ts";
export { logProbabilities } from "./tasks/logprobs.ts";
export { optionFault, otherKind } from "./config/option-faults.ts";
export {
  addressFault, buildFault, dtypeFault, memoryFault, noConfig, packedFault, packedForOther, packedMisfit,
  sourceFault, weightsFault, wrongBytes,
} from "./load/faults.ts";
export { packedFile } from "./load/packed-file.ts";
export { profile } from "./run/profile.ts";
export { StopFinder } from "./tasks/stop-finder.ts";
export { standaloneFile } from "./tasks/standalone.ts";
