// How numbers that a model gave are held against those that they should be.
import * as assert from "uvu/assert";
import { assertSameBits } from "../harness.ts";

/** f32s of one model, by the way in which it was asked for them. */
export type Readings = Readonly<Record<string, Float32Array>>;

/** What is stored of a tensor that is too large to be stored: as many of these as somebody has noted. */
export interface Summary {
  readonly shape: readonly number[];
  /** Its first values, at least one, and its last. */
  readonly first: readonly number[];
  readonly last?: readonly number[];
  readonly mean?: number;
  readonly sum?: number;
  readonly l2?: number;
  readonly max?: number;
  readonly min?: number;
  readonly argmax?: number;
}
export const SUMMARY = ["shape", "first", "last", "mean", "sum", "l2", "max", "min", "argmax"] as const;

const sumOf = (values: Float32Array): number => values.reduce((a, b) => a + b, 0);
const l2Of = (values: Float32Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
/** NaN where there is one. */
const largestOf = (values: ArrayLike<number>): number => {
  let largest = 0;
  for (let i = 0; i < values.length; i++) largest = Math.max(largest, Math.abs(values[i]!));
  return largest;
};

function assertNear(what: string, got: number, want: number, within: number): void {
  assert.ok(Math.abs(got - want) <= within, `${what} is ${got}, expected ${want} within ${within}`);
}

/** Every number is within `tolerance` of the largest of those wanted. */
export function assertWithin(what: string, got: Float32Array, want: Float32Array, tolerance: number): void {
  assert.is(got.length, want.length, `${what}: ${got.length} numbers, expected ${want.length}`);
  const within = tolerance * largestOf(want);
  for (let i = 0; i < want.length; i++) {
    // NaN is within nothing
    if (!(Math.abs(got[i]! - want[i]!) <= within)) assertNear(`${what}: number ${i}`, got[i]!, want[i]!, within);
  }
}

/** The tensor is the one summarised, within `tolerance` of its largest number. */
export function assertSummary(what: string, values: Float32Array, summary: Summary, tolerance: number): void {
  const { shape, first, last = [], mean, sum, l2, max, min, argmax } = summary;
  const count = shape.reduce((a, b) => a * b, 1);
  assert.is(values.length, count, `${what}: ${values.length} numbers, expected ${count}`);
  const within = tolerance * (max === undefined || min === undefined ? largestOf(values) : largestOf([max, min]));
  const at = (i: number, value: number): void => assertNear(`${what}: number ${i}`, values.at(i)!, value, within);
  first.forEach((value, i) => at(i, value));
  last.forEach((value, i) => at(i - last.length, value));
  if (mean !== undefined) assertNear(`${what}: mean`, sumOf(values) / count, mean, within);
  // the errors of many numbers add up as a random walk does
  if (sum !== undefined) assertNear(`${what}: sum`, sumOf(values), sum, within * Math.sqrt(count));
  if (l2 !== undefined) assertNear(`${what}: l2`, l2Of(values), l2, tolerance * l2);
  if (max !== undefined) assertNear(`${what}: max`, Math.max(...values), max, within);
  if (min !== undefined) assertNear(`${what}: min`, Math.min(...values), min, within);
  if (argmax !== undefined) assert.is(values.indexOf(Math.max(...values)), argmax, `${what}: argmax`);
}

/** ‖got − want‖ / ‖want‖. */
export function distance(got: Float32Array, want: Float32Array): number {
  assert.is(got.length, want.length, `${got.length} numbers, expected ${want.length}`);
  return l2Of(got.map((value, i) => value - want[i]!)) / l2Of(want);
}

/** All that is given has the bits of what is wanted, of which there may be more. */
export function assertSameReadings(what: string, got: Readings, want: Readings): void {
  for (const [how, values] of Object.entries(got)) assertSameBits(`${what}: ${how}`, values, want[how]!);
}
