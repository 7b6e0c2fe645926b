// The machine's own limits, that profiles and benchmarks measure kernels against: a module of its own.
import { madd } from "./simd";

/** Arithmetic peak: 12 independent chains of multiply-add, 96 FLOP per turn. */
export function peakMultiplyAdd(turns: i32, out: usize): void {
  const x = v128.load(out), y = v128.load(out, 16);
  let c0 = x, c1 = x, c2 = x, c3 = x, c4 = x, c5 = x, c6 = x, c7 = x, c8 = x, c9 = x, c10 = x, c11 = x;
  do {
    c0 = madd(c0, x, y); c1 = madd(c1, x, y); c2 = madd(c2, x, y); c3 = madd(c3, x, y);
    c4 = madd(c4, x, y); c5 = madd(c5, x, y); c6 = madd(c6, x, y); c7 = madd(c7, x, y);
    c8 = madd(c8, x, y); c9 = madd(c9, x, y); c10 = madd(c10, x, y); c11 = madd(c11, x, y);
  } while (--turns);
  c0 = f32x4.add(f32x4.add(f32x4.add(c0, c1), f32x4.add(c2, c3)), f32x4.add(f32x4.add(c4, c5), f32x4.add(c6, c7)));
  v128.store(out, f32x4.add(c0, f32x4.add(f32x4.add(c8, c9), f32x4.add(c10, c11))), 32);
}

/** Read bandwidth: sums `bytes` (a multiple of 256) as four parallel sequential streams. */
export function peakRead(from: usize, bytes: usize, out: usize): void {
  const stream = bytes >> 2;
  let p0 = from, p1 = from + stream, p2 = p1 + stream, p3 = p2 + stream;
  let s0 = i32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  for (let lines = stream >> 6; lines > 0; --lines) {
    s0 = v128.xor(s0, v128.load(p0)); s1 = v128.xor(s1, v128.load(p1));
    s2 = v128.xor(s2, v128.load(p2)); s3 = v128.xor(s3, v128.load(p3));
    s0 = v128.xor(s0, v128.load(p0, 16)); s1 = v128.xor(s1, v128.load(p1, 16));
    s2 = v128.xor(s2, v128.load(p2, 16)); s3 = v128.xor(s3, v128.load(p3, 16));
    s0 = v128.xor(s0, v128.load(p0, 32)); s1 = v128.xor(s1, v128.load(p1, 32));
    s2 = v128.xor(s2, v128.load(p2, 32)); s3 = v128.xor(s3, v128.load(p3, 32));
    s0 = v128.xor(s0, v128.load(p0, 48)); s1 = v128.xor(s1, v128.load(p1, 48));
    s2 = v128.xor(s2, v128.load(p2, 48)); s3 = v128.xor(s3, v128.load(p3, 48));
    p0 += 64; p1 += 64; p2 += 64; p3 += 64;
  }
  v128.store(out, v128.xor(v128.xor(s0, s1), v128.xor(s2, s3)));
}
