// What torch.save puts into a pickle: storages by key, and tensors as views of them, made by a few functions of
// torch._utils.
import { formatShape, shapeFault } from "./dtype.ts";
import { written } from "./names.ts";
import { Global, Opaque } from "./pickle.ts";
import type { Value } from "./pickle.ts";

interface ElementType {
  /** As safetensors spells it; torch's own name for what safetensors has not. */
  readonly dtype: string;
  readonly size: number;
}

/** Elements that a file holds in a row; nothing of it has been read. */
export class Storage {
  readonly key: string;
  /** Untyped: bytes, whose elements the tensor names. */
  readonly type: ElementType | undefined;
  /** Elements; bytes where untyped. */
  readonly length: number;
  constructor(key: string, type: ElementType | undefined, length: number) {
    [this.key, this.type, this.length] = [key, type, length];
  }
}

/**
 * A view of a storage. Offset and strides count elements; a tensor is checked before it is made to lie within its
 * storage.
 */
export class TorchTensor {
  readonly storage: Storage;
  readonly type: ElementType;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  constructor(
    storage: Storage, type: ElementType, offset: number, shape: readonly number[], strides: readonly number[],
  ) {
    [this.storage, this.type, this.offset, this.shape, this.strides] = [storage, type, offset, shape, strides];
  }
}

/** A storage or tensor that makes no sense: the file is damaged or hostile. */
export class TorchFault extends Error {}

const types: Readonly<Record<string, ElementType>> = {
  float32: { dtype: "F32", size: 4 }, float64: { dtype: "F64", size: 8 }, float16: { dtype: "F16", size: 2 },
  bfloat16: { dtype: "BF16", size: 2 }, int64: { dtype: "I64", size: 8 }, int32: { dtype: "I32", size: 4 },
  int16: { dtype: "I16", size: 2 }, int8: { dtype: "I8", size: 1 }, uint64: { dtype: "U64", size: 8 },
  uint32: { dtype: "U32", size: 4 }, uint16: { dtype: "U16", size: 2 }, uint8: { dtype: "U8", size: 1 },
  bool: { dtype: "BOOL", size: 1 }, complex64: { dtype: "C64", size: 8 }, complex128: { dtype: "complex128", size: 16 },
  float8_e4m3fn: { dtype: "F8_E4M3", size: 1 }, float8_e5m2: { dtype: "F8_E5M2", size: 1 },
};

const storageTypes: Readonly<Record<string, ElementType | undefined>> = {
  FloatStorage: types.float32, DoubleStorage: types.float64, HalfStorage: types.float16,
  BFloat16Storage: types.bfloat16, LongStorage: types.int64, IntStorage: types.int32, ShortStorage: types.int16,
  CharStorage: types.int8, ByteStorage: types.uint8, BoolStorage: types.bool, ComplexFloatStorage: types.complex64,
  ComplexDoubleStorage: types.complex128, UntypedStorage: undefined,
};

/**
 * The storage of a persistent id, ("storage", type, key, device, length) and in old files a part of another; Opaque for
 * a type not known.
 */
export function storageOf(id: Value): Storage | Opaque | StoragePart {
  if (!Array.isArray(id) || id[0] !== "storage") throw new TorchFault("a persistent id that names no storage");
  const [, type, key, , length, part] = id as unknown[];
  if (typeof key !== "string" && typeof key !== "number") throw new TorchFault("a storage without a key");
  if (!isCount(length)) throw new TorchFault(`a storage of ${written(length)} elements`);
  // torch.FloatStorage, torch.cuda.FloatStorage, torch.storage.UntypedStorage
  const name = type instanceof Global ? /^torch\.(?:\w+\.)?(\w+)$/.exec(type.name)?.[1] : undefined;
  if (name === undefined || !Object.hasOwn(storageTypes, name))
    return new Opaque(type instanceof Global ? type.name : "a storage of no type");
  const storage = new Storage(String(key), storageTypes[name], length);
  if (part === undefined || part === null) return storage;
  const [, offset, count] = Array.isArray(part) ? (part as unknown[]) : [];
  if (!isCount(offset) || !isCount(count) || offset + count > length)
    throw new TorchFault("a part of a storage that lies outside it");
  return new StoragePart(storage, offset);
}

/** Very old files name a storage within another. */
export class StoragePart {
  readonly storage: Storage;
  readonly offset: number;
  constructor(storage: Storage, offset: number) {
    [this.storage, this.offset] = [storage, offset];
  }
}

/** The globals that hold or make tensors and containers; undefined for any other. */
export function callTorch(name: string, args: readonly Value[]): Value | undefined {
  switch (name) {
    case "collections.OrderedDict":
    case "builtins.dict":
    case "__builtin__.dict":
    case "collections.defaultdict":
      return dictOf(name, args);
    case "torch.Size":
      return Array.isArray(args[0]) ? args[0] : undefined;
    case "torch._utils._rebuild_tensor":
    case "torch._utils._rebuild_tensor_v2":
      return tensorOf(args, undefined);
    case "torch._utils._rebuild_tensor_v3":
      return tensorOf(args, args[6]);
    case "torch._utils._rebuild_parameter":
    case "torch._utils._rebuild_parameter_with_state":
      return args[0] instanceof TorchTensor ? args[0] : undefined;
    case "torch._tensor._rebuild_from_type_v2": {
      const [make, , inner] = args;
      return make instanceof Global && make.name !== name && Array.isArray(inner)
        ? callTorch(make.name, inner)
        : undefined;
    }
    default:
      return undefined;
  }
}

/** A dict from what its constructor takes: nothing, or pairs. */
function dictOf(name: string, args: readonly Value[]): Map<unknown, unknown> | undefined {
  const pairs = name === "collections.defaultdict" ? args[1] : args[0];
  if (pairs === undefined) return new Map();
  if (!Array.isArray(pairs)) return undefined;
  const dict = new Map<unknown, unknown>();
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) return undefined;
    dict.set(pair[0], pair[1]);
  }
  return dict;
}

function tensorOf([where, offset, shape, strides]: readonly Value[], named: Value): TorchTensor | undefined {
  const storage = where instanceof StoragePart ? where.storage : where;
  if (!(storage instanceof Storage)) return undefined;
  let type = storage.type;
  if (named !== undefined)
    type =
      named instanceof Global && named.name.startsWith("torch.") && Object.hasOwn(types, named.name.slice(6))
        ? types[named.name.slice(6)]
        : undefined;
  // a kind of element that is not known: the tensor is one of no use here
  if (!type) return undefined;
  const fault = shapeFault(shape);
  if (fault) throw new TorchFault(`a tensor with ${fault}`);
  const sizes = shape as number[];
  if (!Array.isArray(strides) || strides.length !== sizes.length || !strides.every(isCount))
    throw new TorchFault(`a tensor of shape ${formatShape(sizes)} without strides that fit`);
  if (!isCount(offset)) throw new TorchFault("a tensor that begins nowhere");
  const first = offset + (where instanceof StoragePart ? where.offset : 0);
  const length = Math.floor((storage.length * (storage.type?.size ?? 1)) / type.size);
  const elements = sizes.reduce((a, b) => a * b, 1);
  const last = first + sizes.reduce((sum, size, i) => sum + (size - 1) * (strides[i] as number), 0);
  if (elements > 0 && !(last < length))
    throw new TorchFault(
      `a tensor of shape ${formatShape(sizes)} that ends at element ${last} of a storage of ${length}`,
    );
  return new TorchTensor(storage, type, first, [...sizes], [...(strides as number[])]);
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
