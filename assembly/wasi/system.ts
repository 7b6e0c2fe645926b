// What the program needs of its host: wasi_snapshot_preview1, by hand. Texts of the program are ASCII.
import { FILE_BASE } from "../slab-file";

// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "args_sizes_get")
declare function args_sizes_get(count: usize, bytes: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "args_get")
declare function args_get(pointers: usize, text: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_read")
declare function fd_read(fd: i32, parts: usize, count: i32, done: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: i32, parts: usize, count: i32, done: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_close")
declare function fd_close(fd: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_filestat_get")
declare function fd_filestat_get(fd: i32, stat: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_prestat_get")
declare function fd_prestat_get(fd: i32, prestat: usize): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "fd_prestat_dir_name")
declare function fd_prestat_dir_name(fd: i32, name: usize, bytes: i32): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "path_open")
declare function path_open(
  folder: i32, lookup: i32, path: usize, bytes: i32, flags: i32, rights: i64, inherited: i64, fdFlags: i32, fd: usize,
): i32;
// @ts-ignore: decorator
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(code: i32): void;

const STDIN: i32 = 0, STDOUT: i32 = 1, STDERR: i32 = 2;
const READ_AND_STAT: i64 = (1 << 1) | (1 << 21);
const NO_ENTRY: i32 = 44;

/** Address and bytes, then how many were moved; also what else the host answers in. */
const part: usize = memory.data(16), answer: usize = memory.data(64, 8);
const BUFFER: i32 = 4096;
const buffer: usize = memory.data(4096);
let filled: i32 = 0, stream: i32 = STDOUT;

// output

/** Writes out what has been put. */
export function flush(): void {
  let from = buffer;
  while (filled > 0) {
    store<usize>(part, from);
    store<i32>(part, filled, 4);
    const error = fd_write(stream, part, 1, answer), done = load<i32>(answer);
    // a reader that has gone ends the program, without a word
    if (error || done <= 0) {
      filled = 0;
      proc_exit(stream == STDOUT ? 1 : 2);
    }
    from += done; filled -= done;
  }
}

export function putByte(byte: i32): void {
  if (filled == BUFFER) flush();
  store<u8>(buffer + filled++, <u8>byte);
}

export function put(text: string): void {
  for (let i = 0; i < text.length; ++i) putByte(text.charCodeAt(i));
}

/** UTF-8 of a stranger, without control characters that could drive a terminal. */
export function putText(at: usize, bytes: i32): void {
  for (let i = 0; i < bytes; ++i) {
    const byte = <i32>load<u8>(at + i), next = i + 1 < bytes ? <i32>load<u8>(at + i + 1) : 0;
    if (byte == 0xc2 && next >= 0x80 && next < 0xa0) ++i;
    else if (byte >= 0x20 && byte != 0x7f) {
      putByte(byte);
      continue;
    }
    put("?");
  }
}

/** A zero-ended text. */
export function putZeroEnded(text: usize): void {
  putText(text, lengthOf(text));
}

export function putNumber(n: u64): void {
  if (n >= 10) putNumber(n / 10);
  putByte(48 + <i32>(n % 10));
}

/** A share of one, to four places. */
export function putShare(share: f64): void {
  const n = <u32>(share * 10000 + 0.5);
  putByte(48 + n / 10000);
  putByte(46);
  for (let unit: u32 = 1000; unit > 0; unit /= 10) putByte(48 + (n / unit) % 10);
}

/** The line end, and the line on its way. */
export function endLine(): void {
  putByte(10);
  flush();
}

/** f32 [count] as they are. */
export function putFloats(at: usize, count: i32): void {
  for (let i: usize = 0; i < <usize>count * 4; ++i) putByte(load<u8>(at + i));
}

// errors: begin, put, end

/** What is put from here on is the line on stderr that says what was wrong. */
export function complain(): void {
  // results that are complete have been written; the rest of a line is dropped
  filled = 0;
  stream = STDERR;
  put("slab-wasi: ");
}

export function giveUp(): void {
  endLine();
  proc_exit(1);
  // for the compiler: proc_exit does not return
  unreachable();
}

export function fail(why: string): void {
  complain();
  put(why);
  giveUp();
}

export function exit(): void {
  flush();
  proc_exit(0);
}

// arguments

export let argumentCount: i32 = 0;
let pointers: usize = 0;

export function readArguments(): void {
  args_sizes_get(answer, answer + 4);
  argumentCount = load<i32>(answer);
  const room = FILE_BASE - __heap_base, bytes = <u64>load<u32>(answer, 4);
  if (<u64>(<u32>argumentCount) * 4 + bytes > <u64>room) {
    complain();
    put("the arguments have ");
    putNumber(bytes);
    put(" bytes, too many: give token ids on standard input, with - in their place");
    giveUp();
  }
  pointers = __heap_base;
  args_get(pointers, pointers + <usize>argumentCount * 4);
}

/** The zero-ended text of an argument; the program's name is number 0. */
export function argument(index: i32): usize {
  return load<usize>(pointers + <usize>index * 4);
}

export function lengthOf(text: usize): i32 {
  let n = 0;
  while (load<u8>(text + n)) ++n;
  return n;
}

export function is(text: usize, expected: string): bool {
  const n = expected.length;
  for (let i = 0; i < n; ++i) if (<i32>load<u8>(text + i) != expected.charCodeAt(i)) return false;
  return load<u8>(text + n) == 0;
}

// memory

/** Makes memory at least `end` bytes large. */
export function ensure(end: u64): void {
  const pages = <i64>((end + 0xffff) >> 16) - <i64>memory.size();
  if (end < 0xffff0000 && (pages <= 0 || memory.grow(<i32>pages) >= 0)) return;
  complain();
  put("this host has no ");
  putNumber((end + 0xfffff) >> 20);
  put(" MiB of memory for this: use a smaller model");
  giveUp();
}

// files

/** Reads until `bytes` are there or nothing is left; returns how many. */
export function read(fd: i32, at: usize, bytes: u32): u32 {
  let total: u32 = 0;
  while (total < bytes) {
    store<usize>(part, at + total);
    store<u32>(part, bytes - total, 4);
    if (fd_read(fd, part, 1, answer)) fail(fd == STDIN ? "standard input cannot be read" : "the file cannot be read");
    const done = load<u32>(answer);
    if (done == 0) break;
    if (done > bytes - total) fail("the host has read more than it was asked for");
    total += done;
  }
  return total;
}

export function readInput(at: usize, bytes: u32): u32 {
  return read(STDIN, at, bytes);
}

/** Bytes of an open file. */
export function sizeOf(fd: i32): u64 {
  if (fd_filestat_get(fd, answer)) fail("the host does not say how large the file is");
  return load<u64>(answer, 32);
}

export function close(fd: i32): void {
  fd_close(fd);
}

/** How much of `path` is the way to the folder called `name`; −1: it is not in there. */
function within(path: usize, name: usize, bytes: i32): i32 {
  while (bytes > 0 && load<u8>(name + bytes - 1) == 47) --bytes;
  const absolute = load<u8>(path) == 47;
  // "" was "/"; "." is where relative paths begin
  if (bytes == 0) return absolute ? 1 : -1;
  if (bytes == 1 && load<u8>(name) == 46 && !absolute) return load<u8>(path) == 46 && load<u8>(path, 1) == 47 ? 2 : 0;
  for (let i = 0; i < bytes; ++i) if (load<u8>(path + i) != load<u8>(name + i)) return -1;
  return load<u8>(path + bytes) == 47 ? bytes + 1 : -1;
}

/** Opens a file in one of the folders that the host has opened. */
export function open(path: usize): i32 {
  // between lines the buffer is free
  flush();
  const room = buffer;
  let error = -1;
  for (let folder = 3; fd_prestat_get(folder, answer) == 0; ++folder) {
    const bytes = load<u32>(answer, 4);
    if (load<u8>(answer) != 0 || bytes > <u32>BUFFER || fd_prestat_dir_name(folder, room, bytes)) continue;
    // some hosts count a zero at the end
    let length = <i32>bytes;
    while (length > 0 && load<u8>(room + length - 1) == 0) --length;
    const skip = within(path, room, length);
    if (skip < 0) continue;
    const failed = path_open(folder, 1, path + skip, lengthOf(path + skip), 0, READ_AND_STAT, 0, 0, answer);
    if (failed == 0) return load<i32>(answer);
    if (error < 0 || error == NO_ENTRY) error = failed;
  }
  complain();
  put("cannot open ");
  putZeroEnded(path);
  if (error == NO_ENTRY) put(": no such file");
  else if (error == 2) put(": permission denied");
  else if (error == 31) put(": it is a folder");
  else if (error >= 0) {
    put(": error ");
    putNumber(error);
  } else put(": it is in no folder that the host has opened for this program; open one, e.g. with --dir .");
  giveUp();
  return -1;
}
