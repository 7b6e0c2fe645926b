#!/usr/bin/env node
// npm start: classifies the sample pictures and writes a paragraph with the trained models of the clone, or of
// slab-wasm-models, and says what that took.
import { readdir, readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Model } from "../bindings/index.ts";
import { load } from "../bindings/index.ts";
import { PICTURES } from "./classify.ts";
import { CLASSIFIER, LANGUAGE_MODEL, modelSource, packageRoot } from "./options.ts";
import { bar, bytes, complain, milliseconds, out, percent, plural, printable, quantile } from "./report.ts";

const LABELS = 3, RUNS = 7, BAR = 20;
const PROMPT = "Once upon a time";
const WRITING = { maxTokens: 80, temperature: 0.6, topP: 0.9, seed: 6 };

async function loaded(name: string): Promise<Model> {
  const source = modelSource(undefined, name), start = performance.now();
  const model = await load(source);
  const time = performance.now() - start;
  const norms = new Set(model.plan.folds.map(({ norm }) => norm)).size;
  out(
    `${name}: ${plural(norms, "norm")} folded away at load; loaded in ${milliseconds(time)}, `
      + `${bytes(model.memory().total)} of memory`,
  );
  return model;
}

async function classify(model: Model): Promise<void> {
  const folder = join(packageRoot, "models", "samples");
  const files = (await readdir(folder)).filter((name) => PICTURES.has(extname(name))).sort();
  const width = Math.max(...files.map((name) => name.length), 0);
  const allTimes: number[] = [];
  for (const name of files) {
    const picture = await readFile(join(folder, name));
    // the first one loads the picture's codec and lets the engine optimise
    const labels = await model.classify(picture, { topK: LABELS });
    const times: number[] = [];
    for (let i = 0; i < RUNS; i++) {
      const begin = performance.now();
      await model.classify(picture);
      times.push(performance.now() - begin);
    }
    allTimes.push(quantile(times, 0.5));
    labels.forEach(({ label, score }, i) => {
      const [first, last] = i === 0 ? [name, milliseconds(quantile(times, 0.5))] : ["", ""];
      out(
        (
          `${printable(first).padEnd(width)}  ${printable(label).padEnd(12)} ${bar(score, BAR)} `
          + `${percent(score).padStart(6)}  ${last}`
        ).trimEnd(),
      );
    });
  }
  out(
    `${milliseconds(quantile(allTimes, 0.5))} a picture, decoding included (the median of ${RUNS} runs of `
      + `each, after the first)\n`,
  );
}

async function write(model: Model): Promise<void> {
  const session = model.session(), tokens = session.generate(PROMPT, WRITING), times: number[] = [];
  process.stdout.write(PROMPT);
  let last = performance.now();
  for await (const { text } of tokens) {
    const now = performance.now();
    times.push(now - last);
    process.stdout.write(text);
    last = performance.now();
  }
  const [first = NaN, ...decoding] = times;
  const total = decoding.reduce((a, b) => a + b, 0);
  const read = session.position - times.length;
  out(
    `\nprefill ${((1000 * read) / first).toFixed(0)} tokens/s (${plural(read, "token")}, up to the first new `
      + `one), decode ${((1000 * decoding.length) / total).toFixed(0)} tokens/s`
      + ` (${milliseconds(quantile(decoding, 0.5))} a token), ${bytes(session.stateBytes)} of state whatever the `
      + `length\n`,
  );
}

async function demo(): Promise<void> {
  {
    using model = await loaded(CLASSIFIER);
    const { caps } = model;
    out(`build ${caps.build} on ${caps.runtime}, ${plural(caps.threads, "thread")} on ${plural(caps.cores, "core")}`);
    for (const reason of caps.reasons) out(`  ${reason}`);
    out("");
    await classify(model);
  }
  using model = await loaded(LANGUAGE_MODEL);
  out("");
  await write(model);
  out("Try your own pictures:    npx slab-wasm classify PICTURE.jpg (or a folder, or --json)");
  out('Have a text continued:    npx slab-wasm generate "Once upon a time"');
  out("Use it from JavaScript:   see README.md, which starts with a ten-line program");
}

try {
  await demo();
} catch (error) {
  complain(error);
  process.exitCode = 1;
}
