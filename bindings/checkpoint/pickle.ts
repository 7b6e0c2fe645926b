// A machine for Python's pickles, protocols 0 to 5, that runs nothing. It knows containers, numbers and strings; what
// to make of a global that is called is up to the caller, and whatever nobody knows becomes an opaque object, with all
// that it was given dropped. A pickle comes from strangers: every length is compared with the bytes left, and what may
// be built is paid for from a budget.

/** A global of Python by its full name, such as "collections.OrderedDict". */
export class Global {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** Something that is not known here. `of` says what it was. */
export class Opaque {
  readonly of: string;
  constructor(of: string) {
    this.of = of;
  }
}

/** Dicts are Maps, lists and tuples arrays; anything else is what `call` or `persistent` made. */
export type Value = unknown;

export interface Unpickling {
  /** What a call of a global makes; undefined for a global that is not known. */
  call(name: string, args: readonly Value[]): Value | undefined;
  /** What stands behind a persistent id, which is how torch names storages. */
  persistent(id: Value): Value;
  /** Bytes of memory that values may take, about. */
  readonly budget: number;
}

/** The bytes end before the pickle does. */
export class PickleCutOff extends Error {}

/** The bytes are no pickle, or one that would build more than allowed. */
export class PickleFault extends Error {}

// what values cost of the budget, about: any op, a container, a character
const opBytes = 16, containerBytes = 160, characterBytes = 2;
const longestNumber = 32;

/** The first pickle in `bytes`, from `from` on, and where it ends. */
export function unpickle(
  bytes: Uint8Array, from: number, { call, persistent, budget }: Unpickling,
): { value: Value; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: Value[] = [], marks: number[] = [];
  const memo = new Map<number, Value>(), globals = new Map<string, Global>();
  let at = from, left = budget;

  const fault = (what: string): PickleFault => new PickleFault(`${what} at byte ${at}`);
  const spend = (cost: number): void => {
    left -= cost;
    if (left < 0) throw fault("it would build more than a checkpoint needs");
  };
  const take = (length: number): number => {
    if (!(length >= 0)) throw fault("a negative length");
    if (length > bytes.length - at) throw new PickleCutOff();
    at += length;
    return at - length;
  };
  const u8 = (): number => bytes[take(1)]!;
  const u16 = (): number => view.getUint16(take(2), true);
  const i32 = (): number => view.getInt32(take(4), true);
  const u32 = (): number => view.getUint32(take(4), true);
  const u64 = (): number => {
    const begin = take(8), value = view.getUint32(begin + 4, true) * 2 ** 32 + view.getUint32(begin, true);
    if (!Number.isSafeInteger(value)) throw fault("a length of 2^53 or more");
    return value;
  };
  const text = (length: number, decoder: TextDecoder = utf8): string => {
    const begin = take(length);
    spend(length * characterBytes);
    return decoder.decode(bytes.subarray(begin, at));
  };
  const line = (): string => {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) throw new PickleCutOff();
    const read = text(end - at);
    at++;
    return read;
  };
  const long = (length: number): Value => {
    if (length > longestNumber) {
      take(length);
      return new Opaque("a number");
    }
    let value = 0n;
    const begin = take(length);
    for (let i = length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[begin + i]!);
    const signed = BigInt.asIntN(8 * length, value), small = Number(signed);
    return Number.isSafeInteger(small) ? small : signed;
  };
  const decimal = (digits: string): Value => {
    const value = /^-?\d+L?$/.test(digits) ? Number(digits.replace("L", "")) : NaN;
    return Number.isSafeInteger(value) ? value : new Opaque("a number");
  };
  const skip = (length: number): Value => {
    take(length);
    return new Opaque("bytes");
  };

