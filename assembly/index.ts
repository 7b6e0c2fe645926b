// What the WebAssembly module exports: the executor, the packing of weights, and every kernel, for tests and benchmarks.
export { initialise } from "./simd";
export { embed, packPanel, packPanels, unpackTable } from "./pack";
export { runPlan } from "./plan";
export { linear } from "./matmul";
export { keyValueState, linearAttention } from "./linear-attention";
export { scoreAttention, transposeKeys } from "./score-attention";
export { depthwiseConv, gatherPatches } from "./conv";
export { affine, layerNorm, rmsNorm } from "./norm";
export { checksum, copyBlocks, meanRows } from "./elementwise";
export { recurrentChunks, recurrentStep } from "./recurrent";
export { recurrentChunksByChannel } from "./recurrent-vector";
export { causalConv } from "./causal-conv";
