// Made by scripts/ops.mjs from the kernels: do not edit.
// For tests alone: every kernel beside what it touches, and the limits that it is held to.
export { allowDecode, allowMemory, allowPrompt, allowStates, listExtents } from "./extents";
export { initialise } from "./simd";
export { causalConv, causalConvFits } from "./kernels/causal-conv";
export { depthwiseConv, depthwiseConvFits } from "./kernels/conv";
export { depthwiseConvChannels, depthwiseConvChannelsFits } from "./kernels/depthwise";
export { copyBlocks, copyBlocksFits, meanRows, meanRowsFits } from "./kernels/elementwise";
export { gatherRows, gatherRowsFits } from "./kernels/gather";
export { quantizeVectorInt8, quantizeVectorInt8Fits } from "./kernels/int4";
export { linearInt4Rows, linearInt4RowsFits } from "./kernels/int4-rows";
export { linearInt8, linearInt8Fits, quantizeRows, quantizeRowsFits } from "./kernels/int8";
export { keyValueState, keyValueStateFits, linearAttention, linearAttentionFits } from "./kernels/linear-attention";
export { map, mapFits } from "./kernels/map";
export { linear, linearFits } from "./kernels/matmul";
export { affine, affineFits, layerNorm, layerNormFits, rmsNorm, rmsNormFits } from "./kernels/norm";
export { embed, embedFits } from "./kernels/pack";
export { gatherPatches, gatherPatchesFits, gatherWindows, gatherWindowsFits, stretchRows } from "./kernels/patches";
export { stretchRowsFits } from "./kernels/patches";
export { recurrentChunks, recurrentChunksFits, recurrentStep, recurrentStepFits } from "./kernels/recurrent";
export { recurrentChunksByChannel, recurrentChunksByChannelFits } from "./kernels/recurrent-vector";
export { scoreAttention, scoreAttentionFits, transposeKeys, transposeKeysFits } from "./kernels/score-attention";
export { cacheTokens, cacheTokensFits, cachedAttention, cachedAttentionFits } from "./kernels/softmax-attention";
export { windowAttention, windowAttentionFits } from "./kernels/window-attention";
