// Element-wise formulas over rows, as short programs: gates, decays, interpolations. A row passes in blocks that
// stay in the first-level cache, and every instruction works on a whole block, so that reading the program costs
// little beside the arithmetic.
import { floats, good, isTable, reads, scratchHolds, span, woven, writes } from "../extents";
import {
  MAP_ADD, MAP_CONSTANT, MAP_DEPTH, MAP_DIV, MAP_EXP, MAP_GELU, MAP_INPUTS, MAP_MAX, MAP_MIN, MAP_MUL, MAP_NEG,
  MAP_PUSH, MAP_RELU, MAP_SIGMOID, MAP_SILU, MAP_SOFTPLUS, MAP_SQRT, MAP_STACK, MAP_SUB, MAP_TANH,
} from "../opcodes";
import { exp4, gelu, madd, silu } from "../simd";

/** Floats of a block, and bytes. */
const BLOCK: i32 = 64, BLOCK_BYTES: usize = 256;

/**
 * Where a leaf's numbers lie that go with n channels from `column` on: in place, or spread out in `copy`, the
 * last again past the end.
 */
function leafAt(input: usize, mode: i32, column: i32, columns: i32, n: i32, copy: usize): usize {
  if (mode == 0) return input + <usize>column * 4;
  for (let i = 0; i < n; ++i) {
    const c = min(column + i, columns - 1), from = mode > 0 ? c / mode : c % -mode;
    store<f32>(copy + <usize>i * 4, load<f32>(input + <usize>from * 4));
  }
  return copy;
}

/** log(1 + e^x), right to the last digits however small it is: e^−|x| goes through 2·artanh(e / (2 + e)). */
// @ts-ignore: decorator
@inline
function softplus(x: v128): v128 {
  const e = exp4(f32x4.neg(f32x4.abs(x))), t = f32x4.div(e, f32x4.add(e, f32x4.splat(2))), u = f32x4.mul(t, t);
  let p = f32x4.splat(2.0 / 15.0);
  p = madd(p, u, f32x4.splat(2.0 / 13.0)); p = madd(p, u, f32x4.splat(2.0 / 11.0));
  p = madd(p, u, f32x4.splat(2.0 / 9.0)); p = madd(p, u, f32x4.splat(2.0 / 7.0));
  p = madd(p, u, f32x4.splat(2.0 / 5.0)); p = madd(p, u, f32x4.splat(2.0 / 3.0));
  p = madd(p, u, f32x4.splat(2));
  return madd(p, t, f32x4.pmax(x, i32x4.splat(0)));
}

/** Near zero by its series, where 1 − 2/(e^2x + 1) would cancel. */
// @ts-ignore: decorator
@inline
function tanh(x: v128): v128 {
  const u = f32x4.mul(x, x), one = f32x4.splat(1);
  let p = f32x4.splat(62.0 / 2835.0);
  p = madd(p, u, f32x4.splat(-17.0 / 315.0)); p = madd(p, u, f32x4.splat(2.0 / 15.0));
  p = madd(p, u, f32x4.splat(-1.0 / 3.0)); p = madd(p, u, one);
  const far = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(exp4(f32x4.add(x, x)), one)));
  return v128.bitselect(f32x4.mul(p, x), far, f32x4.lt(f32x4.abs(x), f32x4.splat(0.25)));
}

/** out = op(a), n floats. */
function unary(op: i32, out: usize, a: usize, n: i32): void {
  const end = a + <usize>n * 4, one = f32x4.splat(1);
  switch (op) {
    case MAP_NEG: for (; a < end; a += 16, out += 16) v128.store(out, f32x4.neg(v128.load(a))); return;
    case MAP_EXP: for (; a < end; a += 16, out += 16) v128.store(out, exp4(v128.load(a))); return;
    case MAP_SIGMOID:
      for (; a < end; a += 16, out += 16) {
        v128.store(out, f32x4.div(one, f32x4.add(one, exp4(f32x4.neg(v128.load(a))))));
      }
      return;
    case MAP_SOFTPLUS: for (; a < end; a += 16, out += 16) v128.store(out, softplus(v128.load(a))); return;
    case MAP_TANH: for (; a < end; a += 16, out += 16) v128.store(out, tanh(v128.load(a))); return;
    case MAP_RELU:
      for (; a < end; a += 16, out += 16) {
        v128.store(out, f32x4.pmax(v128.load(a), i32x4.splat(0)));
      }
      return;
    case MAP_SQRT: for (; a < end; a += 16, out += 16) v128.store(out, f32x4.sqrt(v128.load(a))); return;
    case MAP_SILU: for (; a < end; a += 16, out += 16) v128.store(out, silu(v128.load(a))); return;
    case MAP_GELU: for (; a < end; a += 16, out += 16) v128.store(out, gelu(v128.load(a))); return;
  }
}

