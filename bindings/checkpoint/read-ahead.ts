// A model is hundreds of small tensors, and asking a disk or a server for each costs more than the bytes do. So reads
// go through pages: neighbours come with the first of them, in file order or in a model's own order, which jumps a
// little.

export type Read = (begin: number, end: number, into?: Uint8Array) => Promise<Uint8Array>;

/** `bytes`, where a read brought all of [begin, end). */
export function wanted(name: string, bytes: Uint8Array, begin: number, end: number): Uint8Array {
  if (bytes.byteLength === end - begin) return bytes;
  throw new RangeError(`${name} gave ${bytes.byteLength} bytes from byte ${begin}, expected ${end - begin}: it changed `
    + "or was cut off; open it again");
}

/**
 * Reads pages of `pageBytes` and keeps the `keep` last used. A read of a page or more goes straight through, unless
 * `whole` pages are wanted.
 * @param first  page 0, where it has already been read
 */
export function readAhead(
  read: Read, size: number, pageBytes: number, keep: number, first?: Uint8Array, whole = false,
): Read {
  interface Page { readonly bytes: Promise<Uint8Array>; settled: boolean }
  const pages = new Map<number, Page>(); // least recently used first
  if (first) pages.set(0, { bytes: Promise.resolve(first), settled: true });

  // pages still under way stay, whatever their number: many reads at once would fetch them again and again
  const evict = (): void => {
    for (const [index, page] of pages) {
      if (pages.size <= keep) return;
      if (page.settled) pages.delete(index);
    }
  };
  const load = (index: number): Promise<Uint8Array> => {
    const held = pages.get(index);
    if (held) {
      pages.delete(index);
      pages.set(index, held);
      return held.bytes;
    }
    const begin = index * pageBytes;
    const page: Page = { bytes: read(begin, Math.min(begin + pageBytes, size)), settled: false };
    pages.set(index, page);
    page.bytes.then(
      () => {
        page.settled = true;
        evict();
      },
      () => pages.delete(index),
    );
    return page.bytes;
  };

  return async (begin, end, into) => {
    if (end - begin >= pageBytes) {
      if (!whole) return read(begin, end, into);
      const bytes = into ?? new Uint8Array(end - begin);
      // one after the other: they need not all be held at once
      for (let index = Math.floor(begin / pageBytes), at = index * pageBytes; at < end; index++, at += pageBytes) {
        const page = await load(index), from = Math.max(begin, at);
        bytes.set(page.subarray(from - at, Math.min(end, at + page.length) - at), from - begin);
      }
      return bytes;
    }
    const index = Math.floor(begin / pageBytes);
    const [at, length] = [begin - index * pageBytes, end - begin];
    if (at + length <= pageBytes) {
      // a view: the pages' memory is the greater part of what reading costs, and most bytes are decoded and let go
      return (await load(index)).subarray(at, at + length);
    }
    // shorter than a page, so it touches two at most
    const [left, right] = await Promise.all([load(index), load(index + 1)]);
    const bytes = new Uint8Array(length);
    bytes.set(left.subarray(at));
    bytes.set(right.subarray(0, at + length - pageBytes), pageBytes - at);
    return bytes;
  };
}

/** At most `most` reads at once; the others wait their turn. */
export function limited(most: number, read: Read): Read {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (begin, end) => {
    if (running < most) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await read(begin, end);
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running--;
    }
  };
}
