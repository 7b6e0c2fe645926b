// Made by scripts/ops.mjs from the kernels: do not edit.
import { THREAD_SCRATCH, THREAD_SCRATCH_BYTES } from "./header";
import { OP_ARGS } from "./opcodes";
import { causalConv } from "./kernels/causal-conv";
import { depthwiseConv } from "./kernels/conv";
import { depthwiseConvChannels } from "./kernels/depthwise";
import { copyBlocks, meanRows } from "./kernels/elementwise";
import { gatherRows } from "./kernels/gather";
import { quantizeVectorInt8 } from "./kernels/int4";
import { linearInt4Rows } from "./kernels/int4-rows";
import { linearInt8, quantizeRows } from "./kernels/int8";
import { keyValueState, linearAttention } from "./kernels/linear-attention";
import { map } from "./kernels/map";
import { linear } from "./kernels/matmul";
import { affine, layerNorm, rmsNorm } from "./kernels/norm";
import { embed } from "./kernels/pack";
import { gatherPatches, gatherWindows, stretchRows } from "./kernels/patches";
import { recurrentChunks, recurrentStep } from "./kernels/recurrent";
import { recurrentChunksByChannel } from "./kernels/recurrent-vector";
import { scoreAttention, transposeKeys } from "./kernels/score-attention";
import { cacheTokens, cachedAttention } from "./kernels/softmax-attention";
import { windowAttention } from "./kernels/window-attention";

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

/** Units [begin, end) of one op. */
export function runOp(r: usize, begin: i32, end: i32, thread: i32): void {
  const scratch = load<usize>(THREAD_SCRATCH) + <usize>thread * load<usize>(THREAD_SCRATCH_BYTES);
  switch (load<i32>(r)) {
    case 1:
      linear(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12));
      break;
    case 2:
      keyValueState(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4));
      break;
    case 3:
      linearAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), argF32(r, 8));
      break;
    case 4:
      transposeKeys(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4));
      break;
    case 5:
      scoreAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), argF32(r, 11), scratch);
      break;
    case 6:
      depthwiseConv(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        scratch);
      break;
    case 7:
      gatherPatches(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9));
      break;
    case 8:
      meanRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
      break;
    case 9:
      affine(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6));
      break;
    case 10:
      layerNorm(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), argF32(r, 7));
      break;
    case 11:
      copyBlocks(begin, end, arg(r, 0), arg(r, 1), arg(r, 2));
      break;
    case 12:
      embed(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5));
      break;
    case 13:
      recurrentStep(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16),
        arg(r, 17), argF32(r, 18), arg(r, 19), scratch);
      break;
    case 14:
      recurrentChunks(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        argF32(r, 16), arg(r, 17), scratch);
      break;
    case 15:
      causalConv(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11));
      break;
    case 16:
      rmsNorm(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), argF32(r, 6));
      break;
    case 17:
      recurrentChunksByChannel(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        arg(r, 16), arg(r, 17), argF32(r, 18), arg(r, 19), scratch);
      break;
    case 18:
      quantizeRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5));
      break;
    case 19:
      linearInt8(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16));
      break;
    case 20:
      quantizeVectorInt8(arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
      break;
    case 21:
      linearInt4Rows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), scratch);
      break;
    case 22:
      depthwiseConvChannels(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15),
        arg(r, 16), arg(r, 17), scratch);
      break;
    case 23:
      windowAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), scratch);
      break;
    case 24:
      gatherRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12));
      break;
    case 29:
      gatherWindows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10));
      break;
    case 30:
      stretchRows(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3));
      break;
    case 33:
      cacheTokens(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7),
        arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16),
        arg(r, 17), arg(r, 18));
      break;
    case 34:
      cachedAttention(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6),
        arg(r, 7), arg(r, 8), arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), scratch);
      break;
    case 35:
      map(begin, end, arg(r, 0), arg(r, 1), arg(r, 2), arg(r, 3), arg(r, 4), arg(r, 5), arg(r, 6), arg(r, 7), arg(r, 8),
        arg(r, 9), arg(r, 10), arg(r, 11), arg(r, 12), arg(r, 13), arg(r, 14), arg(r, 15), arg(r, 16), scratch);
      break;
    default:
      unreachable();
  }
}