/** out = a op b, n floats; b one number four times where its step is 0. */
function binary(op: i32, out: usize, a: usize, b: usize, step: usize, n: i32): void {
  const end = a + <usize>n * 4;
  switch (op) {
    case MAP_ADD:
      for (; a < end; a += 16, b += step, out += 16) v128.store(out, f32x4.add(v128.load(a), v128.load(b)));
      return;
    case MAP_SUB:
      for (; a < end; a += 16, b += step, out += 16) v128.store(out, f32x4.sub(v128.load(a), v128.load(b)));
      return;
    case MAP_MUL:
      for (; a < end; a += 16, b += step, out += 16) v128.store(out, f32x4.mul(v128.load(a), v128.load(b)));
      return;
    case MAP_DIV:
      for (; a < end; a += 16, b += step, out += 16) v128.store(out, f32x4.div(v128.load(a), v128.load(b)));
      return;
    case MAP_MAX:
      for (; a < end; a += 16, b += step, out += 16) v128.store(out, f32x4.pmax(v128.load(a), v128.load(b)));
      return;
    case MAP_MIN:
      for (; a < end; a += 16, b += step, out += 16) v128.store(out, f32x4.pmin(v128.load(a), v128.load(b)));
      return;
  }
}

/**
 * out = formula(a, …, f), rows [begin, end). The program is a list of words: for each of the six inputs, how it lies
 * (0: a number for every channel; n > 0: one for n channels side by side; −n: n numbers over and over); then
 * instructions, operation | leaf << 8, over a stack of blocks: a leaf is an input from 1 on, MAP_STACK the block on
 * top, MAP_CONSTANT the float in the next word. MAP_PUSH puts a leaf on top; two-sided operations take it as their
 * right side; the others change the top. One block is left at the end.
 *
 * @op 35 rows
 * @live units
 * @param out          f32 [rows, columns padded to 4], row stride in bytes; may be any of the inputs
 * @param program      i32 [MAP_INPUTS + length]
 * @param a, …, f      f32 rows like out's, row strides in bytes; 0 = not there
 * @param scratch      9·256 bytes, this thread's own: eight blocks of stack, one for a leaf
 */
