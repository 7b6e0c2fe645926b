// Where a text ends by a string that it shall end at. Loaded when a generation has any.

/**
 * Finds strings in text that comes in pieces, and holds back what may be the beginning of one. Knuth, Morris and Pratt,
 * once for each.
 */
export class StopFinder {
  found = false;
  readonly #stops: readonly string[];
  /** For each length of a stop string's beginning: the longest shorter one that it ends with. */
  readonly #shorter: readonly Int32Array[];
  /** How much of each stop string the text ends with. */
  readonly #matched: Int32Array;
  #held = "";

  /**
   * @param stops  strings that end the text: it is cut before the one that is complete first, and before the longest of
   *               several complete at once
   * @throws TypeError, RangeError for what is no list of them
   */
  constructor(stops: readonly string[]) {
    if (!Array.isArray(stops)) {
      const list = JSON.stringify(stops) ?? "";
      throw new TypeError(`stop is ${typeof stops}, expected a list of strings: write [${list}]`);
    }
    stops.forEach((stop: unknown, i) => {
      if (typeof stop !== "string") {
        throw new TypeError(`stop[${i}] is ${stop === null ? "null" : typeof stop}, expected a string`);
      }
      if (stop === "") throw new RangeError(`stop[${i}] is empty, expected at least one character: leave it out`);
    });
    this.#stops = [...stops];
    this.#shorter = this.#stops.map(shorterMatches);
    this.#matched = new Int32Array(stops.length);
  }

  /** The text that can be shown now, cut before a stop string. */
  feed(text: string): string {
    if (this.#stops.length === 0) return text;
    const all = this.#held + text;
    for (let i = this.#held.length; i < all.length; i++) {
      let complete = 0;
      this.#stops.forEach((stop, s) => {
        const shorter = this.#shorter[s]!;
        let matched = this.#matched[s]!;
        while (matched > 0 && stop[matched] !== all[i]) matched = shorter[matched]!;
        if (stop[matched] === all[i]) matched++;
        this.#matched[s] = matched;
        if (matched === stop.length) complete = Math.max(complete, matched);
      });
      if (complete > 0) {
        this.found = true;
        this.#held = "";
        return all.slice(0, i + 1 - complete);
      }
    }
    const shown = all.length - Math.max(...this.#matched);
    this.#held = all.slice(shown);
    return all.slice(0, shown);
  }

  /** What was held back: no stop string after all. */
  end(): string {
    const held = this.#held;
    this.#held = "";
    return held;
  }
}

function shorterMatches(stop: string): Int32Array {
  const shorter = new Int32Array(stop.length + 1);
  for (let i = 1, matched = 0; i < stop.length; i++) {
    while (matched > 0 && stop[matched] !== stop[i]) matched = shorter[matched]!;
    if (stop[matched] === stop[i]) matched++;
    shorter[i + 1] = matched;
  }
  return shorter;
}
