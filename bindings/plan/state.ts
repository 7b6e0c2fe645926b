// What a timeline carries from token to token, as a plan asks for it: parts of a fixed size, and caches of keys and
// values that grow by pages. They may be asked for in any order; where each is, is decided at the end: fixed parts
// first, then pages that hold every cache's share of the same tokens, so that what a timeline has used of its state is
// one run of bytes from its beginning.
import { CACHE_PAGE } from "../../assembly/header.ts";
import { alignUp } from "./align.ts";

/** A part of a fixed size. Its offset is known once the plan is laid out. */
export interface StatePart {
  readonly name: string;
  readonly bytes: number;
  offset: number;
}

/** Keys and values by pages of CACHE_PAGE tokens. */
export interface Cache {
  readonly name: string;
  readonly bytesPerPage: number;
  /** A token sees so many, itself included; undefined: all before it. */
  readonly window: number | undefined;
  // known once the plan is laid out
  /** Of its share of the first page. */
  offset: number;
  /** From one page to the next. */
  pageBytes: number;
  /** Pages that are used in turns; 0: as many as the context has. */
  ring: number;
}

const padded = (bytes: number): number => alignUp(bytes, 64);
const pagesOf = (tokens: number): number => Math.ceil(tokens / CACHE_PAGE);

export class StateLayout {
  readonly parts: StatePart[] = [];
  readonly caches: Cache[] = [];
  /** Most tokens of a timeline that has caches. */
  readonly context: number;
  /** Most successive tokens that one run adds to a timeline: a ring holds them beside its window. */
  readonly tokensAtOnce: number;

  constructor(context: number, tokensAtOnce: number) {
    [this.context, this.tokensAtOnce] = [context, tokensAtOnce];
  }

  /** Most tokens of a timeline; Infinity where its state has one size whatever it has read. */
  get mostTokens(): number {
    return this.caches.length > 0 ? this.context : Infinity;
  }

  /** The part of this name, the same in every program. */
  part(name: string, bytes: number): StatePart {
    const known = this.parts.find((part) => part.name === name);
    const part = known ?? { name, bytes: padded(bytes), offset: -1 };
    if (!known) this.parts.push(part);
    return part;
  }

  cache(name: string, bytesPerPage: number, window?: number): Cache {
    const known = this.caches.find((cache) => cache.name === name);
    const cache = known ?? { name, bytesPerPage, window, offset: -1, pageBytes: -1, ring: 0 };
    if (!known) this.caches.push(cache);
    return cache;
  }

  /** Pages in a window's ring; 0 where the context is no larger. */
  private ringOf({ window }: Cache): number {
    const pages = window === undefined ? Infinity : pagesOf(window + this.tokensAtOnce - 2) + 1;
    return pages < pagesOf(this.context) ? pages : 0;
  }

  /** Bytes of everything that does not grow. */
  private get fixedBytes(): number {
    const rings = this.caches.reduce((sum, cache) => sum + padded(this.ringOf(cache) * cache.bytesPerPage), 0);
    return this.parts.reduce((sum, { bytes }) => sum + bytes, rings);
  }

  /** Bytes of a page of all caches that grow; 0 where none does. */
  get pageBytes(): number {
    return this.caches.reduce((sum, cache) => sum + (this.ringOf(cache) ? 0 : cache.bytesPerPage), 0);
  }

  /** Bytes of one timeline's state, of all that it may grow to. */
  get bytes(): number {
    return this.usedBytes(this.context);
  }

  /** Bytes of a timeline's state that has read `tokens`: what there is to save of it. */
  usedBytes(tokens: number): number {
    return this.fixedBytes + pagesOf(tokens) * this.pageBytes;
  }

  /** Decides where everything is. */
  place(): void {
    let at = 0, page = this.fixedBytes;
    for (const part of this.parts) {
      part.offset = at;
      at += part.bytes;
    }
    for (const cache of this.caches) {
      cache.ring = this.ringOf(cache);
      cache.pageBytes = cache.ring ? cache.bytesPerPage : this.pageBytes;
      cache.offset = cache.ring ? at : page;
      if (cache.ring) at += padded(cache.ring * cache.bytesPerPage);
      else page += cache.bytesPerPage;
    }
  }
}
