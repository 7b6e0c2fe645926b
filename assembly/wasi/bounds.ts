// Whether the ops of a stranger's plan stay within their memory, with all of their rows live and with fewer. What an op
// touches stands beside its kernel.
import { causalConvFits } from "../causal-conv";
import { depthwiseConvFits } from "../conv";
import { depthwiseConvChannelsFits } from "../depthwise";
import { copyBlocksFits, meanRowsFits } from "../elementwise";
import { good } from "../extents";
import { gatherRowsFits } from "../gather";
import { quantizeVectorInt8Fits } from "../int4";
import { linearInt4RowsFits } from "../int4-rows";
import { linearInt8Fits, quantizeRowsFits } from "../int8";
import { keyValueStateFits, linearAttentionFits } from "../linear-attention";
import { linearFits } from "../matmul";
import { affineFits, layerNormFits, rmsNormFits } from "../norm";
import * as op from "../opcodes";
import { OP_ARGS, OP_BYTES } from "../opcodes";
import { embedFits } from "../pack";
import { gatherPatchesFits, gatherWindowsFits, stretchRowsFits } from "../patches";
import { recurrentChunksFits, recurrentStepFits } from "../recurrent";
import { recurrentChunksByChannelFits } from "../recurrent-vector";
import { scoreAttentionFits, transposeKeysFits } from "../score-attention";
import { cachedAttentionFits, cacheTokensFits } from "../softmax-attention";
import { windowAttentionFits } from "../window-attention";

// the record that is being checked
let record: usize = 0;

// @ts-ignore: decorator
@inline
function arg(index: usize): i32 {
  return load<i32>(record + OP_ARGS + index * 4);
}

// @ts-ignore: decorator
@inline
function argF32(index: usize): f32 {
  return load<f32>(record + OP_ARGS + index * 4);
}

/** Whether an op can run, with all of its rows live. */
export function checkOp(at: usize): bool {
  record = at;
  const units = load<i32>(at, 4);
  if (!good(units)) return false;
  switch (load<i32>(at)) {
    case op.LINEAR:
      return linearFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12),
      );
    case op.KEY_VALUE_STATE: return keyValueStateFits(units, arg(0), arg(1), arg(2), arg(3), arg(4));
    case op.LINEAR_ATTENTION:
      return linearAttentionFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), argF32(8));
    case op.TRANSPOSE_KEYS: return transposeKeysFits(units, arg(0), arg(1), arg(2), arg(3), arg(4));
    case op.SCORE_ATTENTION:
      return scoreAttentionFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), argF32(11),
      );
    case op.DEPTHWISE_CONV:
      return depthwiseConvFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7));
    case op.GATHER_PATCHES:
      return gatherPatchesFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9));
    case op.MEAN_ROWS: return meanRowsFits(units, arg(0), arg(1), arg(2), arg(3));
    case op.AFFINE: return affineFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6));
    case op.LAYER_NORM: return layerNormFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), argF32(7));
    case op.COPY: return copyBlocksFits(units, arg(0), arg(1), arg(2));
    case op.EMBED: return embedFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5));
    case op.RECURRENT_STEP:
      return recurrentStepFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14), arg(15), arg(16), arg(17), argF32(18),
      );
    case op.RECURRENT_CHUNKS:
      return recurrentChunksFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14), arg(15), argF32(16),
      );
    case op.CAUSAL_CONV:
      return causalConvFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
      );
    case op.RMS_NORM: return rmsNormFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), argF32(6));
    case op.RECURRENT_CHUNKS_BY_CHANNEL:
      return recurrentChunksByChannelFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14), arg(15), arg(16), arg(17), argF32(18),
      );
    case op.QUANTIZE_ROWS: return quantizeRowsFits(units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5));
    case op.LINEAR_INT8:
      return linearInt8Fits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14), arg(15), arg(16),
      );
    case op.QUANTIZE_VECTOR: return quantizeVectorInt8Fits(units, arg(0), arg(1), arg(2), arg(3));
    case op.LINEAR_INT4:
      return linearInt4RowsFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14),
      );
    case op.DEPTHWISE_CONV_CHANNELS:
      return depthwiseConvChannelsFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14), arg(15), arg(16), arg(17),
      );
    case op.WINDOW_ATTENTION:
      return windowAttentionFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13),
      );
    case op.GATHER_ROWS:
      return gatherRowsFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12),
      );
    case op.GATHER_WINDOWS:
      return gatherWindowsFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10),
      );
    case op.STRETCH_ROWS: return stretchRowsFits(units, arg(0), arg(1), arg(2), arg(3));
    case op.CACHE_TOKENS:
      return cacheTokensFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
        arg(12), arg(13), arg(14),
      );
    case op.CACHED_ATTENTION:
      return cachedAttentionFits(
        units, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5), arg(6), arg(7), arg(8), arg(9), arg(10), arg(11),
      );
  }
  return false;
}

/** Which argument of an op is a number of rows that may change from run to run; −1: none. */
function liveArgument(code: i32): i32 {
  switch (code) {
    case op.LINEAR: return 10;
    case op.LINEAR_INT8: return 13;
    case op.LINEAR_INT4: return 12;
    case op.RECURRENT_CHUNKS: case op.RECURRENT_CHUNKS_BY_CHANNEL: return 7;
    case op.CAUSAL_CONV: case op.CACHED_ATTENTION: return 8;
    case op.CACHE_TOKENS: return 11;
  }
  return -1;
}

/** Ops of which fewer units may run. */
function liveUnits(code: i32): bool {
  switch (code) {
    case op.EMBED: case op.RMS_NORM: case op.QUANTIZE_ROWS: case op.RECURRENT_STEP: case op.CACHE_TOKENS:
    case op.CACHED_ATTENTION: return true;
  }
  return false;
}

/**
 * Whether a live field is the number of rows of an op of its program: then fewer rows than were checked touch nothing
 * more. `before`: the field before it.
 */
export function checkLive(at: u32, before: u32, factor: u32, from: usize, ops: u32, rows: u32): bool {
  if (at < from || rows == 0 || factor == 0) return false;
  const index = (at - from) / OP_BYTES, start = from + index * OP_BYTES;
  if (index >= ops || <u64>load<u32>(at) != <u64>rows * factor) return false;
  const code = load<i32>(start), argument = liveArgument(code);
  if (at - start == 4) return liveUnits(code);
  if (argument < 0 || at - start != OP_ARGS + <u32>argument * 4) return false;
  // its units are heads of rows, head by head: fewer rows are fewer units
  return code != op.CACHED_ATTENTION || before == start + 4;
}

/** The field that has to be live, with one row for each token, or the op would go on past the context; 0: none. */
export function growingField(start: usize): usize {
  record = start;
  const code = load<i32>(start);
  const sequence = code == op.CACHE_TOKENS ? arg(14) : code == op.CACHED_ATTENTION ? arg(11) : 0;
  return sequence ? start + OP_ARGS + <usize>liveArgument(code) * 4 : 0;
}
