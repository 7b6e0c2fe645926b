// What the WebAssembly module exports: the executor, the packing of weights, and every kernel, for tests and benchmarks.
export { initialise, relaxedSimd } from "./simd";
export { embed, packPanel, packPanels, unpackTable } from "./pack";
export { runPlan } from "./plan";
export { linear } from "./matmul";
export { int8PanelBytes, int8RowBytes, linearInt8, probeInt8, quantizePanelInt8, quantizeRows } from "./int8";
export { int4RowBytes, int4VectorBytes, linearInt4, quantizeRowInt4, quantizeVectorInt8, unpackPanelInt4 } from "./int4";
export { keyValueState, linearAttention } from "./linear-attention";
export { scoreAttention, transposeKeys } from "./score-attention";
export { gatherRows } from "./gather";
export { windowAttention } from "./window-attention";
export { depthwiseConv, gatherPatches } from "./conv";
export { depthwiseConvChannels } from "./depthwise";
export { affine, layerNorm, rmsNorm } from "./norm";
export { linearInt4Rows } from "./int4-rows";
export { checksum, copyBlocks, meanRows } from "./elementwise";
export { recurrentChunks, recurrentStep } from "./recurrent";
export { recurrentChunksByChannel } from "./recurrent-vector";
export { causalConv } from "./causal-conv";