  const pop = (): Value => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw fault("nothing left to take");
    return stack.pop();
  };
  const popToMark = (): Value[] => {
    const mark = marks.pop();
    if (mark === undefined) throw fault("no mark");
    return stack.splice(mark);
  };
  const top = (): Value => {
    if (stack.length <= (marks.at(-1) ?? 0)) throw fault("nothing to add to");
    return stack.at(-1);
  };
  const container = <T>(value: T): T => {
    spend(containerBytes);
    return value;
  };
  const append = (items: readonly Value[]): void => {
    const list = top();
    // a tuple is an array too: it cannot grow in Python, but a file that makes it grow harms nobody
    if (Array.isArray(list)) for (const item of items) list.push(item);
  };
  const setItems = (items: readonly Value[]): void => {
    if (items.length % 2) throw fault("a key without a value");
    const dict = top();
    if (!(dict instanceof Map)) return;
    spend(items.length * opBytes);
    for (let i = 0; i < items.length; i += 2) dict.set(items[i], items[i + 1]);
  };
  const global = (name: string): Global => {
    let known = globals.get(name);
    if (!known) globals.set(name, (known = container(new Global(name))));
    return known;
  };
  const called = (what: Value, args: Value): Value => {
    spend(containerBytes);
    if (!(what instanceof Global)) return new Opaque(what instanceof Opaque ? what.of : "a call");
    return (Array.isArray(args) ? call(what.name, args) : undefined) ?? new Opaque(what.name);
  };
  const remembered = (index: number): Value => {
    if (!memo.has(index)) throw fault(`nothing was remembered as ${index}`);
    return memo.get(index);
  };

  for (;;) {
    const op = u8();
    spend(opBytes);
    switch (op) {
      case 0x80: if (u8() > 5) throw fault("a newer protocol than 5"); break; // PROTO
      case 0x95: u64(); break; // FRAME
      case 0x2e: { // STOP
        const value = pop();
        return { value, end: at };
      }
      case 0x28: marks.push(stack.length); break; // MARK
      case 0x30: if (stack.length > (marks.at(-1) ?? 0)) stack.pop(); else popToMark(); break; // POP
      case 0x31: popToMark(); break; // POP_MARK
      case 0x32: stack.push(top()); break; // DUP
      case 0x4e: stack.push(null); break; // NONE
      case 0x88: stack.push(true); break; // NEWTRUE
      case 0x89: stack.push(false); break; // NEWFALSE
      case 0x49: { // INT
        const digits = line();
        stack.push(digits === "01" ? true : digits === "00" ? false : decimal(digits));
        break;
      }
      case 0x4a: stack.push(i32()); break; // BININT
      case 0x4b: stack.push(u8()); break; // BININT1
      case 0x4d: stack.push(u16()); break; // BININT2
      case 0x4c: stack.push(decimal(line())); break; // LONG
      case 0x8a: stack.push(long(u8())); break; // LONG1
      case 0x8b: stack.push(long(i32())); break; // LONG4
      case 0x46: stack.push(Number(line())); break; // FLOAT
      case 0x47: stack.push(view.getFloat64(take(8), false)); break; // BINFLOAT
      case 0x53: stack.push(line().replace(/^(['"])(.*)\1$/s, "$2")); break; // STRING
      case 0x54: stack.push(text(i32(), latin1)); break; // BINSTRING
      case 0x55: stack.push(text(u8(), latin1)); break; // SHORT_BINSTRING
      case 0x56: stack.push(line()); break; // UNICODE
      case 0x58: stack.push(text(u32())); break; // BINUNICODE
      case 0x8c: stack.push(text(u8())); break; // SHORT_BINUNICODE
      case 0x8d: stack.push(text(u64())); break; // BINUNICODE8
      case 0x42: stack.push(skip(u32())); break; // BINBYTES
      case 0x43: stack.push(skip(u8())); break; // SHORT_BINBYTES
      case 0x8e: case 0x96: stack.push(skip(u64())); break; // BINBYTES8, BYTEARRAY8
      case 0x97: stack.push(new Opaque("bytes")); break; // NEXT_BUFFER
      case 0x98: break; // READONLY_BUFFER
      case 0x5d: stack.push(container([])); break; // EMPTY_LIST
      case 0x6c: case 0x74: stack.push(container(popToMark())); break; // LIST, TUPLE
      case 0x61: append([pop()]); break; // APPEND
      case 0x65: append(popToMark()); break; // APPENDS
      case 0x29: stack.push(container([])); break; // EMPTY_TUPLE
      case 0x85: stack.push(container([pop()])); break; // TUPLE1
      case 0x86: stack.push(container([pop(), pop()].reverse())); break; // TUPLE2
      case 0x87: stack.push(container([pop(), pop(), pop()].reverse())); break; // TUPLE3
      case 0x7d: stack.push(container(new Map())); break; // EMPTY_DICT
      case 0x64: { // DICT
        const items = popToMark();
        stack.push(container(new Map()));
        setItems(items);
        break;
      }
      case 0x73: setItems([pop(), pop()].reverse()); break; // SETITEM
      case 0x75: setItems(popToMark()); break; // SETITEMS
      case 0x8f: stack.push(new Opaque("a set")); break; // EMPTY_SET
      case 0x90: popToMark(); break; // ADDITEMS
      case 0x91: popToMark(); stack.push(new Opaque("a set")); break; // FROZENSET
      case 0x67: stack.push(remembered(Number(line()))); break; // GET
      case 0x68: stack.push(remembered(u8())); break; // BINGET
      case 0x6a: stack.push(remembered(u32())); break; // LONG_BINGET
      case 0x70: memo.set(Number(line()), top()); spend(opBytes); break; // PUT
      case 0x71: memo.set(u8(), top()); spend(opBytes); break; // BINPUT
      case 0x72: memo.set(u32(), top()); spend(opBytes); break; // LONG_BINPUT
      case 0x94: memo.set(memo.size, top()); spend(opBytes); break; // MEMOIZE
      case 0x63: stack.push(global(`${line()}.${line()}`)); break; // GLOBAL
      case 0x93: { // STACK_GLOBAL
        const name = pop(), module = pop();
        if (typeof name !== "string" || typeof module !== "string") throw fault("a global without a name");
        spend((name.length + module.length) * characterBytes);
        stack.push(global(`${module}.${name}`));
        break;
      }
      case 0x52: case 0x81: { // REDUCE, NEWOBJ
        const args = pop();
        stack.push(called(pop(), args));
        break;
      }
      case 0x92: { // NEWOBJ_EX
        pop();
        const args = pop();
        stack.push(called(pop(), args));
        break;
      }
      case 0x69: { // INST
        const what = global(`${line()}.${line()}`);
        stack.push(called(what, popToMark()));
        break;
      }
      case 0x6f: { // OBJ
        const [what, ...args] = popToMark();
        stack.push(called(what, args));
        break;
      }
      case 0x62: pop(); top(); break; // BUILD: attributes, such as a state dict's _metadata, are of no interest
      case 0x50: stack.push(persistent(line())); break; // PERSID
      case 0x51: stack.push(persistent(pop())); break; // BINPERSID
      case 0x82: u8(); stack.push(new Opaque("an extension")); break; // EXT1
      case 0x83: u16(); stack.push(new Opaque("an extension")); break; // EXT2
      case 0x84: i32(); stack.push(new Opaque("an extension")); break; // EXT4
      default: throw fault(`no such operation, ${op},`);
    }
  }
}

const utf8 = new TextDecoder(), latin1 = new TextDecoder("latin1");
