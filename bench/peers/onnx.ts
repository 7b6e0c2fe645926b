// Writes ONNX files: the few protobuf messages of onnx.proto3 that the compared networks need. Field numbers
// are those of the format.
import { Buffer } from "node:buffer";

const VARINT = 0, BYTES = 2, FLOAT32 = 5;

function varint(value: number | bigint): number[] {
  const bytes: number[] = [];
  // negative numbers are two's complement in 64 bits
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

const integer = (field: number, value: number | bigint): Buffer =>
  Buffer.from([...varint((field << 3) | VARINT), ...varint(value)]);
function bytes(field: number, value: string | Uint8Array): Buffer {
  const content = typeof value === "string" ? Buffer.from(value) : value;
  return Buffer.concat([Buffer.from([...varint((field << 3) | BYTES), ...varint(content.length)]), content]);
}
function float(field: number, value: number): Buffer {
  const out = Buffer.from([...varint((field << 3) | FLOAT32), 0, 0, 0, 0]);
  out.writeFloatLE(value, out.length - 4);
  return out;
}
const message = (field: number, ...parts: Uint8Array[]): Buffer => bytes(field, Buffer.concat(parts));

export type Values = Float32Array | Uint8Array | Int8Array | Int32Array | BigInt64Array;
const ELEMENT = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7 } as const;
export type Element = keyof typeof ELEMENT;

function elementOf(values: Values): number {
  if (values instanceof Float32Array) return ELEMENT.float32;
  if (values instanceof Uint8Array) return ELEMENT.uint8;
  if (values instanceof Int8Array) return ELEMENT.int8;
  return values instanceof Int32Array ? ELEMENT.int32 : ELEMENT.int64;
}

/** An integer is an attribute of type INT, a fraction FLOAT: a float that is whole is written as { float }. */
export type Attribute = number | string | readonly number[] | { readonly float: number };

function attribute(name: string, value: Attribute): Buffer {
  const named = bytes(1, name);
  if (typeof value === "string") return message(5, named, bytes(4, value), integer(20, 3));
  if (Array.isArray(value)) return message(5, named, ...value.map((v: number) => integer(8, v)), integer(20, 7));
  if (typeof value === "object") return message(5, named, float(2, (value as { float: number }).float), integer(20, 1));
  return Number.isInteger(value)
    ? message(5, named, integer(3, value), integer(20, 2))
    : message(5, named, float(2, value), integer(20, 1));
}

/** A network under construction: every method adds one part, names are its wires. */
export class Onnx {
  private readonly parts: Buffer[] = [];
  private made = 0;

  /** A wire that is given with every run. */
  input(name: string, element: Element, shape: readonly number[]): string {
    this.parts.push(this.value(11, name, element, shape));
    return name;
  }

  output(name: string, element: Element, shape: readonly number[]): void {
    this.parts.push(this.value(12, name, element, shape));
  }

  private value(field: number, name: string, element: Element, shape: readonly number[]): Buffer {
    const dims = shape.map((size) => message(1, integer(1, size)));
    return message(field, bytes(1, name), message(2, message(1, integer(1, ELEMENT[element]), message(2, ...dims))));
  }

  /** A constant; a single number without a shape is a scalar. */
  constant(values: Values, shape: readonly number[] = values.length === 1 ? [] : [values.length]): string {
    const count = shape.reduce((a, b) => a * b, 1), name = `constant${this.made++}`;
    if (count !== values.length) {
      throw new RangeError(`a constant of shape [${shape}] has ${count} numbers, not ${values.length}`);
    }
    const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.parts.push(message(
      5, ...shape.map((size) => integer(1, size)), integer(2, elementOf(values)), bytes(8, name), bytes(9, raw),
    ));
    return name;
  }

  /** One operator; "" for an optional input that is left out. Returns its outputs. */
  node(
    type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {},
    { domain = "", outputs = 1 } = {},
  ): string[] {
    const names = Array.from({ length: outputs }, () => `${type}${this.made++}`);
    this.parts.push(message(
      1, ...inputs.map((i) => bytes(1, i)), ...names.map((o) => bytes(2, o)), bytes(4, type),
      ...Object.entries(attributes).map(([n, v]) => attribute(n, v)), bytes(7, domain),
    ));
    return names;
  }

  /** The same for an operator with one output. */
  op(
    type: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}, domain = "",
  ): string {
    return this.node(type, inputs, attributes, { domain })[0]!;
  }

  /** The file. */
  encode(): Uint8Array {
    const opset = (domain: string, version: number): Buffer => message(8, bytes(1, domain), integer(2, version));
    return Buffer.concat([
      integer(1, 9), bytes(2, "slab-wasm bench"), message(7, ...this.parts, bytes(2, "network")), opset("", 17),
      opset("com.microsoft", 1),
    ]);
  }
}