export function map(
  begin: i32, end: i32, out: usize, outRow: usize, program: usize, length: i32, columns: i32, a: usize, aRow: usize,
  b: usize, bRow: usize, c: usize, cRow: usize, d: usize, dRow: usize, e: usize, eRow: usize, f: usize, fRow: usize,
  scratch: usize,
): void {
  const leaf = scratch + 8 * BLOCK_BYTES, first = program + MAP_INPUTS * 4, last = first + <usize>length * 4;
  for (let row = <usize>begin; row < <usize>end; ++row) {
    for (let column = 0; column < columns; column += BLOCK) {
      const n = (min(BLOCK, columns - column) + 3) & ~3;
      // the top block's slot, and where its numbers are: a leaf is not copied until something else is put over it
      let top = scratch - BLOCK_BYTES, held: usize = 0;
      for (let at = first; at < last; at += 4) {
        const word = load<i32>(at), op = word & 255, source = word >> 8;
        let from = leaf, step: usize = 16;
        if (source == MAP_CONSTANT) {
          at += 4;
          v128.store(leaf, v128.load32_splat(at));
          step = 0;
        } else if (source != MAP_STACK) {
          const input = source == 1 ? a + row * aRow : source == 2 ? b + row * bRow : source == 3 ? c + row * cRow
            : source == 4 ? d + row * dRow : source == 5 ? e + row * eRow : f + row * fRow;
          from = leafAt(input, load<i32>(program + <usize>(source - 1) * 4), column, columns, n, leaf);
        } else if (op < MAP_NEG) {
          from = held;
          top -= BLOCK_BYTES;
          held = top;
        }
        if (op == MAP_PUSH) {
          if (top >= scratch && held != top) memory.copy(top, held, <usize>n * 4);
          top += BLOCK_BYTES;
          held = from == leaf ? top : from;
          if (from == leaf) {
            for (let i: usize = 0, j = leaf; i < <usize>n * 4; i += 16, j += step) v128.store(top + i, v128.load(j));
          }
          continue;
        }
        const into = at + 4 == last ? out + row * outRow + <usize>column * 4 : top;
        if (op < MAP_NEG) binary(op, into, held, from, step, n);
        else unary(op, into, held, n);
        held = into;
      }
      const into = out + row * outRow + <usize>column * 4;
      if (held != into) memory.copy(into, held, <usize>n * 4);
    }
  }
}

/** What map touches: of its inputs, those that the program names. */
export function mapFits(
  units: i32, out: usize, outRow: usize, program: usize, length: i32, columns: i32, a: usize, aRow: usize, b: usize,
  bRow: usize, c: usize, cRow: usize, d: usize, dRow: usize, e: usize, eRow: usize, f: usize, fRow: usize,
): bool {
  const whole = (columns + 3) & ~3;
  if (!good(length) || !good(columns) || !isTable(program, floats(MAP_INPUTS + length))) return false;
  const used = programInputs(program + MAP_INPUTS * 4, length);
  return used >= 0 && writes(out, span(units, outRow, floats(whole))) && scratchHolds((MAP_DEPTH + 1) * BLOCK_BYTES)
    && inputFits(used & 1, units, a, aRow, load<i32>(program), columns)
    && inputFits(used & 2, units, b, bRow, load<i32>(program, 4), columns)
    && inputFits(used & 4, units, c, cRow, load<i32>(program, 8), columns)
    && inputFits(used & 8, units, d, dRow, load<i32>(program, 12), columns)
    && inputFits(used & 16, units, e, eRow, load<i32>(program, 16), columns)
    && inputFits(used & 32, units, f, fRow, load<i32>(program, 20), columns);
}

function inputFits(used: i32, units: i32, at: usize, row: usize, mode: i32, columns: i32): bool {
  if (!used) return true;
  if (mode == i32.MIN_VALUE) return false;
  const numbers = mode == 0 ? (columns + 3) & ~3 : mode > 0 ? (columns - 1) / mode + 1 : min(columns, -mode);
  return reads(at, woven(units, row, floats(numbers)));
}

/**
 * The inputs that a program of known instructions reads, a bit each, whose stack never runs
 * over or dry; −1: it is none.
 */
function programInputs(at: usize, length: i32): i32 {
  let depth = 0, used = 0;
  for (const end = at + <usize>length * 4; at < end; at += 4) {
    const word = load<i32>(at), op = word & 255, source = word >> 8, oneSided = op >= MAP_NEG;
    if (op < MAP_PUSH || op > MAP_GELU || (op > MAP_MIN && op < MAP_NEG) || source < 0) return -1;
    if (oneSided ? source != MAP_STACK : op == MAP_PUSH && source == MAP_STACK) return -1;
    if (source == MAP_CONSTANT) {
      at += 4;
      if (at >= end) return -1;
    } else if (source > MAP_INPUTS) return -1;
    else if (source != MAP_STACK) used |= 1 << (source - 1);
    if (op == MAP_PUSH) {
      if (++depth > MAP_DEPTH) return -1;
    } else if (depth < (!oneSided && source == MAP_STACK ? 2 : 1)) return -1;
    else if (!oneSided && source == MAP_STACK) --depth;
  }
  return depth == 1 ? used : -1;
}
