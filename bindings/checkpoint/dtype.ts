// The element types of safetensors and the size arithmetic that a hostile file must not be able to overflow.
import { written } from "./names.ts";

/** Bits per element, in the order of the reference implementation: its writer sorts by this, last first. */
const bits = {
  BOOL: 8, F4: 4, F6_E2M3: 6, F6_E3M2: 6, U8: 8, I8: 8, F8_E5M2: 8, F8_E4M3: 8, F8_E8M0: 8,
  I16: 16, U16: 16, F16: 16, BF16: 16, I32: 32, U32: 32, F32: 32, C64: 64, F64: 64, I64: 64, U64: 64,
} as const;

export type DType = keyof typeof bits;
/** The types that weights may have: what `toFloat32` and `toFloat64` decode. */
export type FloatDType = "F32" | "F16" | "BF16" | "F64";

const rank = new Map<string, number>(Object.keys(bits).map((dtype, index) => [dtype, index]));
// beyond this no model goes; it keeps error messages short
const maxDims = 32;

export function isDType(dtype: unknown): dtype is DType {
  return typeof dtype === "string" && rank.has(dtype);
}

export function isFloatDType(dtype: string): dtype is FloatDType {
  return dtype === "F32" || dtype === "F16" || dtype === "BF16" || dtype === "F64";
}

/** Sorts as the reference writer does: widest elements first, so that every tensor is aligned. */
export function compareDTypes(a: DType, b: DType): number {
  return rank.get(b)! - rank.get(a)!;
}

/** Whether a shape is one, as below. */
export function isShape(shape: unknown): shape is readonly number[] {
  let elements = 1;
  return Array.isArray(shape) && shape.length <= maxDims
    && shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0 && Number.isSafeInteger((elements *= dim)));
}

/** Why `shape` is none, or undefined when it is: at most 32 whole numbers whose product stays below 2^53. */
export function shapeFault(shape: unknown): string | undefined {
  if (!Array.isArray(shape)) return "no shape";
  if (shape.length > maxDims) return `${shape.length} dimensions`;
  let elements = 1;
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) return `a dimension that is no whole number, ${written(dim)}`;
    elements *= dim;
    if (!Number.isSafeInteger(elements)) return `shape ${formatShape(shape)}, more than 2^53 elements`;
  }
  return undefined;
}

/** Bytes of a tensor, or undefined when they are no whole number below 2^53. `shape` has passed `shapeFault`. */
export function tensorBytes(dtype: DType, shape: readonly number[]): number | undefined {
  const bytes = (shape.reduce((elements, dim) => elements * dim, 1) * bits[dtype]) / 8;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}
