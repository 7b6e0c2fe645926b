// Element-wise formulas: gates, decays, interpolations between rows. They read as in the paper and become one op of a
// short program.
//   map(pass.plan, mul(normed, silu(gate)))          map(pass.plan, exp(mul(softplus(neg(x)), -1 / 16)))
import * as opcodes from "../../../assembly/opcodes.ts";
import * as kernels from "../op-table.ts";
import { rowGrain } from "../record.ts";
import type { Plan, Tensor } from "../plan.ts";

/** Numbers that lie otherwise than one for every channel. */
interface Spread {
  readonly tensor: Tensor;
  /** n: one for n channels side by side. −n: n numbers over and over. */
  readonly mode: number;
}
interface Node {
  readonly operation: number;
  readonly sides: readonly Term[];
}
/** A tensor of rows, or of one row for all; a number; what comes out of a formula. */
export type Term = Tensor | Spread | Node | number;

const two = (operation: number) => (left: Term, right: Term): Node => ({ operation, sides: [left, right] });
const one = (operation: number) => (side: Term): Node => ({ operation, sides: [side] });

export const add = two(opcodes.MAP_ADD);
/** left − right. */
export const sub = two(opcodes.MAP_SUB);
export const mul = two(opcodes.MAP_MUL);
export const div = two(opcodes.MAP_DIV);
export const max = two(opcodes.MAP_MAX);
export const min = two(opcodes.MAP_MIN);
export const neg = one(opcodes.MAP_NEG);
export const exp = one(opcodes.MAP_EXP);
export const sigmoid = one(opcodes.MAP_SIGMOID);
/** log(1 + e^x). */
export const softplus = one(opcodes.MAP_SOFTPLUS);
export const tanh = one(opcodes.MAP_TANH);
export const relu = one(opcodes.MAP_RELU);
export const sqrt = one(opcodes.MAP_SQRT);
/** x·σ(x). */
export const silu = one(opcodes.MAP_SILU);
/** x·Φ(x), by erf. */
export const gelu = one(opcodes.MAP_GELU);
/** from + (to − from)·by. */
export const lerp = (from: Term, to: Term, by: Term): Node => add(from, mul(sub(to, from), by));
/** One number a head, [rows, heads], for each of its `width` channels. */
export const overHeads = (tensor: Tensor, width: number): Spread => ({ tensor, mode: width });
/** The numbers of one head, [rows, width], for every head. */
export const everyHead = (tensor: Tensor): Spread => ({ tensor, mode: -tensor.columns });

const isNode = (term: Term): term is Node => typeof term === "object" && "sides" in term;
const COMMUTE: readonly number[] = [opcodes.MAP_ADD, opcodes.MAP_MUL, opcodes.MAP_MAX, opcodes.MAP_MIN];
const leafOf = (term: Tensor | Spread): Spread => ("mode" in term ? term : { tensor: term, mode: 0 });

/**
 * The formula for every row and channel of its tensors, [rows, columns]; in place when `out` is one of them.
 * @param columns  default: those of the first tensor that has a number for every channel
 * @throws RangeError for more than six tensors, or a formula nested too deep
 */
export function map(plan: Plan, formula: Term, { out, columns }: { out?: Tensor; columns?: number } = {}): Tensor {
  const leaves: Spread[] = [], words: number[] = [], floats = new Float32Array(1), bits = new Int32Array(floats.buffer);
  let depth = 0, deepest = 0;
  /** An operation whose right side is a leaf, or what is on the stack. */
  const word = (operation: number, leaf: Exclude<Term, Node> | undefined): void => {
    if (leaf === undefined) words.push(operation);
    else if (typeof leaf === "number") {
      floats[0] = leaf;
      words.push(operation | (opcodes.MAP_CONSTANT << 8), bits[0]!);
    } else {
      const { tensor, mode } = leafOf(leaf);
      let index = leaves.findIndex((known) => known.tensor === tensor && known.mode === mode);
      if (index < 0) index = leaves.push({ tensor, mode }) - 1;
      words.push(operation | ((index + 1) << 8));
    }
  };
  const emit = (term: Term): void => {
    if (!isNode(term)) {
      word(opcodes.MAP_PUSH, term);
      deepest = Math.max(deepest, ++depth);
      return;
    }
    let [left, right] = term.sides as [Term, Term | undefined];
    // where sides may change places, a leaf is on the right, which takes no block
    if (right !== undefined && isNode(right) && !isNode(left) && COMMUTE.includes(term.operation))
      [left, right] = [right, left];
    emit(left);
    if (right === undefined) words.push(term.operation);
    else if (!isNode(right)) word(term.operation, right);
    else {
      emit(right);
      words.push(term.operation);
      depth--;
    }
  };
  emit(formula);
  if (leaves.length > opcodes.MAP_INPUTS)
    throw new RangeError(`a formula of ${leaves.length} tensors, expected at most ${opcodes.MAP_INPUTS}: split it`);
  if (deepest > opcodes.MAP_DEPTH)
    throw new RangeError(`a formula nested ${deepest} deep, expected at most ${opcodes.MAP_DEPTH}: split it`);
  const like = leaves.find(({ mode }) => mode === 0)?.tensor, width = columns ?? out?.columns ?? like?.columns;
  const rows = Math.max(...leaves.map(({ tensor }) => tensor.rows));
  if (width === undefined)
    throw new RangeError("a formula without a tensor that has a number for every channel: say how many columns");
  for (const { tensor, mode } of leaves) {
    const fits =
      mode === 0 ? tensor.columns === width : mode > 0 ? tensor.columns * mode === width : width % tensor.columns === 0;
    if (!fits || (tensor.rows !== rows && tensor.rows !== 1)) {
      throw new RangeError(
        `${tensor.name} is [${tensor.rows}, ${tensor.columns}] in a formula over [${rows}, ${width}]`,
      );
    }
  }
  const target = out ?? plan.rows("map", rows, width);
  const program = Int32Array.from([
    ...Array.from({ length: opcodes.MAP_INPUTS }, (_, i) => leaves[i]?.mode ?? 0), ...words,
  ]);
  const [a, b, c, d, e, f] = leaves.map(({ tensor }) => tensor);
  // one row for all: its next row is itself
  const stride = (tensor: Tensor | undefined): number => (tensor && tensor.rows > 1 ? tensor.rowBytes : 0);
  plan.needScratch(9 * 256);
  plan.op(
    kernels.map,
    {
      out: target, program: plan.indices(`map ${program.join(" ")}`, program), length: words.length, columns: width, a,
      aRow: stride(a), b, bRow: stride(b), c, cRow: stride(c), d, dRow: stride(d), e, eRow: stride(e), f,
      fRow: stride(f),
    },
    { units: plan.liveRows(target), flops: 4 * rows * width * words.length, grain: rowGrain(rows) },
  );
  return target;
}
