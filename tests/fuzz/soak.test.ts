// The soak, shortened; RESULTS.md tells of the full one.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { grown, steps } from "./soak.ts";

for (const [name, { short, run }] of Object.entries(steps)) {
  test(`nothing grows: ${short} ${name}`, async () => assert.is(grown(await run(short)), undefined));
}

test.run();
