// Logits of a folder's model for check_parity.py: node logits.mjs FOLDER INPUTS.json OUT.f32
import { existsSync, readFileSync, writeFileSync } from "node:fs";

const dist = new URL("../../dist/js/node/index.js", import.meta.url);
if (!existsSync(dist)) {
  console.error("dist/ is missing: run npm install first");
  process.exit(1);
}
const { load } = await import(dist.href);
const [folder, given, out] = process.argv.slice(2);
const { pixels, ids, how, deterministic } = JSON.parse(readFileSync(given, "utf8"));
const model = await load(folder, { deterministic, sessions: 1 }).catch((error) => {
  console.error(error.message);
  process.exit(1);
});
let logits;
if (pixels) logits = await model.forward(Float32Array.from(pixels));
else {
  const session = model.session();
  if (how === "at once") logits = await session.logits(ids);
  else {
    const rows = [];
    for (const id of ids) rows.push(await session.decode(id));
    logits = Float32Array.from(rows.flatMap((row) => [...row]));
  }
}
writeFileSync(out, new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
model.dispose();
