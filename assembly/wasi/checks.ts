// Made by scripts/ops.mjs from the kernels: do not edit.
import { OP_ARGS } from "../opcodes";
import { causalConvFits } from "../kernels/causal-conv";
import { depthwiseConvFits } from "../kernels/conv";
import { depthwiseConvChannelsFits } from "../kernels/depthwise";
import { copyBlocksFits, meanRowsFits } from "../kernels/elementwise";
import { gatherRowsFits } from "../kernels/gather";
import { quantizeVectorInt8Fits } from "../kernels/int4";
import { linearInt4RowsFits } from "../kernels/int4-rows";
import { linearInt8Fits, quantizeRowsFits } from "../kernels/int8";
import { keyValueStateFits, linearAttentionFits } from "../kernels/linear-attention";
import { mapFits } from "../kernels/map";
import { linearFits } from "../kernels/matmul";
import { affineFits, layerNormFits, rmsNormFits } from "../kernels/norm";
import { embedFits } from "../kernels/pack";
import { gatherPatchesFits, gatherWindowsFits, stretchRowsFits } from "../kernels/patches";
import { recurrentChunksFits, recurrentStepFits } from "../kernels/recurrent";
import { recurrentChunksByChannelFits } from "../kernels/recurrent-vector";
import { scoreAttentionFits, transposeKeysFits } from "../kernels/score-attention";
import { cacheTokensFits, cachedAttentionFits } from "../kernels/softmax-attention";
import { windowAttentionFits } from "../kernels/window-attention";

// @ts-ignore: decorator
@inline
function arg(record: usize, index: usize): i32 {
  return load<i32>(record + OP_ARGS + index * 4);
}

// @ts-ignore: decorator
@inline
function argF32(record: usize, index: usize): f32 {
  return load<f32>(record + OP_ARGS + index * 4);
}

/** Whether the op at `r` touches nothing but what it may, with all of its `units`. */
export function opFits(r: usize, units: i32): bool {
  switch (load<i32>(r)) {
    case 1:
      return linearFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12));
    case 2:
      return keyValueStateFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4));
    case 3:
      return linearAttentionFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), argF32(r, 8));
    case 4:
      return transposeKeysFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4));
    case 5:
      return scoreAttentionFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), argF32(r, 11));
    case 6:
      return depthwiseConvFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7));
    case 7:
      return gatherPatchesFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9));
    case 8:
      return meanRowsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
    case 9:
      return affineFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6));
    case 10:
      return layerNormFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        argF32(r, 7));
    case 11:
      return copyBlocksFits(units, arg(r, 0), arg(r, 1), arg(r, 2));
    case 12:
      return embedFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5));
    case 13:
      return recurrentStepFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        arg(r, 16), arg(r, 17), argF32(r, 18), arg(r, 19));
    case 14:
      return recurrentChunksFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        argF32(r, 16), arg(r, 17));
    case 15:
      return causalConvFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11));
    case 16:
      return rmsNormFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), argF32(r, 6));
    case 17:
      return recurrentChunksByChannelFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5),
        arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14),
        arg(r, 15), arg(r, 16), arg(r, 17), argF32(r, 18), arg(r, 19));
    case 18:
      return quantizeRowsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5));
    case 19:
      return linearInt8Fits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        arg(r, 16));
    case 20:
      return quantizeVectorInt8Fits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
    case 21:
      return linearInt4RowsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14));
    case 22:
      return depthwiseConvChannelsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5),
        arg(r, 6), arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14),
        arg(r, 15), arg(r, 16), arg(r, 17));
    case 23:
      return windowAttentionFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13));
    case 24:
      return gatherRowsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12));
    case 29:
      return gatherWindowsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10));
    case 30:
      return stretchRowsFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
    case 33:
      return cacheTokensFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        arg(r, 16), arg(r, 17), arg(r, 18));
    case 34:
      return cachedAttentionFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14));
    case 35:
      return mapFits(units, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16));
  }
  return false;
}

/** Which argument of an op is a number of rows that may change from run to run; −1: none. */
export function liveArgument(code: i32): i32 {
  switch (code) {
    case 1: return 10;
    case 14: return 8;
    case 15: return 8;
    case 17: return 8;
    case 19: return 13;
    case 21: return 12;
    case 33: return 12;
    case 34: return 8;
  }
  return -1;
}

/** Ops of which fewer units may run. */
export function liveUnits(code: i32): bool {
  switch (code) {
    case 12: case 13: case 16: case 18: case 33: case 34: case 35:
      return true;
  }
  return false;
}

/** Ops whose units and rows may be fewer only together. */
export function liveTogether(code: i32): bool {
  return code == 34;
}

/** Of an op that goes by positions: the argument that says whether its rows are successive tokens; −1 for others. */
export function sequenceArgument(code: i32): i32 {
  switch (code) {
    case 33: return 15;
    case 34: return 11;
  }
  return -1;
}
