// The shape of an op record, and what kernels' arguments may be. Plain constants, imported by bindings/ too. The ops'
// own numbers stand in the tags over their kernels.
// Record: i32 opcode, i32 units, i32 units per chunk, then the kernel's arguments after (begin, end), in order.

export const OP_BYTES = 104;
export const OP_ARGS = 12;

/** Activation of a linear layer. */
export const ACT_NONE = 0;
export const ACT_RELU = 1;
export const ACT_GELU = 2;
export const ACT_SILU = 3;
/** Not an activation of its own: the result is multiplied by the addend instead of added to it (gated units). */
export const ACT_GATE = 4;

/** How score attention turns a row of scores into weights. */
export const WEIGH_LINEAR = 0;
export const WEIGH_SOFTMAX = 1;

/** How weights are kept. */
export const WEIGHTS_F32 = 0;
export const WEIGHTS_INT8 = 1;
export const WEIGHTS_INT4 = 2;
/** int8 within −63 … 63, where a relaxed build makes use of it. */
export const WEIGHTS_INT8_NARROW = 3;

/** Number formats of a checkpoint that the packing kernel reads. */
export const RAW_F32 = 0;
export const RAW_F16 = 1;
export const RAW_BF16 = 2;
export const RAW_F64 = 3;

/** What the recurrence's state decays by, and how it is read. */
export const DECAY_NONE = 0;
export const DECAY_SCALAR = 1;
export const DECAY_KEY = 2;
export const DECAY_VALUE = 3;
export const NORMALISE = 1;
export const READ_BEFORE = 2;

/**
 * Instructions of map, operation | leaf << 8: first those with a leaf, or the stack, on their right side,
 * then those with one side.
 */
export const MAP_PUSH = 1;
export const MAP_ADD = 2;
export const MAP_SUB = 3;
export const MAP_MUL = 4;
export const MAP_DIV = 5;
export const MAP_MAX = 6;
export const MAP_MIN = 7;
export const MAP_NEG = 32;
export const MAP_EXP = 33;
export const MAP_SIGMOID = 34;
export const MAP_SOFTPLUS = 35;
export const MAP_TANH = 36;
export const MAP_RELU = 37;
export const MAP_SQRT = 38;
export const MAP_SILU = 39;
export const MAP_GELU = 40;
/** Leaves beside the inputs, which count from 1. */
export const MAP_STACK = 0;
export const MAP_CONSTANT = 15;
export const MAP_INPUTS = 6;
/** Blocks that a program may have on its stack. */
export const MAP_DEPTH = 8;
