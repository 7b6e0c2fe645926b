// Writes PyTorch files as torch.save does, and in ways that it never would: pickles from values, in a zip archive or in
// the old format.
import type { WriteEntry } from "../../../bindings/checkpoint/index.ts";

/** A class or function by name. */
export class Ref {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}
/** A call of a global, with what is set on its result. */
export class Call {
  readonly what: Ref;
  readonly args: readonly unknown[];
  readonly items: Readonly<Record<string, unknown>>;
  constructor(name: string, args: readonly unknown[], items: Readonly<Record<string, unknown>> = {}) {
    [this.what, this.args, this.items] = [new Ref(name), args, items];
  }
}
/** A persistent id. */
export class Id {
  readonly fields: readonly unknown[];
  constructor(fields: readonly unknown[]) {
    this.fields = fields;
  }
}
/** Opcodes as they are. */
export class Raw {
  readonly bytes: readonly number[];
  constructor(...bytes: number[]) {
    this.bytes = bytes;
  }
}

const utf8 = new TextEncoder();
const little = (value: number | bigint, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 255n));

/** A value as a pickle of protocol 2: arrays are tuples, plain objects dicts. */
export function pickle(value: unknown): Uint8Array {
  const out: number[] = [0x80, 2];
  const put = (v: unknown): void => {
    if (v === null) out.push(0x4e);
    else if (typeof v === "boolean") out.push(v ? 0x88 : 0x89);
    else if (typeof v === "bigint") out.push(0x8a, 10, ...little(v, 10));
    else if (typeof v === "number") {
      if (v >= 0 && v < 256) out.push(0x4b, v);
      else if (Math.abs(v) < 2 ** 31) out.push(0x4a, ...little(BigInt.asUintN(32, BigInt(v)), 4));
      else out.push(0x8a, 8, ...little(BigInt.asUintN(64, BigInt(v)), 8));
    } else if (typeof v === "string") {
      const bytes = utf8.encode(v);
      out.push(0x58, ...little(bytes.length, 4), ...bytes);
    } else if (v instanceof Raw) out.push(...v.bytes);
    else if (v instanceof Ref) {
      const at = v.name.lastIndexOf(".");
      out.push(0x63, ...utf8.encode(`${v.name.slice(0, at)}\n${v.name.slice(at + 1)}\n`));
    } else if (v instanceof Id) {
      put(v.fields);
      out.push(0x51);
    } else if (v instanceof Call) {
      put(v.what);
      put(v.args);
      out.push(0x52);
      items(v.items);
    } else if (Array.isArray(v)) {
      out.push(0x28);
      v.forEach(put);
      out.push(0x74);
    } else {
      out.push(0x7d);
      items(v as Record<string, unknown>);
    }
  };
  const items = (record: Readonly<Record<string, unknown>>): void => {
    out.push(0x28);
    for (const [key, item] of Object.entries(record)) {
      put(key);
      put(item);
    }
    out.push(0x75);
  };
  put(value);
  out.push(0x2e);
  return Uint8Array.from(out);
}

export const orderedDict = (items: Readonly<Record<string, unknown>>): Call =>
  new Call("collections.OrderedDict", [], items);

const storageTypes: Partial<Record<string, { name: string; size: number }>> = {
  F32: { name: "Float", size: 4 }, F64: { name: "Double", size: 8 }, F16: { name: "Half", size: 2 },
  BF16: { name: "BFloat16", size: 2 }, I64: { name: "Long", size: 8 }, U8: { name: "Byte", size: 1 },
};

export interface Tensor {
  readonly shape: readonly number[];
  readonly strides?: readonly number[];
  readonly offset?: number;
  /** Elements that the storage is said to have; default: as many as the shape. */
  readonly length?: number;
  readonly type?: string;
}

/** A tensor over storage `key`. */
export function tensorCall(
  key: string, dtype: string, { shape, strides, offset = 0, length, type }: Tensor, legacy = false,
): Call {
  const row = shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
  const elements = length ?? shape.reduce((a, b) => a * b, 1);
  const storage = new Id([
    "storage", new Ref(type ?? `torch.${storageTypes[dtype]!.name}Storage`), key, "cpu", elements,
    ...(legacy ? [null] : []),
  ]);
  return new Call("torch._utils._rebuild_tensor_v2", [storage, offset, shape, strides ?? row, false, orderedDict({})]);
}

