// Linear layers: y = act(x·Wᵀ + bias + addend), W packed once into panels [N/8][K][8], x read in place, y written once.
// The register tile is 6×8 (12 accumulators); an engine with a weaker register allocator gets 4×8 from the same panels.
// Every output is one chain ordered by k, so tile shape, row split and thread count never change its bits.
import { floats, good, reads, span, woven, writes } from "../extents";
import { PANEL, TILE_ROWS } from "../header";
import { ACT_GATE, ACT_GELU, ACT_NONE, ACT_RELU } from "../opcodes";
import { addProduct, gelu, geluTwoRows, madd, product, silu } from "../simd";

/**
 * Bytes of one row that a turn of the tile's loop takes: eight k, sixteen in the tile of plain builds, which is near
 * the limit of instructions a cycle.
 */
// @ts-ignore: decorator
@inline
function turnBytes(R: i32): usize {
  return R == 5 ? 64 : 32;
}

/**
 * out[r][0..8) = bias[0..8) + addend[r][0..8) + Σ_k a[r][k] · w[k][0..8), R ≤ 6 rows at a time, `tiles` times. The
 * weights lie in [w, end); those before `whole` are taken in whole turns of turnBytes(R). R is a constant at every
 * call, so the branches on it vanish. Strides in bytes; addend = 0 means none.
 * @unrolled
 */
