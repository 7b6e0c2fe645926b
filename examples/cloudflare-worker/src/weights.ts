// A packed model.safetensors as it streams in: each piece goes straight to its place in the model's memory, so that the
// file, of which there is another copy in the making there, is never in this isolate as a whole.

/** Read at once: as many bytes in the pieces that streams are made of take ten times the time. */
const PIECE = 1 << 20;

/** What load() takes for weights. */
export async function inOrder(name: string, body: ReadableStream<Uint8Array>) {
  const reader = body.getReader({ mode: "byob" });
  let at = 0, rest: Uint8Array = new Uint8Array(0), buffer = new ArrayBuffer(PIECE);

  async function fill(into: Uint8Array): Promise<Uint8Array> {
    for (let filled = 0; filled < into.length;) {
      if (rest.length === 0) {
        const { value } = await reader.readAtLeast(PIECE, new Uint8Array(buffer));
        if (!value?.length) throw new Error(`${name} ends after ${at} bytes: npm run models makes it anew`);
        [rest, buffer] = [value, value.buffer];
      }
      const piece = rest.subarray(0, into.length - filled);
      into.set(piece, filled);
      rest = rest.subarray(piece.length);
      filled += piece.length;
      at += piece.length;
    }
    return into;
  }

  // assets do not say how long they are; the file's header does: its own length, then where each tensor ends
  const prefix = await fill(new Uint8Array(8)), length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > 1 << 20) throw new Error(`${name} is no packed model: npm run models makes one`);
  const header = await fill(new Uint8Array(length));
  const tensors = Object.values(JSON.parse(new TextDecoder().decode(header))) as {
    data_offsets?: [begin: number, end: number];
  }[];
  const dataBegin = 8 + length;
  const size = dataBegin + Math.max(...tensors.map(({ data_offsets }) => data_offsets?.[1] ?? 0));

  return {
    name, size,
    async read(begin: number, end: number, into = new Uint8Array(end - begin)): Promise<Uint8Array> {
      if (end <= 8) return prefix.subarray(begin, end);
      if (end <= dataBegin) return header.subarray(begin - 8, end - 8);
      if (begin !== at) {
        throw new Error(`${name} is not packed, byte ${begin} is wanted at byte ${at}: npm run models packs it`);
      }
      return fill(into);
    },
    close: () => reader.cancel(),
  };
}
