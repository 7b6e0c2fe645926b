// Prefill of the additive recurrence where channels decay each at their own pace (GLA, RWKV-6, GSA, HGRN2, Mamba-2 with
// many groups), or where a token is read before it is written. Chunks of sixteen tokens: inside one, keys (or values)
// are decayed step by step, which is exact whatever the factors; the state is touched once a chunk, by matrix products.
import { floats, reads, scratchHolds } from "../extents";
import { PANEL, ZEROS } from "../header";
import { addOuter, scaleRow } from "./linear-attention";
import { panelProduct } from "./matmul";
import { DECAY_KEY, DECAY_NONE, DECAY_VALUE, NORMALISE, READ_BEFORE } from "../opcodes";
import { transposeRows } from "./pack";
import { decayTouches, dotStride, headBytes, panelsToRows, recurrenceTouches, chunksTouch } from "./recurrent";
import { madd, sum4 } from "../simd";

const CHUNK: i32 = 16;

/** at ← at ⊙ by, or at · factor when by = 0; `count` a multiple of 4. */
function scaleBy(at: usize, by: usize, factor: f32, count: i32): void {
  const f = f32x4.splat(factor);
  for (let i: usize = 0; i < <usize>count * 4; i += 16) {
    v128.store(at + i, f32x4.mul(v128.load(at + i), by ? v128.load(by + i) : f));
  }
}

function product(out: usize, a: usize, b: usize, count: i32): void {
  for (let i: usize = 0; i < <usize>count * 4; i += 16) {
    v128.store(out + i, f32x4.mul(v128.load(a + i), v128.load(b + i)));
  }
}

function ones(at: usize, count: i32): void {
  for (let i: usize = 0; i < <usize>count * 4; i += 16) v128.store(at + i, f32x4.splat(1));
}

/** Σ q·decay·z over one head. */
function decayedDot(q: usize, decay: usize, z: usize, count: i32): f32 {
  let s = i32x4.splat(0);
  for (let i: usize = 0; i < <usize>count * 4; i += 16) {
    s = madd(f32x4.mul(v128.load(q + i), v128.load(decay + i)), v128.load(z + i), s);
  }
  return sum4(s);
}

/** Σ q·u·k over one head. */
function bonusOf(q: usize, u: usize, k: usize, count: i32): f32 {
  let sum: f32 = 0;
  if (u) {
    for (let i: usize = 0; i < <usize>count * 4; i += 4) sum += load<f32>(q + i) * load<f32>(u + i) * load<f32>(k + i);
  }
  return sum;
}

/** z ← decay ⊙ z + Σ rows, over one stride; decay is one vector, or by channel at `factors`. */
function decaySum(z: usize, decay: v128, factors: usize, rows: usize, rowBytes: usize, n: i32): void {
  for (let c: usize = 0; c < rowBytes; c += 16) {
    let s = f32x4.mul(v128.load(z + c), factors ? v128.load(factors + c) : decay);
    for (let i: usize = 0; i < <usize>n; ++i) s = f32x4.add(s, v128.load(rows + i * rowBytes + c));
    v128.store(z + c, s);
  }
}

/**
 * Many tokens of one timeline, heads [begin, end): the same result as recurrentStep token by token.
 *
 *   by key channel:   O = (Q⊙e^c) S + A V, A_ij = q_i·(k_j⊙e^{c_i − c_j})   S ← e^{c_C}∘S + (K⊙e^{c_C − c})ᵀ V
 *   by value channel: o_i = e^{c_i}⊙(q_i S) + Σ_j (q_i·k_j) (v_j⊙e^{c_i − c_j}) S ← S·diag(e^{c_C}) + Kᵀ(V⊙e^{c_C − c})
 *   READ_BEFORE: queries see c_{i−1}, the diagonal is q_i·(u⊙k_i)
 *
 * @op 17 heads
 * @live tokens
 * @param out, q, k, v, states            as in recurrentChunks; keyDim a multiple of 4, valueDim of 8
 * @param decayKind, decay, decayRow      as in recurrentStep; a scalar is taken as the same for every key channel
 * @param bonus, flags, sharing           as in recurrentStep
 * @param scratch                         4·(keyDim·valueDim + 33·keyDim + 33·valueDim) + 1152 bytes, this thread's own
 */
