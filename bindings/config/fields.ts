// Reads values out of a config.json, which nobody has checked; every complaint names the field.
import { written } from "../checkpoint/names.ts";

/** What config.json holds, before anybody has checked it. */
export type Json = Readonly<Record<string, unknown>>;

/** A config and where it is from. */
export interface Fields {
  readonly json: Json;
  readonly where: string;
}

export const fault = ({ where }: Fields, what: string): RangeError => new RangeError(`${where}: ${what}`);

/** A value of the wrong kind, or with `Kind` of another fault. */
export function unexpected(
  { where }: Fields, name: string, value: unknown, expected: string, Kind: ErrorConstructor = TypeError,
): Error {
  return new Kind(`${where}: ${name} is ${written(value)}, expected ${expected}`);
}

/** A whole number from 1 to `most`. */
export function size(fields: Fields, key: string, fallback: number, most: number): number {
  return whole(fields, `"${key}"`, fields.json[key] ?? fallback, most);
}

function whole(fields: Fields, name: string, value: unknown, most: number): number {
  if (typeof value !== "number") throw unexpected(fields, name, value, "a number");
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw unexpected(fields, name, value, `a whole number from 1 to ${most}`, RangeError);
}

/** One whole number for every stage of a pyramid. */
export function sizes(fields: Fields, key: string, fallback: readonly number[], most: number): readonly number[] {
  const value = fields.json[key] ?? fallback, { length } = fallback;
  if (Array.isArray(value) && value.length === length) {
    return value.map((v, stage) => whole(fields, `"${key}", stage ${stage + 1}`, v, most));
  }
  throw unexpected(fields, `"${key}"`, value, `${length} numbers, one for each stage`);
}

export function positive(fields: Fields, key: string, fallback: number): number {
  const value = fields.json[key] ?? fallback;
  if (typeof value !== "number") throw unexpected(fields, `"${key}"`, value, "a number");
  if (value > 0 && value < Infinity) return value;
  throw unexpected(fields, `"${key}"`, value, "a positive number", RangeError);
}

export function triple(fields: Fields, key: string, fallback: readonly number[]): readonly number[] {
  const value = fields.json[key] ?? fallback;
  if (Array.isArray(value) && value.length === 3 && value.every(Number.isFinite)) return value;
  throw unexpected(fields, `"${key}"`, value, "three numbers");
}

/** Refuses all but the one value that can be run, which is also what a config means that says nothing. */
export function only(fields: Fields, key: string, expected: unknown, why = ""): void {
  const value = fields.json[key] ?? expected, Kind = typeof value === typeof expected ? RangeError : TypeError;
  if (value !== expected) throw unexpected(fields, `"${key}"`, value, JSON.stringify(expected) + why, Kind);
}

/** Channels of a head, of which kernels take eight at a time; `of`: " of stage 1". */
export function headDim(fields: Fields, dim: number, heads: number, of = ""): number {
  if (dim % heads) throw fault(fields, `${dim} channels${of} are not a multiple of "num_attention_heads" ${heads}`);
  if ((dim / heads) % 8 === 0) return dim / heads;
  throw fault(fields, `heads of ${dim / heads} channels${of}, expected a multiple of 8`);
}
