// Plain references in float64, one per kernel. Row-major everywhere, no padding; each is the formula of its kernel's
// comment.

type Numbers = ArrayLike<number>;

const zeros = (count: number): Float64Array => new Float64Array(count);
const sum = (count: number, term: (i: number) => number): number => {
  let total = 0;
  for (let i = 0; i < count; i++) total += term(i);
  return total;
};

// activations

/** erf by its Maclaurin series up to 3, by the continued fraction of erfc beyond: exact to some 1e-15. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = x, total = x;
    for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(total); n++) {
      term *= (-x * x) / n;
      total += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * total;
  }
  let fraction = 0;
  for (let n = 80; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

export const activations = {
  none: (x: number): number => x,
  relu: (x: number): number => Math.max(x, 0),
  gelu: (x: number): number => (x / 2) * (1 + erf(x / Math.SQRT2)),
  silu: (x: number): number => x / (1 + Math.exp(-x)),
};
export type Activation = keyof typeof activations;

// matmul

/** act(x · Wᵀ + bias + addend): x [m, k], w [outDim, k], addend [m, outDim]. */
export function linear(
  x: Numbers,
  w: Numbers,
  k: number,
  { bias, addend, act = "none" }: { bias?: Numbers; addend?: Numbers; act?: Activation } = {},
): Float64Array {
  const m = x.length / k, outDim = w.length / k, out = zeros(m * outDim);
  for (let r = 0; r < m; r++) {
    for (let o = 0; o < outDim; o++) {
      const product = sum(k, (i) => x[r * k + i]! * w[o * k + i]!);
      out[r * outDim + o] = activations[act](product + (bias?.[o] ?? 0) + (addend?.[r * outDim + o] ?? 0));
    }
  }
  return out;
}

// linear attention

/** kᵀ·v [heads, headDim, headDim] and Σk [heads, headDim] of k, v [tokens, heads·headDim]. */
export function keyValueState(
  k: Numbers, v: Numbers, heads: number, headDim: number,
): { product: Float64Array; keySum: Float64Array } {
  const dim = heads * headDim, tokens = k.length / dim;
  const product = zeros(heads * headDim * headDim), keySum = zeros(dim);
  for (let h = 0; h < heads; h++) {
    for (let i = 0; i < headDim; i++) {
      keySum[h * headDim + i] = sum(tokens, (n) => k[n * dim + h * headDim + i]!);
      for (let j = 0; j < headDim; j++) {
        product[(h * headDim + i) * headDim + j] = sum(
          tokens, (n) => k[n * dim + h * headDim + i]! * v[n * dim + h * headDim + j]!,
        );
      }
    }
  }
  return { product, keySum };
}

/** q·state / (q·Σk + eps), q [tokens, heads·headDim]. */
export function linearAttention(
  q: Numbers, { product, keySum }: ReturnType<typeof keyValueState>, heads: number, headDim: number, eps: number,
): Float64Array {
  const dim = heads * headDim, tokens = q.length / dim, out = zeros(tokens * dim);
  for (let n = 0; n < tokens; n++) {
    for (let h = 0; h < heads; h++) {
      const at = n * dim + h * headDim;
      const scale = sum(headDim, (i) => q[at + i]! * keySum[h * headDim + i]!) + eps;
      for (let j = 0; j < headDim; j++)
        out[at + j] = sum(headDim, (i) => q[at + i]! * product[(h * headDim + i) * headDim + j]!) / scale;
    }
  }
  return out;
}

// score attention