// @ts-ignore: decorator
@inline
function tile(
  R: i32, tiles: i32, out: usize, outRow: usize, a: usize, aRow: usize, w: usize, whole: usize, end: usize, bias: usize,
  addend: usize, addendRow: usize,
): void {
  do {
    let c00 = v128.load(bias), c01 = v128.load(bias, 16);
    let c10 = c00, c11 = c01, c20 = c00, c21 = c01, c30 = c00, c31 = c01, c40 = c00, c41 = c01, c50 = c00, c51 = c01;
    let a0 = a, a1 = a0 + aRow, a2 = a1 + aRow, a3 = a2 + aRow, a4 = a3 + aRow, a5 = a4 + aRow;
    let b0: v128, b1: v128, s: v128, p: v128, at = w;
    const turn = turnBytes(R);
    // many k per turn: moving the pointers costs an instruction for each row.
    // Not fused, rows 1 to 4 multiply twice before they add: a CPU that deals instructions out to its units in
    // turn keeps them evenly busy
    while (at != whole) {
      b0 = v128.load(at); b1 = v128.load(at, 16);
      s = v128.load32_splat(a0); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 32); b1 = v128.load(at, 48);
      s = v128.load32_splat(a0, 4); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 4); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 4); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 4); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 4); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 4); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 64); b1 = v128.load(at, 80);
      s = v128.load32_splat(a0, 8); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 8); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 8); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 8); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 8); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 8); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 96); b1 = v128.load(at, 112);
      s = v128.load32_splat(a0, 12); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 12); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 12); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 12); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 12); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 12); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 128); b1 = v128.load(at, 144);
      s = v128.load32_splat(a0, 16); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 16); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 16); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 16); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 16); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 16); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 160); b1 = v128.load(at, 176);
      s = v128.load32_splat(a0, 20); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 20); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 20); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 20); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 20); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 20); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 192); b1 = v128.load(at, 208);
      s = v128.load32_splat(a0, 24); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 24); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 24); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 24); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 24); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 24); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      b0 = v128.load(at, 224); b1 = v128.load(at, 240);
      s = v128.load32_splat(a0, 28); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1, 28); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11); }
      if (R > 2) { s = v128.load32_splat(a2, 28); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21); }
      if (R > 3) { s = v128.load32_splat(a3, 28); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31); }
      if (R > 4) { s = v128.load32_splat(a4, 28); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41); }
      if (R > 5) { s = v128.load32_splat(a5, 28); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); }
      if (R == 5) {
        b0 = v128.load(at, 256); b1 = v128.load(at, 272);
        s = v128.load32_splat(a0, 32); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 32); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 32); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 32); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 32); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 288); b1 = v128.load(at, 304);
        s = v128.load32_splat(a0, 36); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 36); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 36); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 36); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 36); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 320); b1 = v128.load(at, 336);
        s = v128.load32_splat(a0, 40); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 40); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 40); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 40); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 40); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 352); b1 = v128.load(at, 368);
        s = v128.load32_splat(a0, 44); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 44); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 44); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 44); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 44); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 384); b1 = v128.load(at, 400);
        s = v128.load32_splat(a0, 48); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 48); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 48); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 48); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 48); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 416); b1 = v128.load(at, 432);
        s = v128.load32_splat(a0, 52); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 52); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 52); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 52); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 52); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 448); b1 = v128.load(at, 464);
        s = v128.load32_splat(a0, 56); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 56); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 56); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 56); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 56); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
        b0 = v128.load(at, 480); b1 = v128.load(at, 496);
        s = v128.load32_splat(a0, 60); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
        s = v128.load32_splat(a1, 60); p = product(s, b1); c10 = madd(s, b0, c10); c11 = addProduct(p, b1, c11);
        s = v128.load32_splat(a2, 60); p = product(s, b1); c20 = madd(s, b0, c20); c21 = addProduct(p, b1, c21);
        s = v128.load32_splat(a3, 60); p = product(s, b1); c30 = madd(s, b0, c30); c31 = addProduct(p, b1, c31);
        s = v128.load32_splat(a4, 60); p = product(s, b1); c40 = madd(s, b0, c40); c41 = addProduct(p, b1, c41);
      }
      at += turn * 8; a0 += turn;
      if (R > 1) a1 += turn;
      if (R > 2) a2 += turn;
      if (R > 3) a3 += turn;
      if (R > 4) a4 += turn;
      if (R > 5) a5 += turn;
    }
    while (at != end) {
      b0 = v128.load(at); b1 = v128.load(at, 16);
      s = v128.load32_splat(a0); c00 = madd(s, b0, c00); c01 = madd(s, b1, c01);
      if (R > 1) { s = v128.load32_splat(a1); c10 = madd(s, b0, c10); c11 = madd(s, b1, c11); a1 += 4; }
      if (R > 2) { s = v128.load32_splat(a2); c20 = madd(s, b0, c20); c21 = madd(s, b1, c21); a2 += 4; }
      if (R > 3) { s = v128.load32_splat(a3); c30 = madd(s, b0, c30); c31 = madd(s, b1, c31); a3 += 4; }
      if (R > 4) { s = v128.load32_splat(a4); c40 = madd(s, b0, c40); c41 = madd(s, b1, c41); a4 += 4; }
      if (R > 5) { s = v128.load32_splat(a5); c50 = madd(s, b0, c50); c51 = madd(s, b1, c51); a5 += 4; }
      at += 32; a0 += 4;
    }
    if (addend) {
      c00 = f32x4.add(c00, v128.load(addend)); c01 = f32x4.add(c01, v128.load(addend, 16)); addend += addendRow;
      if (R > 1) { c10 = f32x4.add(c10, v128.load(addend)); c11 = f32x4.add(c11, v128.load(addend, 16)); addend += addendRow; }
      if (R > 2) { c20 = f32x4.add(c20, v128.load(addend)); c21 = f32x4.add(c21, v128.load(addend, 16)); addend += addendRow; }
      if (R > 3) { c30 = f32x4.add(c30, v128.load(addend)); c31 = f32x4.add(c31, v128.load(addend, 16)); addend += addendRow; }
      if (R > 4) { c40 = f32x4.add(c40, v128.load(addend)); c41 = f32x4.add(c41, v128.load(addend, 16)); addend += addendRow; }
      if (R > 5) { c50 = f32x4.add(c50, v128.load(addend)); c51 = f32x4.add(c51, v128.load(addend, 16)); addend += addendRow; }
    }
    v128.store(out, c00); v128.store(out, c01, 16); out += outRow;
    if (R > 1) { v128.store(out, c10); v128.store(out, c11, 16); out += outRow; }
    if (R > 2) { v128.store(out, c20); v128.store(out, c21, 16); out += outRow; }
    if (R > 3) { v128.store(out, c30); v128.store(out, c31, 16); out += outRow; }
    if (R > 4) { v128.store(out, c40); v128.store(out, c41, 16); out += outRow; }
    if (R > 5) { v128.store(out, c50); v128.store(out, c51, 16); out += outRow; }
    a += <usize>R * aRow;
  } while (--tiles);
}

