// A session on disk: what session.save() gave, and behind it, where it is known, the text that the session has read.
// model.session() takes both.
//   … the snapshot | magic "SLABTEXT" | bytes of the text (u32) | checksum of the text (u32) | the text in UTF-8
import {
  accessSync, closeSync, constants, openSync, readSync, renameSync, rmSync, statSync, writeFileSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { quote } from "../bindings/checkpoint/names.ts";
import { HEADER_BYTES, MAGIC, STATE_BYTES, TEXT_HEADER_BYTES, TEXT_MAGIC } from "../bindings/tasks/snapshot.ts";
import { fileFault } from "./options.ts";

export interface SavedSession {
  /** For model.session(). */
  readonly bytes: Uint8Array;
  /** Undefined where the file keeps none, as those of earlier releases. */
  readonly text: string | undefined;
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function checksum(bytes: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
  return hash >>> 0;
}

export async function readSession(file: string): Promise<SavedSession> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    const fault = fileFault(error);
    throw new Error(`cannot read --resume ${quote(file)} (${fault}): give a file that --save wrote`, { cause: error });
  }
  // whether it is a session at all is model.session()'s to say
  const view = viewOf(bytes), at = bytes.length < HEADER_BYTES ? 0 : HEADER_BYTES + view.getUint32(STATE_BYTES, true);
  const keepsText = at > 0 && bytes.length >= at + TEXT_HEADER_BYTES && view.getBigUint64(at, true) === TEXT_MAGIC;
  if (!keepsText) return { bytes, text: undefined };
  const text = bytes.subarray(at + TEXT_HEADER_BYTES), remedy = "give the file as --save wrote it, whole and unchanged";
  if (checksum(text) !== view.getUint32(at + 12, true)) {
    throw new RangeError(`--resume ${quote(file)}: the text behind the session is damaged: ${remedy}`);
  }
  return { bytes, text: new TextDecoder().decode(text) };
}

/** Refuses what cannot be written, and what would be lost: better now than after the work. */
export function checkWritable(file: string): void {
  let there: ReturnType<typeof statSync>;
  try {
    there = statSync(file, { throwIfNoEntry: false });
    if (there && !there.isFile()) throw new Error(there.isDirectory() ? "it is a folder" : "it is no ordinary file");
    accessSync(dirname(file), constants.W_OK);
    if (!there || there.size === 0 || isSession(file)) return;
  } catch (error) {
    throw cannotWrite(file, error);
  }
  const remedy = "give a new file, or the session to replace";
  throw new RangeError(`--save ${quote(file)} exists already and is no session: ${remedy}`);
}

function isSession(file: string): boolean {
  const begin = new Uint8Array(8), descriptor = openSync(file, "r");
  try {
    return readSync(descriptor, begin) === 8 && viewOf(begin).getBigUint64(0, true) === MAGIC;
  } finally {
    closeSync(descriptor);
  }
}

function cannotWrite(file: string, error: unknown): Error {
  const remedy = "give an ordinary file in a folder that exists";
  return new Error(`cannot write --save ${quote(file)} (${fileFault(error)}): ${remedy}`, { cause: error });
}

/** Whole or not at all: a crash leaves the file as it was. */
export function writeSession(file: string, snapshot: Uint8Array, text: string | undefined): void {
  checkWritable(file);
  const parts = [snapshot], partial = `${file}.tmp`;
  if (text !== undefined) {
    const encoded = new TextEncoder().encode(text), head = new Uint8Array(TEXT_HEADER_BYTES), view = viewOf(head);
    view.setBigUint64(0, TEXT_MAGIC, true);
    view.setUint32(8, encoded.length, true);
    view.setUint32(12, checksum(encoded), true);
    parts.push(head, encoded);
  }
  try {
    writeFileSync(partial, Buffer.concat(parts), { flush: true });
    renameSync(partial, file);
  } catch (error) {
    rmSync(partial, { force: true });
    throw cannotWrite(file, error);
  }
}