export function recurrentChunksByChannel(
  begin: i32, end: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  tokens: i32, states: usize, stateOffset: usize, keyDim: i32, valueDim: i32, decayKind: i32, decay: usize,
  decayRow: usize, bonus: usize, flags: i32, eps: f32, sharing: i32, scratch: usize,
): void {
  const keyBytes = <usize>keyDim * 4, valueBytes = <usize>valueDim * 4;
  const panels = scratch;
  const keys = panels + keyBytes * <usize>valueDim;
  const readers = keys + CHUNK * keyBytes;
  const prefix = readers + CHUNK * keyBytes;
  const values = prefix + max(keyBytes, valueBytes);
  const scores = values + CHUNK * valueBytes;
  const sums = scores + CHUNK * CHUNK * 4;
  const byValue = decayKind == DECAY_VALUE, before = (flags & READ_BEFORE) != 0;
  const width = byValue ? valueDim : keyDim;
  for (let head = begin; head < end; ++head) {
    const state = <usize>load<i32>(states) + stateOffset + <usize>head * headBytes(keyDim, valueDim, flags);
    const z = state + <usize>valueDim * keyBytes;
    const u = bonus ? bonus + <usize>head * keyBytes : 0, keyHead = <usize>(head / sharing);
    for (let j = 0; j < valueDim; j += PANEL) {
      transposeRows(panels + <usize>j * keyBytes, state + <usize>j * keyBytes, keyBytes, keyDim);
    }

    for (let first = 0; first < tokens; first += CHUNK) {
      const n = min(CHUNK, tokens - first);
      const queries = q + <usize>first * qRow + <usize>head * keyBytes;
      const keyRows = k + <usize>first * kRow + keyHead * keyBytes;
      const target = out + <usize>first * outRow + <usize>head * valueBytes;
      // the chunk's values as panels [valueDim/8][CHUNK][8], decayed in place where values decay
      for (let i = 0; i < n; ++i) {
        const value = v + <usize>(first + i) * vRow + keyHead * valueBytes;
        for (let j: usize = 0; j < valueBytes; j += PANEL * 4) {
          const to = values + j * CHUNK + <usize>i * (PANEL * 4);
          v128.store(to, v128.load(value + j)); v128.store(to, v128.load(value + j, 16), 16);
        }
      }
      // what the state says to undecayed queries, where values decay: each row is then scaled by its own factors
      if (byValue) for (let j = 0; j < valueDim; j += PANEL) {
        panelProduct(
          target + <usize>j * 4, outRow, queries, qRow, panels + <usize>j * keyBytes, n, keyDim, ZEROS, 0, 0,
        );
      }
      ones(prefix, width);
      for (let i = 0; i < n; ++i) {
        const query = queries + <usize>i * qRow;
        const key = keys + <usize>i * keyBytes;
        const row = scores + <usize>i * (CHUNK * 4);
        const at = decay + <usize>(first + i) * decayRow;
        const factors = byValue ? at + keyHead * valueBytes : decayKind == DECAY_KEY ? at + keyHead * keyBytes : 0;
        const factor: f32 = decayKind == DECAY_NONE || factors ? 1 : load<f32>(at + keyHead * 4);
        memory.copy(key, keyRows + <usize>i * kRow, keyBytes);
        if (before) {
          readRow(
            i, query, keys, keyBytes, row, n, readers, prefix, byValue, keyDim, bonusOf(query, u, key, keyDim),
            target + <usize>i * outRow, values, valueDim,
          );
        }
        // this token's decay, on everything older
        if (decayKind != DECAY_NONE) {
          scaleBy(prefix, factors, factor, width);
          if (!byValue) {
            for (let j = 0; j < i; ++j) scaleBy(keys + <usize>j * keyBytes, factors, factor, keyDim);
          } else for (let p = 0; p < valueDim; p += PANEL) {
            for (let j = 0; j < i; ++j) {
              scaleBy(values + <usize>(p * CHUNK + j * PANEL) * 4, factors + <usize>p * 4, 1, PANEL);
            }
          }
        }
        if (!before) {
          readRow(
            i, query, keys, keyBytes, row, n, readers, prefix, byValue, keyDim, dotStride(query, key, keyDim),
            target + <usize>i * outRow, values, valueDim,
          );
        }
        if (flags & NORMALISE) {
          // the normaliser counts this token even where S is read before it, and then no scores are at hand
          let sum = decayedDot(query, prefix, z, keyDim);
          if (before) for (let j = 0; j <= i; ++j) sum += dotStride(query, keys + <usize>j * keyBytes, keyDim);
          else for (let j = 0; j <= i; ++j) sum += load<f32>(row + <usize>j * 4);
          store<f32>(sums + <usize>i * 4, 1 / (sum + eps));
        }
      }
      if (!byValue) for (let j = 0; j < valueDim; j += PANEL) {
        const at = target + <usize>j * 4;
        panelProduct(at, outRow, readers, keyBytes, panels + <usize>j * keyBytes, n, keyDim, ZEROS, 0, 0);
        panelProduct(at, outRow, scores, CHUNK * 4, values + <usize>(j * CHUNK) * 4, n, n, ZEROS, at, outRow);
      }
      if (flags & NORMALISE) {
        for (let i = 0; i < n; ++i) scaleRow(target + <usize>i * outRow, valueDim, load<f32>(sums + <usize>i * 4));
      }

      for (let j = 0; j < valueDim; j += PANEL) {
        const panel = panels + <usize>j * keyBytes, value = values + <usize>(j * CHUNK) * 4;
        for (let c = 0; c < keyDim; c += 4) {
          const at = panel + <usize>c * (PANEL * 4), key = keys + <usize>c * 4;
          if (byValue) addOuter(
            at, key, keyBytes, value, n, v128.load(prefix + <usize>j * 4), v128.load(prefix + <usize>j * 4, 16), true,
          );
          else addOuter(at, key, keyBytes, value, n, v128.load(prefix + <usize>c * 4), i32x4.splat(0), false);
        }
      }
      if (flags & NORMALISE) decaySum(z, i32x4.splat(0), prefix, keys, keyBytes, n);
    }
    panelsToRows(state, panels, valueDim, keyDim, keyDim);
  }
}