/** Σ_j w_nj v_j / (Σ_j w_nj + eps), w = q·kᵀ or e^(q·kᵀ − max); q [queries, dim], k and v [tokens, dim]. */
export function scoreAttention(
  q: Numbers, k: Numbers, v: Numbers, heads: number, headDim: number, weigh: "linear" | "softmax", eps: number,
): Float64Array {
  const dim = heads * headDim, queries = q.length / dim, tokens = k.length / dim, out = zeros(queries * dim);
  for (let n = 0; n < queries; n++) {
    for (let h = 0; h < heads; h++) {
      const at = h * headDim;
      const weights = Array.from({ length: tokens }, (_, t) =>
        sum(headDim, (i) => q[n * dim + at + i]! * k[t * dim + at + i]!),
      );
      if (weigh === "softmax") {
        const top = Math.max(...weights);
        weights.forEach((score, t) => { weights[t] = Math.exp(score - top); });
      }
      const scale = sum(tokens, (t) => weights[t]!) + eps;
      for (let j = 0; j < headDim; j++)
        out[n * dim + at + j] = sum(tokens, (t) => weights[t]! * v[t * dim + at + j]!) / scale;
    }
  }
  return out;
}

/**
 * Softmax attention among the members of each window; q, k, v [map tokens, dim], members and regions [windows][size],
 * bias [heads][size][size]. Members of −1 are the rows padKey and padValue. Tokens of no window stay 0.
 */
export function windowAttention(
  q: Numbers,
  k: Numbers,
  v: Numbers,
  members: Numbers,
  size: number,
  heads: number,
  headDim: number,
  {
    regions, bias, padKey = [], padValue = [],
  }: { regions?: Numbers; bias?: Numbers; padKey?: Numbers; padValue?: Numbers } = {},
): Float64Array {
  const dim = heads * headDim, out = zeros(q.length);
  for (let first = 0; first < members.length; first += size) {
    for (let n = 0; n < size; n++) {
      const query = members[first + n]!;
      if (query < 0) continue;
      for (let h = 0; h < heads; h++) {
        const of = (map: Numbers, padding: Numbers, t: number, i: number): number => {
          const token = members[first + t]!, channel = h * headDim + i;
          return token < 0 ? padding[channel]! : map[token * dim + channel]!;
        };
        const scores = Array.from(
          { length: size },
          (_, t) =>
            sum(headDim, (i) => q[query * dim + h * headDim + i]! * of(k, padKey, t, i))
            + (bias?.[(h * size + n) * size + t] ?? 0)
            - (regions && regions[first + n] !== regions[first + t] ? 100 : 0),
        );
        const top = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - top));
        const scale = sum(size, (t) => weights[t]!);
        for (let j = 0; j < headDim; j++)
          out[query * dim + h * headDim + j] = sum(size, (t) => weights[t]! * of(v, padValue, t, j)) / scale;
      }
    }
  }
  return out;
}

/**
 * act(from[members] + table), members of −1 being `padding`: from [rows, columns], table [size, columns], out [members,
 * columns].
 */
export function gatherRows(
  from: Numbers,
  members: Numbers,
  columns: number,
  { padding = [], table, act = "none" }: { padding?: Numbers; table?: Numbers; act?: Activation } = {},
): Float64Array {
  return Float64Array.from({ length: members.length * columns }, (_, i) => {
    const row = members[Math.floor(i / columns)]!, c = i % columns;
    return activations[act](
      (row < 0 ? padding[c]! : from[row * columns + c]!) + (table ? table[i % table.length]! : 0),
    );
  });
}

/** k [tokens, heads·headDim] → [heads][⌈tokens/8⌉][headDim][8], zeros after the last token. */
export function transposeKeys(k: Numbers, heads: number, headDim: number): Float64Array {
  const dim = heads * headDim;
  const tokens = k.length / dim;
  const panels = Math.ceil(tokens / 8);
  const out = zeros(heads * panels * headDim * 8);
  for (let h = 0; h < heads; h++) {
    for (let n = 0; n < tokens; n++) {
      for (let d = 0; d < headDim; d++)
        out[((h * panels + (n >> 3)) * headDim + d) * 8 + (n & 7)] = k[n * dim + h * headDim + d]!;
    }
  }
  return out;
}

// convolutions

/**
 * out + depthwise 5×5 of map [height·side, heads·headDim], taps [headDim, 5, 5] shared by the heads, zeros outside the
 * map.
 */
