// The tables made from the kernels are those that are committed.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

test("dispatch, checks and the builders' names are made from the kernels as they are", () => {
  const script = fileURLToPath(new URL("../../scripts/ops.mjs", import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
  assert.is(status, 0, `${stdout}${stderr}`);
});

test.run();