function tile1(
  t: i32, o: usize, or: usize, a: usize, ar: usize, w: usize, h: usize, e: usize, b: usize, d: usize, dr: usize,
): void { tile(1, t, o, or, a, ar, w, h, e, b, d, dr); }
function tile2(
  t: i32, o: usize, or: usize, a: usize, ar: usize, w: usize, h: usize, e: usize, b: usize, d: usize, dr: usize,
): void { tile(2, t, o, or, a, ar, w, h, e, b, d, dr); }
function tile3(
  t: i32, o: usize, or: usize, a: usize, ar: usize, w: usize, h: usize, e: usize, b: usize, d: usize, dr: usize,
): void { tile(3, t, o, or, a, ar, w, h, e, b, d, dr); }
function tile4(
  t: i32, o: usize, or: usize, a: usize, ar: usize, w: usize, h: usize, e: usize, b: usize, d: usize, dr: usize,
): void { tile(4, t, o, or, a, ar, w, h, e, b, d, dr); }
function tile5(
  t: i32, o: usize, or: usize, a: usize, ar: usize, w: usize, h: usize, e: usize, b: usize, d: usize, dr: usize,
): void { tile(5, t, o, or, a, ar, w, h, e, b, d, dr); }
function tile6(
  t: i32, o: usize, or: usize, a: usize, ar: usize, w: usize, h: usize, e: usize, b: usize, d: usize, dr: usize,
): void { tile(6, t, o, or, a, ar, w, h, e, b, d, dr); }

/**
 * One panel of a product: out[m][8] = bias[8] + addend[m][8] + a[m][k] · w[k][8]. What attention kernels use too.
 * Strides in bytes; addend 0 = none; bias points at eight floats.
 */
export function panelProduct(
  out: usize, outRow: usize, a: usize, aRow: usize, w: usize, m: i32, k: i32, bias: usize, addend: usize,
  addendRow: usize,
): void {
  const full = load<i32>(TILE_ROWS);
  const end = w + <usize>k * (PANEL * 4);
  while (m > 0) {
    // the last rows are shared evenly: 3 + 3 keeps the arithmetic units busier than 5 + 1
    const rows = m >= 2 * full || m == full ? full : m > full ? (m + 1) >> 1 : m, tiles = max(1, m / full - 1);
    // engines that get four rows hoist every load of a loop body and would spill an unrolled one
    const whole = full == 4 ? w : w + (<usize>k * 4 & -turnBytes(rows)) * PANEL;
    switch (rows) {
      case 1: tile1(tiles, out, outRow, a, aRow, w, whole, end, bias, addend, addendRow); break;
      case 2: tile2(tiles, out, outRow, a, aRow, w, whole, end, bias, addend, addendRow); break;
      case 3: tile3(tiles, out, outRow, a, aRow, w, whole, end, bias, addend, addendRow); break;
      case 4: tile4(tiles, out, outRow, a, aRow, w, whole, end, bias, addend, addendRow); break;
      case 5: tile5(tiles, out, outRow, a, aRow, w, whole, end, bias, addend, addendRow); break;
      case 6: tile6(tiles, out, outRow, a, aRow, w, whole, end, bias, addend, addendRow); break;
    }
    const done = tiles * rows;
    out += <usize>done * outRow; a += <usize>done * aRow; m -= done;
    if (addend) addend += <usize>done * addendRow;
  }
}

/** Applies the activation to one panel in place, while it is still in the first-level cache. */
function activatePanel(out: usize, outRow: usize, m: i32, act: i32): void {
  if (act == ACT_RELU) {
    const zero = i32x4.splat(0);
    do {
      v128.store(out, f32x4.pmax(v128.load(out), zero));
      v128.store(out, f32x4.pmax(v128.load(out, 16), zero), 16);
      out += outRow;
    } while (--m);
  } else if (act == ACT_GELU) {
    for (; m > 1; m -= 2, out += 2 * outRow) geluTwoRows(out, out + outRow);
    if (m > 0) {
      v128.store(out, gelu(v128.load(out)));
      v128.store(out, gelu(v128.load(out, 16)), 16);
    }
  } else {
    do {
      v128.store(out, silu(v128.load(out)));
      v128.store(out, silu(v128.load(out, 16)), 16);
      out += outRow;
    } while (--m);
  }
}

