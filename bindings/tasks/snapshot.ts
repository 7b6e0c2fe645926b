// A session on paper: 64 bytes of header, then the used part of the state as it is. Little-endian on every host that WebAssembly runs on.
//   0 magic "SLABSESS" | 8 version | 12 header bytes | 16 model fingerprint | 20 state bytes | 24 position (f64) | 32 checksum of the state
//   | 36 … zero | 60 checksum of bytes 0 … 59
// The command line puts the session's text behind it, which is passed over here.
import { describe } from "../describe.ts";
import { fnv1a } from "../fingerprint.ts";

export const HEADER_BYTES = 64;
export const VERSION = 1;
export const MAGIC = 0x53534553_42414c53n; // "SLABSESS"
/** Where the header has the bytes of the state. */
export const STATE_BYTES = 20;
/** What may come behind the state: the text that the command line keeps, after a header of its own. */
export const TEXT_MAGIC = 0x54584554_42414c53n; // "SLABTEXT"
export const TEXT_HEADER_BYTES = 16;

export interface SnapshotHeader {
  readonly fingerprint: number;
  readonly stateBytes: number;
  readonly position: number;
  readonly checksum: number;
}

const headerChecksum = (bytes: Uint8Array): number => fnv1a(bytes.subarray(0, 60));

/** A snapshot with its header written and room for the state behind it. */
export function newSnapshot({ fingerprint, stateBytes, position, checksum }: SnapshotHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + stateBytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, MAGIC, true);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, HEADER_BYTES, true);
  view.setUint32(16, fingerprint, true);
  view.setUint32(STATE_BYTES, stateBytes, true);
  view.setFloat64(24, position, true);
  view.setUint32(32, checksum, true);
  view.setUint32(60, headerChecksum(bytes), true);
  return bytes;
}

/**
 * Checks everything but the state's own checksum. The bytes are not trusted.
 * @param expected  `usedBytes`: how large a state is that has read so many tokens, of at most `context`
 */
export function readSnapshot(bytes: Uint8Array, expected: { fingerprint: number; context: number; usedBytes(tokens: number): number }): SnapshotHeader {
  if (!(bytes instanceof Uint8Array)) {
    const expected = "expected the bytes that session.save() returned, a Uint8Array or an ArrayBuffer";
    throw new TypeError(`the snapshot is ${describe(bytes)}, ${expected}; of a Blob give await blob.arrayBuffer()`);
  }
  const remedy = "use the bytes that session.save() returned, whole and unchanged";
  if (bytes.length < HEADER_BYTES) throw new RangeError(`the snapshot has ${bytes.length} bytes, expected at least ${HEADER_BYTES}: ${remedy}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getBigUint64(0, true) !== MAGIC) throw new RangeError(`these bytes are not a session's snapshot: ${remedy}`);
  const version = view.getUint32(8, true);
  if (headerChecksum(bytes) !== view.getUint32(60, true)) throw new RangeError(`the snapshot's header is damaged: ${remedy}`);
  if (version !== VERSION || view.getUint32(12, true) !== HEADER_BYTES) {
    throw new RangeError(`the snapshot has version ${version}, this release reads ${VERSION}: ${version > VERSION ? "update slab-wasm" : "save it again"}`);
  }
  const header = {
    fingerprint: view.getUint32(16, true), stateBytes: view.getUint32(STATE_BYTES, true),
    position: view.getFloat64(24, true), checksum: view.getUint32(32, true),
  };
  const { position } = header, foreign = "the snapshot is of another model: restore it with the model that saved it";
  if (header.fingerprint !== expected.fingerprint) throw new RangeError(foreign);
  if (!(Number.isSafeInteger(position) && position >= 0)) throw new RangeError(`the snapshot's position is ${position}: ${remedy}`);
  if (position > expected.context) {
    throw new RangeError(`the snapshot has read ${position} tokens, the model has room for ${expected.context}: load it with the option context of at least ${position}`);
  }
  if (header.stateBytes !== expected.usedBytes(position)) throw new RangeError(foreign);
  const end = HEADER_BYTES + header.stateBytes, more = bytes.length - end - TEXT_HEADER_BYTES;
  const isText = (): boolean => view.getBigUint64(end, true) === TEXT_MAGIC && view.getUint32(end + 8, true) === more;
  if (bytes.length !== end && !(more >= 0 && isText())) {
    throw new RangeError(`the snapshot has ${bytes.length} bytes, expected ${end}: ${remedy}`);
  }
  return header;
}
