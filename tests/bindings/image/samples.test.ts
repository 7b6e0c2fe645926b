import { readdirSync, readFileSync, statSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { decodeImage, preprocess } from "../../../bindings/image/index.ts";

const folder = new URL("../../../models/samples/", import.meta.url);
const readme = readFileSync(new URL("README.md", folder), "utf8");

for (const name of readdirSync(folder).filter((name) => name !== "README.md")) {
  test(`${name} is small and has its licence stated`, () => {
    const { size } = statSync(new URL(name, folder));
    assert.ok(size < 60 * 1024, `${size} bytes`);
    assert.ok(readme.includes(`\`${name}\``), "not in README.md");
  });

  if (!name.endsWith(".txt")) test(`${name} decodes`, async () => {
    const image = await decodeImage(readFileSync(new URL(name, folder)));
    const pixels = preprocess(image, { size: 32, resize: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
    assert.ok(pixels.every((x) => x >= -2 && x <= 2));
    assert.ok(Math.max(...pixels) - Math.min(...pixels) > 1, "flat");
  });
}

test.run();