/** Multiplies one panel by another of the same rows. */
function gatePanel(out: usize, outRow: usize, by: usize, byRow: usize, m: i32): void {
  do {
    v128.store(out, f32x4.mul(v128.load(out), v128.load(by)));
    v128.store(out, f32x4.mul(v128.load(out, 16), v128.load(by, 16)), 16);
    out += outRow; by += byRow;
  } while (--m);
}

/**
 * Four panels of a product with one row, `stream` bytes apart: four weight streams at once, as memory likes it. Every
 * output is the same chain as in tile.
 */
export function fourPanels(
  out: usize, outPanel: usize, x: usize, w: usize, stream: usize, k: i32, bias: usize, biasPanel: usize, addend: usize,
  addendPanel: usize,
): void {
  let w0 = w, w1 = w + stream, w2 = w1 + stream, w3 = w2 + stream;
  let c00 = v128.load(bias), c01 = v128.load(bias, 16); bias += biasPanel;
  let c10 = v128.load(bias), c11 = v128.load(bias, 16); bias += biasPanel;
  let c20 = v128.load(bias), c21 = v128.load(bias, 16); bias += biasPanel;
  let c30 = v128.load(bias), c31 = v128.load(bias, 16);
  do {
    const s = v128.load32_splat(x);
    c00 = madd(s, v128.load(w0), c00); c01 = madd(s, v128.load(w0, 16), c01);
    c10 = madd(s, v128.load(w1), c10); c11 = madd(s, v128.load(w1, 16), c11);
    c20 = madd(s, v128.load(w2), c20); c21 = madd(s, v128.load(w2, 16), c21);
    c30 = madd(s, v128.load(w3), c30); c31 = madd(s, v128.load(w3, 16), c31);
    x += 4; w0 += 32; w1 += 32; w2 += 32; w3 += 32;
  } while (--k);
  if (addend) {
    c00 = f32x4.add(c00, v128.load(addend)); c01 = f32x4.add(c01, v128.load(addend, 16)); addend += addendPanel;
    c10 = f32x4.add(c10, v128.load(addend)); c11 = f32x4.add(c11, v128.load(addend, 16)); addend += addendPanel;
    c20 = f32x4.add(c20, v128.load(addend)); c21 = f32x4.add(c21, v128.load(addend, 16)); addend += addendPanel;
    c30 = f32x4.add(c30, v128.load(addend)); c31 = f32x4.add(c31, v128.load(addend, 16));
  }
  v128.store(out, c00); v128.store(out, c01, 16); out += outPanel;
  v128.store(out, c10); v128.store(out, c11, 16); out += outPanel;
  v128.store(out, c20); v128.store(out, c21, 16); out += outPanel;
  v128.store(out, c30); v128.store(out, c31, 16);
}

/**
 * Panels of each of the four streams that one row reads `panels` panels in: quarters, so that each stream is long and
 * memory is read ahead. Streams whole pages apart would compete for the same lines of the first-level cache: then a
 * panel less, and what is left over comes last.
 */
export function quarterOf(panels: i32, panelBytes: usize): usize {
  const quarter = <usize>panels >> 2;
  return quarter > 1 && ((quarter * panelBytes) & 4095) == 0 ? quarter - 1 : quarter;
}

/**
 * Most rows of a block: more, a kilobyte or two apart, would push a panel's outputs out of the cache
 * before their activation.
 */
const BLOCK: i32 = 96;
/** Most floats of x in a block: 96 KiB, which stay in the second-level cache while all the weights pass by. */
const BLOCK_FLOATS: i32 = 24576;
/** Weights beyond this come from memory every time that they pass: then blocks are as long as can be. */
const CACHED_BYTES: usize = 4 << 20;

/** Rows that are multiplied by all panels before the next ones are: whole tiles, at least two. */
function blockRows(k: i32, weightBytes: usize): i32 {
  const full = load<i32>(TILE_ROWS), rows = weightBytes > CACHED_BYTES ? BLOCK : min(BLOCK, BLOCK_FLOATS / k);
  return full * max(2, rows / full);
}

