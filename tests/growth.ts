/** How many times longer a run on `large` takes than one on `small`: best of three each, in turns. */
export async function growth(small: number, large: number, run: (size: number) => unknown): Promise<number> {
  const best = new Map([[small, Infinity], [large, Infinity]]);
  for (let round = 0; round < 3; round++) {
    for (const size of [small, large]) {
      const begin = performance.now();
      await run(size);
      best.set(size, Math.min(best.get(size)!, performance.now() - begin));
    }
  }
  return best.get(large)! / best.get(small)!;
}