/** What recurrentChunksByChannel touches. */
export function recurrentChunksByChannelFits(
  units: i32, out: usize, outRow: usize, q: usize, qRow: usize, k: usize, kRow: usize, v: usize, vRow: usize,
  tokens: i32, states: usize, stateOffset: usize, keyDim: i32, valueDim: i32, decayKind: i32, decay: usize,
  decayRow: usize, bonus: usize, flags: i32, eps: f32, sharing: i32,
): bool {
  return recurrenceTouches(1, states, stateOffset, units, keyDim, valueDim, flags)
    && chunksTouch(units, out, outRow, q, qRow, k, kRow, v, vRow, tokens, keyDim, valueDim, sharing)
    && decayTouches(tokens, units / sharing, keyDim, valueDim, decayKind, decay, decayRow)
    && (!bonus || reads(bonus, floats(units, keyDim)))
    && scratchHolds(floats(keyDim, valueDim) + floats(33, keyDim) + floats(33, valueDim) + 1152);
}

/**
 * Row i: its scores against the older keys as they have decayed, `own` against its own, zeros after; and the query as
 * the state is to be read with. Where values decay, the row is finished here.
 */
function readRow(
  i: i32, query: usize, keys: usize, keyBytes: usize, row: usize, n: i32, readers: usize, prefix: usize, byValue: bool,
  keyDim: i32, own: f32, target: usize, values: usize, valueDim: i32,
): void {
  for (let j = 0; j < i; ++j) store<f32>(row + <usize>j * 4, dotStride(query, keys + <usize>j * keyBytes, keyDim));
  store<f32>(row + <usize>i * 4, own);
  for (let j = i + 1; j < n; ++j) store<f32>(row + <usize>j * 4, 0);
  if (!byValue) {
    product(readers + <usize>i * keyBytes, query, prefix, keyDim);
    return;
  }
  product(target, target, prefix, valueDim);
  for (let p = 0; p < valueDim; p += PANEL) {
    const at = target + <usize>p * 4;
    let c0 = v128.load(at), c1 = v128.load(at, 16), value = values + <usize>(p * CHUNK) * 4;
    for (let j = 0; j <= i; ++j, value += PANEL * 4) {
      const w = v128.load32_splat(row + <usize>j * 4);
      c0 = madd(w, v128.load(value), c0); c1 = madd(w, v128.load(value, 16), c1);
    }
    v128.store(at, c0); v128.store(at, c1, 16);
  }
}