export function depthwiseConv(
  out: Numbers, map: Numbers, taps: Numbers, height: number, side: number, heads: number, headDim: number,
): Float64Array {
  const dim = heads * headDim, result = Float64Array.from(out);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < side; x++) {
      for (let c = 0; c < dim; c++) {
        for (let i = 0; i < 5; i++) {
          for (let j = 0; j < 5; j++) {
            const [sy, sx] = [y + i - 2, x + j - 2];
            if (sy < 0 || sy >= height || sx < 0 || sx >= side) continue;
            result[(y * side + x) * dim + c]! +=
              taps[((c % headDim) * 5 + i) * 5 + j]! * map[(sy * side + sx) * dim + c]!;
          }
        }
      }
    }
  }
  return result;
}

/**
 * act(bias + addend + depthwise size×size of maps [height·side, dim], taps [dim, size, size], zeros outside each map).
 */
export function depthwiseConvChannels(
  maps: Numbers,
  taps: Numbers,
  size: number,
  height: number,
  side: number,
  { bias, addend, act = "none" }: { bias?: Numbers; addend?: Numbers; act?: Activation } = {},
): Float64Array {
  const dim = taps.length / size ** 2, pixels = height * side, reach = (size - 1) / 2, out = zeros(maps.length);
  for (let at = 0; at < maps.length; at++) {
    const c = at % dim;
    const pixel = (at - c) / dim;
    const first = pixel - (pixel % pixels);
    const y = Math.floor((pixel - first) / side);
    const x = (pixel - first) % side;
    let total = (bias?.[c] ?? 0) + (addend?.[at] ?? 0);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        const [sy, sx] = [y + i - reach, x + j - reach];
        if (sy < 0 || sy >= height || sx < 0 || sx >= side) continue;
        total += taps[(c * size + i) * size + j]! * maps[(first + sy * side + sx) * dim + c]!;
      }
    }
    out[at] = activations[act](total);
  }
  return out;
}

type Strides = { stride?: number; pad?: number };

/**
 * Image [channels, height, side] → windows [⌊(height + 2·pad − kernel)/stride⌋ + 1 lines of them,
 * channels·kernel·kernel], zeros outside.
 */
export function gatherPatches(
  image: Numbers, channels: number, height: number, side: number, kernel: number,
  { stride = kernel, pad = 0 }: Strides = {},
): Float64Array {
  const out: number[] = [];
  for (let top = -pad; top + kernel <= height + pad; top += stride) {
    for (let left = -pad; left + kernel <= side + pad; left += stride) {
      for (let c = 0; c < channels; c++) {
        for (let y = top; y < top + kernel; y++) {
          for (let x = left; x < left + kernel; x++)
            out.push(y < 0 || y >= height || x < 0 || x >= side ? 0 : image[(c * height + y) * side + x]!);
        }
      }
    }
  }
  return Float64Array.from(out);
}

/**
 * Map [height·side, channels] → windows [count, kernel·kernel·channels]: those of the map turned into an image, their
 * columns turned back.
 */
export function gatherWindows(
  map: Numbers, channels: number, height: number, side: number, kernel: number, strides: Strides = {},
): Float64Array {
  const image = Float64Array.from(
    { length: map.length }, (_, i) => map[(i % (height * side)) * channels + Math.floor(i / (height * side))]!,
  );
  const taps = kernel * kernel, patches = gatherPatches(image, channels, height, side, kernel, strides);
  return patches.map(
    (_, i) =>
      patches[i - (i % (taps * channels)) + (i % channels) * taps + Math.floor((i % (taps * channels)) / channels)]!,
  );
}

/** Rows [from, columns] linearly interpolated to `to` rows, as images are resized: centres of pixels at ½. */
export function stretchRows(x: Numbers, columns: number, to: number): Float64Array {
  const from = x.length / columns, out = zeros(to * columns);
  for (let n = 0; n < to; n++) {
    const at = Math.max(0, ((n + 0.5) * from) / to - 0.5), low = Math.floor(at), high = Math.min(low + 1, from - 1);
    for (let c = 0; c < columns; c++)
      out[n * columns + c] = x[low * columns + c]! * (1 - at + low) + x[high * columns + c]! * (at - low);
  }
  return out;
}