/** Files of an archive, stored. With `wide`, sizes and places in ZIP64 fields, as in archives of more than 4 GB. */
export function zip(
  files: readonly (readonly [name: string, content: Uint8Array])[],
  { wide = false, method = 0 }: { wide?: boolean; method?: number } = {},
): Uint8Array {
  const parts: (readonly number[] | Uint8Array)[] = [], central: number[][] = [];
  let at = 0;
  const add = (bytes: readonly number[] | Uint8Array): void => {
    parts.push(bytes);
    at += bytes.length;
  };
  for (const [name, content] of files) {
    const path = [...utf8.encode(name)], size = wide ? 0xffffffff : content.length, begin = at;
    const padding = (64 - ((at + 30 + path.length + 4) % 64)) % 64;
    add([
      ...little(LOCAL, 4), 45, 0, 8, 8, ...little(method, 2), ...little(0, 16), ...little(path.length, 2),
      ...little(4 + padding, 2), ...path, 0x46, 0x42, ...little(padding, 2), ...Array<number>(padding).fill(0x5a),
    ]);
    add(content);
    const field = wide
      ? [1, 0, 24, 0, ...little(content.length, 8), ...little(content.length, 8), ...little(begin, 8)]
      : [];
    central.push([
      ...little(CENTRAL, 4), 45, 0, 45, 0, 8, 8, ...little(method, 2), ...little(0, 8), ...little(size, 4),
      ...little(size, 4), ...little(path.length, 2), ...little(field.length, 2), ...little(0, 10),
      ...little(wide ? 0xffffffff : begin, 4), ...path, ...field,
    ]);
  }
  const first = at, directory = central.flat();
  add(directory);
  if (wide) {
    const place = at;
    add([
      ...little(0x06064b50, 4), ...little(44, 8), 45, 0, 45, 0, ...little(0, 8), ...little(files.length, 8),
      ...little(files.length, 8), ...little(directory.length, 8), ...little(first, 8),
    ]);
    add([...little(0x07064b50, 4), ...little(0, 4), ...little(place, 8), ...little(1, 4)]);
  }
  const count = wide ? 0xffff : files.length;
  add([
    ...little(0x06054b50, 4), ...little(0, 4), ...little(count, 2), ...little(count, 2),
    ...little(wide ? 0xffffffff : directory.length, 4), ...little(wide ? 0xffffffff : first, 4), 0, 0,
  ]);
  const file = new Uint8Array(at);
  let to = 0;
  for (const part of parts) {
    file.set(part, to);
    to += part.length;
  }
  return file;
}
const LOCAL = 0x04034b50, CENTRAL = 0x02014b50;

/** An archive around a pickle and its storages. */
export function zipPth(
  root: unknown, storages: Readonly<Record<string, Uint8Array>> = {},
  options: { wide?: boolean; method?: number; order?: string } = {},
): Uint8Array {
  const data = Object.entries(storages).map(([key, bytes]) => [`archive/data/${key}`, bytes] as const);
  return zip(
    [
      ["archive/data.pkl", pickle(root)], ["archive/byteorder", utf8.encode(options.order ?? "little")], ...data,
      ["archive/version", utf8.encode("3\n")],
    ],
    options,
  );
}

/** The format before PyTorch 1.6. */
export function legacyPth(
  root: unknown,
  storages: Readonly<Record<string, { bytes: Uint8Array; length: number }>> = {},
  { system = { little_endian: true } as unknown, protocol = 1001, magic = 0x1950a86a20f9469cfc6cn } = {},
): Uint8Array {
  const pickles = [magic, protocol, system, root, Object.keys(storages)].map(pickle);
  const data = Object.values(storages).flatMap(({ bytes, length }) => [Uint8Array.from(little(length, 8)), bytes]);
  return Uint8Array.from([...pickles, ...data].flatMap((part) => [...part]));
}

/** A checkpoint's tensors as a file; `wrap` puts the state dict into what lies around it. */
export function pthOf(
  entries: readonly WriteEntry[], { legacy = false, wrap = (dict: unknown): unknown => dict } = {},
): Uint8Array {
  const dict: Record<string, unknown> = {}, storages: Record<string, { bytes: Uint8Array; length: number }> = {};
  entries.forEach(({ name, dtype, shape, data }, i) => {
    dict[name] = tensorCall(String(i), dtype, { shape }, legacy);
    storages[String(i)] = { bytes: data, length: data.length / storageTypes[dtype]!.size };
  });
  const root = wrap(orderedDict(dict));
  return legacy
    ? legacyPth(root, storages)
    : zipPth(root, Object.fromEntries(Object.entries(storages).map(([key, { bytes }]) => [key, bytes])));
}
