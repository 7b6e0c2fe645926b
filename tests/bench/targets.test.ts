import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Target } from "../../bench/targets.ts";
import { baselineOf, fallen, isMet } from "../../bench/targets.ts";

const ratio = (what: string, got: number, byMedians?: number): Target => ({
  what, unit: "×", wanted: 2, got, ...(byMedians === undefined ? {} : { byMedians }),
});

test("a target is a floor, or a ceiling", () => {
  assert.equal([1.99, 2, 3].map((got) => isMet(ratio("a", got))), [false, true, true]);
  assert.equal(
    [9, 10, 11].map((got) => isMet({ what: "size", unit: " KiB", wanted: 10, most: true, got })),
    [true, true, false],
  );
});

test("a baseline keeps the ratios of three runs, rounded, and those that this run has not measured", () => {
  const older = { a: { best: [1, 2, 3] }, b: { best: [2], median: [2] } };
  const targets: Target[] = [
    ratio("a", 3.14159, 2.71828), ratio("c", 5), { what: "share", unit: "%", wanted: 80, got: 90 },
  ];
  assert.equal(baselineOf(targets, older), { a: { best: [2, 3, 3.14], median: [2.72] }, b: older.b, c: { best: [5] } });
});

test("a ratio has fallen when its best and its median are both 20 % below every run that was kept", () => {
  const baseline = { a: { best: [5, 4], median: [4, 6] }, b: { best: [4] } };
  assert.equal(fallen([ratio("a", 3.2, 3.2), ratio("b", 3.2), ratio("unknown", 0.1)], baseline), []);
  assert.equal(fallen([ratio("a", 3.1, 3.3)], baseline), []);
  assert.equal(fallen([ratio("a", 3.3, 3.1)], baseline), []);
  assert.equal(fallen([ratio("a", 3.1, 3.1), ratio("b", 1)], baseline), [
    "a: 3.10×, at least 4.00× in bench/baseline.json", "b: 1.00×, at least 4.00× in bench/baseline.json",
  ]);
});

test.run();
