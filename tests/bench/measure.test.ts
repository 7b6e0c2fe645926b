// Variants that are compared take turns: none runs while another is timed.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { timeInTurn } from "../../bench/measure.ts";

test("an asynchronous variant ends before the next begins", async () => {
  let running = 0, most = 0;
  const work = async (): Promise<void> => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running--;
  };
  const times = await timeInTurn({ first: () => work(), second: () => work(), third: () => {} }, 60);
  assert.is(most, 1);
  assert.ok(times.first!.bestMs >= 1 && times.third!.bestMs < 1, "every variant has its own time");
});

test.run();
