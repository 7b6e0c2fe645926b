import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { decodeImage, preprocess } from "../../../bindings/image/index.ts";

const folder = new URL("../../../models/samples/", import.meta.url);
const readme = readFileSync(new URL("README.md", folder), "utf8");

for (const name of readdirSync(folder).filter((name) => name !== "README.md")) {
  test(`${name} is small, has its licence stated, and decodes`, async () => {
    const bytes = readFileSync(new URL(name, folder));
    assert.ok(bytes.length < 60 * 1024, `${bytes.length} bytes`);
    assert.ok(readme.includes(`\`${name}\``), "not in README.md");
    const image = await decodeImage(bytes);
    const pixels = preprocess(image, { size: 32, resize: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
    assert.ok(pixels.every((x) => x >= -2 && x <= 2));
    assert.ok(Math.max(...pixels) - Math.min(...pixels) > 1, "flat");
  });
}

test.run();