// norms and rows

/** (x − mean)/√(var + eps) · weight + bias of every row of x [rows, dim]. */
export function layerNorm(x: Numbers, weight: Numbers, bias: Numbers, eps: number): Float64Array {
  const dim = weight.length, out = zeros(x.length);
  for (let r = 0; r < x.length / dim; r++) {
    const mean = sum(dim, (i) => x[r * dim + i]!) / dim;
    const variance = sum(dim, (i) => (x[r * dim + i]! - mean) ** 2) / dim;
    for (let i = 0; i < dim; i++)
      out[r * dim + i] = ((x[r * dim + i]! - mean) / Math.sqrt(variance + eps)) * weight[i]! + bias[i]!;
  }
  return out;
}

/** x ⊙ weight + bias of every row of x [rows, dim]. */
export function affine(x: Numbers, weight: Numbers, bias: Numbers): Float64Array {
  const dim = weight.length;
  return Float64Array.from(x, (value, i) => value * weight[i % dim]! + bias[i % dim]!);
}

/** Mean over the rows of x [rows, columns]. */
export function meanRows(x: Numbers, columns: number): Float64Array {
  const rows = x.length / columns;
  return Float64Array.from({ length: columns }, (_, c) => sum(rows, (r) => x[r * columns + c]!) / rows);
}

/** Blocks [begin, end) of `from` copied into a copy of `out`. */
export function copyBlocks(begin: number, end: number, out: Numbers, from: Numbers, block: number): Float64Array {
  return Float64Array.from(out, (value, i) => (i >= begin * block && i < end * block ? from[i]! : value));
}

// packing

export type Format = "F32" | "F16" | "BF16" | "F64";

/** One number of a checkpoint, by the definition of its format. */
export function decode(bytes: Uint8Array, format: Format, index: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (format === "F32") return view.getFloat32(4 * index, true);
  if (format === "F64") return view.getFloat64(8 * index, true);
  const bits = view.getUint16(2 * index, true), sign = bits & 0x8000 ? -1 : 1;
  const [exponentBits, mantissaBits] = format === "F16" ? [5, 10] : [8, 7];
  const exponent = (bits & 0x7fff) >> mantissaBits;
  const mantissa = (bits & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa ? NaN : sign * Infinity;
  return exponent ? sign * (1 + mantissa) * 2 ** (exponent - bias) : sign * mantissa * 2 ** (1 - bias);
}

/**
 * w' = s_o · w · a_i and bias'_o = s_o · (bias_o + Σ_i w · b_i) + t_o, as [k][8] and [8]; the largest |w' − w|, NaN if
 * any number is not finite as f32. `w` holds 1 to 8 rows of k numbers.
 */
export function packPanel(
  w: Numbers, k: number, bias: Numbers, { a, b, s, t }: { a?: Numbers; b?: Numbers; s?: Numbers; t?: Numbers } = {},
): { panel: Float64Array; bias: Float64Array; change: number } {
  const panel = zeros(k * 8), folded = zeros(8);
  let change = 0, finite = true;
  for (let o = 0; o < w.length / k; o++) {
    const scale = s?.[o] ?? 1;
    for (let i = 0; i < k; i++) {
      panel[i * 8 + o] = w[o * k + i]! * (a?.[i] ?? 1) * scale;
      change = Math.max(change, Math.abs(panel[i * 8 + o]! - w[o * k + i]!));
      finite &&= Number.isFinite(Math.fround(panel[i * 8 + o]!));
    }
    folded[o] = scale * (bias[o]! + sum(k, (i) => w[o * k + i]! * (b?.[i] ?? 0))) + (t?.[o] ?? 0);
    finite &&= Number.isFinite(Math.fround(folded[o]!));
  }
  return { panel, bias: folded, change: finite ? change : NaN };
}
