// Every folder of tests/golden, each a network with its reference: the README there says what is tested of it.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checksOf } from "../golden/checks.ts";
import { foldersIn, GOLDEN, readGolden } from "../golden/folders.ts";

const names = foldersIn(GOLDEN), absent: string[] = [];
test("there are networks to test", () => assert.ok(names.length > 0));

for (const name of names) {
  try {
    const golden = await readGolden(name);
    if ("absent" in golden) {
      absent.push(`${name} (${golden.absent})`);
      test.skip(`${name}: ${golden.absent}`, () => {});
    } else for (const check of checksOf(golden)) test(check.name, check.run);
  } catch (error) {
    test(`${name}: what the folder holds`, () => {
      throw error;
    });
  }
}
if (absent.length > 0) console.log(`skipped: ${absent.join(", ")}`);

test.run();