/**
 * Linear layer, output panels [begin, end) of eight columns.
 *
 *   out = act(x · Wᵀ + bias + addend)      or, with ACT_GATE,      out = (x · Wᵀ + bias) ⊙ addend
 *
 * @op 1 panels
 * @live m
 * @param out       f32 [m rows] of whole panels: row-major when outPanel = 32, panels of their own when outRow = 32
 * @param x         f32 [m, k], row stride xRow bytes
 * @param w         f32 [panels, k, 8], packed
 * @param bias      f32 [panels, 8]
 * @param addend    f32 laid out by addendRow, addendPanel: a residual, a position table, a gate; 0 = none. May be
 *                  `out` itself, but not a gate
 * @param m, k      ≥ 1, any; m = 1 (decode) reads four quarters of the panels at a time
 * @param act       ACT_NONE | ACT_RELU | ACT_GELU | ACT_SILU | ACT_GATE
 */
export function linear(
  begin: i32, end: i32, out: usize, outRow: usize, outPanel: usize, x: usize, xRow: usize, w: usize, bias: usize,
  addend: usize, addendRow: usize, addendPanel: usize, m: i32, k: i32, act: i32,
): void {
  const added = act == ACT_GATE ? 0 : addend;
  let p = begin;
  if (m == 1) {
    const panelBytes = <usize>k * (PANEL * 4), quarter = quarterOf(end - begin, panelBytes);
    for (const stop = begin + <i32>quarter; p < stop; ++p) {
      const panel = <usize>p;
      fourPanels(
        out + panel * outPanel, quarter * outPanel, x, w + panel * panelBytes, quarter * panelBytes, k,
        bias + panel * (PANEL * 4), quarter * (PANEL * 4), added ? added + panel * addendPanel : 0,
        quarter * addendPanel,
      );
    }
    p = begin + 4 * <i32>quarter;
  }
  const block = blockRows(k, <usize>(end - begin) * k * (PANEL * 4));
  for (let first = 0; first < m;) {
    const rows = m - first < 2 * block ? m - first : block, top = <usize>first;
    for (let rest = p; rest < end; ++rest) {
      const panel = <usize>rest;
      const target = out + panel * outPanel + top * outRow;
      const by = addend + panel * addendPanel + top * addendRow;
      panelProduct(
        target, outRow, x + top * xRow, xRow, w + panel * <usize>k * (PANEL * 4), rows, k, bias + panel * (PANEL * 4),
        added ? by : 0, addendRow,
      );
      if (m > 1) finishPanel(target, outRow, by, addendRow, rows, act);
    }
    first += rows;
  }
  if (m == 1) {
    for (let q = begin; q < end; ++q) {
      finishPanel(out + <usize>q * outPanel, outRow, addend + <usize>q * addendPanel, addendRow, 1, act);
    }
  }
}

/** What linear touches. */
export function linearFits(
  units: i32, out: usize, outRow: usize, outPanel: usize, x: usize, xRow: usize, w: usize, bias: usize, addend: usize,
  addendRow: usize, addendPanel: usize, m: i32, k: i32, act: i32,
): bool {
  return layerTouches(units, out, outRow, outPanel, addend, addendRow, addendPanel, m, k, act)
    && reads(x, span(m, xRow, floats(k))) && reads(w, floats(units, PANEL) * k) && reads(bias, floats(units, PANEL));
}

/** What linear layers have in common: panels of outputs, and an addend or a gate. */
export function layerTouches(
  units: i32, out: usize, outRow: usize, outPanel: usize, addend: usize, addendRow: usize, addendPanel: usize, m: i32,
  k: i32, act: i32,
): bool {
  if (!good(m) || !good(k) || <u32>act > <u32>ACT_GATE) return false;
  if (addend ? !reads(addend, woven(units, addendPanel, span(m, addendRow, 32))) : act == ACT_GATE) return false;
  return writes(out, woven(units, outPanel, span(m, outRow, 32)));
}

/** The activation or the gate of one panel. */
// @ts-ignore: decorator
@inline
export function finishPanel(out: usize, outRow: usize, by: usize, byRow: usize, m: i32, act: i32): void {
  if (act == ACT_GATE) gatePanel(out, outRow, by, byRow, m);
  else if (act != ACT_NONE) activatePanel(out, outRow, m, act);
}
