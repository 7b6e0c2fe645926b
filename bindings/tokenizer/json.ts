// What the checks of tokenizer.json share: kinds of values, and errors that name the place.
import { quote } from "../checkpoint/names.ts";

export type Json = { readonly [key: string]: unknown };

export const FILE = "tokenizer.json";

export const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** What a value is, for an error. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "object") return `a ${typeof value}`;
  return value.constructor?.name && value.constructor !== Object ? value.constructor.name : "an object";
}

/** A short value itself, else its kind. */
export function show(value: unknown): string {
  if (typeof value === "string") return quote(value);
  return typeof value === "number" || typeof value === "boolean" ? String(value) : kindOf(value);
}

export const wrong = (path: string, expected: string, came: unknown): TypeError =>
  new TypeError(`${FILE}: "${path}" is ${show(came)}, expected ${expected}: download it again`);

export function object(path: string, value: unknown): Json {
  if (!isObject(value)) throw wrong(path, "an object", value);
  return value;
}
