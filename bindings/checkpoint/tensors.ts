// What models see of a checkpoint: tensors asked for by name together with the shape expected, so that reading the
// model validates the file.
import { formatShape, isDType, isFloatDType } from "./dtype.ts";
import type { DType, FloatDType } from "./dtype.ts";
import { nearestNames, quote } from "./names.ts";

export interface TensorInfo {
  readonly name: string;
  /** As the file spells it; another than a `DType` is one that this version does not know. */
  readonly dtype: DType | (string & {});
  readonly shape: readonly number[];
  readonly byteLength: number;
}

export interface TensorRef extends TensorInfo {
  readonly dtype: FloatDType;
  /**
   * The raw bytes, little-endian, row by row; perhaps shared, so not to be written to. `toFloat32` decodes them. With
   * `into`, that many bytes from byte `from` on, put there and returned.
   */
  read(into?: Uint8Array, from?: number): Promise<Uint8Array>;
}

/** A checkpoint, or the part of it below a prefix. */
export interface Tensors {
  /** What every name here begins with in the file, without the last dot; "" for the whole file. */
  readonly prefix: string;
  has(name: string): boolean;
  /** Throws when the tensor is missing, has another shape or does not hold floats; reads nothing yet. */
  tensor(name: string, shape: readonly number[]): TensorRef;
  /** The tensors that begin with `prefix` and a dot; all of these for "". */
  scope(prefix: string): Tensors;
}

export type Scope = Tensors;

export interface Stored extends TensorInfo {
  /** The file that holds it. */
  readonly file: string;
  read(into?: Uint8Array, from?: number): Promise<Uint8Array>;
}

export function findTensor(
  file: string, stored: ReadonlyMap<string, Stored>, name: string, shape: readonly number[],
): TensorRef {
  const found = stored.get(name);
  if (!found) {
    const nearest = nearestNames(name, [...stored.keys()]).map(quote);
    const remedy =
      nearest.length > 0
        ? `did you mean ${nearest.join(" or ")}? If not, check config.json`
        : "check that config.json belongs to this file";
    throw new RangeError(`${file} has no tensor ${quote(name)}: ${remedy}`);
  }
  const { dtype } = found;
  if (!isFloatDType(dtype)) {
    const known = isDType(dtype) ? `dtype ${dtype}` : `an unknown dtype, ${quote(dtype)}`;
    throw new TypeError(
      `${quote(name)} has ${known}, expected F32, F16, BF16 or F64: convert ${found.file} to one of these`,
    );
  }
  if (shape.length !== found.shape.length || shape.some((dim, i) => dim !== found.shape[i])) {
    throw new RangeError(
      `${quote(name)} has shape ${formatShape(found.shape)}, expected ${formatShape(shape)}: the config says `
        + "otherwise; check config.json",
    );
  }
  return { name, dtype, shape: found.shape, byteLength: found.byteLength, read: found.read };
}

export function scopeOf(parent: Tensors, prefix: string): Tensors {
  if (prefix === "") return parent;
  const scope: Tensors = {
    prefix: parent.prefix === "" ? prefix : `${parent.prefix}.${prefix}`,
    has: (name) => parent.has(`${prefix}.${name}`),
    tensor: (name, shape) => parent.tensor(`${prefix}.${name}`, shape),
    scope: (inner) => scopeOf(scope, inner),
  };
  return scope;
}

/** Tensors of any name and shape, each as `tensor` makes it; `has`: whether an optional one is there. */
export function madeTensors(
  tensor: (name: string, shape: readonly number[]) => TensorRef, has: (name: string) => boolean = () => false,
): Tensors {
  const tensors: Tensors = { prefix: "", has, tensor, scope: (prefix) => scopeOf(tensors, prefix) };
  return tensors;
}

/** A network's tensors where there are none to read: every name and shape asked for is there. */
export function namesOnly(dtypeOf: (name: string) => string): Tensors {
  return madeTensors((name, shape) => {
    const dtype = dtypeOf(name) as TensorRef["dtype"], bytes = dtype.endsWith("16") ? 2 : dtype === "F64" ? 8 : 4;
    const read = () => Promise.reject(new Error(`"${name}" is packed, not to be read`));
    return { name, dtype, shape, byteLength: shape.reduce((a, b) => a * b, bytes), read };
  });
}
