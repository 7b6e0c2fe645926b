// How weights are kept in memory: f32, or quantised. Sizes must agree with assembly/kernels/int8.ts and int4.ts.
import { PANEL } from "../../assembly/header.ts";
import { WEIGHTS_F32, WEIGHTS_INT4, WEIGHTS_INT8 } from "../../assembly/opcodes.ts";
import { alignUp } from "./align.ts";

/**
 * f32: as trained. int8: one scale for each output channel, activations quantised row by row. int4: blocks of 32
 * weights with a scale, for decoding; prompts are read in f32 from unpacked weights.
 */
export type WeightType = "f32" | "int8" | "int4";

export const WEIGHT_TYPES: readonly WeightType[] = ["f32", "int8", "int4"];

export const KINDS: Readonly<Record<WeightType, number>> = { f32: WEIGHTS_F32, int8: WEIGHTS_INT8, int4: WEIGHTS_INT4 };

const blocks = (k: number): number => Math.ceil(k / 32);

/** Bytes of one packed panel of eight output channels; relaxed builds group four k, the others two. */
export function panelBytes(type: WeightType, k: number, relaxed: boolean): number {
  if (type === "int8") return relaxed ? Math.ceil(k / 4) * 32 : Math.ceil(k / 2) * 16;
  if (type === "int4") return blocks(k) * 144;
  return k * PANEL * 4;
}

/** Bytes of one quantised row of activations, and of its parameters. */
export function rowBytes(type: WeightType, k: number, relaxed: boolean): { row: number; params: number } {
  if (type === "int8") return { row: alignUp(k * (relaxed ? 1 : 2), 16), params: 8 };
  return { row: blocks(k) * (relaxed ? 32 : 64), params: blocks(k) * 8 };
}
